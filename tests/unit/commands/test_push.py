"""`jmlr push`: what a hub receives is the trained part and a card that tells its terms, data and figures, and no text of the data."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from huggingface_hub import ModelCard, constants

from hub_server import TOKEN, Hub
from jmlr.__main__ import main
from jmlr.commands.export import export
from jmlr.commands.push import push
from jmlr.options import EvaluateOptions
from jmlr.runtime.errors import UserError
from jmlr.stages.evaluate import evaluate
from small_run import small_run


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """Return a finished run: jmlr, whose retriever was trained, and plain, of which nothing is."""
    run = small_run(tiny, tmp_path_factory.mktemp("pushed") / "results/tiny")
    own, searches = run / "jmlr/seed0", [run / "retriever/seed0/r0/search", run / "jmlr/seed0/r1/search"]
    edit(own / "answer/manifest.json", lambda told: told["notes"].update(round=1))  # dev might choose the untrained one
    evaluate(own / "evaluate", run / "prepare", own / "answer", "tiny", "jmlr", 0, EvaluateOptions(), searches)
    return run


@pytest.fixture
def hub(monkeypatch):
    made = Hub()
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # LFS instead, which the hub here speaks
    yield made
    made.close()


def edit(file: Path, change) -> None:
    told = json.loads(file.read_text())
    change(told)
    file.write_text(json.dumps(told))


def copied(run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(run, tmp_path / "results/tiny")


def received(hub: Hub, name: str, branch: str = "main") -> dict[str, bytes]:
    return {k: v for k, v in hub.repos[name]["branches"][branch].items() if k != ".gitattributes"}


def test_an_adapter_arrives_whole_with_its_card_in_one_commit_of_a_private_repository(run, hub, capsys):
    push("me/adapter", run)
    files = received(hub, "me/adapter")
    trained = run / "jmlr/seed0/r1/train/adapter"
    assert set(files) == {"README.md", "adapter_config.json", "adapter_model.safetensors"}
    assert files["adapter_model.safetensors"] == (trained / "adapter_model.safetensors").read_bytes()
    assert hub.repos["me/adapter"]["private"]
    assert [c["summary"] for c in hub.commits] == ["jmlr: adapter of jmlr, seed 0, round 1"]
    told = capsys.readouterr()
    assert f"push: 3 files in {hub.url}/me/adapter/commit/" in told.err
    assert "--part llm is what others can load" in told.err
    assert TOKEN not in told.err + told.out


def test_a_retriever_arrives_as_sentence_transformers_reads_it(run, hub, tmp_path):
    from sentence_transformers import SentenceTransformer

    push("me/retriever", run, part="retriever", private=False)
    assert not hub.repos["me/retriever"]["private"]
    for name, content in received(hub, "me/retriever").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    vectors = [SentenceTransformer(str(f)).encode(["x y"]) for f in (tmp_path, run / "jmlr/seed0/r1/train/retriever")]
    assert (vectors[0] == vectors[1]).all()


def test_the_merged_model_is_the_one_that_export_writes(run, hub, tmp_path):
    push("me/llm", run, part="llm", llm_precision="bfloat16")
    export(tmp_path / "out", run, llm_precision="bfloat16")
    own = {p.name: p.read_bytes() for p in (tmp_path / "out/llm").iterdir()}
    sent = received(hub, "me/llm")
    assert b'from_pretrained("me/llm")' in sent["README.md"]
    assert {k: v for k, v in sent.items() if k != "README.md"} == {k: v for k, v in own.items() if k != "README.md"}


@pytest.mark.parametrize(("part", "metric"), [("adapter", "accuracy"), ("retriever", "hit@1")])
def test_the_figures_of_a_card_are_those_of_the_run_with_n_and_interval(run, hub, part, metric):
    push("me/x", run, part=part)
    text = received(hub, "me/x")["README.md"].decode()
    results = {r.metric_type: r for r in ModelCard(text).data.eval_results}
    rows = [line.split(",") for line in (run / "jmlr/seed0/evaluate/metrics.csv").read_text().splitlines()]
    name, _, k = metric.partition("@")
    [row] = [r for r in rows if (r[6], r[7], r[3]) == (name, k, "1")]
    value, low, high = (float(v) for v in row[8:11])
    assert results[metric].metric_value == value
    assert results[metric].metric_name == f"{metric} (95 % interval {low:.3f} to {high:.3f}, n = {row[11]})"
    start = [r[8] for r in rows if (r[6], r[7], r[3]) == (name, k, "0")] if part == "retriever" else []
    before = f"{float(start[0]):.3f}" if start else "-"
    assert f"| {metric} | {before} | {value:.3f} | {low:.3f} to {high:.3f} | {row[11]} |" in text
    assert (before == "-") == (part != "retriever")
    assert ("passages that the row's own retriever found, which is not part of" in text) == (part != "retriever")
    assert ("written in float32, and were not measured again" in text) == (part == "llm")


def test_no_text_of_the_data_and_no_path_of_this_machine_goes(run, hub, tiny):
    for part in ("adapter", "retriever", "llm"):
        push(f"me/{part}", run, part=part)
        words = [v for k, v in received(hub, f"me/{part}").items() if not k.endswith(".safetensors")]
        sent = b"\n".join(words).decode()
        texts = pq.read_table(run / "prepare/passages.parquet")["text"].to_pylist()
        texts += pq.read_table(run / "prepare/questions.parquet")["question"].to_pylist()
        assert len(texts) > 20
        assert [t for t in texts if t in sent] == []
        assert str(tiny.parent) not in sent
        assert "Quorrin" in sent or part == "retriever"  # the invented example


@pytest.mark.parametrize(
    ("card", "said", "metadata"),
    [
        ("", "Licence: unknown. The card of the model it goes back to", {}),
        ("---\nlicense: apache-2.0\n---\n", "Licence: apache-2.0, which is that of the model", {"license": "apache-2.0"}),
        (
            "---\nlicense: other\nlicense_name: words-1\nlicense_link: https://w.example\n---\n",
            "Licence: words-1 (https://w.example), which",
            {"license": "other", "license_name": "words-1", "license_link": "https://w.example"},
        ),
        ("---\nlicense: [\n---\n", "Licence: unknown.", {}),
    ],
)  # fmt: skip
def test_the_licence_is_that_of_the_base_models_card_or_unknown(run, hub, tmp_path, card, said, metadata):
    run = copied(run, tmp_path)
    base = shutil.copytree(
        json.loads((run / "jmlr/seed0/r1/train/manifest.json").read_text())["notes"]["llm"], tmp_path / "base"
    )
    (base / "manifest.json").unlink()  # a model of others, not one that the run made
    if card:
        (base / "README.md").write_text(card)
    edit(run / "jmlr/seed0/r1/train/manifest.json", lambda told: told["notes"].update(llm=str(base)))
    push("me/x", run)
    text = received(hub, "me/x")["README.md"].decode()
    assert said in text
    front = yaml.safe_load(text.split("---")[1])
    assert {k: v for k, v in front.items() if k.startswith("license")} == metadata


def test_a_model_that_the_run_made_itself_has_no_licence_and_public_data_the_ones_of_their_cards(run, hub, tmp_path):
    run = copied(run, tmp_path)

    def published(told):
        [asked], [read] = told["options"]["questions"], told["options"]["corpora"]
        asked.update(source="pubmedqa", dataset="pubmedqa")
        read.update(source="medrag_textbooks")  # by its name alone: read otherwise than the card says, so not known

    edit(run / "prepare/manifest.json", published)
    fetched = {"stage": "fetch", "options": {"origin": "hub", "path": "qiaojin/PubMedQA"}}
    (run / "fetch/pubmedqa").mkdir(parents=True)
    (run / "fetch/pubmedqa/manifest.json").write_text(json.dumps(fetched))
    push("me/x", run)
    text = received(hub, "me/x")["README.md"].decode()
    assert "Licence: unknown. The run made it from nothing but the data below." in text
    assert "| pubmedqa | questions | PubMedQA, expert-labelled (yes, no, maybe) | MIT |" in text
    assert "| medrag_textbooks | passages | - | unknown |" in text
    front = yaml.safe_load(text.split("---")[1])
    assert front["datasets"] == ["qiaojin/PubMedQA"]
    assert "license" not in front
    assert "base_model" not in front


def test_a_card_says_that_the_dev_split_chose_the_round(run, hub, tmp_path):
    run = copied(run, tmp_path)
    dev = {"metric": "hit@1", "values": [0.125, 0.25, 0.2], "n": 8}
    said = "| why this round | of 0 (before training) to 2 the best on the dev split, by hit@1 of 8 questions: 0.125, 0.250, 0.200 |"
    for round, found, told in (
        (1, dev, said),
        (
            0,
            {**dev, "values": [0.3, 0.25, 0.2]},
            "0 (before training) was the best on the dev split, by hit@1 of 8 questions: 0.300",
        ),
        (1, {"metric": "", "values": [], "n": 0}, ""),
        (None, None, ""),
    ):
        edit(
            run / "jmlr/seed0/answer/manifest.json",
            lambda m, r=round, d=found: m["notes"].update({"round": r, "dev": d}),
        )
        push("me/x", run)
        text = received(hub, "me/x")["README.md"].decode()
        assert told in text
        assert ("why this round" in text) == bool(told)


def test_a_dry_run_lists_what_would_go_and_sends_nothing(run, hub, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    push("me/x", run, revision="v1", dry_run=True)
    told = capsys.readouterr().out
    assert told.startswith("would go to me/x (private, branch v1):\n")
    assert "bytes  adapter_model.safetensors\n" in told
    assert "\n---\nlibrary_name: peft\n" in told
    assert hub.seen == []


def test_a_branch_is_made_and_main_stays_as_it_is(run, hub):
    for _ in range(2):
        push("me/x", run, revision="v1")
    assert received(hub, "me/x") == {}
    assert "adapter_model.safetensors" in received(hub, "me/x", "v1")


def test_a_public_repository_is_not_pushed_to_unless_that_is_said(run, hub):
    hub.repos["me/x"] = {"private": False, "branches": {"main": {"notes.txt": b"mine"}}}
    with pytest.raises(UserError, match=r"REPO 'me/x' is there, and public; allowed: --no-private, or another name"):
        push("me/x", run)
    assert received(hub, "me/x") == {"notes.txt": b"mine"}
    push("me/x", run, private=False)
    assert received(hub, "me/x")["notes.txt"] == b"mine"


@pytest.mark.parametrize(("part", "other"), [("adapter", "retriever"), ("retriever", "llm"), ("llm", "adapter")])
def test_a_repository_that_holds_another_part_stays_as_it_is(run, hub, part, other):
    push("me/x", run, part=part)
    held = received(hub, "me/x")
    with pytest.raises(
        UserError, match=rf"REPO 'me/x' holds a model of another kind \({part}\), whose files would stay"
    ) as told:
        push("me/x", run, part=other)
    assert "\n" not in str(told.value)
    assert received(hub, "me/x") == held
    push("me/x", run, part=part)
    assert len(hub.commits) == 2


def test_a_run_that_learned_from_private_texts_is_refused(run, hub, tmp_path):
    run = copied(run, tmp_path)
    edit(run / "prepare/manifest.json", lambda told: told["notes"].update(private=True))
    with pytest.raises(UserError, match="learned from texts of prepare, which must not leave this machine"):
        push("me/x", run)
    shutil.rmtree(run / "prepare")  # a copy that does not say
    with pytest.raises(UserError, match="must not leave this machine"):
        push("me/x", run, dry_run=True)
    assert hub.seen == []


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("repos/create", 401, "me/x: the hub does not take the token of HF_TOKEN"),
        ("repos/create", 403, "me/x: the token of HF_TOKEN may not write there"),
        ("/api/models/me/x", 404, "me/x: the hub has no such repository, or does not show it to you"),
        ("/commit/", 403, "me/x: the token of HF_TOKEN may not write there"),
        ("/commit/", 413, r"me/x: the hub refuses \(413\): "),
        ("validate-yaml", 400, "me/x: the hub cannot be reached, or ended the upload"),
    ],
)
def test_what_the_hub_refuses_is_one_line_without_the_token(run, hub, capsys, path, status, said):
    hub.refuse[path] = status
    with pytest.raises(UserError, match=said) as caught:
        push("me/x", run)
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value) + capsys.readouterr().err
    assert hub.commits == []


def test_a_hub_that_cannot_be_reached_is_one_line(run, hub, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{port}")
    with pytest.raises(UserError, match=r"me/x: the hub cannot be reached, .* run it again") as caught:
        push("me/x", run)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set; unset it"):
        push("me/x", run)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HF_TOKEN", "", "HF_TOKEN is not set"),
        ("HF_TOKEN", "hf_se cret", "HF_TOKEN holds blanks"),
        ("HF_ENDPOINT", "hub.example", "HF_ENDPOINT 'hub.example': no URL"),
    ],
)
def test_a_missing_token_or_a_wrong_endpoint_is_one_line(run, hub, monkeypatch, capsys, variable, value, said):
    monkeypatch.setenv(variable, value)
    assert main(["push", "me/x", "--run", str(run)]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert "cret" not in told
    assert hub.seen == []


def test_what_cannot_be_pushed_is_one_line(run, hub, tmp_path):
    with pytest.raises(UserError, match=r"REPO 'a/b/c': allowed: owner/name"):
        push("a/b/c", run)
    with pytest.raises(
        UserError, match="nothing of system 'plain' is trained: models as they are answer; finished: jmlr seed0"
    ):
        push("me/x", run, "plain")
    run = copied(run, tmp_path)
    weights = run / "jmlr/seed0/r1/train/adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match=r"adapter of 'jmlr': .* is damaged"):
        push("me/x", run)
    edit(run / "jmlr/seed0/answer/manifest.json", lambda told: told["notes"].update(round=0))
    with pytest.raises(
        UserError, match=r"no retriever of 'jmlr' .* the one before training was best on dev.*allowed: adapter, llm"
    ):
        push("me/x", run, part="retriever")
    shutil.rmtree(run / "jmlr/seed0/evaluate")
    with pytest.raises(UserError, match=r"there is no '.*evaluate' yet"):
        push("me/x", run)
    shutil.rmtree(run / "jmlr/seed0/answer")
    shutil.rmtree(run / "jmlr/seed0/r1/train")
    with pytest.raises(UserError, match="system 'jmlr' with seed 0 is not trained yet"):
        push("me/x", run)
    assert hub.seen == []


def test_a_retriever_of_two_encoders_has_a_card_above_them_that_says_so(run, hub, tmp_path):
    run = copied(run, tmp_path)
    trained = run / "jmlr/seed0/r1/train"
    (trained / "retriever").rename(trained / "one")
    names = {str(p.relative_to(trained / "one")): p for p in (trained / "one").rglob("*") if p.is_file()}
    for side in ("query", "passage"):
        shutil.copytree(trained / "one", trained / "retriever" / side)

    def listed(told):
        digests = {name: told["outputs"].pop(f"retriever/{name}") for name in names}
        told["outputs"].update({f"retriever/{s}/{n}": d for s in ("query", "passage") for n, d in digests.items()})

    edit(trained / "manifest.json", listed)
    push("me/x", run, part="retriever")
    files = received(hub, "me/x")
    assert set(files) == {"README.md", *(f"{side}/{name}" for side in ("query", "passage") for name in names)}
    assert b"Two encoders, a folder each: `query/` and `passage/`." in files["README.md"]


def test_a_mistyped_run_is_told_as_that_and_not_as_private(hub, tmp_path, monkeypatch):
    with pytest.raises(UserError) as told:
        push("me/x", tmp_path / "results/nope", dry_run=True)
    assert "private" not in str(told.value)
    assert "nope" in str(told.value)


@pytest.mark.parametrize(
    ("repo", "revision", "said"),
    [
        ("bare", "", "whose.*owner/name, such as me/bare"),
        ("me/x", "a b..c", "no branch's name"),
        ("me/x", "-x", "no branch"),
    ],
)
def test_names_without_an_owner_and_branches_that_cannot_be_are_refused_before_anything_is_made(
    run, hub, repo, revision, said
):
    with pytest.raises(UserError, match=said):
        push(repo, run, revision=revision, dry_run=True)


def test_exported_weights_of_private_texts_are_told_as_that(run, tmp_path, capsys):
    held = copied(run, tmp_path)
    (source := held / "fetch/private").mkdir(parents=True)
    (source / "manifest.json").write_text(json.dumps({"stage": "fetch", "options": {"private": True}, "outputs": {}}))
    export(tmp_path / "out", held, "jmlr")
    assert "learned from texts of private, which must not leave this machine" in " ".join(
        capsys.readouterr().err.split()
    )
