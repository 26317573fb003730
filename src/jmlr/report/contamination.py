"""What `prepare` found of test questions in passages, documents and other questions, and dropped: its notes and dropped.parquet."""

from __future__ import annotations

from collections import Counter

from jmlr.report.load import Run, read_parquet


def contamination(run: Run) -> list[tuple[str, str]]:
    """Return (what, how much) for the page; nothing where test questions were not looked for."""
    manifest = next((j.manifest for j in run.jobs if j.stage == "prepare"), {})
    looked = manifest.get("notes", {}).get("test_questions")
    if not looked:
        return []
    how = manifest.get("options", {}).get("decontaminate") or {}
    grams = f"{how.get('passage_ngram', '?')} words in passages and documents, {how.get('question_ngram', '?')} in other questions"
    said = [
        ("test questions looked for", f"{looked.get('checked_against', 0):,}, by n-grams of {grams}"),
        ("too short to be looked for in passages", f"{looked.get('too_short_for_passages', 0):,}"),
    ]
    path = run.prepared / "dropped.parquet"
    rows = read_parquet(path, ["kind", "reason", "test_dataset"]).to_pylist() if path.is_file() else []
    counts = Counter((f"{r['kind']}s dropped, {r['reason']}", r["test_dataset"] or "") for r in rows)
    for what in dict.fromkeys(key for key, _ in counts):
        by = [(f" of {dataset}" if dataset else "", n) for (key, dataset), n in counts.items() if key == what]
        said.append((what, ", ".join(f"{n:,}{dataset}" for dataset, n in by)))
    return said if rows else [*said, ("dropped", "nothing")]
