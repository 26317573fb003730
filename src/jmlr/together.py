"""What of a run's sections and models cannot work together, and what probably is not meant: told before anything runs.

`refused` raises for what a stage would refuse hours later; `warned` yields what works, and wastes the run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from jmlr.config import Config
from jmlr.models.folder import ModelFolder
from jmlr.models.gguf import ARCHITECTURES, GgufFile
from jmlr.models.kinds import kind_of, similarities
from jmlr.options import PretrainOptions
from jmlr.runtime.errors import UserError
from jmlr.runtime.extras import how_to_install
from jmlr.runtime.validation import nearest

HIGH_RETRIEVER_RATE, HIGH_LLM_RATE = 1e-4, 1e-3  # rates from which on a pretrained model forgets what it knew


def refused(config: Config, ready: Mapping[str, str]) -> None:
    """Refuse what would end the run in a later stage.

    Args:
        config: the run
        ready: its ready-made models -> folder or hub name

    Raises:
        UserError: in one line that names the key.
    """
    _data(config)
    for name, path in ready.items():
        if Path(path).exists():
            roles = {role for s in config.systems.values() for role in ("llm", "retriever") if getattr(s, role) == name}
            _model_files(f"models.{name}.path '{path}'", Path(path), roles)
    folders = {name: ModelFolder(Path(path)) for name, path in ready.items() if Path(path).is_dir()}
    files = {name: _gguf(name, path) for name, path in ready.items() if path.endswith(".gguf")}
    for name, system in config.systems.items():
        reading, train, answer = config.reading_options(name), config.train_options(name), config.answer_options(name)
        path, about = ready.get(system.llm, ""), folders.get(system.llm)
        if reading.llm_precision == "4bit" and path.endswith(".gguf"):
            raise UserError(f"config: systems.{name}: '{path}' with llm_precision 4bit; allowed: float32, bfloat16")
        if reading.llm_precision == "bfloat16" and train.train_modules and train.train_precision == "float32":
            raise UserError(
                f"config: systems.{name}: train_modules with llm_precision bfloat16; allowed: with train_precision bfloat16"
            )
        if about:
            _llm(f"models.{system.llm}.path", path, about)
        if read := about or files.get(system.llm):
            _reading(f"models.{system.llm}.path", path, read, reading.llm_tokens, answer.chat)
        similarity = folders[system.retriever].similarity if system.retriever in folders else ""
        if (train.passages or train.joint) and similarity and similarity not in similarities():
            allowed = ", ".join(similarities())
            where = f"models.{system.retriever}.path '{ready[system.retriever]}'"
            raise UserError(f"config: {where}: its similarity_fn_name is '{similarity}'; allowed: {allowed}")


def _model_files(where: str, path: Path, roles: set[str]) -> None:
    """Refuse what on this machine cannot be a model, or not one for its role."""
    weights = sorted(p.name for p in path.glob("*.gguf")) if path.is_dir() else []
    if path.is_file() and path.suffix != ".gguf":
        raise UserError(f"config: {where}: a file; allowed: the folder of a model, or a .gguf file")
    if path.is_file() and "retriever" in roles:
        raise UserError(f"config: {where}: a GGUF file is a language model; allowed: the folder of a retriever")
    if path.is_dir() and not ModelFolder(path).is_model:
        hint = f"; it has {', '.join(weights)}: give the file" if weights else "; a model's folder has a config.json"
        raise UserError(f"config: {where}: no model{hint}")


def _gguf(name: str, path: str) -> GgufFile:
    """Return what a GGUF file says; refuse what is none, or of a model that cannot be read from one."""
    about, where = GgufFile(Path(path)), f"config: models.{name}.path '{path}'"
    if about.fault:
        raise UserError(f"{where}: no GGUF file: {about.fault}")
    if about.architecture not in ARCHITECTURES:
        raise UserError(
            f"{where}: architecture '{about.architecture}'; allowed in a GGUF file: {', '.join(ARCHITECTURES)}"
        )
    if not find_spec("gguf"):
        raise UserError(f"{where}: a GGUF file needs the package gguf: {how_to_install('gguf')}")
    return about


def _llm(key: str, path: str, about: ModelFolder) -> None:
    if about.adapter:
        raise UserError(f"config: {key} '{path}': an adapter, not a model; merge it into its base model first")
    if about.encoder:
        what = f"{key} '{path}': {about.encoder} is no causal language model, and writes no answer"
        raise UserError(f"config: {what}; allowed: one for generation (...ForCausalLM)")
    if about.rows and about.token_numbers > about.rows:
        what = f"its tokenizer has token numbers up to {about.token_numbers - 1}, its embedding {about.rows} rows"
        raise UserError(f"config: {key} '{path}': {what}; give the tokenizer it was trained with")


def _reading(key: str, path: str, about: ModelFolder | GgufFile, tokens: int, chat: bool) -> None:
    """Refuse prompts that are longer than the model reads, or in a form that it has not."""
    if about.context and tokens > about.context:
        what = f"reading.llm_tokens is {tokens:,}, and '{path}' reads at most {about.context:,}"
        raise UserError(f"config: {what} ({key}); allowed: up to {about.context}")
    if chat and not about.has_chat_template:
        raise UserError(f"config: answer.chat: '{path}' has no chat template; say false")


def _data(config: Config) -> None:
    from jmlr.corpus.adapted import adapter_of
    from jmlr.corpus.splits import check_shares

    p = config.prepare
    if p.chunk_tokens and not p.tokenizer:
        raise UserError(
            f"config: prepare.chunk_tokens is {p.chunk_tokens}; allowed: with a prepare.tokenizer that counts them"
        )
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
    for name, path in ready.items():
        used = [s for s in config.systems.values() if s.retriever == name]
        if used and Path(path).is_dir() and ModelFolder(Path(path)).causal:
            yield (
                f"models.{name} '{path}' is a causal language model without a head for retrieval; its vectors find little: "
                "take an encoder made for retrieval"
            )
    for name, system in config.systems.items():
        train = config.train_options(name)
        if train.joint and train.passages > train.samples:
            yield f"systems.{name}: it reads K = {train.passages} passages, and S = {train.samples} one by one; usual: K <= S <= C"
        if train.joint and system.retriever in ready and train.retriever_learning_rate > HIGH_RETRIEVER_RATE:
            yield _rate(name, "retriever_learning_rate", train.retriever_learning_rate, "1e-5 to 5e-5")
        if train.steps != 0 and system.rounds and system.llm in ready and train.llm_learning_rate > HIGH_LLM_RATE:
            yield _rate(name, "llm_learning_rate", train.llm_learning_rate, "1e-4 to 3e-4")
        splits = config.prepare.known_splits()
        if train.joint and train.keep_best and splits and "dev" not in splits:
            yield f"systems.{name}: train.keep_best has no dev split to go by, so the last round answers{nearest('dev', splits)}"


def _rate(system: str, key: str, value: float, usual: str) -> str:
    return f"systems.{system}: {key} is {value:g}, at which a pretrained model forgets what it knew; usual: {usual}"


def retriever_kinds(
    config: Config, ready: Mapping[str, str], pretrained: Mapping[str, PretrainOptions]
) -> dict[str, str]:
    """Return the kind (`jmlr.models.kinds`) of each model's retriever, and of each system's; "" where it cannot be known yet."""

    def kind(name: str) -> str:
        if name in config.systems:
            return kind(config.systems[name].retriever)
        begun = pretrained[name].init if name in pretrained else ready.get(name, "")
        if name in pretrained and not begun:
            return "colbert" if pretrained[name].colbert_depth else "dense"
        if begun.startswith("model:"):
            return kind(begun.removeprefix("model:"))
        return kind_of(Path(begun)) if begun else ""

    return {name: kind(name) for name in (*config.models, *config.systems)}
