"""The weights of a model's folder, told from the headers of its safetensors files: whether all are there and whole.

    weights_fault(Path("models/llama"))     # "its model-00002-of-00003.safetensors is missing"; "" where nothing is wrong

Format: 8 bytes, the length n of the header; n bytes of JSON, which says where each tensor begins and ends; the tensors.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from jmlr.models.json_file import AGAIN, POINTER, UNFETCHED, read_json

ONE, INDEX = "model.safetensors", "model.safetensors.index.json"
LONGEST = 100_000_000  # bytes of a header, as the library safetensors has it
OTHERS = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.gguf", "*.safetensors")
CONVERT = "load it with transformers once and save it anew with save_pretrained()"


def weights_fault(folder: Path, place: str = "") -> str:
    """Say what is wrong with the weights of a folder, whose name within the model is `place` ('0_Transformer/'); "" if nothing."""
    if os.path.lexists(folder / ONE):
        return _named(place + ONE, safetensors_fault(folder / ONE))
    if not os.path.lexists(folder / INDEX):
        found = sorted({p.name for pattern in OTHERS for p in folder.glob(pattern) if p.name != "training_args.bin"})
        if not found:
            return f"it has no weights; allowed: {place}{ONE}, or parts of it with {place}{INDEX}"
        named = ", ".join(found[:3]) + ", ..." * (len(found) > 3)
        return (
            f"its weights are in {place}{named}; allowed: {place}{ONE}, or parts of it with {place}{INDEX} ({CONVERT})"
        )
    try:
        index = read_json(folder / INDEX)
    except ValueError as error:
        return _named(place + INDEX, str(error))
    parts = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(parts, dict) or not parts or not all(isinstance(p, str) for p in parts.values()):
        return _named(place + INDEX, f"has no weight_map of tensors and files; {AGAIN}")
    faults = (_named(place + part, safetensors_fault(folder / part)) for part in sorted(set(parts.values())))
    return next((fault for fault in faults if fault), "")


def safetensors_fault(path: Path) -> str:
    """Say what is wrong with a safetensors file, in the words behind its name; "" if nothing. Its tensors are not read."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            begin = file.read(8)
            if begin + file.read(len(POINTER) - 8) == POINTER:
                return UNFETCHED
            if len(begin) < 8:
                return f"is empty; {AGAIN}" if not begin else f"is cut within its header; {AGAIN}"
            (length,) = struct.unpack("<Q", begin)
            if length > LONGEST:
                return f"is no safetensors file, or damaged; {AGAIN}"
            file.seek(8)
            header = file.read(length)
    except FileNotFoundError:
        return f"is missing; {AGAIN}"
    except IsADirectoryError:
        return "is a folder; allowed: a safetensors file"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if len(header) < length:
        return f"is cut within its header; {AGAIN}"
    try:
        tensors = {name: about for name, about in json.loads(header).items() if name != "__metadata__"}
        ends = [int(about["data_offsets"][1]) for about in tensors.values()]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return f"is no safetensors file, or damaged; {AGAIN}"
    if not ends:
        return "holds no tensor"
    whole = 8 + length + max(ends)
    return "" if size == whole else f"has {size:,} bytes, and {whole:,} by its header; {AGAIN}"


def _named(name: str, fault: str) -> str:
    return fault and f"its {name} {fault}"
