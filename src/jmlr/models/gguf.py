"""What a GGUF file says of its model, read without loading it: its first keys, in milliseconds.

about = GgufFile(Path("SmolLM2-135M-Instruct.Q4_1.gguf"))
about.architecture, about.context           # 'llama', 8192

The package gguf reads a whole vocabulary first, which takes seconds. Format: ggml's specification, docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

# The causal architectures that transformers restores from such a file; a test holds the list to transformers' own.
ARCHITECTURES = (
    "bloom", "deci", "falcon", "gemma2", "gemma3", "gemma4", "gpt2", "gpt_oss", "lfm2", "llama", "mamba", "minimax_m2", "mistral",
    "nemotron", "phi3", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "stablelm", "starcoder2",
)  # fmt: skip
# Types of values: those of one size, by their numbers in the format, as `struct` writes them.
SIZED = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
LONGEST = 1 << 20  # bytes of a text: a chat template is shorter
DAMAGED, SHORT = "its header is damaged", "it ends within its header"


class GgufFile:
    """A GGUF file; `fault` says why it cannot be one, and then it says nothing else."""

    def __init__(self, path: Path) -> None:
        self.fault, self._found = "", dict[str, Any]()
        try:
            with path.open("rb") as file:
                self._read(file)
        except OSError as error:
            self.fault = error.strerror or str(error)
        except UnicodeDecodeError:
            self.fault = DAMAGED
        except struct.error:
            self.fault = SHORT
        except ValueError as error:
            self.fault = str(error)

    def _read(self, file: BinaryIO) -> None:
        if file.read(4) != b"GGUF":
            raise ValueError("it does not begin as a GGUF file")
        version, _, keys = struct.unpack("<IQQ", file.read(20))
        if version not in (2, 3):
            raise ValueError(f"version {version} of the format; read are 2 and 3")
        for _ in range(keys):
            key = _text(file)
            self._found[key] = _value(file, *struct.unpack("<I", file.read(4)))

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
        file.seek(length * struct.calcsize(SIZED[inner]), 1)
    elif inner == STRING:
        for _ in range(length):
            _text(file)
    else:
        raise ValueError(DAMAGED)
    return length
