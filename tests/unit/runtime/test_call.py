"""What Snakemake would drop or change without a word ends the call, or the job, with one line."""

from __future__ import annotations

import re

import pytest

from jmlr.runtime.call import check_call, profile_files, same_config
from jmlr.runtime.errors import UserError


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--configfile", "a.yaml", "--configfile", "b.yaml"], "--configfile stands 2 times"),
        (["--configfile", "a.yaml", "--configfiles=b.yaml"], "--configfile stands 2 times"),
        (["--config", "a=1", "-C", "b=2"], "--config stands 2 times"),
        (["-Ca=1", "--config=b=2"], "-Ca=1 stands 2 times"),
        (["--set-resources", "a:x=1", "--set-resources", "b:x=1"], "--set-resources stands 2 times"),
        (["-R", "train", "--forcerun", "encode"], "-R stands 2 times"),
    ],
)
def test_an_option_of_several_values_is_given_once(words, said):
    with pytest.raises(UserError, match=re.escape(said)):
        check_call(["snakemake", "--cores", "2", *words], {})


@pytest.mark.parametrize(
    "words",
    [
        ["--configfile", "a.yaml", "b.yaml", "--config", "a=1"],
        ["--configfile", "a.yaml", "--config", "a=--configfile"],
        ["--cores", "1", "--cores", "2"],
        ["--config", "a=1", "--", "--config"],
        ["--conda-prefix", "x", "--config", "a=1"],
    ],
)
def test_other_calls_pass(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_call(["snakemake", *words], {})


@pytest.fixture
def profile(tmp_path, monkeypatch):
    (tmp_path / "here/mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    file = tmp_path / "here/mine/config.yaml"
    file.write_text("executor: slurm\nset-resources:\n  train:\n    gpu: 1\n  encode: {gpu: 1}\n")
    return file


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--profile", "mine"], {}),
        (["--profile=mine"], {}),
        (["--profile", "mine/config.yaml"], {}),
        (["--workflow-profile", "mine"], {}),
        ([], {"SNAKEMAKE_PROFILE": "mine"}),
    ],
)
def test_a_wall_time_that_yaml_reads_in_sixties_is_refused_in_every_way_to_name_a_profile(profile, words, environment):
    check_call(["snakemake", *words], environment)
    profile.write_text(profile.read_text().replace("gpu: 1\n", "runtime: 2:00:00\n"))
    with pytest.raises(UserError, match=r"mine/config\.yaml, line 4: runtime: 2:00:00 is read as 7200"):
        check_call(["snakemake", *words], environment)
    check_call(["snakemake", "--profile", "none"], environment)


def test_a_profile_is_found_in_the_users_folder_and_the_one_of_the_workflow_always(profile, tmp_path):
    (tmp_path / "home/snakemake/far").mkdir(parents=True)
    (tmp_path / "home/snakemake/far/config.v9+.yaml").write_text("jobs: 1\n")
    (tmp_path / "home/snakemake/far/other.yaml").write_text("jobs: 1\n")
    (tmp_path / "here/profiles/default").mkdir(parents=True)
    (tmp_path / "here/profiles/default/config.yaml").write_text("jobs: 1\n")
    found = profile_files(["snakemake", "--profile", "far"], {"XDG_CONFIG_HOME": str(tmp_path / "home")})
    assert [str(f).removeprefix(f"{tmp_path}/") for f in found] == [
        "home/snakemake/far/config.v9+.yaml", "profiles/default/config.yaml",
    ]  # fmt: skip


def test_resources_of_the_command_that_replace_all_of_the_profiles_are_said(profile, capsys):
    check_call(["snakemake", "--profile", "mine", "--set-resources", "train:mem_mb=9"], {})
    assert capsys.readouterr().err == (
        "note: --set-resources takes the place of all of set-resources in mine/config.yaml (train, encode)\n"
    )
    check_call(["snakemake", "--profile", "mine", "--set-threads", "train=9"], {})
    assert not capsys.readouterr().err


CONFIG = {
    "run": "mine",
    "reading": {"question_prompt": "It costs $50.\n{question}"},
    "seeds": [0, 1],
    3: {"a": 1, 4: 2},
}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"reading": {"question_prompt": "It costs 0.\n{question}"}}, "reading"),
        ({"reading": {"question_prompt": "It costs $50.\\n{question}"}}, "reading"),
        ({"reading": "{question_prompt: x}", "seeds": ["0", "1"]}, "reading, seeds"),
        ({"new": 1}, "new"),
        ({"seeds": [0]}, "seeds"),
    ],
)
def test_a_job_with_another_configuration_than_the_submitters_ends(monkeypatch, changed, named):
    monkeypatch.setenv("JMLR_CONFIG", "that of a call around this one")
    same_config(CONFIG, submitting=True)
    same_config(dict(CONFIG), submitting=False)
    with pytest.raises(UserError, match=f"^config: {named}: not as the submitting Snakemake had it"):
        same_config({**CONFIG, **changed}, submitting=False)
    del (less := dict(CONFIG))["seeds"]
    with pytest.raises(UserError, match="config: seeds:"):
        same_config(less, submitting=False)


def test_two_modules_of_one_workflow_have_a_configuration_each(monkeypatch):
    for name in ("", "_a", "_b"):
        monkeypatch.setenv(f"JMLR_CONFIG{name}", "")
    same_config({"run": "a"}, submitting=True, module="a")
    same_config({"run": "b"}, submitting=True, module="b")
    same_config({"run": "a"}, submitting=False, module="a")
    with pytest.raises(UserError, match="config: run:"):
        same_config({"run": "b"}, submitting=False, module="a")


def test_a_job_to_which_no_digest_came_goes_on(monkeypatch):
    monkeypatch.delenv("JMLR_CONFIG", raising=False)
    same_config(CONFIG, submitting=False)
