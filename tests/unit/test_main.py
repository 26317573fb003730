import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jmlr.__main__ import PEOPLE, STAGES, _parse, home, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("stage", [*STAGES, "ask"])
def test_every_command_explains_its_options(stage, capsys):
    with pytest.raises(SystemExit) as done:
        main([stage, "--help"])
    assert done.value.code == 0
    assert f"usage: jmlr {stage}" in capsys.readouterr().out


def test_a_wrong_command_or_option_is_one_line_that_names_the_nearest(capsys):
    assert main(["trian"]) == 2
    assert "did you mean 'train'" in capsys.readouterr().err
    assert main(["index", "--out", "x", "--vectors", "y", "--storag", "int8"]) == 2
    error = capsys.readouterr().err
    assert "--storage" in error
    assert error.count("\n") == 1


def test_importing_the_package_loads_no_torch():
    code = "import sys, jmlr, jmlr.config, jmlr.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", STAGES)
def test_the_help_of_a_stage_loads_nothing_that_computes(name):
    heavy = "{'torch', 'transformers', 'numpy', 'pyarrow', 'yaml', 'jmlr.config'}"
    code = f"import sys, jmlr.stages.{name}, jmlr.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_the_overview_names_every_command(capsys):
    main([])
    text = capsys.readouterr().out
    assert all(name in text for name in [*STAGES, *PEOPLE])


@pytest.mark.parametrize("name", [*STAGES, *PEOPLE])
def test_help_shows_defaults_as_they_are_given_and_none_that_says_nothing(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert not re.search(r"default: (_empty|None|True|False|\[')", text)


def test_help_shows_lists_and_switches_as_they_are_given(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(r'--lora-targets JSON modules .*?\(default: \["all-linear"\]\)', text)
    assert re.search(
        r"--gradient-checkpointing, --no-gradient-checkpointing .*?\(default: --no-gradient- ?checkpointing\)", text
    )


@pytest.mark.parametrize("name", [*STAGES, *PEOPLE])
def test_the_help_of_every_command_ends_with_an_example_that_can_be_called(name, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    _, _, shown = capsys.readouterr().out.partition("example:\n")
    assert shown.strip().startswith(f"jmlr {name} ")
    monkeypatch.chdir(ROOT)
    for line in re.sub(r"\s*\\\n\s*", " ", shown).strip().splitlines():
        # What the workflow's file of a report holds, which is not there before a run.
        program, command, *words = shlex.split(
            re.sub(r"--options \S+\.yaml", "--systems {}" * (name == "report"), line)
        )
        assert (program, command) == ("jmlr", name)
        _parse(name, getattr(importlib.import_module(f"jmlr.{home(name)}.{name}"), name), words)


def test_a_pipe_that_closes_ends_a_command_quietly(tmp_path):
    script = f"{sys.executable} -m jmlr config --check {ROOT / 'config/config.yaml'}; echo $? > {tmp_path}/code"
    done = subprocess.run(["bash", "-c", f"({script}) | true"], capture_output=True, text=True)
    assert done.stderr == ""
    assert (tmp_path / "code").read_text().strip() == "141"


def test_libraries_draw_no_progress_bars_into_a_log():
    # a GGUF file's 272 tensors drew 40 copies of a bar into the stage's log
    code = """
import contextlib
from jmlr.__main__ import main
with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
    main(["--version"])
from tqdm.auto import tqdm
print(len(list(tqdm(range(3)))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("3\n", "")
