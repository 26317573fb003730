"""What of a run's sections and models cannot work together, and what probably is not meant: told before anything runs.

`refused` raises for what a stage would refuse hours later; `warned` yields what works, and wastes the run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from jmlr.config import Config
from jmlr.models.folder import ModelFolder, context_of
from jmlr.models.gguf import GgufFile
from jmlr.models.kinds import kind_of, similarities
from jmlr.models.usable import SIDES, fault_of, model_type_fault, tokenizer_fault
from jmlr.options import PretrainOptions, RetrievalOptions
from jmlr.runtime.errors import UserError, shown
from jmlr.runtime.extras import how_to_install, needs
from jmlr.runtime.preflight import located
from jmlr.runtime.validation import nearest

HIGH_RETRIEVER_RATE, HIGH_LLM_RATE = 1e-4, 1e-3  # rates from which on a pretrained model forgets what it knew


def refused(config: Config, ready: Mapping[str, str], pretrained: Mapping[str, PretrainOptions]) -> None:
    """Refuse what would end the run in a later stage.

    Args:
        config: the run
        ready: its ready-made models -> folder or hub name
        pretrained: models that `pretrain` makes -> how, with the paths of `init` and `tokenizer`

    Raises:
        UserError: in one line that names the key.
    """
    _data(config)
    roles = _roles(config, pretrained)
    for name, path in ready.items():
        for role in sorted(roles[name]) or [""]:
            _usable(f"models.{name}.path", path, role)
    for name, options in pretrained.items():
        _pretrain(name, options)
    folders = {name: ModelFolder(Path(path)) for name, path in ready.items() if Path(path).is_dir()}
    abouts = _abouts(ready, pretrained)
    for name, options in pretrained.items():
        about = abouts.get(name)
        if options.objective == "causal" and about and about.context and options.max_tokens > about.context:
            what = f"models.{name}.pretrain.max_tokens is {options.max_tokens:,}, and {about.what} reads at most {about.context:,}"
            raise UserError(f"config: {what} ({about.key}); allowed: up to {about.context}")
    for name, system in config.systems.items():
        reading, train, answer = config.reading_options(name), config.train_options(name), config.answer_options(name)
        if reading.llm_precision == "4bit" and system.llm not in config.endpoints:
            _four_bits(name, ready.get(system.llm, ""))
        if reading.llm_precision == "bfloat16" and train.train_modules and train.train_precision == "float32":
            raise UserError(
                f"config: systems.{name}: train_modules with llm_precision bfloat16; allowed: with train_precision bfloat16"
            )
        if about := abouts.get(system.llm):
            _reading(about, reading.llm_tokens, answer.chat)
        similarity = folders[system.retriever].similarity if system.retriever in folders else ""
        if (train.passages or train.joint) and similarity and similarity not in similarities():
            allowed = ", ".join(similarities())
            where = f"models.{system.retriever}.path '{ready[system.retriever]}'"
            raise UserError(f"config: {where}: its similarity_fn_name is {shown(similarity)}; allowed: {allowed}")


def _roles(config: Config, pretrained: Mapping[str, PretrainOptions]) -> dict[str, set[str]]:
    """Return what each model of the run is used as: 'llm', 'retriever'; nothing where no system uses it."""
    roles: dict[str, set[str]] = {name: set() for name in config.models}
    for name, system in config.systems.items():
        train = config.train_options(name)
        roles.setdefault(system.llm, set()).add("llm")
        if train.passages or train.joint:
            for part in (k for name in (system.retriever, system.candidates) for k in retrievers_of(config, name) if k):
                roles.setdefault(part, set()).add("retriever")
    for name in config.judge.judges:
        roles.setdefault(name, set()).add("llm")
    for options in pretrained.values():
        if options.init.startswith("model:"):
            roles[options.init.removeprefix("model:")].add(_role(options))
    return roles


def retrievers_of(config: Config, name: str) -> list[str]:
    """Return a retriever and all that it is made of."""
    parts = config.models[name].lists if name in config.models else []
    return [name, *(found for part in parts for found in retrievers_of(config, part))]


def _role(options: PretrainOptions) -> str:
    return "llm" if options.objective == "causal" else "retriever"


def _usable(key: str, path: str, role: str) -> None:
    """Refuse what on this machine cannot be a model, or not one for its role; one on the hub is asked for when the run begins."""
    if os.path.exists(path) and (fault := fault_of(Path(path), role)):
        raise UserError(f"config: {key} '{path}': {fault}")


def check_lists(config: Config, rerankers: Mapping[str, str]) -> None:
    """Refuse a retriever without weights whose package or cross-encoder is not here, or not whole.

    Raises:
        UserError: in one line that names the key.
    """
    for name, path in rerankers.items():
        _usable(f"models.{name}.rerank.path", path, "cross-encoder")
    for name in (k for k, model in config.models.items() if model.bm25):
        if missing := [package for package in ("bm25s", "Stemmer") if not find_spec(package)]:
            raise UserError(f"config: models.{name}: bm25 {needs(missing[0])}")


def _pretrain(name: str, options: PretrainOptions) -> None:
    """Refuse what `pretrain` cannot begin from."""
    key = f"models.{name}.pretrain"
    if options.init and not options.init.startswith("model:"):
        _usable(f"{key}.init", options.init, _role(options))
        if _role(options) == "retriever" and all((Path(options.init) / side).is_dir() for side in SIDES):
            what = "a retriever with two encoders cannot be continued"
            raise UserError(f"config: {key}.init '{options.init}': {what}; allowed: one of query/ and passage/")
    if options.init:
        return
    kind = options.architecture.get("model_type")
    if not kind:
        raise UserError(
            f"config: {key}.architecture: it names no model_type; allowed: one of transformers', e.g. llama or bert"
        )
    if fault := model_type_fault(kind):
        raise UserError(f"config: {key}.architecture: {fault}; allowed: one of transformers', e.g. llama or bert")
    if os.path.exists(options.tokenizer) and (fault := tokenizer_fault(Path(options.tokenizer))):
        raise UserError(f"config: {key}.tokenizer '{options.tokenizer}': {fault}")


@dataclass(frozen=True)
class About:
    """What is known of how a language model reads: the key that names it, what it is, its positions (0: not known), its chat
    template (None: not known)."""

    key: str
    what: str
    context: int
    chat: bool | None


def _abouts(ready: Mapping[str, str], pretrained: Mapping[str, PretrainOptions]) -> dict[str, About]:
    """Return what is known of the run's models; nothing of those on the hub."""

    def read(key: str, path: str) -> About | None:
        if Path(path).is_dir():
            folder = ModelFolder(Path(path))
            return About(key, f"'{path}'", folder.context, folder.has_chat_template)
        if not Path(path).is_file():
            return None
        file = GgufFile(Path(path))
        return About(key, f"'{path}'", file.context, file.has_chat_template)

    def about(name: str) -> About | None:
        if name in ready:
            return read(f"models.{name}.path", ready[name])
        options = pretrained[name]
        if options.init.startswith("model:"):
            return about(options.init.removeprefix("model:"))
        if options.init:
            return read(f"models.{name}.pretrain.init", options.init)
        return About(f"models.{name}.pretrain.architecture", "its architecture", context_of(options.architecture), None)

    return {name: found for name in (*ready, *pretrained) if (found := about(name))}


def _four_bits(system: str, path: str) -> None:
    if path.endswith(".gguf"):
        raise UserError(f"config: systems.{system}: '{path}' with llm_precision 4bit; allowed: float32, bfloat16")
    if missing := [package for package in ("bitsandbytes", "accelerate") if not find_spec(package)]:
        what = f"systems.{system}: reading.llm_precision 4bit needs {' and '.join(missing)}"
        raise UserError(f"config: {what}: {how_to_install('qlora')}; or set it to bfloat16")


def _reading(about: About, tokens: int, chat: bool) -> None:
    """Refuse prompts that are longer than the model reads, or in a form that it has not."""
    if about.context and tokens > about.context:
        what = f"reading.llm_tokens is {tokens:,}, and {about.what} reads at most {about.context:,}"
        raise UserError(f"config: {what} ({about.key}); allowed: up to {about.context}")
    if chat and about.chat is False:
        raise UserError(f"config: answer.chat: {about.what} has no chat template; say false")


def _data(config: Config) -> None:
    from jmlr.corpus.adapted import adapter_of
    from jmlr.corpus.splits import check_shares

    p = config.prepare
    if p.chunk_tokens and not p.tokenizer:
        raise UserError(
            f"config: prepare.chunk_tokens is {p.chunk_tokens}; allowed: with a prepare.tokenizer that counts them"
        )
    tokenizer = located(p.tokenizer, "prepare.tokenizer") if p.chunk_tokens else ""
    if os.path.exists(tokenizer) and (fault := tokenizer_fault(Path(tokenizer), alone=True)):
        raise UserError(f"config: prepare.tokenizer '{tokenizer}': {fault}")
    for n, part in enumerate(p.questions):
        if part.split == "hash":
            try:
                check_shares(part.shares)
            except UserError as error:
                raise UserError(f"config: prepare.questions[{n}]: {error}") from None
    for key, parts in (("corpora", p.corpora), ("questions", p.questions)):
        for n, entry in enumerate(parts):
            if entry.adapter:
                try:
                    adapter_of(entry.adapter)
                except UserError as error:
                    raise UserError(f"config: prepare.{key}[{n}]: {error}") from None
    for n, documents in enumerate(config.prepared().documents):
        made = bool(documents.cloze or documents.plain)
        if made == bool(documents.source):
            raise UserError(f"config: prepare.documents[{n}]; allowed: either a source, or cloze or plain")


def warned(config: Config, ready: Mapping[str, str]) -> Iterator[str]:
    """Yield what works and most likely is not meant, a line each."""
    module = config.evaluate.concepts.partition(":")[0]
    if module and not _importable(module):
        yield f"evaluate.concepts '{config.evaluate.concepts}': no module '{module}' here; it must be where `evaluate` runs"
    for name, path in ready.items():
        used = {k: config.train_options(k) for k, s in config.systems.items() if s.retriever == name}
        if not used or not Path(path).is_dir():
            continue
        if ModelFolder(Path(path)).causal:
            yield (
                f"models.{name} '{path}' is a causal language model without a head for retrieval; its vectors find little: "
                "take an encoder made for retrieval"
            )
        trained = max((train.retriever_train_passage_tokens for train in used.values() if train.joint), default=0)
        yield from _lengths(config.retrieval, trained, f"models.{name} '{path}'", Path(path))
    for name, system in config.systems.items():
        train = config.train_options(name)
        if train.joint and train.passages > train.samples:
            yield f"systems.{name}: it reads K = {train.passages} passages, and S = {train.samples} one by one; usual: K <= S <= C"
        if train.joint and system.retriever in ready and train.retriever_learning_rate > HIGH_RETRIEVER_RATE:
            yield _rate(name, "retriever_learning_rate", train.retriever_learning_rate, "1e-5 to 5e-5")
        if train.steps != 0 and system.rounds and system.llm in ready and train.llm_learning_rate > HIGH_LLM_RATE:
            yield _rate(name, "llm_learning_rate", train.llm_learning_rate, "1e-4 to 3e-4")
        if train.rationale and system.rounds and not config.answer_options(name).rationale:
            asks = "answer: {method: generate, rationale: true}"
            yield f"systems.{name}: it learns to write rationales (train.rationale), and is asked for none; usual: {asks}"
        answer = config.answer_options(name)
        if train.rationale and answer.rationale and train.rationale_tokens > answer.rationale_tokens:
            learned, written = train.rationale_tokens, answer.rationale_tokens
            yield (
                f"systems.{name}: it learns rationales of {learned} tokens (train.rationale_tokens), and may write {written} "
                "(answer.rationale_tokens): one that is cut has no answer; usual: at least as many"
            )
        splits = config.prepare.known_splits()
        if train.joint and train.keep_best and splits and "dev" not in splits:
            yield f"systems.{name}: train.keep_best has no dev split to go by, so the last round answers{nearest('dev', splits)}"


def _importable(module: str) -> bool:
    """Tell whether a module's package lies on the Python path or in the working directory; nothing of it is run."""
    return PathFinder.find_spec(module.partition(".")[0], [os.getcwd(), *sys.path]) is not None


def _lengths(retrieval: RetrievalOptions, trained: int, what: str, path: Path) -> Iterator[str]:
    """Yield the lengths, `trained` that of passages in training, to which a retriever is told to read and cannot."""
    tokens = kind_of(path) == "colbert"
    sides = {side: ModelFolder(path / side if (path / side).is_dir() else path).longest(tokens) for side in SIDES}
    for key, asked, most in (
        ("retrieval.retriever_query_tokens", retrieval.retriever_query_tokens, sides["query"]),
        ("retrieval.retriever_search_query_tokens", retrieval.retriever_search_query_tokens, sides["query"]),
        ("retrieval.retriever_passage_tokens", retrieval.retriever_passage_tokens, sides["passage"]),
        ("train.retriever_train_passage_tokens", trained, sides["passage"]),
    ):
        if most and asked > most:
            yield f"{key} is {asked:,}, and {what} reads at most {most:,} tokens: what is longer is cut there; usual: 0, as many as it was made for"


def _rate(system: str, key: str, value: float, usual: str) -> str:
    return f"systems.{system}: {key} is {value:g}, at which a pretrained model forgets what it knew; usual: {usual}"


def retriever_kinds(
    config: Config, ready: Mapping[str, str], pretrained: Mapping[str, PretrainOptions]
) -> dict[str, str]:
    """Return the kind of each model's retriever, and of each system's: of `jmlr.models.kinds`, or by the key of one without weights;
    "" where it cannot be known yet."""

    def kind(name: str) -> str:
        if name in config.systems:
            return kind(config.systems[name].retriever)
        if (model := config.models.get(name)) and model.kind:  # a row that reads nothing may name none that is there
            return model.kind
        begun = pretrained[name].init if name in pretrained else ready.get(name, "")
        if name in pretrained and not begun:
            return "colbert" if pretrained[name].colbert_depth else "dense"
        if begun.startswith("model:"):
            return kind(begun.removeprefix("model:"))
        return kind_of(Path(begun)) if begun else ""

    return {name: kind(name) for name in (*config.models, *config.systems)}
