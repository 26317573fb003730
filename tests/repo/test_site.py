"""The documentation as a site: every page is one click from the front page, words are explained, figures have their command."""

from __future__ import annotations

import io
import re
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from jmlr.__main__ import main

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
GLOSSARY = (DOCS / "glossary.md").read_text()
TERMS = re.findall(r"^### (.+)$", GLOSSARY, re.M)
OTHERS = [p for p in PAGES if p.name != "glossary.md"]
NEWCOMERS = ("tutorial.md", "report.md", "glossary.md", "change_models.md", "never_run.md")


def linked(text: str) -> set[str]:
    """Return the pages of docs/ that a text links to, by their names."""
    return set(re.findall(r"\]\((?:docs/)?(\w+\.md)", text))


def pages_of(entry: object) -> list[str]:
    """Return the pages of a navigation, top to bottom."""
    inner = entry.values() if isinstance(entry, dict) else entry
    return [entry] if isinstance(entry, str) else [page for part in inner for page in pages_of(part)]


def test_every_page_is_one_click_from_the_front_page_and_has_a_place():
    """Fix: Link the page in docs/index.md, and give it a place in mkdocs.yml."""
    names = {p.name for p in PAGES} - {"index.md"}
    assert names - linked((DOCS / "index.md").read_text()) == set()
    text = re.sub(r"!!\S+", "", (ROOT / "mkdocs.yml").read_text())
    placed = pages_of(yaml.safe_load(text)["nav"])
    assert sorted(placed) == sorted({*names, "index.md"})


def test_the_readme_leads_to_what_a_newcomer_needs():
    """Fix: Link the page in README.md."""
    assert set(NEWCOMERS) - linked((ROOT / "README.md").read_text()) == set()


def test_nothing_is_loaded_from_elsewhere_when_the_site_is_read():
    """Fix: `font: false` in mkdocs.yml, and no plugin `offline`, which loads a script from elsewhere; styles lie in docs/."""
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert site["theme"]["font"] is False
    assert site["plugins"] == ["search"]
    assert all((DOCS / name).is_file() for name in site["extra_css"])


@pytest.mark.parametrize("term", TERMS)
def test_a_word_of_the_glossary_is_used(term):
    """Fix: Remove the term from docs/glossary.md, or its other name."""
    template = ROOT / "src/jmlr/report/page.html.jinja"
    text = " ".join(" ".join(p.read_text() for p in [*OTHERS, ROOT / "README.md", template]).split())
    for word in re.split(r" and |, ", term) if term != "dev and test" else ["dev", "test"]:
        pattern = re.escape(word).replace("@k", r"@(?:k|K|C|1|10)").replace("@C", r"@(?:C|30|1000)")
        assert re.search(rf"(?<!\w){pattern}(?:s|es)?(?!\w)", text, re.I), word


def test_the_glossary_explains_the_words_that_a_reader_asks_for():
    """Fix: Explain the word in docs/glossary.md."""
    wanted = (
        "gold passage", "hit@k", "nats", "ECE", "nDCG", "MRR", "LLM-Rank", "KL and PDist", "candidate", "C, S, K, B", "round", "seed",
        "judge", "reading check", "control with shuffled losses", "dev and test", "unparsed", "interval", "inverse cloze",
        "ColBERT and MaxSim", "recall@C",
    )  # fmt: skip
    assert set(wanted) - set(TERMS) == set()
    assert len(TERMS) == len(set(TERMS))


@pytest.mark.parametrize(
    "name", ["demo.md", "metrics.md", "llm_rank.md", "real.md", "data.md", "systems.md", "report.md"]
)
def test_a_page_leads_to_the_words_that_it_uses(name):
    """Fix: Link the first use of a word to glossary.md#word."""
    assert len(set(re.findall(r"\(glossary\.md#([\w-]+)\)", (DOCS / name).read_text()))) >= 3


def test_every_committed_run_was_run_or_is_listed_as_never_run():
    """Fix: Say in docs/never_run.md that nobody ran it, or in docs/reproduce.md or docs/log.md what was found."""
    told = " ".join((DOCS / n).read_text() for n in ("never_run.md", "reproduce.md", "log.md", "ablations.md"))
    runs = [p.stem for p in (ROOT / "config/runs").glob("*.yaml")]
    assert len(runs) > 10
    assert [r for r in runs if f"{r}.yaml" not in told and f"RUN={r}" not in told and f"`{r}" not in told] == []


def test_pictures_are_small():
    """Fix: Fewer colours (Pillow's quantize), or a smaller part of the page."""
    listed = subprocess.run(["git", "ls-files", "docs"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    pictures = [ROOT / n for n in listed.splitlines() if n.endswith(".png")] or list(DOCS.rglob("*.png"))
    assert len(pictures) >= 3
    assert [p.name for p in pictures if p.stat().st_size > 300_000] == []


def printed(command: str) -> str:
    """Return what a `jmlr` command prints."""
    with redirect_stdout(io.StringIO()) as said:
        main([str(ROOT / w) if w.endswith(".yaml") else w for w in command.split()[1:]])
    return said.getvalue()


def test_the_plans_of_the_page_on_clusters_are_what_the_commands_beside_them_print():
    """Fix: Correct the command in docs/slurm.md; its figures are made by docs/slurm/update.py."""
    text = (DOCS / "slurm.md").read_text()
    commands = [b.replace("\\\n", " ") for b in re.findall(r"^```sh\n(jmlr plan .*?)^```$", text, re.M | re.S)]
    dense, late = (printed(c) for c in commands)
    fourth = next(line for line in text.splitlines() if line.startswith("| 13B | 1 | "))
    hours = [
        re.search(rf"^{stage} +\d+ +([\d.]+)", dense, re.M)[1]
        for stage in ("encode", "index", "search", "train", "answer")
    ]
    assert [f"{float(h):.1f}" for h in hours] == [c.strip() for c in fourth.split("|")[4:9]]
    gpu_hours, search = (
        re.search(p, late, re.M)[1] for p in (r"^all +\d+ +[\d.]+ +([\d.]+)", r"^search +\d+ +([\d.]+)")
    )
    assert f"{float(gpu_hours):.0f} GPU hours. Search takes" in text
    assert f"on two threads, {float(search):.0f} in each of 64 shards" in text


def test_the_plan_of_the_page_on_other_models_is_what_its_command_prints(tmp_path):
    """Fix: Run the command of docs/change_models.md, and show what it prints."""
    text = (DOCS / "change_models.md").read_text()
    overlay = re.search(r"^```yaml\n(.*?)^```$", text, re.M | re.S)[1]
    command, shown = re.search(r"^```sh\n(jmlr plan .*?)^```$.*?^```\n(.*?)^```$", text, re.M | re.S).groups()
    (tmp_path / "larger.yaml").write_text(overlay)
    said = printed(command.replace(" larger.yaml", f" {tmp_path / 'larger.yaml'}")).splitlines()
    assert [line for line in shown.splitlines() if line not in said] == []
    assert shown.count("systems.") == 3
