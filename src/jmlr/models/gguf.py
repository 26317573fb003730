"""What a GGUF file says of its model, read without loading it: its first keys, in milliseconds.

about = GgufFile(Path("SmolLM2-135M-Instruct.Q4_1.gguf"))
about.architecture, about.context           # 'llama', 8192

The package gguf reads a whole vocabulary first, which takes seconds. Format: ggml's specification, docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import os
import struct
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

from jmlr.models.json_file import AGAIN, POINTER, UNFETCHED
from jmlr.runtime.errors import shown

# The causal architectures that transformers restores from such a file, as llama.cpp calls them there; a test holds the list to both.
ARCHITECTURES = (
    "bloom", "deci", "falcon", "gemma2", "gemma3", "gemma4", "gpt-oss", "gpt2", "lfm2", "llama", "minimax-m2", "mistral", "nemotron",
    "phi3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "stablelm", "starcoder2",
)  # fmt: skip
# Types of values: those of one size, by their numbers in the format, as `struct` writes them.
SIZED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
# Types of tensors, by their numbers in the format: how many values a block has, and how many bytes. A test holds them to gguf's.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10: (256, 84), 11: (256, 110),
    12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50),
    20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8),
    29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36), 41: (128, 18),
}  # fmt: skip
LONGEST = 1 << 20  # bytes of a text: a chat template is shorter
MOST_AXES = 8  # of a tensor; ggml has 4
DAMAGED, SHORT = f"its header is damaged; {AGAIN}", f"it ends within its header; {AGAIN}"


class GgufFile:
    """A GGUF file; `fault` says why it cannot be one, or be read, and then it says nothing else."""

    def __init__(self, path: Path) -> None:
        self.fault, self._found = "", dict[str, Any]()
        try:
            with path.open("rb") as file:
                self._read(file)
        except OSError as error:
            self.fault = error.strerror or str(error)
        except (UnicodeDecodeError, OverflowError):
            self.fault = DAMAGED
        except struct.error:
            self.fault = SHORT
        except ValueError as error:
            self.fault = str(error)
        if self.fault:
            self._found = {}

    def _read(self, file: BinaryIO) -> None:
        begin = file.read(4)
        if begin != b"GGUF":
            pointer = begin + file.read(len(POINTER) - 4) == POINTER
            raise ValueError(f"it {UNFETCHED}" if pointer else "it does not begin as a GGUF file")
        version, tensors, keys = struct.unpack("<IQQ", file.read(20))
        if version and not version & 0xFFFF:
            raise ValueError("its numbers are big-endian; allowed: little-endian")
        if version not in (2, 3):
            raise ValueError(f"version {version} of the format; read are 2 and 3")
        for _ in range(keys):
            key = _text(file)
            self._found[key] = _value(file, *struct.unpack("<I", file.read(4)))
        self._check_values()
        if not tensors:
            raise ValueError("it holds no tensors: a vocabulary or a header alone")
        ends = [_tensor(file) for _ in range(tensors)]
        alignment = self._found.get("general.alignment") or 32
        whole = -(-file.tell() // alignment) * alignment + max(ends)
        if (size := os.fstat(file.fileno()).st_size) < whole:
            raise ValueError(f"it has {size:,} bytes, and {whole:,} by its header; {AGAIN}")

    def _check_values(self) -> None:
        """Refuse values that their keys cannot have, and a file that is a part of a model."""
        for key in ("general.architecture", "tokenizer.chat_template"):
            if not isinstance(self._found.get(key, ""), str):
                raise ValueError(_no_such(key, self._found[key], "text"))
        for key in ("split.count", "general.alignment", f"{self.architecture}.context_length"):
            if type(value := self._found.get(key, 0)) is not int or value < 0:
                raise ValueError(_no_such(key, value, "whole number"))
        if (parts := self._found.get("split.count", 0)) > 1:
            raise ValueError(
                f"one of {parts} parts of a model; join them: llama-gguf-split --merge FIRST_PART WHOLE.gguf"
            )
        if not self.architecture:
            raise ValueError("its header names no architecture")

    @property
    def architecture(self) -> str:
        """What the model is called there: 'llama'."""
        return str(self._found.get("general.architecture", ""))

    @property
    def context(self) -> int:
        """How many positions the model has; 0: it does not say."""
        return int(self._found.get(f"{self.architecture}.context_length") or 0)

    @property
    def has_chat_template(self) -> bool:
        """Whether its tokenizer has a chat template."""
        return bool(self._found.get("tokenizer.chat_template"))


def _no_such(key: str, value: object, what: str) -> str:
    return f"its header is damaged: {shown(key)[1:-1]} is {shown(value)}, no {what}; {AGAIN}"


def _tensor(file: BinaryIO) -> int:
    """Return where the next tensor ends, or begins where its type is not known, counted from the first."""
    _text(file)
    (axes,) = struct.unpack("<I", file.read(4))
    if axes > MOST_AXES:
        raise ValueError(DAMAGED)
    *shape, kind, offset = struct.unpack(f"<{axes}QIQ", file.read(8 * axes + 12))
    values, size = BLOCKS.get(kind, (1, 0))
    return int(offset) + prod(shape) // values * size


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > LONGEST:
        raise ValueError(DAMAGED)
    data = file.read(length)
    if len(data) < length:
        raise ValueError(SHORT)
    return data.decode()


def _value(file: BinaryIO, kind: int) -> Any:
    """Return the next value; of an array, which is passed over, its length."""
    if kind == STRING:
        return _text(file)
    if kind != ARRAY:
        if kind not in SIZED:
            raise ValueError(DAMAGED)
        return struct.unpack(f"<{SIZED[kind]}", file.read(struct.calcsize(SIZED[kind])))[0]
    inner, length = struct.unpack("<IQ", file.read(12))
    if inner in SIZED:
        size = length * struct.calcsize(SIZED[inner])
        if size > os.fstat(file.fileno()).st_size:
            raise ValueError(SHORT)
        file.seek(size, 1)
    elif inner == STRING:
        for _ in range(length):
            _text(file)
    else:
        raise ValueError(DAMAGED)
    return length
