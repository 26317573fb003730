"""A run in other programs' hands: ir-measures, MTEB, lm-evaluation-harness and peft find what we found, each by the documented way."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jmlr.commands.export import export
from jmlr.corpus.stored_passages import PassageRows
from jmlr.models.llm import load_adapter, load_llm
from jmlr.options import AnswerOptions, EvaluateOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import sha256
from jmlr.stages.answer import answer
from jmlr.stages.evaluate import evaluate
from small_run import READING, small_run
from toys import relist, rewrite

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished run whose passages have titles, and whose searches reach the tenth passage; evaluated."""
    world = tmp_path_factory.mktemp("world")
    for part in ("llm", "retriever"):
        (world / part).symlink_to(tiny / part)
    shutil.copytree(tiny / "prepare", world / "prepare")
    passages = pq.read_table(world / "prepare/passages.parquet")
    titles = pa.array([f"Chapter {n % 7}" if n % 3 else "" for n in range(len(passages))])
    place = passages.schema.get_field_index("title")
    passages = passages.set_column(place, passages.schema.field(place), titles)
    with PassageRows(world / "prepare/passages.arrow") as rows:
        for batch in passages.to_batches():
            rows.add(batch)
    relist(world / "prepare", {"passages.arrow": sha256(world / "prepare/passages.arrow")})
    rewrite(world / "prepare/passages.parquet", passages)
    made = small_run(world, tmp_path_factory.mktemp("peers") / "results/tiny", candidates=12)
    own, before = made / "jmlr/seed0", made / "retriever/seed0/r0/search"
    answer(own / "answer", made / "prepare", AnswerOptions(), READING, str(world / "llm"), trained=[own / "r1/train"],
           searches=[own / "r1/search"], passages=2)  # with two to choose from, dev might choose the untrained one  # fmt: skip
    evaluate(
        own / "evaluate",
        made / "prepare",
        own / "answer",
        "tiny",
        "jmlr",
        0,
        EvaluateOptions(),
        [before, own / "r1/search"],
    )
    return made


def figure(run: Path, metric: str, round: int, k: str = "") -> float:
    """Return a figure of the test questions as `evaluate` wrote it."""
    with (run / "jmlr/seed0/evaluate/metrics.csv").open() as f:
        [found] = [
            float(r["value"])
            for r in csv.DictReader(f)
            if (r["metric"], r["round"], r["k"], r["split"]) == (metric, str(round), k, "test")
        ]
    return found


def commands(page: str, word: str) -> str:
    """Return the block of code of a page that holds a word."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.M | re.S)
    [found] = [b for b in blocks if word in b]
    return found


# ------------------------------------------------------------------------------------------------------------------ trec
def test_ir_measures_finds_the_figures_of_evaluate_in_the_run_s_trec_files(run: Path) -> None:
    measures = pytest.importorskip("ir_measures", reason="ir-measures is not installed")
    kept = {
        line.split("\t")[0] for line in (run / "jmlr/seed0/evaluate/topics.tsv").open() if line.endswith("\ttest\n")
    }
    qrels = [q for q in measures.read_trec_qrels(str(run / "jmlr/seed0/evaluate/qrels.trec")) if q.query_id in kept]
    assert len({q.query_id for q in qrels}) > 5
    searches = {0: run / "retriever/seed0/r0/search", 1: run / "jmlr/seed0/r1/search"}
    ours = {"nDCG@10": ("ndcg", "10"), "R@10": ("recall", "10"), "Success@1": ("hit", "1"), "RR": ("mrr", "")}
    for round, search in searches.items():
        found = measures.calc_aggregate(
            [measures.parse_measure(m) for m in ours], qrels, measures.read_trec_run(str(search / "candidates.trec"))
        )
        for measure, value in found.items():
            assert value == pytest.approx(figure(run, ours[str(measure)][0], round, ours[str(measure)][1]), abs=1e-5)
    assert figure(run, "ndcg", 1, "10") > 0


def test_the_tag_of_a_trec_run_tells_run_system_seed_and_round(run: Path) -> None:
    tags = {
        name: {line.split()[5] for line in (run / name / "search/candidates.trec").open()}
        for name in ("retriever/seed0/r0", "jmlr/seed0/r1")
    }
    assert tags == {"retriever/seed0/r0": {"tiny-retriever-seed0-r0"}, "jmlr/seed0/r1": {"tiny-jmlr-seed0-r1"}}


# ------------------------------------------------------------------------------------------------------------------ mteb
@pytest.mark.slow
def test_mteb_finds_our_ndcg_with_the_exported_retriever_on_the_exported_set(
    run: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """By the script of docs/models.md; passages have titles, which MTEB would join in another way than we do."""
    pytest.importorskip("mteb", reason="mteb is not installed")
    export(tmp_path / "exported", run, "jmlr")
    export(tmp_path / "set", run, beir=True)
    monkeypatch.chdir(tmp_path)
    exec(compile(commands("models.md", "import mteb"), "models.md", "exec"), {"__name__": "script"})
    assert float(capsys.readouterr().out.split()[-1]) == pytest.approx(figure(run, "ndcg", 1, "10"), abs=1e-4)


# --------------------------------------------------------------------------------------------------------------- lm-eval
@contextmanager
def served(run: Path, token: str = "") -> Iterator[str]:
    """Run `jmlr serve`, and yield its address."""
    command = [sys.executable, "-m", "jmlr", "serve", str(run), "--systems", "jmlr", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "JMLR_SERVE_TOKEN": token}) as server:  # fmt: skip
        try:
            said = ""
            for line in server.stdout:
                said += line
                if address := re.search(r"http://\S+", line):
                    yield address[0]
                    break
            else:
                raise AssertionError(said)
        finally:
            server.terminate()


@pytest.mark.slow
def test_lm_evaluation_harness_answers_every_question_as_the_run_did(run: Path, tmp_path: Path) -> None:
    """By the commands of docs/serve.md: the same accuracy, question by question, and the same log-probabilities."""
    program = ROOT / ".venv-lm-eval/bin/lm_eval"
    if not program.is_file():
        pytest.skip(
            "no environment with lm-evaluation-harness: `make lm-eval` makes one, of the versions in envs/lm-eval.txt"
        )
    export(tmp_path / "tasks", run, "jmlr", lm_eval=True)
    tokenizer = json.loads((run / "jmlr/seed0/r1/train/manifest.json").read_text())["notes"]["llm"]
    [command] = re.findall(r"^\S*lm_eval (.*?[^\\])\n(?:```|$)", commands("serve.md", "--include_path"), re.M | re.S)
    token = "a-token-of-24-characters"
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OPENAI_API_KEY": token}
    with served(run, token) as address:
        words = command.replace("\\\n", " ").replace("http://127.0.0.1:8765", address)
        words = words.replace("../results/demo/llm/seed0/pretrain", tokenizer).split()
        done = subprocess.run([program, *words, "--log_samples", "--output_path", tmp_path / "scores"], cwd=tmp_path / "tasks",
                              capture_output=True, text=True, env=os.environ | own)  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    [results] = (tmp_path / "scores").rglob("results_*.json")
    assert json.loads(results.read_text())["results"]["jmlr_world"]["acc,none"] == pytest.approx(
        figure(run, "accuracy", 1), abs=1e-6
    )
    [samples] = (tmp_path / "scores").rglob("samples_*.jsonl")
    given = {a["question_id"]: a for a in pq.read_table(run / "jmlr/seed0/answer/answers.parquet").to_pylist()}
    told = [json.loads(line) for line in samples.open()]
    assert {s["doc"]["id"] for s in told} == {i for i, a in given.items() if a["split"] == "test"}
    for sample in told:
        ours = given[sample["doc"]["id"]]
        assert sample["acc"] == float(ours["predicted"] == ours["answer"])
        assert [float(r[0]) for r in sample["filtered_resps"]] == pytest.approx(ours["scores"], abs=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "generate"}, "answers by method generate"),
        ({"option_score": "mean"}, "scores options by their mean"),
        ({"chat": True}, "answers within a chat template"),
        ({}, "answers behind a server"),
    ],
)
def test_a_row_that_answers_in_another_way_than_the_harness_is_refused(
    run, tmp_path, monkeypatch, change, said
) -> None:
    row = SimpleNamespace(system="jmlr", endpoint=None if change else {"model": "x"}, answer=AnswerOptions(**change))
    monkeypatch.setattr("jmlr.commands.lm_eval_tasks.row_of", lambda *_: row)
    with pytest.raises(UserError, match=f"--lm-eval: 'jmlr' {said}; allowed: ") as error:
        export(tmp_path / "out", run, "jmlr", lm_eval=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_one_thing_is_exported_at_a_time(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give one of --adapter, --beir and --lm-eval"):
        export(tmp_path / "out", run, beir=True, lm_eval=True)


# ------------------------------------------------------------------------------------------------------------------ peft
def test_peft_loads_an_exported_adapter_after_it_moved_and_it_names_no_path_of_the_run(
    run, tiny, tmp_path, monkeypatch
) -> None:
    from peft import AutoPeftModelForCausalLM

    export(tmp_path / "exported", run, "jmlr", adapter=True)
    shutil.move(tmp_path / "exported", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert json.loads(Path("adapter/adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    texts = [p.read_text() for p in Path("adapter").rglob("*.json")] + [
        p.read_text() for p in Path("base").rglob("*.json")
    ]
    assert not any(str(tmp_path.parent.parent) in text or str(run) in text for text in texts)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    base, _ = load_llm(str(tiny / "llm"))
    with torch.no_grad():
        untrained = base(input_ids=ids).logits
        expected = load_adapter(base, run / "jmlr/seed0/r1/train/adapter", trainable=False)(input_ids=ids).logits
        found = AutoPeftModelForCausalLM.from_pretrained("adapter", dtype=torch.float32).eval()(input_ids=ids).logits
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, untrained, atol=1e-3)
    assert 'from_pretrained("adapter", dtype=torch.float32)' in Path("adapter/README.md").read_text()


def test_an_exported_adapter_of_a_base_model_on_the_hub_names_that_and_brings_no_base(
    run, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("jmlr.commands.parts.model_of", lambda *_: "meta-llama/Llama-2-7b-hf")
    export(tmp_path / "out", run, "jmlr", adapter=True)
    config = json.loads((tmp_path / "out/adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "meta-llama/Llama-2-7b-hf"
    assert not (tmp_path / "out/base").exists()
    assert (tmp_path / "out/retriever/model.safetensors").is_file()
