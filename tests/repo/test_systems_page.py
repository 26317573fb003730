"""The page about systems shows configuration that is valid as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from jmlr.config import Config

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/systems.md").read_text(), re.S)
BASE = {"llama": {"path": "org/llama"}, "llama_judge": {"path": "org/judge"}, "retriever": {"path": "org/retriever"}}


def with_defaults(block: dict) -> dict:
    """Put a block into a run that has what the page takes for granted."""
    systems = {n: {"title": n, "llm": "llama"} for n in ("jmlr", "rag")}
    for system in block.get("systems", {}).values():
        system.setdefault("llm", "llama")
    gpt4 = {"base_url": "https://host/v1", "model": "m"}
    remote = {"title": "gpt4", "llm": "gpt4", "rounds": 0, "reading": {"question_prompt": "{question}{options}"}}
    return {
        **block,
        "models": {**BASE, **block.get("models", {})},
        "endpoints": block.get("endpoints", {"gpt4": gpt4}),
        "systems": {"gpt4": remote, **systems, **block.get("systems", {})},
    }


def test_every_block_of_the_page_is_a_valid_configuration():
    """Fix: Correct the block of docs/systems.md, or BLOCKS here if one was added."""
    assert len(BLOCKS) == 9
    for block in BLOCKS:
        Config.load(with_defaults(yaml.safe_load(block)))


def test_a_row_takes_at_most_five_lines_beside_its_section_names():
    """Fix: Shorten the block of docs/systems.md, or give the option a default that suits."""
    for block in BLOCKS:
        rows = [line for line in block.splitlines() if not re.match(r"^\w+:$", line)]
        assert len(rows) <= 5, block
