"""`jmlr export`: the merged model answers as the base model with its adapter does, and says what it was made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from jmlr.commands.ask import ask
from jmlr.commands.export import export
from jmlr.config import Config
from jmlr.models.llm import load_adapter, load_llm
from jmlr.options import ReadingOptions, SourceOptions, TrainOptions
from jmlr.runtime.errors import UserError
from jmlr.stages.fetch import fetch
from jmlr.stages.prepare import prepare
from jmlr.stages.train import train
from toys import rewrite, toy_reading, toy_retrieval, toy_training


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """Return a run with one finished training, of a closed book."""
    folder = tmp_path_factory.mktemp("results") / "run"
    options = toy_training(passages=0, steps=2, batch=4, llm_learning_rate=0.05)
    train(folder / "closed/seed0/r1/train", tiny / "prepare", str(tiny / "llm"), 0, folder / "scratch", options,
          toy_reading(), toy_retrieval())  # fmt: skip
    return folder


def test_the_merged_model_gives_the_logits_of_model_and_adapter(tiny, run, tmp_path):
    from transformers import AutoModelForCausalLM

    export(tmp_path / "out", run, "closed")
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    base, _ = load_llm(str(tiny / "llm"))
    with torch.no_grad():
        untrained = base(input_ids=ids).logits
        expected = load_adapter(base, run / "closed/seed0/r1/train/adapter", trainable=False)(input_ids=ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out/llm")(input_ids=ids).logits
    assert torch.allclose(merged, expected, atol=1e-4)
    assert not torch.allclose(merged, untrained, atol=1e-2)
    assert not (tmp_path / "out/retriever").exists()
    suffixes = {p.suffix for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert suffixes <= {".safetensors", ".json", ".md", ".jinja"}


@pytest.mark.parametrize(
    "changed",
    [
        {"lora_targets": ["embed_tokens", "q_proj"]},
        {"lora_targets": ["embed_tokens", "lm_head"]},
        {"lora_targets": ["q_proj", "lm_head"]},
        {"lora_targets": ["q_proj"], "train_modules": ["embed_tokens"]},
    ],
    ids=str,
)
def test_a_shared_embedding_is_untied_before_anything_is_merged_into_it(tiny, tmp_path, changed):
    from transformers import AutoModelForCausalLM

    options = toy_training(passages=0, steps=4, batch=4, llm_learning_rate=0.05, **changed)
    trained = tmp_path / "run/closed/seed0/r1/train"
    train(
        trained,
        tiny / "prepare",
        str(tiny / "llm"),
        0,
        tmp_path / "scratch",
        options,
        toy_reading(),
        toy_retrieval(),
    )
    export(tmp_path / "out", tmp_path / "run", "closed")
    base, _ = load_llm(str(tiny / "llm"))
    assert base.config.tie_word_embeddings
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        expected = load_adapter(base, trained / "adapter", trainable=False).eval()(input_ids=ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out/llm")(input_ids=ids).logits
    assert torch.allclose(merged, expected, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_merged_model_that_answers_otherwise_is_refused_and_nothing_is_left(run, tmp_path, monkeypatch, precision):
    monkeypatch.setattr("jmlr.models.llm.merge_adapter", lambda llm: llm.unload())  # the base model, its adapter lost
    with pytest.raises(UserError, match="merging changed it") as error:
        export(tmp_path / "out", run, "closed", llm_precision=precision)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_run_is_exported_from_any_folder_and_after_it_moved(tiny, tmp_path, monkeypatch):
    home = tmp_path / "checkout"
    shutil.copytree(tiny / "llm", home / "results/mine/llm/seed0/pretrain")
    monkeypatch.chdir(home)
    options = toy_training(passages=0, steps=2, batch=4)
    train(Path("results/mine/closed/seed0/r1/train"), tiny / "prepare", "results/mine/llm/seed0/pretrain", 0, Path("scratch"),
          options, toy_reading(), toy_retrieval())  # fmt: skip
    monkeypatch.chdir(tmp_path)
    export(Path("one"), home / "results/mine", "closed")
    shutil.move(home / "results/mine", tmp_path / "brought-home")
    export(Path("two"), Path("brought-home"), "closed")
    one, two = (Path(n, "llm/model.safetensors").read_bytes() for n in ("one", "two"))
    assert one == two


def test_the_card_names_data_by_digest_and_every_setting(tiny, run, tmp_path):
    export(tmp_path / "out", run, "closed")
    digest = hashlib.sha256((tiny / "prepare/questions.parquet").read_bytes()).hexdigest()
    for card in (run / "closed/seed0/r1/train/adapter/README.md", tmp_path / "out/llm/README.md"):
        text = card.read_text()
        assert digest in text
        assert all(f"| `{name}` |" in text for name in (*TrainOptions.model_fields, *ReadingOptions.model_fields))
        assert text.startswith("---\nlibrary_name: ")
        assert str(tiny.parent) not in text.split("## Load it")[0]  # nothing of this machine's folders


def test_a_retrieval_set_that_is_written_is_read_back_the_same(tiny, tmp_path):
    """BEIR's folder, through the cards `beir`: passages, questions, gold and grades come back, in their order."""
    (tmp_path / "run").mkdir()
    shutil.copytree(tiny / "prepare", tmp_path / "run/prepare")
    asked = pq.read_table(tiny / "prepare/questions.parquet")
    grades = [[1 + i % 3] * len(q["gold_ids"]) for i, q in enumerate(asked.to_pylist())]
    place = asked.schema.get_field_index("gold_grades")
    asked = asked.set_column(place, asked.schema.field(place), pa.array(grades, pa.list_(pa.int32())))
    rewrite(tmp_path / "run/prepare/questions.parquet", asked)
    export(tmp_path / "out", tmp_path / "run", beir=True)
    assert (tmp_path / "out/qrels/test.tsv").read_text().startswith("query-id\tcorpus-id\tscore\n")
    prepared = {"questions": [{"dataset": "beir"}], "corpora": [{"corpus": "beir"}]}
    config = Config.load({"sources": {"beir": {"path": str(tmp_path / "out")}}, "prepare": prepared})
    fetch(tmp_path / "fetch/beir", "beir", config.sources["beir"])
    prepare(tmp_path / "again", [tmp_path / "fetch/beir"], config.prepare)
    for name, columns in (
        ("passages", ["row", "id", "title", "text"]),
        ("questions", ["id", "split", "question", "gold_ids", "gold_grades"]),
    ):
        one, two = (
            pq.read_table(p / f"{name}.parquet", columns=columns)
            for p in (tmp_path / "run/prepare", tmp_path / "again")
        )
        assert one.num_rows > 10
        assert two.equals(one)


def test_an_export_replaces_an_earlier_one_and_never_a_folder_of_ones_own(tiny, tmp_path):
    shutil.copytree(tiny / "prepare", tmp_path / "run/prepare")
    (tmp_path / "mydir").mkdir()
    (tmp_path / "mydir/thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match=r"mydir' holds 'thesis\.txt', which was not written by this command"):
        export(tmp_path / "mydir", tmp_path / "run", beir=True)
    assert [p.name for p in (tmp_path / "mydir").iterdir()] == ["thesis.txt"]
    for _ in range(2):
        export(tmp_path / "out", tmp_path / "run", beir=True)


def test_an_export_of_another_kind_or_row_keeps_its_folder(tiny, run, tmp_path):
    run = shutil.copytree(run, tmp_path / "results/mine")
    shutil.copytree(tiny / "prepare", run / "prepare")
    shutil.copytree(run / "closed/seed0", run / "closed/seed1")
    export(tmp_path / "out", run, "closed", adapter=True)
    held = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    said = r"--out: '.*out' holds the adapter of closed, seed 0, of run mine, and stays as it is; give another folder"
    for other in ({}, {"beir": True}, {"seed": 1, "adapter": True}):
        with pytest.raises(UserError, match=said):
            export(tmp_path / "out", run, **{"system": "closed", **other})
    other = shutil.copytree(run, tmp_path / "results/other")
    with pytest.raises(UserError, match=said):
        export(tmp_path / "out", other, "closed", adapter=True)
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == held
    export(tmp_path / "out", run, "closed", adapter=True, llm_precision="bfloat16")
    manifest = tmp_path / "out/manifest.json"
    manifest.write_text(json.dumps({k: v for k, v in json.loads(manifest.read_text()).items() if k != "holds"}))
    with pytest.raises(UserError, match=r"holds an export that does not say of what, and stays as it is"):
        export(tmp_path / "out", run, "closed", adapter=True)


def test_a_retrieval_set_of_private_texts_says_so(tiny, tmp_path, capsys):
    shutil.copytree(tiny / "prepare", tmp_path / "run/prepare")
    (tmp_path / "notes.txt").write_text("Fever.")
    for name in ("notes", "books"):
        options = SourceOptions(path=str(tmp_path / "notes.txt"), private=name == "notes")
        fetch(tmp_path / f"run/fetch/{name}", name, options)
    export(tmp_path / "out", tmp_path / "run", beir=True)
    assert "holds texts of notes, which must not leave this machine" in capsys.readouterr().err


def test_a_run_without_gold_or_without_prepare_is_one_line(tiny, tmp_path):
    shutil.copytree(tiny / "prepare", tmp_path / "run/prepare")
    asked = pq.read_table(tiny / "prepare/questions.parquet").to_pylist()
    bare = pa.Table.from_pylist([{**q, "gold_ids": [], "gold_grades": []} for q in asked])
    rewrite(tmp_path / "run/prepare/questions.parquet", bare)
    with pytest.raises(UserError, match="no question has a gold passage"):
        export(tmp_path / "out", tmp_path / "run", beir=True)
    with pytest.raises(UserError, match=r"--run: there is no '.*nowhere'"):
        export(tmp_path / "out", tmp_path / "nowhere", beir=True)
    assert not (tmp_path / "out").exists()


def test_a_run_without_a_finished_training_is_one_line(run, tmp_path):
    half = tmp_path / "half"
    shutil.copytree(run, half)
    for lost, system, said in [
        (
            "none",
            "jmlr",
            "no system 'jmlr' is finished or begun; no system of it is finished yet; trained, without",
        ),
        (
            "none",
            "closde",
            r"is finished or begun \(did you mean 'closed'\?\); .* answers: closed seed0; if its configuration has it, go on with",
        ),
        (
            "train/adapter/adapter_model.safetensors",
            "closed",
            "is not whole: it lacks 'adapter/adapter_model.safetensors'",
        ),
    ]:
        (half / "closed/seed0/r1" / lost).unlink(missing_ok=True)
        with pytest.raises(UserError, match=said) as caught:
            export(tmp_path / "out", half, system)
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_question_is_not_asked_beyond_the_positions_of_the_model(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    [file] = (tmp_path / "run/closed").rglob("train/manifest.json")
    manifest = json.loads(file.read_text())
    manifest["options"]["llm_tokens"] = 10**6
    file.write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="llm_tokens 1000000 is more than the context of"):
        ask("which?", tmp_path / "run", "closed", choices=["a", "b"])
