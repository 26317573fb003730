"""A real run in miniature: every stage, then nothing to do, then exactly what an option changed."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import zipfile

import pytest
import yaml

from checkout import MINI, ROOT, Checkout, jobs_of
from jmlr.runtime.manifest import anew

JOBS = {
    "fetch": 2,
    "prepare": 1,
    "pretrain": 2,
    "encode": 9,
    "index": 3,
    "search": 9,
    "train": 4,
    "answer": 3,
    "evaluate": 3,
    "report": 1,
}


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["snakemake", "--cores", "1", "--dry-run", "--forceall", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_dry_run_lists_the_whole_dag_and_reads_like_a_method_section():
    done = dry_run("--configfile", MINI)
    text = done.stdout + done.stderr
    assert jobs_of(text) == JOBS
    for sentence in (
        "Corpus: passages, questions and reading documents of all sources in one schema, cut, deduplicated, split",
        "Retrieval: for every question its best passages, C = 12 or more, by jmlr/seed0",
        "Training: closed_book, seed 0, round 1 of 1: the LLM learns without passages",
        "Training: jmlr, seed 0, round 2 of 2: the LLM learns to answer from K = 3 passages, the retriever from S = 4 of C = 12,"
        " weighed by the LLM's loss (llm_rank)",
    ):
        assert sentence in text


@pytest.mark.slow
def test_a_run_makes_the_report_and_its_rows(finished: Checkout):
    report = finished.folder / "results/mini/report"
    rows = list(csv.DictReader((report / "results.csv").open()))
    assert {r["system"] for r in rows} == {"closed_book", "rag", "jmlr"}
    accuracies = [r for r in rows if r["metric"] == "accuracy"]
    assert len(accuracies) >= 3
    assert all(
        0 <= float(r["low"]) <= float(r["value"]) <= float(r["high"]) <= 1 and r["n"] == "24"
        for r in accuracies
        if r["seed"] == "0"
    )
    assert {r["round"] for r in rows if r["metric"] == "hit" and r["system"] == "jmlr"} >= {"0", "1", "2"}
    page = (report / "report.html").read_text()
    assert "JMLR" in page
    assert "http://" not in re.sub(r"http://www\.w3\.org/\S+", "", page)
    manifest = json.loads((finished.folder / "results/mini/jmlr/seed0/r2/train/manifest.json").read_text())
    assert manifest["stage"] == "train"
    assert manifest["options"]["target"] == "llm_rank"
    assert manifest["peak_bytes"] > 0


@pytest.mark.slow
def test_a_second_run_has_nothing_to_do(finished):
    assert finished.planned() == {}


@pytest.mark.slow
def test_snakemakes_report_packs_the_page_and_the_tables_with_their_captions(finished, tmp_path):
    done = finished.snakemake("--report", str(tmp_path / "report.zip"))
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / "report.zip") as packed:
        names = {name.rpartition("/")[2] for name in packed.namelist()}
        text = " ".join(packed.read("report/report.html").decode().replace("\\n", " ").split())
    figures = {"accuracy.svg", "retrieval.svg", "curves.svg", "reliability.svg"}
    assert names == {"report.html", "results.csv", "significance.csv", *figures}
    for label in ("systems compared in pairs", "reliability"):
        assert label in text
    captions = sorted((ROOT / "workflow/report").glob("*.rst"))
    assert len(captions) == 5
    for caption in captions:
        assert " ".join(caption.read_text().split()[-4:]) in text, caption.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "rerun"),
    [
        ("report={title: Another}", {"report": 1}),
        (  # fewer candidates: all that searches or trains with them, and nothing of the closed book
            "search={candidates: 10}",
            {"search": 9, "train": 3, "encode": 6, "index": 2, "answer": 2, "evaluate": 2, "report": 1},
        ),
        ("evaluate={bootstrap: 100}", {"evaluate": 3, "report": 1}),
        ("answer={option_score: mean}", {"answer": 3, "evaluate": 3, "report": 1}),
    ],
)
def test_one_changed_option_reruns_exactly_what_depends_on_it(finished, change, rerun, tmp_path):
    key, _, value = change.partition("=")
    overlay = tmp_path / "change.yaml"
    overlay.write_text(f"{key}: {value}\n")
    assert finished.planned("--configfile", MINI, str(overlay)) == rerun


@pytest.mark.slow
def test_a_folder_that_was_removed_is_made_by_the_command_that_messages_name(finished, tmp_path):
    """A plain call makes nothing that only finished outputs need, so that no message may name it."""
    prepared = finished.folder / "results/mini/prepare"
    command = anew(prepared).partition("--configfile FILE ")[2].partition("`")[0]
    assert command.endswith("results/mini/prepare")
    assert finished.planned(*command.split()) == {"prepare": 1}
    prepared.rename(tmp_path / "kept")
    try:
        assert finished.planned() == {}
        assert finished.planned(*command.split()) == {"prepare": 1}
    finally:
        (tmp_path / "kept").rename(prepared)


@pytest.mark.slow
def test_ask_answers_from_the_finished_run(finished):
    command = [
        "jmlr",
        "ask",
        "A man aged 40 with fever comes to clinic. What bug would culture grow?",
        "--run",
        "results/mini",
        "--choices",
        '["a", "b"]',
    ]
    done = finished.run(*command)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("passage ") == 3
    assert done.stdout.count("%") == 2


def test_a_wrong_key_fails_before_anything_runs(tmp_path):
    overlay = tmp_path / "wrong.yaml"
    overlay.write_text("trian: {}\n")
    done = subprocess.run(
        ["snakemake", "--cores", "1", "--directory", str(tmp_path), "--configfile", str(overlay)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "unknown key 'trian' (did you mean 'train'?)" in done.stdout + done.stderr
    assert not (tmp_path / "results").exists()


def test_a_missing_corpus_is_one_line_and_leaves_nothing(tmp_path):
    done = subprocess.run(
        ["jmlr", "fetch", "--out", "out", "--source", "x", "--origin", "local", "--path", "nowhere"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


OTHERS = """
models:
  llm_corpus:
    pretrain: {{init: "model:llm", reads: passages, steps: 2, batch: 4, max_tokens: 64}}
endpoints:
  gpt: {{base_url: "{url}", model: m, cache: replies}}
systems:
  closed_book: {{title: Closed book, train: {{passages: 0}}}}
  pretrain: {{title: Continued on the corpus, llm: llm_corpus, train: {{passages: 0}}}}
  untrained: {{title: Untrained, rounds: 0}}
  gpt4: {{title: GPT, llm: gpt, rounds: 0, reading: {{question_prompt: "My Question: {{question}}\\n{{options}}\\n"}}}}
judge: {{judges: [gpt], pairs: [[closed_book, gpt4]], judged_questions: 6}}
"""


def with_others(folder, url) -> list[str]:
    text = OTHERS.replace("{{", "{").replace("}}", "}").replace("{url}", url)
    (folder / "others.yaml").write_text(text)
    return ["--configfile", MINI, str(folder / "others.yaml")]


def test_a_system_that_is_not_trained_has_no_training_in_the_dag(tmp_path):
    gpus = ("--set-resources", "answer:gpu=2")
    done = dry_run("--printshellcmds", *gpus, *with_others(tmp_path, "http://127.0.0.1:9/v1"))
    text = done.stdout + done.stderr
    jobs = jobs_of(text)
    assert (jobs["pretrain"], jobs["train"], jobs["answer"], jobs["judge"]) == (3, 5, 6, 1)
    [remote] = [line for line in text.splitlines() if "jmlr answer" in line and "gpt4/seed0/answer" in line]
    assert "--llm" not in remote
    assert "--trained" not in remote
    assert "torchrun" not in remote  # its server shares out the work, and one process asks it
    [own] = [line for line in text.splitlines() if "jmlr answer" in line and "jmlr/seed0/answer" in line]
    assert " torchrun --standalone --nproc-per-node=2 --no-python jmlr answer " in own


@pytest.mark.slow
def test_untrained_continued_and_remote_systems_run_and_are_judged(finished, server, tmp_path):
    server.talk = lambda prompt: "Verdict: tie" if "### Answer 1" in prompt else "C"
    copy = Checkout(tmp_path / "run")
    for name in ("results", ".snakemake"):
        shutil.copytree(finished.folder / name, copy.folder / name, symlinks=True)
    done = copy.snakemake(*with_others(tmp_path, server.url), "--quiet", "rules")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    run = copy.folder / "results/mini"
    rows = list(csv.DictReader((run / "report/results.csv").open()))
    assert {r["system"] for r in rows} >= {"closed_book", "pretrain", "untrained", "gpt4"}
    assert not list(run.glob("untrained/seed0/r*"))
    asked = len(server.seen)
    assert asked == 24 + 2 * 6
    manifest = json.loads((run / "llm_corpus/seed0/pretrain/manifest.json").read_text())
    assert any("llm/seed0/pretrain" in name for name in manifest["inputs"]["init"])
    told = yaml.safe_load((copy.folder / "logs/mini/llm_corpus/seed0/pretrain.options.yaml").read_text())
    assert (told["init"], told["reads"]) == ("results/mini/llm/seed0/pretrain", "passages")
    told = yaml.safe_load((copy.folder / "logs/mini/gpt4/seed0/answer.options.yaml").read_text())
    assert (told["method"], told["endpoint"]["base_url"]) == ("generate", server.url)
    summary = json.loads((run / "judge/summary.json").read_text())
    assert summary["comparisons"][0]["ties"] == 6
    shutil.rmtree(run / "gpt4")
    done = copy.snakemake(*with_others(tmp_path, server.url), "--quiet", "rules")
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert len(server.seen) == asked, "a rerun asks nothing"
