"""What runs again after an edit of the code, job by job: the digests of all kinds of job, before and after."""

from __future__ import annotations

from typing import Any

import pytest

from edited import Edited
from jmlr.options import AnswerOptions, PrepareOptions, PretrainOptions, TrainOptions
from jmlr.options.base import Closed, option
from jmlr.runtime.definitions import parse
from jmlr.runtime.digest import FOLDERS, PACKAGE, RECORDS, VARIANTS, chosen, counted, parts_of, stage_digest
from jmlr.runtime.errors import UserError
from jmlr.runtime.reach import ROOT

DENSE, LATE = {"retriever": "dense"}, {"retriever": "colbert"}
JOBS: dict[str, tuple[str, dict[str, Any]]] = {
    "fetch": ("fetch", {}),
    "prepare": ("prepare", chosen(PrepareOptions())),
    "prepare mirage": ("prepare", {"adapters": ("", "mirage")}),
    "pretrain llm": ("pretrain", chosen(PretrainOptions())),
    "pretrain retriever": ("pretrain", chosen(PretrainOptions(objective="inverse_cloze"), **DENSE)),
    "pretrain colbert": ("pretrain", chosen(PretrainOptions(objective="inverse_cloze"), **LATE)),
    **{
        f"{stage} {kind['retriever']}": (stage, kind)
        for stage in ("encode", "index", "search")
        for kind in (DENSE, LATE)
    },
    **{f"{s} {k}": (s, {"retriever": k}) for s, k in (("index", "bm25"), ("search", "bm25"), ("search", "fusion"))},
    "train frozen": ("train", chosen(TrainOptions(), **DENSE)),
    **{f"train {t}": ("train", chosen(TrainOptions(target=t), **DENSE)) for t in ("llm_rank", "pdist", "emdr2")},
    "train colbert": ("train", chosen(TrainOptions(target="llm_rank"), **LATE)),
    "train live": ("train", chosen(TrainOptions(target="llm_rank", live_candidates=True), **DENSE)),
    "answer": ("answer", chosen(AnswerOptions(), endpoint=False)),
    "answer cut": ("answer", chosen(AnswerOptions(shard_llm=True), endpoint=False)),
    "answer written": ("answer", chosen(AnswerOptions(method="generate"), endpoint=False)),
    "answer endpoint": ("answer", chosen(AnswerOptions(method="generate"), endpoint=True)),
    "evaluate": ("evaluate", {}),
    "judge": ("judge", {}),
    "report": ("report", {}),
}
TRAIN = {name for name in JOBS if name.startswith("train")}
JOINT = TRAIN - {"train frozen"}
LLM_RANK = {"train llm_rank", "train colbert", "train live"}
DENSE_JOBS = {"encode dense", "pretrain retriever", *(JOINT - {"train colbert"})}
LATE_JOBS = {"encode colbert", "pretrain colbert", "train colbert"}
SEARCHES = {"index dense", "index colbert", "search dense", "search colbert", "train live"}
LLM = {"answer", "answer cut", "answer written", "judge", "pretrain llm", *TRAIN}

EDITS = [  # what, module, old text, new text, exactly the kinds of job that run again
    ("a comment", "training.step", "\n\n", "\n\n# A remark.\n", set()),
    ("a docstring", "losses.llm_rank", '"""', '"""In other words: ', set()),
    ("a type hint", "training.step", "rank_due: bool,", "rank_due: bool | None,", set()),
    ("a word of a warning", "stages.train", "forgets what it knew", "forgets it all", set()),
    ("a word of a warning in a variable", "stages.encode", "of the passages fill", "of all passages fill", set()),
    ("a word of a warning of the reading check", "inference.reading_check", "is hardly likelier", "is not likelier", set()),
    ("a word of an error", "corpus.stored_passages", "has no row", "lacks the row", set()),
    ("a word of an error in a variable", "inference.questions", "no question of split", "not a question of split", set()),
    ("a word of an error of topk", "topk.stored", "are of two kinds or depths", "differ", set()),
    ("a model card", "models.card", "Return", "def more() -> str:\n    return ''\n\n\n# Return", set()),
    ("the warnings of a training", "training.watch", "def look(", "def more(self) -> None:\n        pass\n\n    def look(", set()),
    ("the figures on a board", "training.boards", "def write(", "def more(self) -> None:\n        pass\n\n    def write(", set()),
    ("progress", "runtime.progress", "{rate:.1f} it/s", "{rate:.2f} it/s", set()),
    ("the meter", "runtime.meter", "else 4)", "else 5)", set()),
    ("the manifest's frame", "runtime.manifest", '"seconds": round(', '"more": 1,\n            "seconds": round(', set()),
    ("help of an option", "options.train", "of the adapter", "of LoRA's adapter", set()),
    ("an option that changes nothing", "options.train", "    wandb: str", '    more: bool = option(False, "")\n    wandb: str', set()),
    ("a property of options", "options.train", 'self.target != "frozen"', 'self.target not in ("frozen", "")', {*TRAIN, "report"}),
    ("an adapter that no entry names", "corpus.adapters", "def headqa(", "@same\ndef headqa(", set()),
    ("an adapter that is new", "corpus.adapters", "def headqa(", "def more(record):\n    yield record\n\n\ndef headqa(", set()),
    ("an adapter of one run", "corpus.adapters", "def mirage(", "@same\ndef mirage(", {"prepare mirage"}),
    ("the warning that a retriever got worse", "training.rounds", "def fall(", "@same\ndef fall(", set()),
    ("a function that nothing uses", "models.colbert", "\ndef _marker", "\ndef more():\n    return 1\n\n\ndef _marker", set()),
    ("an import that nothing uses", "training.session", "import torch\n", "import torch\nimport jmlr.report.page\n", set()),
    ("the words of BM25", "retrieval.bm25", "def terms_of(", "@same\ndef terms_of(", {"index bm25", "search bm25"}),
    ("the fusion of lists", "retrieval.fusion", "def fuse(", "@same\ndef fuse(", {"search fusion"}),
    ("a loss", "losses.llm_rank", "def llm_rank(", "@same\ndef llm_rank(", LLM_RANK),
    ("the slow twin of a loss", "losses.llm_rank", "def reference(", "@same\ndef reference(", set()),
    ("a loss of one system", "losses.pdist", "def pdist(", "@same\ndef pdist(", {"train pdist"}),
    ("a loss that no system has", "losses.emdr2", "def emdr2(", "@same\ndef emdr2(", {"train emdr2"}),
    ("the sampling of passages", "losses.llm_rank", "def sample(", "@same\ndef sample(", JOINT),
    ("the joint step", "training.step", "def joint_step(", "@same\ndef joint_step(", TRAIN),
    ("the reading check", "inference.reading_check", "QUESTIONS = 64", "QUESTIONS = 65", JOINT),
    ("the optimiser", "training.optimiser", "def make_optimiser(", "@same\ndef make_optimiser(", TRAIN),
    ("live candidates", "training.live", "def renew(", "def more(self): ...\n\n    def renew(", {"train live"}),
    ("a dense retriever", "models.dense", "class DenseRetriever(OneEncoder):", "class DenseRetriever(OneEncoder):\n    more = 1", DENSE_JOBS),
    ("a ColBERT", "models.colbert", "class ColbertRetriever(OneEncoder):", "class ColbertRetriever(OneEncoder):\n    more = 1", LATE_JOBS),
    ("how a ColBERT is told", "models.kinds.colbert", "def recognised(", "@same\ndef recognised(", LATE_JOBS),
    ("a kind's card", "models.kinds.dense", "Dense retriever\"", "A dense retriever\"", set()),
    ("the loss of an answer", "models.forward", "def answer_losses(", "@same\ndef answer_losses(", LLM),
    ("the loading of an LLM", "models.llm", "def load_llm(", "@same\ndef load_llm(", LLM),
    ("likelihoods", "inference.answering", "def by_likelihood(", "@same\ndef by_likelihood(", {"answer", "answer cut"}),
    ("how a model is cut over ranks", "models.sharded", "def shard(", "@same\ndef shard(", {"answer cut"}),
    ("an endpoint", "endpoints.client", "class Client:", "class Client:\n    more = 1", {"answer endpoint", "judge"}),
    ("causal pre-training", "pretraining.llm", "def pretrain_llm(", "@same\ndef pretrain_llm(", {"pretrain llm"}),
    ("pre-training of a retriever", "pretraining.retriever", "def pretrain_retriever(", "@same\ndef pretrain_retriever(",
     {"pretrain retriever", "pretrain colbert"}),
    ("the contract of top-k", "topk.contract", "CONTRACT = 1", "CONTRACT = 2", SEARCHES),
    ("a file's format", "corpus.formats.json_lines", "def read(", "@same\ndef read(", {"fetch", "prepare", "prepare mirage"}),
    ("a metric", "metrics.recall", "def recall(", "@same\ndef recall(", {"evaluate", "report"}),
    ("the agreement of judges", "metrics.statistics.kappa", "def cohen_kappa(", "@same\ndef cohen_kappa(", {"judge"}),
    ("what a run reports", "report.cost", "\nfrom ", "\nprint()\nfrom ", {"report"}),
]  # fmt: skip


def digests(source: Edited) -> dict[str, dict[str, str]]:
    return {name: parts_of(stage, source, options) for name, (stage, options) in JOBS.items()}


@pytest.fixture(scope="module")
def before() -> dict[str, dict[str, str]]:
    return digests(Edited())


@pytest.mark.parametrize(("what", "module", "old", "new", "jobs"), EDITS, ids=[e[0] for e in EDITS])
def test_an_edit_changes_the_digests_of_exactly_the_jobs_that_depend_on_it(before, what, module, old, new, jobs):
    path = PACKAGE.joinpath(*module.split(".")).with_suffix(".py")
    text = path.read_text()
    assert old in text, f"{path} has no '{old}'"
    after = digests(Edited(f"{ROOT}.{module}", text.replace(old, new, 1)))
    assert {name for name in JOBS if after[name] != before[name]} == jobs


def test_an_option_counts_by_its_value_once_the_code_names_it_and_before_only_where_it_is_set():
    class More(TrainOptions):
        nobody_reads_it: bool = option(False, "")
        nobodys_parts: list[Inner] = option(lambda: [Inner()], "")

    usual = TrainOptions(target="llm_rank")
    known = counted("train", usual)
    assert counted("train", More(target="llm_rank")) == known
    assert counted("train", More(target="llm_rank", nobody_reads_it=True)) == {**known, "nobody_reads_it": True}
    assert counted("train", More(target="llm_rank", nobodys_parts=[Inner(steps=2), Inner()]))["nobodys_parts"] == [
        {"steps": 2},
        {"steps": 1},
    ]
    full = usual.model_dump(mode="json")
    assert known == {k: v for k, v in full.items() if k in known}
    others = {"target_temperature", "score_temperature"}  # of other targets
    assert {*full} - {*known} <= {"keep_best", *others}  # a default that changes is a value that changes


class Inner(Closed):
    steps: int = option(1, "")
    nobody_reads_it: int = option(1, "")


def test_what_is_not_known_reaches_all_variants():
    parts = parts_of("train", Edited(), {})
    assert {f"jmlr.losses.{name}:{name}" for name in ("llm_rank", "pdist", "emdr2")} <= set(parts)
    assert {"jmlr.models.colbert:ColbertRetriever", "jmlr.models.dense:DenseRetriever"} <= set(parts)


def test_variants_and_records_name_what_there_is():
    source = Edited()
    for name in (*VARIANTS, *RECORDS):
        module, _, symbol = name.partition(":")
        found = source.module(module)
        assert found is not None, f"{name}: no such module; jmlr.runtime.digest names it"
        assert not symbol or symbol in found.definitions, f"{name}: not defined there; jmlr.runtime.digest names it"
    assert all(source.module(folder) is not None for folder in FOLDERS)


def test_every_stage_has_a_digest_of_its_own():
    stages = [p.stem for p in (PACKAGE / "stages").glob("*.py") if p.stem != "__init__"]
    assert len(stages) > 10
    assert len({stage_digest(s) for s in stages}) == len(stages)
    with pytest.raises(UserError, match="no stage 'nought' in "):
        stage_digest("nought")


@pytest.mark.parametrize(
    ("text", "said"), [("from . import x", "a relative import"), ("from jmlr.topk import *", "an import of all names")]
)
def test_an_import_that_cannot_be_followed_is_refused(text, said):
    with pytest.raises(UserError, match=f"'jmlr.x': {said}"):
        parse(text, "jmlr.x")


def test_a_name_that_is_both_inner_and_outer_counts_as_outer():
    found = parse(
        "def f(a=g): return [h for h in h(a)]\ndef k(g): return g\ndef m():\n    x = g\n    def n(): return x", "x"
    )
    assert ["g"] in found.definitions["f"].names
    assert ["h"] in found.definitions["f"].names
    assert found.definitions["k"].names == []
    assert found.definitions["m"].names == [["g"]]


def test_what_is_imported_under_a_condition_or_by_name_is_followed():
    found = parse(
        "try:\n    from jmlr.a import f\nexcept ImportError:\n    f = None\ndef g(x): import_module(f'jmlr.a.{x}')", "x"
    )
    assert found.imports["f"] == [["jmlr.a", "f"]]
    assert {"f", "", "g"} <= set(found.definitions)
    assert found.definitions["g"].by_name == ["jmlr.a.*"]
