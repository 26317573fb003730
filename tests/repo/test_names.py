"""One name, everywhere: rule = rule file = stage module = function = log = benchmark = results folder = caption."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from jmlr.__main__ import PEOPLE, STAGES, home

ROOT = Path(__file__).resolve().parents[2]
STAGE_FOLDER = ROOT / "src/jmlr/stages"
RULES = {name: ROOT / f"workflow/rules/{name}.smk" for name in STAGES}
SLOTS = ["input", "output", "log", "benchmark", "conda", "threads", "resources", "params", "message", "shell"]


def slots(text: str) -> list[str]:
    return re.findall(r"^    (\w+):", text.split("\nrule ")[-1], re.M)


def path_of(text: str, slot: str, head: str, tail: str) -> str:
    found = re.search(rf'^    {slot}:\n(?:.*\n)??.*?"{head}/([^"]+?){tail}"', text, re.M)
    assert found, f"no {slot} under {head}/"
    return found[1]


def test_the_eleven_stages_are_eleven_rule_files_and_eleven_modules():
    """Fix: A stage is STAGES in src/jmlr/runtime/stages.py, workflow/rules/NAME.smk and src/jmlr/stages/NAME.py: add what is missing (CONTRIBUTING.md)."""
    assert len(STAGES) >= 11
    assert {p.stem for p in (ROOT / "workflow/rules").glob("*.smk")} == {*STAGES, "common"}
    assert {p.stem for p in STAGE_FOLDER.glob("*.py")} == {*STAGES, "__init__"}
    assert {*PEOPLE} <= {p.stem for p in (STAGE_FOLDER.parent / "commands").glob("*.py")}


@pytest.mark.parametrize("name", STAGES)
def test_a_rule_calls_the_stage_of_its_name_and_depends_on_its_code(name):
    """Fix: Let the rule be named like its file, call `jmlr NAME --options {params.options}`, and have params `code=stage_digest("NAME")`."""
    text = RULES[name].read_text()
    assert re.findall(r"^rule (\w+):", text, re.M) == [name]
    assert re.findall(r"\bjmlr (\w+) --", text) == [name]
    assert re.findall(r'stage_digest\(\s*"(\w+)"', text) == [name]
    assert "--options {params.options}" in text
    assert text.rstrip().endswith('2> >(tee -i {log} >&2)"')


@pytest.mark.parametrize("name", STAGES)
def test_a_rule_has_all_slots_in_the_same_order(name):
    """Fix: Put the rule's slots in the order of SLOTS."""
    assert slots(RULES[name].read_text()) == SLOTS


@pytest.mark.parametrize("name", STAGES)
def test_log_and_benchmark_mirror_the_results_folder(name):
    """Fix: Let log, benchmark and options stand under logs/ and benchmarks/rules/ by the path that the output has under results/."""
    text = RULES[name].read_text()
    made = path_of(text, "output", "results", "").removesuffix("/report.html")
    assert name in [part.split("{")[0] for part in made.split("/")]  # search{shard}
    assert path_of(text, "log", "logs", r"\.log") == made
    assert path_of(text, "benchmark", "benchmarks/rules", r"\.tsv") == made
    assert f'options=placed("logs/{made}.options.yaml")' in text


@pytest.mark.parametrize("name", [*STAGES, *PEOPLE])
def test_a_stage_module_has_one_public_stage_function_named_like_it(name):
    """Fix: Let the first public function have the module's name; helpers follow, with an underscore."""
    tree = ast.parse((STAGE_FOLDER.parent / home(name) / f"{name}.py").read_text())
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    assert name in [f.name for f in functions]
    first = next(f for f in functions if not f.name.startswith("_"))
    assert first.name == name, "the stage's function comes first"


def test_the_snakefile_includes_the_rules_in_the_order_of_the_stages():
    """Fix: Include the rules in the order of STAGES, and say the order in the Snakefile's first lines."""
    text = (ROOT / "workflow/Snakefile").read_text()
    assert re.findall(r'include: "rules/(\w+)\.smk"', text) == ["common", *STAGES]
    assert text.split('"""')[1].split("\n")[1].rstrip(".") == " -> ".join(STAGES)


def test_captions_are_named_after_the_files_they_describe():
    """Fix: Name a file of workflow/report like what it describes, and use each."""
    captions = {p.stem for p in (ROOT / "workflow/report").glob("*.rst")}
    named = re.findall(
        r'report\(\s*(?:directory\()?"results/\{run\}/report/(\w+)[^@]*?caption="\.\./report/(\w+)\.rst"',
        RULES["report"].read_text(),
    )
    assert named
    assert all(file == caption for file, caption in named)
    assert {caption for _, caption in named} | {"workflow"} == captions


def test_only_common_holds_functions():
    """Fix: Move the function to workflow/rules/common.smk."""
    for path in RULES.values():
        assert not re.search(r"^\s*def ", path.read_text(), re.M), path.name


def test_no_two_test_modules_share_a_name():
    """Fix: Rename one: pytest imports test modules by their bare names."""
    names = sorted(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"rename one of each: {', '.join(sorted(twice))}"
