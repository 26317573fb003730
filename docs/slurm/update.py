"""Put the tables of docs/slurm.md there, and the lines for the paper's corpora into profiles/slurm/config.yaml.

.venv/bin/python docs/slurm/update.py
"""

from __future__ import annotations

import csv
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import yaml

from jmlr.__main__ import main
from jmlr.commands.config import read_config
from jmlr.commands.plan import costs, total
from jmlr.commands.sizes import Line, Sizes
from jmlr.config import Config
from jmlr.models.flops import Shape
from jmlr.models.memory import Training
from jmlr.training.budget import GPU_TOKENS

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "slurm.md"
MODELS = {"Llama-2-7b-hf": "7B", "Llama-2-13b-hf": "13B"}
NODES = (1, 2, 8)
CARDS = (1, 4, 8)
# 10,178 + 182,822 questions to train on, 1,272 + 1,273 and 4,183 + 6,150 to choose and test by: MedQA and MedMCQA.
QUESTIONS, TESTED = 205_878, 5_456
CORPUS = 25_000_000
ROOT = HERE.parents[1]
RUNS, PROFILE = ROOT / "config/runs", ROOT / "profiles/slurm/config.yaml"
# All corpora of the paper's run, 54 million passages of MEAN_TOKENS of 512 tokens, with the rows of its table.
COMMAND = (
    "config/runs/paper-13b.yaml config/runs/paper-others.yaml docs/slurm/corpora.yaml --corpus-passages 54000000"
    f" --all-questions {QUESTIONS} --test-questions {TESTED} --fill 0.43 --profile"
)
MEAN_TOKENS = 221  # all of MedRAG's snippets (Xiong et al. 2024, arXiv 2402.13178)


def plan_table() -> str:
    """Return the table of the paper's run by model and nodes."""
    rates, run = yaml.safe_load((HERE / "rates.yaml").read_text()), read_config(HERE / "paper.yaml")
    rows = [
        "| LLM | nodes | jobs | encode, h | index, h | search, h | train, h | answer, h | GPU hours | kept, TB |",
        "|" + "---|" * 10,
    ]
    for name, title in MODELS.items():
        for nodes in NODES:
            sizes = Sizes(CORPUS, QUESTIONS, TESTED, 4, 1.0, nodes, 4)
            lines = costs(run, sizes, rates, "h100", name)
            hours = [f"{x.hours:.1f}" for x in lines if x.stage in ("encode", "index", "search", "train", "answer")]
            every = total(lines)
            cells = [title, str(nodes), str(every.jobs), *hours, f"{every.gpu_hours:.0f}", f"{every.bytes / 1e12:.2f}"]
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def paper_hours() -> float:
    """Return what the plan says of the paper's own hardware, 4 GPUs of 80 GB: hours of training 13B."""
    rates, run = yaml.safe_load((HERE / "rates.yaml").read_text()), read_config(HERE / "paper.yaml")
    lines = costs(run, Sizes(CORPUS, QUESTIONS, TESTED, 4, 1.0, 1, 4), rates, "a100", "Llama-2-13b-hf")
    return next(x.hours for x in lines if x.stage == "train")


def late(*over: str) -> str:
    """Return what the plan says of the paper's run with its ColBERT, for passages as long as MedRAG's snippets are (MEAN_TOKENS)."""
    run = read_config(RUNS / "paper-13b.yaml", *(RUNS / name for name in over))
    lines = late_lines(run)
    held, gpus = (lines["encode"].bytes + lines["index"].bytes) / 1e12, total(list(lines.values())).gpu_hours
    each, every = (float(f"{lines['search'].hours * n:.2g}") for n in (1, run.shards))
    searched = f"Search takes {every:,.0f} hours on two threads, {each:,.0f} in each of {run.shards} shards"
    return f"{held:.0f} TB of vectors and indexes, and {gpus:.0f} GPU hours. {searched}"


def late_lines(run: Config) -> dict[str, Line]:
    """Return the plan of such a run by stage."""
    rates = yaml.safe_load((HERE / "rates.yaml").read_text())
    sizes = Sizes(CORPUS, QUESTIONS, TESTED, 4, MEAN_TOKENS / run.retrieval.retriever_passage_tokens, 1, 4)
    return {x.stage: x for x in costs(run, sizes, rates, "h100")}


def exhaustive() -> str:
    """Return the hours of the same run's search where every token of every passage is scanned for every question."""
    run = read_config(RUNS / "paper-13b.yaml")
    whole = run.model_copy(update={"search": run.search.model_copy(update={"exhaustive": True})})
    hours = late_lines(whole)["search"].hours * run.shards
    return f"{float(f'{hours:.2g}'):,.0f} hours"


def check_table() -> str:
    """Return the table of measured runs beside the plan of the same runs (docs/slurm/measured.csv)."""
    rates = yaml.safe_load((HERE / "rates.yaml").read_text())
    rows = ["| run | stage | jobs | planned, CPU s | measured, CPU s | planned, MB | measured, MB |", "|" + "---|" * 7]
    for record in csv.DictReader((HERE / "measured.csv").open()):
        run = Config.load(yaml.safe_load((HERE / record["config"]).read_text()) or {})
        names = ("passages", "questions", "test_questions", "options", "fill", "nodes", "gpus_per_node")
        sizes = Sizes(**{k: float(record[k]) if k == "fill" else int(record[k]) for k in names})
        line = next(x for x in costs(run, sizes, rates, "cpu-thread") if x.stage == record["stage"])
        jobs = str(line.jobs) if line.jobs == int(record["jobs"]) else f"{line.jobs} (made: {record['jobs']})"
        serial = line.jobs if line.stage == "answer" else 1
        planned, size = f"{line.hours * serial * 3600:.0f}", f"{line.bytes / 1e6:.0f}"
        cells = [record["run"], line.stage, jobs, planned, record["seconds"], size, record["megabytes"]]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def memory_table() -> str:
    """Return the table of what a training takes of a card, by model, number of cards, and whether it is cut over them."""
    rates, run = yaml.safe_load((HERE / "rates.yaml").read_text()), read_config(HERE / "paper.yaml")
    options, read = run.train_options("jmlr"), run.reading
    rows = [
        f"| LLM | training | the model | {' | '.join(f'{n} card, GB' if n == 1 else f'{n} cards, GB' for n in CARDS)} |"
    ]
    rows.append("|" + "---|" * (3 + len(CARDS)))
    for name, title in {**MODELS, "Llama-2-70b-hf": "70B"}.items():
        llm = Shape.of(rates["models"][name])
        kinds = {
            "`train`, rank 128, weights in bfloat16": Training.of_adapter(
                llm, rank=options.lora_rank, precision="bfloat16", tokens=GPU_TOKENS, recompute=True,
                predicted=GPU_TOKENS // read.llm_passage_tokens * read.llm_answer_tokens,
            ),
            "`pretrain`, all weights": Training.of_all(llm, tokens=GPU_TOKENS, recompute=True),
        }  # fmt: skip
        for kind, training in kinds.items():
            for shard in (False, True):
                found = [training.on_a_card(n, shard=shard) for n in CARDS]
                marks = ["" if x.fits(80e9) else " †" if x.fits(141e9) else " ‡" for x in found]
                cells = [f"{x.total / 1e9:.0f}{mark}" for x, mark in zip(found, marks, strict=True)]
                rows.append(f"| {title} | {kind} | {'cut' if shard else 'whole'} | {' | '.join(cells)} |")
    return "\n".join(rows)


def profile() -> str:
    """Return profiles/slurm/config.yaml with its commented lines made anew by COMMAND."""
    with redirect_stdout(io.StringIO()) as said:
        main(["plan", *(str(ROOT / word) if word.endswith(".yaml") else word for word in COMMAND.split())])
    lines = "".join(f"# {line}\n" for line in said.getvalue().splitlines())
    return re.sub(r"^# set-resources:\n(?:#.*\n)+", lambda _: lines, PROFILE.read_text(), flags=re.M)


def page() -> str:
    """Return docs/slurm.md with its tables made anew."""
    text = PAGE.read_text()
    made_anew = {"plan": plan_table(), "paper": f"{paper_hours():.0f}", "late": late(), "check": check_table()}
    made_anew |= {"released": late("paper-released.yaml"), "exhaustive": exhaustive(), "memory": memory_table()}
    for mark, made in made_anew.items():
        begin, end = f"<!-- {mark} begin -->", f"<!-- {mark} end -->"
        head, _, rest = text.partition(begin)
        line = "" if "\n" not in made else "\n"
        text = f"{head}{begin}{line}{made}{line}{end}{rest.partition(end)[2]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page())
    PROFILE.write_text(profile())
