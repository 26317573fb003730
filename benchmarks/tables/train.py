"""The tables of docs/llm_rank.md, from what train_cpu.py measured."""

from __future__ import annotations

from typing import Any

REPEATS = 7
PHASES = ("score_candidates", "teacher_losses", "score_again", "read_and_answer")
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12}  # dense bfloat16, from the makers' data sheets


def table(result: dict[str, Any]) -> list[str]:
    """Return the Markdown between the page's markers."""
    lines = [
        f"{result['cells'][0]['device']}, {result['threads']} threads, torch {result['versions']['torch']}; medians of {REPEATS} in alternation. "
        "Memory: the peak of one step above models and optimiser.",
        "",
        "| LLM | B, C, S, K | contestant | questions/s | times the twin's | peak MB | share of the twin's |",
        "|---" * 7 + "|",
    ]
    for cell in result["cells"]:
        shape, rate, held = cell["shape"], cell["questions_per_s"], cell["peak_bytes"]
        sizes = ", ".join(str(shape[k]) for k in ("batch", "candidates", "samples", "passages"))
        for name in rate:
            lines.append(
                f"| {shape['name']} | {sizes} | {name} | {rate[name]:.2f} | {rate[name] / rate['twin']:.1f} "
                f"| {held[name] / 1e6:.0f} | {held[name] / held['twin']:.2f} |"
            )
    lines += ["", "Where the fast step's time goes, and what share of the speed of large matrix products it reaches:", "",
              "| LLM | " + " | ".join(f"`{p}`" for p in PHASES) + " | the rest | model GFLOP/s | share of the ceiling |", "|---" * 8 + "|"]  # fmt: skip
    for cell in result["cells"]:
        spent = list(cell["phase_s"].values())
        shares = " | ".join(f"{s / sum(spent):.0%}" for s in spent)
        share = cell["flops_per_s"] / cell["ceiling_flops_per_s"]
        lines.append(f"| {cell['shape']['name']} | {shares} | {cell['flops_per_s'] / 1e9:.1f} | {share:.0%} |")
        named = [v for k, v in PEAK_FLOPS.items() if k in cell["device"]]
        if named:
            lines += ["", f"Model FLOPs utilisation on {cell['device']}: {cell['flops_per_s'] / named[0]:.0%}."]
    return lines
