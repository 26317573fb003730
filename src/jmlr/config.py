"""The configuration: typed, closed, and the single source of defaults, help texts, `config/config.yaml` and its schema.

The defaults suit pretrained models and data of one's own; `config/runs/*.yaml` state what differs. A run that names no sources, or the demo's
world, lies on config/config.yaml instead (`jmlr.options.own`), so an empty configuration is the demo. A section that is a mapping of names (sources,
models, systems) is replaced as a whole, never merged. Every `*Options` model is also the command-line options of one stage: the workflow writes
them into a file beside the job's log, so a shell line can be copied and run by hand.

    >>> Config.load({}).run
    'demo'
    >>> Config.load({"trian": {}})
    Traceback (most recent call last):
    jmlr.runtime.errors.ConfigError: config: unknown key 'trian' (did you mean 'train'?)
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jmlr.runtime.extras import require

require(__name__, "pydantic")

from pydantic import ValidationError, model_validator

from jmlr.options import (
    AnswerOptions,
    Closed,
    EncodeOptions,
    EndpointOptions,
    EvaluateOptions,
    IndexOptions,
    JudgeOptions,
    ModelOptions,
    PrepareOptions,
    PromptOptions,
    ReadingOptions,
    ReportOptions,
    RetrievalOptions,
    SearchOptions,
    SourceOptions,
    TrainOptions,
)
from jmlr.options.base import Count, Name, Positive, option
from jmlr.options.cards import with_cards
from jmlr.options.data import NameOrNone
from jmlr.options.fits import check_begun, check_counts, check_shared, check_splits
from jmlr.options.own import taken_away, with_defaults, without_nulls
from jmlr.options.prompts import fields_of
from jmlr.options.roles import Roles
from jmlr.runtime.checkout import called
from jmlr.runtime.errors import ConfigError
from jmlr.runtime.validation import nearest, one_line


class SystemOptions(Closed):
    """A row of the table: what distinguishes one system from the others, as data."""

    title: str = option(..., "name in tables")
    llm: Name = option("llm", "model it starts from (a key of models), or who answers (a key of endpoints)")
    retriever: Name = option(
        "retriever",
        "retriever it starts from (a key of models), or the system that trained it (where it stays as it is)",
    )
    candidates: NameOrNone = option(
        "", "joint: the retriever, as above, whose passages the first round learns from; empty: its own"
    )
    rounds: Count = option(1, "rounds of training, with a fresh index after each; 0: none, the LLM as it is")
    train: dict[str, Any] = option(dict, "what differs from the section train")
    reading: dict[str, Any] = option(dict, "what differs from the section reading")
    answer: dict[str, Any] = option(dict, "what differs from the section answer")


def _systems() -> dict[str, SystemOptions]:
    return {
        "closed_book": SystemOptions(title="Closed book", train={"passages": 0}),
        "rag": SystemOptions(title="RAG (retriever frozen)"),
        "jmlr": SystemOptions(title="JMLR", rounds=2, train={"target": "llm_rank"}),
    }


class Config(Closed):
    """One run."""

    run: Name = option("own", "name of the run and of its folder under results/")
    seeds: list[Count] = option(lambda: [0], "one training of every system for each", min_length=1)
    sources: dict[Name, SourceOptions] = option(dict, "raw data by name")
    prepare: PrepareOptions = option(PrepareOptions, "from raw files to one schema")
    models: dict[Name, ModelOptions] = option(
        dict, "models to start from, by name; none given: tiny ones from scratch, llm and retriever, for a trial"
    )
    retrieval: RetrievalOptions = option(RetrievalOptions, "how a retriever reads")
    reading: ReadingOptions = option(ReadingOptions, "how a language model reads and answers")
    encode: EncodeOptions = option(EncodeOptions, "from texts to vectors")
    shards: Positive = option(1, "parts in which the passages are encoded and searched, as separate jobs")
    index: IndexOptions = option(IndexOptions, "from vectors to an index")
    search: SearchOptions = option(SearchOptions, "the best passages of every question")
    train: TrainOptions = option(TrainOptions, "fine-tuning, common to all systems")
    endpoints: dict[Name, EndpointOptions] = option(dict, "language models behind OpenAI-compatible servers, by name")
    systems: dict[Name, SystemOptions] = option(_systems, "rows of the table", min_length=1)
    answer: AnswerOptions = option(AnswerOptions, "one answer per question")
    evaluate: EvaluateOptions = option(EvaluateOptions, "metrics with intervals")
    judge: JudgeOptions = option(JudgeOptions, "language models compare systems' answers")
    report: ReportOptions = option(ReportOptions, "the page")

    @model_validator(mode="after")
    def _names_resolve(self) -> Config:
        p = self.prepare
        for part in [*p.corpora, *p.questions]:
            if not part.source:
                raise ValueError("prepare: an entry without a source; allowed: a 'source', or a card (docs/data.md)")
        for source in self.sources_read():
            if source not in self.sources:
                raise ValueError(f"prepare: no source '{source}'{nearest(source, self.sources)}")
        for name, origin in ((n, s.origin) for n, s in self.sources.items() if s.private):
            if origin != "local":
                raise ValueError(f"sources.{name}: private, and origin '{origin}'; allowed: local")
            if self.report.examples:
                raise ValueError(f"report.examples: allowed: 0, since source '{name}' is private")
        self._roles.check_models()
        if both := sorted(set(self.models) & set(self.endpoints)):
            raise ValueError(f"endpoints.{both[0]}: a model has this name already")
        for name in self.systems:
            self._check_system(name)
            check_splits(self.answer_options(name).splits, self._splits(), f"systems.{name}: answer.splits")
            options = self.train_options(name)
            check_counts(options, self.search.candidates, f"systems.{name}", self.systems[name].train)
            self._check_cut(name)
        check_splits(p.decontaminate.splits, self._splits(), "prepare.decontaminate.splits")
        if repeated := sorted({seed for seed in self.seeds if self.seeds.count(seed) > 1}):
            raise ValueError(f"seeds: {repeated[0]} stands there twice; allowed: each seed once")
        self._check_texts()
        self._check_judge()
        self._check_private()
        return self

    def _check_texts(self) -> None:
        """Refuse a model without the text that it is pre-trained on, or the tokenizer that it names."""
        p = self.prepare
        for name, pretrain in ((k, m.pretrain) for k, m in self.models.items() if m.pretrain):
            if pretrain.reads_passages and not p.corpora:
                raise ValueError(f"models.{name}: it is pre-trained on the passages, and prepare.corpora is empty")
            if not pretrain.reads_passages and not p.documents:
                allowed = "`reads: passages`, or `documents: [{plain: true}]`"
                raise ValueError(
                    f"models.{name}: it is pre-trained on prepare.documents, of which there are none; allowed: {allowed}"
                )
            source, _, file = pretrain.tokenizer.removeprefix("source:").partition("/")
            if pretrain.tokenizer.startswith("source:") and (source not in self.sources or not file):
                hint = nearest(source, self.sources) if file else " (allowed: 'source:NAME/FILE')"
                raise ValueError(
                    f"models.{name}.pretrain.tokenizer '{pretrain.tokenizer}': no such source or file{hint}"
                )

    def _splits(self) -> set[str]:
        """Return the splits that questions can be of, as far as the configuration tells; the demo's world has three."""
        demo = all(self.sources[q.source].origin == "demo" for q in self.prepare.questions if q.source in self.sources)
        return self.prepare.known_splits() or ({"train", "dev", "test"} if demo else set())

    def _check_judge(self) -> None:
        for name in self.judge.judges:
            self._roles.check_llm(name, "judge.judges")
        for name in (n for pair in self.judge.pairs for n in pair):
            if name not in self.systems:
                raise ValueError(f"judge.pairs: no system '{name}'{nearest(name, self.systems)}")
        if bool(self.judge.judges) != bool(self.judge.pairs):
            raise ValueError("judge: it takes both judges and pairs, or neither")

    def _check_private(self) -> None:
        """Refuse a row or a judge that would send texts of a private source to another machine.

        A row sends its questions, and passages where it reads any. A judge gets the questions, the passages of both answers, and
        words of their models, which may repeat what these learned from.
        """
        private = {name for name in self.sources_read() if self.sources[name].private}
        asked = private.intersection(q.source for q in self.prepare.questions)
        away = {name for name, endpoint in self.endpoints.items() if not endpoint.on_this_machine}

        def refused(where: str, endpoint: str, allowed: str) -> ValueError:
            what = f"endpoint '{endpoint}' at {self.endpoints[endpoint].base_url} would get texts of '{min(asked or private)}'"
            here = "a server on this machine (localhost)"
            return ValueError(
                f"{where}: {what}, which is private; allowed: {here if asked else f'{allowed}, or {here}'}"
            )

        for name, row in self.systems.items():
            if row.llm in away and (asked or (private and self.train_options(name).passages)):
                raise refused(f"systems.{name}", row.llm, "train.passages: 0")
        judges = sorted(away.intersection(self.judge.judges))
        for name in (n for pair in self.judge.pairs for n in pair):
            if judges and (asked or (private and self._has_read(name))):
                raise refused(f"judge.pairs: '{name}'", judges[0], "systems whose LLM never read a passage")

    def _has_read(self, system: str) -> bool:
        """Tell whether a system's LLM learned or answers from the run's passages."""
        llm = self.systems[system].llm
        return bool(self.train_options(system).passages or (llm in self.models and self.models[llm].pretrain))

    def prepared(self) -> PrepareOptions:
        """Return what `prepare` is told: no reading documents, a second copy of the corpus, where no model learns from them."""
        new = [m.pretrain for m in self.models.values() if m.pretrain]
        if any(p.objective == "causal" and p.reads == "documents" for p in new):
            return self.prepare
        return self.prepare.model_copy(update={"documents": []})

    def practice_prompts(self, source: str = "") -> list[PromptOptions]:
        """Return the prompts of the practice documents that a source of origin demo holds, or that `prepare` makes; often none."""
        written = self.sources[source].origin == "demo" if source else any(d.cloze for d in self.prepared().documents)
        return [PromptOptions(**self.reading.model_dump(include=set(PromptOptions.model_fields)))] if written else []

    def sources_read(self) -> list[str]:
        """Return the names of the sources that `prepare` reads, in the order of their use."""
        p = self.prepared()
        asked = [
            s for q in p.questions for s in (q.source, *(f.partition("/")[0] for f in (*q.split_ids.values(), q.qrels)))
        ]
        found = [*(c.source for c in p.corpora), *asked, *(d.source for d in p.documents)]
        return [source for source in dict.fromkeys(found) if source]

    def sources_fetched(self) -> dict[str, SourceOptions]:
        """Return the sources that are fetched: those that `prepare` reads, and those of new models' tokenizers."""
        named = [m.pretrain.tokenizer for m in self.models.values() if m.pretrain]
        kept = [t.removeprefix("source:").split("/")[0] for t in named if t.startswith("source:")]
        return {name: self.sources[name] for name in [*self.sources_read(), *kept] if name in self.sources}

    @property
    def _roles(self) -> Roles:
        rows = self.systems
        joint = {k: s for k, s in rows.items() if s.train.get("target", self.train.target) != "frozen"}
        begun = {k: [s.retriever, *([s.candidates] if s.candidates else [])] for k, s in joint.items()}
        answering = {*(s.llm for s in rows.values()), *self.judge.judges}
        return Roles(self.models, self.endpoints, rows, begun, answering, {s.retriever for s in rows.values()})

    def _check_system(self, name: str) -> None:
        system, where = self.systems[name], f"systems.{name}"
        if name in self.models:
            raise ValueError(f"{where}: a model has this name already; both become folders under results/")
        self._roles.check_llm(system.llm, f"{where}.llm")
        sections = (("train", self.train_options), ("reading", self.reading_options), ("answer", self.answer_options))
        for section, merged in sections:
            try:
                merged(name)
            except ValidationError as error:
                raise ValueError(f"{where}.{section}: {one_line(error, type(getattr(self, section)))}") from None
        train, answer = self.train_options(name), self.answer_options(name)
        if not self.prepare.corpora and (train.passages or train.joint):
            needed = "train: {passages: 0, target: frozen}, or a corpus"
            raise ValueError(f"{where}: it reads passages, and prepare.corpora is empty; allowed: {needed}")
        if train.passages or train.joint or system.candidates:
            self._check_retriever(name, train)
        if system.rounds and system.llm in self.endpoints:
            raise ValueError(f"{where}: an endpoint cannot be trained; say rounds: 0")
        if system.llm in self.endpoints and answer.method != "generate":
            raise ValueError(f"{where}.answer: an endpoint tells no likelihoods; method: generate is wanted")
        if not system.rounds and train.joint:
            raise ValueError(f"{where}: rounds: 0 trains nothing, but train.target is {train.target} (allowed: frozen)")
        if train.rationale and answer.rationale and train.rationale_prompt != answer.rationale_prompt:
            raise ValueError(
                f"{where}: it would learn to reason after {train.rationale_prompt!r} and be asked with {answer.rationale_prompt!r}; "
                "give train.rationale_prompt and answer.rationale_prompt the same words"
            )
        shown = fields_of(prompt := self.reading_options(name).question_prompt)
        if not system.rounds and answer.method == "generate" and "options" not in shown:
            raise ValueError(
                f"{where}: an untrained model that writes its answer must see the options; "
                f"put {{options}} into reading.question_prompt (given: {prompt!r})"
            )

    def _check_cut(self, name: str) -> None:
        """Refuse to cut a system's LLM over ranks where that cannot be."""
        answer, precision = self.answer_options(name), self.reading_options(name).llm_precision
        if self.systems[name].llm in self.endpoints and answer.shard_llm:
            raise ValueError(f"systems.{name}.answer: an endpoint's model is not here to be cut; leave shard_llm out")
        check_shared(self.train_options(name).shard_llm, precision, f"systems.{name}: train")
        check_shared(answer.shard_llm, precision, f"systems.{name}: answer")

    def _check_retriever(self, name: str, train: TrainOptions) -> None:
        """Refuse a retriever that is not there, or that cannot be trained and is to be."""
        where, row = f"systems.{name}", self.systems[name]
        self._roles.check_retriever(row.retriever, f"{where}.retriever", train.target)
        if row.candidates:
            self._roles.check_found(row.candidates, f"{where}.candidates", name)
            check_begun(train, where)

    def train_options(self, system: str) -> TrainOptions:
        """Return the training options of a system: the common ones with its own on top."""
        return TrainOptions.model_validate({**self.train.model_dump(), **self.systems[system].train})

    def method(self, system: str) -> str:
        """Say in one clause how a system learns, for the messages of a dry run.

        >>> Config.load({}).method("rag")
        'the LLM learns to answer from its K = 3 best passages'
        """
        options = self.train_options(system)
        if options.target == "frozen":
            read = (
                f"to answer from its K = {options.passages} best passages" if options.passages else "without passages"
            )
            return f"the LLM learns {read}"
        judged = f"S = {options.samples} of C = {self.search.candidates}, weighed by {options.weighed_by}"
        return f"the LLM learns to answer from K = {options.passages} passages, the retriever from {judged}"

    def reading_options(self, system: str) -> ReadingOptions:
        """Return how a system reads: the common options with its own on top."""
        return ReadingOptions.model_validate({**self.reading.model_dump(), **self.systems[system].reading})

    def answer_options(self, system: str) -> AnswerOptions:
        """Return how a system answers: the common options with its own on top; an endpoint can only write, and is not cut."""
        can_only = {"method": "generate", "shard_llm": False} if self.systems[system].llm in self.endpoints else {}
        return AnswerOptions.model_validate({**self.answer.model_dump(), **can_only, **self.systems[system].answer})

    def models_of(self, system: str) -> list[str]:
        """Return the names of all models behind a system: what it starts from, and what those were continued from."""
        found, row = list[str](), self.systems[system]
        queue = [row.llm, *self._lent(row.retriever), *self._lent(row.candidates)]
        while queue:
            name = queue.pop(0)
            if (model := self.models.get(name)) and name not in found:
                found.append(name)
                init = model.pretrain.init if model.pretrain else ""
                queue += [init.removeprefix("model:")] if init.startswith("model:") else []
                queue += [lent for part in model.lists for lent in self._lent(part)]
        return found

    def _lent(self, retriever: str) -> list[str]:
        """Return the models behind a retriever: itself, or those of the system that trained it."""
        row = self.systems.get(retriever)
        return [row.llm, *self._lent(row.retriever)] if row else [retriever]

    def is_fixed(self, name: str) -> bool:
        """Tell whether nothing in a model, or in a retriever made of others, depends on a seed."""
        model = self.models.get(name)
        return bool(model and (model.path or (model.kind and all(map(self.is_fixed, model.lists)))))

    def endpoint(self, name: str) -> dict[str, Any] | None:
        """Return an endpoint's settings, which hold no key; None if no endpoint has this name."""
        return self.endpoints[name].model_dump(mode="json") if name in self.endpoints else None

    def seeds_of(self, system: str) -> list[int]:
        """Return the seeds for which a system answers: the first alone where nothing in it depends on a seed."""
        row = self.systems[system]
        used = [row.llm, *([row.retriever] if self.train_options(system).passages else [])]
        changes = row.rounds or not all(name in self.endpoints or self.is_fixed(name) for name in used)
        return list(self.seeds) if changes else self.seeds[:1]

    def again(self, files: Sequence[str | Path], overrides: Sequence[str], checkout: str | Path) -> str:
        """Return the command that makes this run again, called from the checkout.

        Args:
            files: what Snakemake was given by --configfile
            overrides: what it was given by --config, KEY=VALUE each
            checkout: folder of the Snakefile

        >>> Config.load({"seeds": [0, 1, 2]}).again([], ["seeds=[0,1,2]"], ".")
        'make demo SEEDS="0 1 2"'
        >>> Config.load({"run": "mine"}).again(["config/runs/mine.yaml"], ["seeds=[1]"], ".")
        "snakemake --cores all --configfile config/runs/mine.yaml --config 'seeds=[1]'"
        """
        command = self.report.command or ("" if files else "make demo")
        others = [o for o in overrides if not o.startswith("seeds=")]
        if command.startswith("make ") and not others and len(files) <= 1:  # make passes one file, and the seeds
            return command if self.seeds == [0] else f'{command} SEEDS="{" ".join(map(str, self.seeds))}"'
        if command and not command.startswith("make "):
            return command
        given = [*(["--configfile"] if files else []), *(called(f, checkout) for f in files)]
        return shlex.join(["snakemake", "--cores", "all", *given, *(["--config"] if overrides else []), *overrides])

    @classmethod
    def load(cls, data: dict[str, Any]) -> Config:
        """Check a mapping (of parsed YAML); raise ConfigError with one line per fault, naming the nearest valid key."""
        try:
            return cls.model_validate(with_defaults(with_cards(without_nulls(data))))
        except ValueError as error:
            said = one_line(error, cls) if isinstance(error, ValidationError) else str(error)
            raise ConfigError(f"config: {said}{taken_away(data, said)}") from None


def words(name: str, value: str | list[str] | None) -> str:
    """Write one option with its value or values, quoted for a shell; nothing if there is no value."""
    values = [value] if isinstance(value, str) else list(value or [])
    return shlex.join([name, *values]) if values and values != [""] else ""
