"""`jmlr ask`: any row of a run answers, from the passages that were read and as they were read."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from jmlr.__main__ import main
from jmlr.commands.ask import ask
from jmlr.options import AnswerOptions, EndpointOptions, IndexOptions, PairOptions, SearchOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.finished import answering_round, last_training
from jmlr.runtime.manifest import read_manifest
from jmlr.serving.finder import open_finder
from jmlr.serving.row import search_of
from jmlr.stages.answer import answer
from jmlr.stages.index import index
from jmlr.stages.rerank import rerank
from jmlr.stages.search import search
from model_files import write_cross_encoder
from small_run import small_run
from toys import toy_reading

QUESTION = "You review a woman known for a disease. Which finding is expected?"
WRITTEN = AnswerOptions(method="generate")


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run of two rows: jmlr, trained for one round, and the model as it is."""
    return small_run(tiny, tmp_path_factory.mktemp("asked") / "results/tiny")


def test_the_round_that_answers_is_chosen_on_dev_and_noted(run: Path) -> None:
    notes = read_manifest(run / "jmlr/seed0/answer")["notes"]
    values = notes["dev"]["values"]
    assert len(values) == 2
    assert notes["round"] == max(range(2), key=lambda r: (values[r], r)) == answering_round(run, "jmlr", 0)
    assert last_training(run, "jmlr", 0).parent.name == "r1"
    assert answering_round(run, "plain", 0) is None


@pytest.mark.parametrize("options", [["fever", "rash"], {"A": "fever", "B": "rash"}])
def test_options_are_a_list_or_an_object(run: Path, capsys: pytest.CaptureFixture[str], options: Any) -> None:
    assert main(["ask", QUESTION, "--run", str(run), "--choices", json.dumps(options)]) == 0
    said = capsys.readouterr().out
    assert sorted(re.findall(r"%  ([AB]\. \w+)", said)) == ["A. fever", "B. rash"]
    assert said.count("\npassage ") + said.startswith("passage ") == 2


def test_a_passage_is_shown_as_it_was_read(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "plain/seed0/answer/manifest.json"
    kept = file.read_text()
    try:
        manifest = json.loads(kept)
        manifest["options"] |= {"llm_passage_tokens": 6, "llm_tokens": 70}
        manifest["notes"]["passages"] = 5
        file.write_text(json.dumps(manifest))
        ask(QUESTION, run, "plain", choices=["fever", "rash"])
    finally:
        file.write_text(kept)
    said = capsys.readouterr().out
    shown = re.findall(r"^passage \d.*\n    (.*)$", said, re.M)
    assert all(text.endswith("... (cut here, as it was read)") for text in shown)
    assert f"({5 - len(shown)} of 5 passages had no room in 70 tokens, and were not read)" in said or len(shown) == 5


def test_a_run_of_an_earlier_version_is_searched_with_queries_of_its_length(run: Path) -> None:
    file = run / "retriever/seed0/r0/encode/questions/manifest.json"
    kept, found = file.read_text(), []
    try:
        for name, tokens in (("retriever_query_tokens", 0), ("retriever_query_tokens", 4), ("query_tokens", 4)):
            manifest = json.loads(kept)
            del manifest["options"]["retriever_query_tokens"]
            manifest["options"][name] = tokens
            file.write_text(json.dumps(manifest))
            found += open_finder(run, run / "retriever/seed0/r0/search").find([(QUESTION, [])], 3)
    finally:
        file.write_text(kept)
    whole, cut, former = found
    assert former == cut != whole


def test_what_was_found_before_training_and_after_stands_side_by_side(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(QUESTION, run, choices=["fever", "rash"], compare=True)
    said = capsys.readouterr().out
    assert said.index("== before training") < said.index("== after training") or "== before" in said
    with pytest.raises(UserError, match="the retriever of 'plain' that answers was not trained"):
        ask(QUESTION, run, "plain", compare=True)


def test_a_row_that_was_not_trained_answers_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(QUESTION, run, "plain")
    assert "answer: " in capsys.readouterr().out
    with pytest.raises(
        UserError,
        match=r"no system 'nobody' is finished or begun; finished: .*; if its configuration has it, go on with",
    ):
        ask(QUESTION, run, "nobody")


def test_a_row_behind_a_server_is_asked_there(
    run: Path, tmp_path: Path, server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = EndpointOptions(base_url=server.url, model="m", cache=str(tmp_path / "cache")).model_dump()
    before = run / "retriever/seed0/r0/search"
    shown = toy_reading(question_prompt="{question}\n{options}\n")
    answer(run / "gpt/seed0/answer", run / "prepare", WRITTEN, shown, endpoint=settings, searches=[before], passages=1)
    ask(QUESTION, run, "gpt", choices={"A": "fever", "B": "rash"})
    said = capsys.readouterr().out
    assert said.count("passage 1 ") == 1
    assert "answer: " in said


def test_a_question_far_from_the_corpus_is_said_to_be_so(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    import jmlr.inference.questions as data

    near = data.read_table
    table = near(run / "retriever/seed0/r0/search/candidates.parquet")
    high = table.set_column(table.column_names.index("scores"), "scores", [[[9.0] * 5] * len(table)])

    def read(path: Path, columns: list[str] | None = None) -> Any:
        return high.select(columns) if columns == ["scores"] else near(path, columns)

    monkeypatch.setattr(data, "read_table", read)
    ask(QUESTION, run, "plain", choices=["fever", "rash"])
    assert "far from the corpus: the best passage scores" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["fever"], {"A": "x", "B": "x"}, ["fever", ""], [["a"], "b"]])
def test_options_that_are_none_are_one_line(run: Path, capsys: pytest.CaptureFixture[str], options: Any) -> None:
    assert main(["ask", QUESTION, "--run", str(run), "--choices", json.dumps(options)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def copied(run: Path, folder: Path) -> Path:
    """Return a copy of the run, without the row of another test."""
    return shutil.copytree(run, folder / "half", ignore=shutil.ignore_patterns("gpt"))


GO_ON = "go on with `snakemake --cores all --configfile FILE` in the checkout"


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (
            ["*/seed0"],
            f"no system 'jmlr' is finished or begun; no system of it is finished yet; if its configuration has it, {GO_ON}",
        ),
        (
            ["jmlr"],
            f"no system 'jmlr' is finished or begun; finished: plain seed0; if its configuration has it, {GO_ON}",
        ),
        (["jmlr/seed0/r1/search"], "r1/search' yet, or it was not copied; finished: jmlr seed0, plain seed0"),
        (["jmlr/seed0/r1/index"], "there is no '"),
        (["prepare"], "--force -- results/half/prepare` in the checkout (FILE: the run's own)"),
        (["jmlr/seed0/r1/encode/questions"], "there is no '"),
        (["jmlr/seed0/r1/train/adapter/adapter_model.safetensors"], "is not whole: it lacks 'adapter/adapter_model"),
        (["jmlr/seed0/r1/train/retriever"], "is not whole: it lacks 'retriever/"),
        (
            ["prepare/passages.parquet"],
            "is not whole: it lacks 'passages.parquet'; copy it again, or make it with `snakemake",
        ),
        (["*"], "is no run: it holds no stage's output"),
    ],
)
def test_a_run_that_is_not_finished_or_not_whole_is_one_line_that_says_how_to_go_on(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lost: list[str], said: str
) -> None:
    half = copied(run, tmp_path)
    for path in [found for pattern in lost for found in half.glob(pattern)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main(["ask", QUESTION, "--run", str(half)]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_an_empty_question_no_question_and_no_run_say_what_to_give(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results/mine/prepare").mkdir(parents=True)
    for given, said in (
        ([" ", "--run", str(run)], "QUESTION is empty"),
        ([], "arguments are required: QUESTION"),
        ([QUESTION], "--run: there is no 'results/demo'; runs here: results/mine"),
        ([QUESTION, "--run", str(run), "--choices", "A, B"], """JSON is such as '["a", "b"]' or"""),
    ):
        assert main(["ask", *given]) == 2
        assert said in capsys.readouterr().err


def test_a_model_that_the_run_made_and_that_is_gone_is_no_name_on_the_hub(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = copied(run, tmp_path)
    for manifest in half.glob("*/seed0/*/manifest.json"):
        made = json.loads(manifest.read_text())
        made["notes"]["llm"] = "llm/seed0/pretrain"
        manifest.write_text(json.dumps(made))
    assert main(["ask", QUESTION, "--run", str(half), "--system", "plain"]) == 2
    said = capsys.readouterr().err
    assert "the model 'llm/seed0/pretrain' is not there yet, or was not copied; finished: jmlr seed0" in said
    assert "Repo id" not in said


def test_a_training_that_goes_on_answers_by_its_last_round_and_says_so(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = copied(run, tmp_path)
    shutil.rmtree(half / "jmlr/seed0/answer")
    shutil.rmtree(half / "retriever")  # what was before training is not needed
    assert main(["ask", QUESTION, "--run", str(half)]) == 0
    assert "has not answered yet: its last finished round, 1, is taken" in capsys.readouterr().err
    assert main(["ask", QUESTION, "--run", str(half), "--compare"]) == 2
    captured = capsys.readouterr()
    assert "retriever/seed0/r0/search' yet" in captured.err
    assert not captured.out, "nothing is shown by halves"


def test_the_demo_goes_on_without_a_file_of_its_own(run: Path, tmp_path: Path) -> None:
    copied(run, tmp_path).rename(tmp_path / "demo")
    with pytest.raises(UserError, match=r", go on with `snakemake --cores all` in the checkout$"):
        ask(QUESTION, tmp_path / "demo", "rag")


def test_a_question_of_the_run_finds_by_words_and_by_fused_lists_what_the_run_found(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoTokenizer

    words, hybrid, prepared = run / "bm25/r0", run / "hybrid/seed0/r0/search", run / "prepare"
    index(words / "index", IndexOptions(), prepared=prepared, bm25={"language": "none"})
    search(words / "search", prepared, SearchOptions(candidates=5), words / "index")
    lists = [words / "search", run / "retriever/seed0/r0/search"]
    search(hybrid, prepared, SearchOptions(candidates=4), fused=lists, rrf_k=7)
    asked = pq.read_table(prepared / "questions.parquet").to_pylist()
    tokenizer = AutoTokenizer.from_pretrained(read_manifest(run / "jmlr/seed0/r1/train")["notes"]["retriever"])
    reader = write_cross_encoder(run / "reader", tokenizer)
    rerank(run / "read/r0/rerank", prepared, hybrid, str(reader), PairOptions(), candidates=3)
    for own in (words / "search", hybrid, run / "read/r0/rerank"):
        finder = open_finder(run, search_of(run, str(own.relative_to(run))))
        table = pq.read_table(own / "candidates.parquet").to_pylist()
        for question, row in list(zip(asked, table, strict=True))[:6]:
            [again] = finder.find([(question["question"], question["options"])], len(row["passages"]))
            assert [n for n, _ in again] == row["passages"]
            assert [s for _, s in again] == pytest.approx(row["scores"], rel=1e-5)
    answer(
        run / "mixed/seed0/answer",
        prepared,
        AnswerOptions(),
        toy_reading(),
        read_manifest(run / "jmlr/seed0/r1/train")["notes"]["llm"],
        searches=[hybrid],
        passages=2,
    )
    ask(QUESTION, run, "mixed", choices=["fever", "rash"])
    assert "far from the corpus" not in (said := capsys.readouterr().out)
    assert said.count("passage ") == 2
    shutil.rmtree(words / "index")
    with pytest.raises(UserError, match=r"there is no .*bm25/r0/index"):
        ask(QUESTION, run, "mixed", choices=["fever", "rash"])
