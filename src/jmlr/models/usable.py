"""Why the files of a model on this machine cannot be used in its role, in a few words; from headers, before anything runs.

    fault_of(Path("models/llama"), "llm")           # "its model.safetensors has 10 bytes, and 90 by its header; copy it again"
    tokenizer_fault(Path("models/llama"))           # "" where nothing is wrong

Each fault stands behind the key and the path. What only the model itself can tell, loading it tells.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from jmlr.models.folder import OBJECTS, ModelFolder
from jmlr.models.gguf import ARCHITECTURES, GgufFile
from jmlr.models.json_file import AGAIN, read_json
from jmlr.models.weights import weights_fault
from jmlr.runtime.errors import shown
from jmlr.runtime.extras import how_to_install

SIDES = ("query", "passage")  # the folders of a retriever with two encoders
NEEDS = {
    "Pooling": False,
    "Dense": True,
    "LayerNorm": True,
    "WeightedLayerPooling": True,
}  # modules with files -> with weights
VOCABULARIES = ("tokenizer.json", "vocab*", "merges.txt", "*.model", "*.spm", "*.tiktoken", "bpe.codes", "tekken.json")
BYTES = (
    "ByT5Tokenizer",
    "CanineTokenizer",
    "PerceiverTokenizer",
    "MyT5Tokenizer",
)  # tokenizers that need no vocabulary
DTYPES = (
    "bfloat16",
    "float16",
    "float32",
    "float64",
    "half",
    "float",
    "double",
)  # torch's, and those that begin with float8_
# Forms of quantised weights that libraries are needed for which this project does not have.
QUANTISED = (
    "aqlm", "auto-round", "awq", "compressed-tensors", "eetq", "fouroversix", "fp_quant", "gptq", "higgs", "hqq", "quanto", "quark",
    "spqr", "torchao", "vptq",
)  # fmt: skip


def fault_of(path: Path, role: str) -> str:
    """Say why a file or folder cannot be used as a model; "" if nothing speaks against it.

    Args:
        path: on this machine; whatever is there.
        role: 'llm', 'retriever', 'cross-encoder', or '' where nothing says what it is for.
    """
    if path.is_file():
        return _file_fault(path, role)
    if path.suffix == ".gguf":
        return "a folder, and what ends with .gguf is read as a file; rename it"
    if not ModelFolder(path).is_model:
        weights = sorted(p.name for p in path.iterdir() if p.name.lower().endswith(".gguf"))
        if weights:
            return f"no model; it has {', '.join(weights)}: give the file"
        if any(path.glob("*.safetensors")):
            return "it has weights and no config.json, which says what they are of; copy that too"
        return "no model; a model's folder has a config.json"
    if role == "llm":
        return _llm_fault(path)
    if role == "cross-encoder":
        return _cross_encoder_fault(path)
    return _retriever_fault(path) if role == "retriever" else ""


def _file_fault(path: Path, role: str) -> str:
    if path.suffix != ".gguf":
        if path.suffix.lower() == ".gguf":
            return f"its name ends with {path.suffix}; rename it to '{path.stem}.gguf'"
        return "a file; allowed: the folder of a model, or a .gguf file"
    if role == "cross-encoder":
        return "a GGUF file is a language model; allowed: the folder of a cross-encoder"
    if role == "retriever":
        return "a GGUF file is a language model; allowed: the folder of a retriever"
    about = GgufFile(path)
    if about.fault:
        return f"no GGUF file that can be read: {about.fault}"
    if about.architecture not in ARCHITECTURES:
        return f"architecture {shown(about.architecture)}; allowed in a GGUF file: {', '.join(ARCHITECTURES)}"
    return "" if find_spec("gguf") else f"a GGUF file needs the package gguf: {how_to_install('gguf')}"


def _llm_fault(path: Path) -> str:
    about = ModelFolder(path)
    if about.adapter:
        return "an adapter, not a model; merge it into its base model first"
    if about.encoder and not about.fault("config.json"):
        return f"{shown(about.encoder)[1:-1]} is no causal language model, and writes no answer; allowed: one for generation (...ForCausalLM)"
    if fault := _model_fault(about):
        return fault
    if about.rows and about.token_numbers > about.rows:
        what = f"its tokenizer has token numbers up to {about.token_numbers - 1}, its embedding {about.rows} rows"
        return f"{what}; give the tokenizer it was trained with"
    return ""


def _cross_encoder_fault(path: Path) -> str:
    about = ModelFolder(path)
    if fault := _model_fault(about):
        return fault
    allowed = "allowed: one for sequence classification with one label, the score of a pair"
    named = about.architectures
    if named and not any(name.endswith("ForSequenceClassification") for name in named):
        return f"{shown(named[0])[1:-1]} is no cross-encoder; {allowed}"
    labels = len(about.config.get("id2label") or "01")  # not named where they are transformers' two
    return f"it has {labels} labels; {allowed}" if labels != 1 else ""


def _retriever_fault(path: Path) -> str:
    two = [path / side for side in SIDES if (path / side).is_dir()]
    if len(two) == 1 and not any(
        (path / name).exists() for name in ("config.json", "modules.json", "adapter_config.json")
    ):
        return f"it has {two[0].name}/ alone; allowed: both query/ and passage/, or one retriever"
    parts = {f"{part.name}/": part for part in two} if len(two) == 2 else {"": path}
    for place, part in parts.items():
        if fault := _one_retriever_fault(part, place):
            return fault
    return ""


def _one_retriever_fault(path: Path, place: str) -> str:
    about = ModelFolder(path)
    if fault := _listing_fault(about):
        return f"its {place}modules.json {fault}"
    for kind, folder in about.listed:
        if kind in NEEDS and (fault := _module_fault(path / folder, place + f"{folder}/" * bool(folder), NEEDS[kind])):
            return fault
    if fault := about.fault("config_sentence_transformers.json"):
        return f"its {place}config_sentence_transformers.json {fault}"
    if about.listed and "Transformer" not in about.modules:
        return ""  # a kind without an encoder, which says itself what it needs
    return _model_fault(ModelFolder(path / about.place), place + f"{about.place}/" * bool(about.place))


def _listing_fault(about: ModelFolder) -> str:
    """Say what is wrong with a modules.json, in the words behind its name; "" if nothing, or if there is none."""
    if fault := about.fault("modules.json", list):
        return fault
    if not (about.folder / "modules.json").exists():
        return ""
    found = read_json(about.folder / "modules.json")
    if not found or not all(
        isinstance(m, dict) and all(isinstance(m.get(k), str) for k in ("type", "path")) for m in found
    ):
        return f"is no list of modules with type and path; {AGAIN}"
    for kind, folder in about.listed:
        if PurePosixPath(folder).is_absolute() or ".." in PurePosixPath(folder).parts:
            return f"names {shown(folder)}; allowed: a folder within the model's"
        if kind in (*NEEDS, "Transformer") and not (about.folder / folder).is_dir():
            return f"names the folder {shown(folder)}, which is not there; {AGAIN}"
    return ""


def _module_fault(path: Path, place: str, weights: bool) -> str:
    if not (path / "config.json").exists():
        return f"its {place}config.json is missing; {AGAIN}"
    if fault := ModelFolder(path).fault("config.json"):
        return f"its {place}config.json {fault}"
    return weights_fault(path, place) if weights else ""


def _model_fault(about: ModelFolder, place: str = "") -> str:
    """Say what is wrong with a folder that transformers reads; `place` is its name within the model, with a slash."""
    if about.adapter:
        return "an adapter, not a model; merge it into its base model first"
    if not (about.folder / "config.json").exists():
        return f"its {place}config.json is missing; {AGAIN}"
    for name in OBJECTS:
        if fault := about.fault(name):
            return f"its {place}{name} {fault}"
    config, where = about.config, f"its {place}config.json"
    if fault := model_type_fault(config.get("model_type", "")):
        return f"{where}: {fault}" + "; code of the folder's own is not run" * bool(config.get("auto_map"))
    for key in ("dtype", "torch_dtype"):
        named = config.get(key)
        if isinstance(named, str) and named not in DTYPES and not named.startswith("float8_"):
            return f"{where}: {key} {shown(named)}; allowed: {', '.join(DTYPES)}"
    quantised = config.get("quantization_config")
    method = quantised.get("quant_method") if isinstance(quantised, dict) else None
    if method in QUANTISED:
        return f"its weights are quantised ({method}), which is not supported; allowed: weights in float32, float16 or bfloat16"
    return weights_fault(about.folder, place) or _tokenizer_fault(about, place)


def tokenizer_fault(path: Path, *, alone: bool = False) -> str:
    """Say what is wrong with a tokenizer: a folder, or a file as the library tokenizers writes it; "" if nothing.

    Args:
        path: on this machine; whatever is there.
        alone: whether it is read by that library alone, without transformers.
    """
    if path.is_dir():
        if alone and not (path / "tokenizer.json").exists():
            return "no tokenizer.json in it; allowed: a tokenizer.json, or a folder with one"
        return _tokenizer_fault(ModelFolder(path), "")
    if path.suffix != ".json" and not alone:
        return "a file; allowed: a tokenizer.json, or the folder of a tokenizer"
    try:
        return _form_fault("it", read_json(path))
    except ValueError as error:
        return f"it {error}"


def _tokenizer_fault(about: ModelFolder, place: str) -> str:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if fault := about.fault(name):
            return f"its {place}{name} {fault}"
    if (about.folder / "tokenizer.json").exists():
        return _form_fault(f"its {place}tokenizer.json", about.object("tokenizer.json"))
    if any(p.is_file() for pattern in VOCABULARIES for p in about.folder.glob(pattern)):
        return ""
    without = about.object("tokenizer_config.json").get("tokenizer_class") in BYTES
    return "" if without else f"it has no tokenizer; allowed: {place}tokenizer.json, or the vocabulary of its kind"


def _form_fault(name: str, found: Any) -> str:
    """Say whether what a tokenizer.json holds is no tokenizer: the library says it in words of its own, with a traceback."""
    model = found.get("model") if isinstance(found, dict) else None
    more = (found.get("added_tokens") or []) if isinstance(found, dict) else None
    if isinstance(model, dict) and isinstance(more, list) and all(isinstance(t, dict) for t in more):
        return ""
    return f"{name} is no tokenizer, which has a model and a list of added_tokens; {AGAIN}"


@cache
def model_types() -> frozenset[str]:
    """Return the types of models that transformers knows, read from its source in milliseconds; none where it is not installed."""
    found = find_spec("transformers")
    folders = [Path(p) / "models/auto" for p in (found.submodule_search_locations or [] if found else [])]
    files = [f / name for f in folders for name in ("auto_mappings.py", "configuration_auto.py")]
    text = "".join(f.read_text(encoding="utf-8") for f in files if f.is_file())
    return frozenset(re.findall(r'"([\w.-]+)"[,:] "\w+Config"', text))


def model_type_fault(name: Any) -> str:
    """Say what is wrong with a type of model; "" if transformers knows it, or is not here to be asked.

    >>> model_type_fault("llamma")
    "model_type 'llamma' is none that transformers knows (did you mean 'llama'?)"
    """
    known = model_types()
    if name == "" or str(name) in known or "llama" not in known:  # in another version they may stand elsewhere
        return ""
    close = difflib.get_close_matches(str(name)[:40], known, n=1)
    return f"model_type {shown(name)} is none that transformers knows" + (
        f" (did you mean '{close[0]}'?)" if close else ""
    )
