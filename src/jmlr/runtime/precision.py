"""The number formats that a model computes in; a leaf, so that options know them without torch."""

from __future__ import annotations

from typing import Literal

Precision = Literal["float32", "bfloat16"]
