import subprocess
import sys

import pytest

from jmlr.__main__ import PEOPLE, STAGES, main


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


def test_the_overview_names_every_command(capsys):
    main([])
    text = capsys.readouterr().out
    assert all(name in text for name in [*STAGES, *PEOPLE])
