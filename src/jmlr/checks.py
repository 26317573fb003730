"""What of a run can be known to fail before anything runs: the one check of `jmlr config --check` and of the workflow.

    run = checked(yaml.safe_load(text))       # one line where it cannot work: a missing file, an unset variable, an empty corpus
    run.sources["mine"], run.ready["llm"]     # 'my/folder', 'meta-llama/Llama-2-7b-hf': paths with their variables put in

What fields, filters and cuts leave of the data, `prepare` alone can say.
"""

from __future__ import annotations

import gzip
import os
import re
import sys
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jmlr.config import Config
from jmlr.models.flops import Shape
from jmlr.models.shapes import read_shape, shape_of_folder
from jmlr.options import PretrainOptions, SourceOptions
from jmlr.runtime.checkout import checkout_file
from jmlr.runtime.errors import UserError
from jmlr.runtime.files import DAMAGED, files_below, matches
from jmlr.runtime.misread import read_mapping
from jmlr.runtime.preflight import card_here, files_of, located, request_of
from jmlr.together import check_lists, refused, retriever_kinds, warned
from jmlr.training.on_card import Answering, FineTuning, Need, Pretraining, too_large

WILDCARD = re.compile(
    r"\{\s*[.\w]+\s*(,[^{}]*(\{[^{}]*\}[^{}]*)*)?\}"
)  # as Snakemake finds them in the names of inputs
Files = Mapping[str, Path | None]  # names below a source -> files; None where they are elsewhere


@dataclass(frozen=True)
class Run:
    """A configuration that can run, with its local paths found.

    Args:
        config: as it was given, with cards and defaults filled in
        sources: local sources that are fetched -> file or folder
        ready: ready-made models -> folder or hub name
        rerankers: retrievers that re-rank -> folder or hub name of their cross-encoder
        pretrained: models that `pretrain` makes -> how, with the paths of `init` and `tokenizer`
        kinds: models, and systems -> the kind of their retriever (`jmlr.models.kinds`), "" where that cannot be known yet
        review: the file of `report.review`, if there is one
        warnings: what works and most likely is not meant, a line each
    """

    config: Config
    sources: dict[str, str]
    ready: dict[str, str]
    rerankers: dict[str, str]
    pretrained: dict[str, PretrainOptions]
    kinds: dict[str, str]
    review: list[str]
    warnings: list[str]

    @property
    def models(self) -> dict[str, str]:
        """Keys of the configuration -> folder or hub name, of all models and tokenizers that are not made by the run."""
        found = {f"models.{k}.path": path for k, path in self.ready.items()}
        found |= {f"models.{k}.rerank.path": path for k, path in self.rerankers.items()}
        for name, options in self.pretrained.items():
            found[f"models.{name}.pretrain.init"] = options.init
            found[f"models.{name}.pretrain.tokenizer"] = "" if options.init else options.tokenizer
        prepare = self.config.prepare
        found["prepare.tokenizer"] = located(prepare.tokenizer, "prepare.tokenizer") if prepare.chunk_tokens else ""
        return {k: path for k, path in found.items() if path and not path.startswith(("model:", "source:"))}


def checked(data: dict[str, Any], *, contents: bool = True) -> Run:
    """Check a mapping (of parsed YAML) with all that it names on this machine.

    Args:
        data: the configuration
        contents: look into folders and files too, which jobs of a run need not do again

    Raises:
        ConfigError: a wrong key or value.
        UserError: what it names cannot be read, and why; in one line.
    """
    config = Config.load(data)
    fetched = config.sources_fetched()
    sources = {k: located(s.path, f"sources.{k}.path", True) for k, s in fetched.items() if s.origin == "local"}
    ready = {k: located(m.path, f"models.{k}.path") for k, m in config.models.items() if m.path}
    rerankers = {k: located(m.rerank.path, f"models.{k}.rerank.path") for k, m in config.models.items() if m.rerank}
    review = [located(config.report.review, "report.review", True)] if config.report.review else []
    pretrained = {
        k: m.pretrain.model_copy(
            update={x: located(getattr(m.pretrain, x), f"models.{k}.pretrain.{x}") for x in ("init", "tokenizer")}
        )
        for k, m in config.models.items()
        if m.pretrain
    }
    kinds = retriever_kinds(config, ready, pretrained)
    run = Run(
        config, sources, ready, rerankers, pretrained, kinds, review, list(warned(config, ready)) if contents else []
    )
    if config.prepare.chunk_tokens:
        located(config.prepare.tokenizer, "prepare.tokenizer")
    if contents:
        _check_names(run)
        refused(config, ready, pretrained)
        check_lists(config, rerankers)
        _check_splits(config)
        _check_contents(config, {k: _files(k, s, sources.get(k, "")) for k, s in fetched.items()})
    return run


def _check_splits(config: Config) -> None:
    """Refuse a run whose systems learn from a split that no question is of, as far as the options tell."""
    splits = config.prepare.known_splits()
    if not splits:
        return
    known = f"(splits: {', '.join(sorted(splits))}); allowed: `split: hash`, or a file of it"
    for name, system in config.systems.items():
        if system.rounds and config.train_options(name).steps != 0 and "train" not in splits:
            what = f"no question is of split 'train', from which systems.{name} learns {known}"
            raise UserError(f"config: prepare.questions: {what}, or rounds: 0")


def _check_names(run: Run) -> None:
    """Refuse the name of an input in which Snakemake would put the value of a wildcard."""
    from jmlr.corpus.quotes import hidden, quoted

    known = run.config.sources
    inputs = [(f"sources.{k}.path", path, known[k].files, known[k].private) for k, path in run.sources.items()]
    inputs += [(f"models.{k}.path", path, [], False) for k, path in run.ready.items()]
    inputs += [(f"models.{k}.rerank.path", path, [], False) for k, path in run.rerankers.items()]
    inputs += [(f"models.{k}.pretrain.init", m.init, [], False) for k, m in run.pretrained.items() if m.init]
    inputs += [("report.review", path, [], False) for path in run.review]
    for key, path, patterns, private in inputs:
        for name in [path, *files_of(path, patterns)]:
            if found := WILDCARD.search(name):
                with hidden(private and name != path):
                    what = f"{quoted(name, 200)}: Snakemake takes {quoted(found[0])} for a wildcard"
                raise UserError(f"config: {key}: {what}; rename it without braces")


def _files(name: str, source: SourceOptions, path: str) -> Files | None:
    """Return what a source will hold, by its names; None where only fetching it can tell."""
    if source.origin == "url":
        last = urllib.parse.unquote(urllib.parse.urlsplit(source.path).path).rpartition("/")[2]
        return dict.fromkeys(source.files or [last])
    if source.origin != "local":
        return None
    found = files_below(Path(path))
    for pattern in source.files:
        if not any(matches(n, pattern) for n in found):
            raise UserError(f"config: sources.{name}.files: no file of '{path}' matches '{pattern}'")
    return files_below(Path(path), source.files)


def _check_contents(config: Config, held: Mapping[str, Files | None]) -> None:
    """Refuse an entry whose pattern takes no file, only empty ones, or one that is never read."""
    from jmlr.corpus.formats import ARCHIVES, unreadable
    from jmlr.corpus.quotes import closest, hidden

    for key, source, pattern, format in _entries(config):
        files = held.get(source)
        if files is None:
            continue
        with hidden(config.sources[source].private):
            taken = {n: f for n, f in files.items() if matches(n, pattern)}
            records = not key.startswith("models.") and ".split_ids" not in key
            if not taken and records and any(n.lower().endswith(ARCHIVES) for n in files):
                continue  # it may take members of an archive, which `prepare` looks into
            if not taken:
                hint = closest(pattern, files)
                raise UserError(f"config: {key}: no file '{pattern}' among {len(files)} of source '{source}'{hint}")
            if not records or key.endswith(".qrels"):
                continue
            if wrong := unreadable(files, pattern, format):
                raise UserError(f"config: {key}: {wrong}")
            here = [f for f in taken.values() if f]
            if here and not any(map(holds_text, here)):
                what = "it is empty" if len(taken) == 1 else f"all {len(taken)} files that it takes are empty"
                raise UserError(f"config: {key}: '{pattern}' of source '{source}': {what}")


def _entries(config: Config) -> Iterator[tuple[str, str, str, str]]:
    """Yield (key, source, glob pattern, format) of all that is read from a source."""
    p = config.prepare
    for n, corpus in enumerate(p.corpora):
        yield f"prepare.corpora[{n}].file", corpus.source, corpus.file, corpus.format
    for n, part in enumerate(p.questions):
        wanted = {s: f for s, f in part.files.items() if not part.splits or s in part.splits}
        for split, pattern in wanted.items():
            yield f"prepare.questions[{n}].files.{split}", part.source, pattern, part.format
        if not part.files:
            yield f"prepare.questions[{n}].file", part.source, part.file, part.format
        for split, place in part.split_ids.items():
            source, _, pattern = place.partition("/")
            yield f"prepare.questions[{n}].split_ids.{split}", source, pattern, ""
        if part.qrels:
            source, _, pattern = part.qrels.partition("/")
            yield f"prepare.questions[{n}].qrels", source, pattern, ""
    for n, documents in enumerate(config.prepared().documents):
        if documents.source:
            yield f"prepare.documents[{n}].file", documents.source, documents.file, ""
    for name, model in config.models.items():
        if model.pretrain and model.pretrain.tokenizer.startswith("source:"):
            source, _, file = model.pretrain.tokenizer.removeprefix("source:").partition("/")
            yield f"models.{name}.pretrain.tokenizer", source, file, ""


def holds_text(path: Path) -> bool:
    """Tell whether anything but white space stands in a file; raise UserError if it cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as f:
            return any(block.strip() for block in iter(lambda: f.read(1 << 16), b""))
    except DAMAGED:
        raise UserError(f"'{path}' cannot be read: truncated, damaged or no gzip file; copy it again") from None
    except OSError as error:
        raise UserError(f"'{path}' cannot be read: {error.strerror}") from None


Shapes = Callable[[str], Shape | None]


def trainings(config: Config, llm: Shapes, retriever: Shapes) -> dict[str, Need]:
    """Return what decides the memory of each training, by its key; without those of models whose shape is not known.

    Args:
        config: the run
        llm: the shape of a language model by its name, and
        retriever: the same of a retriever
    """
    found: dict[str, Need] = {}
    for name, system in config.systems.items():
        options, own = config.train_options(name), llm(system.llm) if system.rounds else None
        if own is not None:
            beside = retriever(system.retriever) if options.joint else None
            found[f"systems.{name}"] = FineTuning(own, beside, options, config.reading_options(name), config.retrieval)
    for name, made in ((k, m.pretrain) for k, m in config.models.items() if m.pretrain):
        own = (llm if made.objective == "causal" else retriever)(name)
        if own is not None:
            found[f"models.{name}"] = Pretraining(own, made)
    return found


def answers(config: Config, llm: Shapes) -> dict[str, Need]:
    """Return what decides the memory of each answering, by its key; `llm`: the shape of a language model by its name."""
    found: dict[str, Need] = {}
    for name, system in config.systems.items():
        own = llm(system.llm) if system.llm in config.models else None
        if own is not None:
            train = config.train_options(name)
            adapter = own.lora(train.lora_rank, train.lora_targets) if system.rounds else 0
            found[f"systems.{name}.answer"] = Answering(
                own, config.answer_options(name), config.reading_options(name), adapter, train.passages
            )
    return found


def check_cards(run: Run, jobs: Iterable[Any], *, local: bool) -> None:
    """End the program with one line if a training or an answering model can never fit the GPUs that its job is to get, as far as their memory is known.

    Args:
        run: the run
        jobs: Snakemake's that will run; resource `card_gb` of `train`, `pretrain` and `answer` is a GPU's memory in 10^9 bytes
        local: on this machine, whose driver is asked where there is no `card_gb`
    """
    held = [job for job in jobs if job.name in ("train", "pretrain", "answer")]
    if not held or os.environ.get("JMLR_DEVICE", "").startswith("cpu"):
        return
    here, shape = card_here() if local else 0.0, _shapes(run)
    needs = {**trainings(run.config, shape, shape), **answers(run.config, shape)}
    for job in held:
        asked = dict(job.resources.items())
        card = 1e9 * given if isinstance(given := asked.get("card_gb"), int | float) else here
        key = f"models.{job.wildcards.model}" if job.name == "pretrain" else f"systems.{job.wildcards.system}"
        key += ".answer" if job.name == "answer" else ""
        need = needs.get(key) if card else None
        if need is not None and (
            why := too_large(need, max(1, request_of(job.name, asked).gpus) if need.several else 1, card)
        ):
            sys.exit(f"{job.name}: {key}: {why}")


def _shapes(run: Run) -> Shapes:
    """Return what tells the shape of a run's model by its name, without a library: from its folder, or as the plan knows it by its name."""
    rates = checkout_file("docs/slurm/rates.yaml")
    known = read_mapping(rates, "models").get("models", {}) if rates.is_file() else {}

    def shape(name: str) -> Shape | None:
        made = run.pretrained.get(name)
        path = made.init if made else run.ready.get(name, "")
        if path.startswith("model:"):
            return shape(path.removeprefix("model:"))
        if made and not path:
            return read_shape({"vocab_size": made.vocab_size, "colbert_depth": made.colbert_depth, **made.architecture})
        if Path(path).is_dir():
            return shape_of_folder(Path(path))
        return next((read_shape(about) for key, about in known.items() if f"/{path}".endswith(f"/{key}")), None)

    return shape
