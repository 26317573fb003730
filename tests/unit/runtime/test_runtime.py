import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jmlr.runtime.errors import UserError, full_disk
from jmlr.runtime.files import files_below, fresh_directory, fresh_file, save_array
from jmlr.runtime.manifest import stage_output
from jmlr.runtime.seeds import stream


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(RuntimeError), fresh_directory(target) as folder:
        (folder / "half").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with fresh_directory(target) as folder:
        (folder / "whole").write_text("x")
    assert [p.name for p in target.iterdir()] == ["whole"]


def test_a_folder_is_on_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    """Every file and folder of the output is brought to disk before the rename, so that it outlives a power cut."""
    synced, replaced = [], []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda h: (synced.append(os.readlink(f"/proc/self/fd/{h}")), sync(h)))
    monkeypatch.setattr(os, "replace", lambda a, b: (replaced.append(len(synced)), replace(a, b)))
    with fresh_directory(tmp_path / "out") as folder:
        (folder / "sub").mkdir()
        for n in range(40):
            (folder / f"sub/{n}").write_text("x")
        made = {str(p) for p in [folder, *folder.rglob("*")]}
    assert set(synced[: replaced[0]]) == made
    assert synced[-1] == str(tmp_path)


def test_a_file_that_cannot_be_brought_to_disk_leaves_the_old_folder(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()

    def refuse(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="No space left"), fresh_directory(tmp_path / "out", lambda _: ["old"]) as folder:
        (folder / "new").write_text("x")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["old"]


def test_outputs_keep_to_the_umask_so_that_private_data_stays_private(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with fresh_directory(tmp_path / "out") as folder:
            (folder / "notes.parquet").touch()
        with fresh_file(tmp_path / "file") as target:
            target.touch()
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "out/notes.parquet").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600


def test_a_file_keeps_its_old_content_when_writing_fails(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError), fresh_file(target) as path:
        path.write_text("new")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("numbers", [1200, 1300, 1500, 100_000])
def test_an_array_is_written_whole_or_with_an_error(tmp_path, numbers):
    """NumPy alone fails this at 1,300 and 1,500: it ignores what the disk refuses when the file is closed."""
    array, limit = np.arange(numbers, dtype=np.float32), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
    try:
        if array.nbytes + 128 > 5000:
            with pytest.raises(OSError, match="File too large") as caught:
                save_array(tmp_path / "a.npy", array)
            assert full_disk(caught.value)
        else:
            save_array(tmp_path / "a.npy", array)
            assert np.array_equal(np.load(tmp_path / "a.npy"), array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_streams_differ_by_name_and_repeat_for_the_same():
    assert stream(0, "a", 1) == stream(0, "a", 1)
    assert len({stream(s, n, i) for s in range(3) for n in "ab" for i in range(3)}) == 18


def test_what_belongs_to_a_run_is_found_wherever_the_run_lies(tmp_path, monkeypatch):
    from jmlr.runtime.manifest import belonging

    for name in ("away/results/demo/llm/seed0/pretrain", "away/models/mine", "home/llm/seed0/pretrain"):
        (tmp_path / name).mkdir(parents=True)
    away, home = tmp_path / "away/results/demo", tmp_path / "home"
    assert belonging(away, "results/demo/llm/seed0/pretrain") == str(away / "llm/seed0/pretrain")
    assert belonging(home, "results/demo/llm/seed0/pretrain") == str(home / "llm/seed0/pretrain")
    assert belonging(away, "models/mine") == str(tmp_path / "away/models/mine")
    assert belonging(away, "org/model-of-the-hub") == "org/model-of-the-hub"
    assert belonging(away, str(tmp_path / "home")) == str(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    assert belonging(Path("home"), "results/demo/llm/seed0/pretrain") == str(home / "llm/seed0/pretrain")


def test_manifests_name_what_lies_in_the_run_from_its_folder_and_it_is_found_after_a_move(tmp_path, monkeypatch):
    from jmlr.runtime.manifest import belonging, read_manifest, stage_output

    monkeypatch.chdir(tmp_path)
    Path("results/demo/llm").mkdir(parents=True)
    Path("results/demo/llm/weights").write_text("1")
    Path("data").mkdir()
    Path("data/mine.txt").write_text("2")
    inputs = {"llm": Path("results/demo/llm"), "local": Path("data/mine.txt")}
    with stage_output(Path("results/demo/jmlr/seed0/answer"), "answer", inputs=inputs) as (_, notes):
        notes |= {
            "llm": "results/demo/llm",
            "whole": str(tmp_path / "results/demo/llm"),
            "hub": "org/model",
            "n": [1, None],
        }
    Path("results/demo").rename("brought")
    made = read_manifest(Path("brought/jmlr/seed0/answer"))
    assert set(made["inputs"]["llm"]) == {"llm/weights"}
    assert set(made["inputs"]["local"]) == {"data/mine.txt"}
    assert made["notes"] == {"llm": "llm", "whole": "llm", "hub": "org/model", "n": [1, None]}
    assert "results" not in Path("brought/jmlr/seed0/answer/manifest.json").read_text()
    monkeypatch.chdir("/")
    assert belonging(tmp_path / "brought", made["notes"]["llm"]) == str(tmp_path / "brought/llm")


def test_a_model_that_stayed_on_the_cluster_is_told_with_where_to_put_it(tmp_path):
    from jmlr.runtime.manifest import belonging

    run = tmp_path / "demo"
    run.mkdir()
    with pytest.raises(
        UserError, match=rf"'/cluster/llama', which is not here; allowed: .* link to it at '{run}/models/llama'"
    ):
        belonging(run, "/cluster/llama")
    (run / "models/llama").mkdir(parents=True)
    assert belonging(run, "/cluster/llama") == str(run / "models/llama")
    assert belonging(run, "") == ""


def replace(target, *ours, name="new"):
    with fresh_directory(target, lambda _: ours) as folder:
        (folder / name).touch()


def tree(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("foreign", ["thesis.txt", "photos/2019/sea.jpg", ".hidden", "new.bak"])
def test_a_folder_with_a_file_that_is_not_ours_stays_as_it_is(tmp_path, foreign):
    replace(tmp_path / "out", name="old")
    (tmp_path / "out" / foreign).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / foreign).touch()
    before = tree(tmp_path)
    with pytest.raises(UserError, match=f"out' holds '{foreign}', which was not written by this command"):
        replace(tmp_path / "out", "old")
    assert tree(tmp_path) == before


def test_a_file_in_the_place_of_a_folder_stays(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out' is there and no folder"):
        replace(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_and_what_snakemake_left_in_one_are_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    replace(tmp_path / "out")
    (tmp_path / "out/.snakemake_timestamp").touch()
    replace(tmp_path / "out", "new", name="newer")
    assert tree(tmp_path) == ["out", "out/newer"]


def test_a_file_that_comes_while_a_folder_is_made_stays(tmp_path):
    with pytest.raises(UserError, match="holds 'late'"), fresh_directory(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/late").touch()
    assert tree(tmp_path) == ["out", "out/late"]


def test_at_no_moment_is_there_nothing_where_a_folder_is_replaced(tmp_path, monkeypatch):
    replace(tmp_path / "out")
    renamed = []
    rename = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (renamed.append((a, b)), rename(a, b)))
    replace(tmp_path / "out", "new")
    if sys.platform == "linux":
        assert renamed == []  # exchanged
    assert tree(tmp_path) == ["out", "out/new"]


def test_where_names_cannot_be_exchanged_a_folder_is_replaced_in_two_steps(tmp_path, monkeypatch):
    monkeypatch.setattr("jmlr.runtime.files._exchange", lambda one, other: False)
    replace(tmp_path / "out", name="old")
    replace(tmp_path / "out", "old")
    assert tree(tmp_path) == ["out", "out/new"]


BUILD = """
import sys
from pathlib import Path
from jmlr.runtime.files import fresh_directory
with fresh_directory(Path(sys.argv[1]), lambda _: ["new", "half"]) as folder:
    (folder / "half").touch()
    print("begun", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("other", ["emb", "emb.int8"])
def test_what_a_living_process_writes_stays_and_what_a_killed_one_left_goes(tmp_path, other):
    target = tmp_path / "emb.int8"
    command = [sys.executable, "-c", BUILD, target]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        replace(tmp_path / other)
        assert len(list(tmp_path.glob(".emb.int8.*.partial/half"))) == 1
        running.communicate("\n")
    assert running.returncode == 0
    assert (target / "half").exists()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun\n"
        killed.kill()
    assert len(list(tmp_path.glob(".emb.int8.*"))) == 2
    replace(target, "half")
    assert tree(tmp_path) == sorted({other, f"{other}/new", "emb.int8", "emb.int8/new"})


@pytest.mark.parametrize("there", [True, False])
def test_a_link_in_the_place_of_an_output_is_followed(tmp_path, there):
    (tmp_path / "disk").mkdir()
    if there:
        replace(tmp_path / "disk/out", name="old")
        (tmp_path / "disk/file").write_text("old")
    for name in ("out", "file"):
        (tmp_path / name).symlink_to(f"disk/{name}")
    replace(tmp_path / "out", "old")
    with fresh_file(tmp_path / "file") as path:
        path.write_text("new")
    assert tree(tmp_path / "disk") == ["file", "out", "out/new"]
    assert (tmp_path / "file").is_symlink()
    assert (tmp_path / "disk/file").read_text() == "new"


def test_a_stage_replaces_its_own_output_and_no_other(tmp_path):
    def write(stage):
        with stage_output(tmp_path / "out", stage, inputs={}) as (folder, _):
            (folder / "table").touch()

    write("encode")
    write("encode")
    with pytest.raises(UserError, match="was not written by this command"):
        write("index")
    (tmp_path / "out/mine").touch()
    with pytest.raises(UserError, match="holds 'mine'"):
        write("encode")
    assert tree(tmp_path / "out") == ["manifest.json", "mine", "table"]


@pytest.mark.parametrize("name", [b"\xff.txt", b"caf\xe9/notes.txt"])
def test_a_name_that_is_not_in_utf8_is_refused_in_one_line_that_can_be_printed(tmp_path, name):
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    (tmp_path / "gut-ä.txt").write_text("x")
    with pytest.raises(UserError, match=r"'(\\xff\.txt|caf\\xe9)' is not in UTF-8; rename it$") as error:
        files_below(tmp_path)
    assert str(error.value).encode()


def test_a_single_file_or_a_dead_link_with_such_a_name_can_be_told_too(tmp_path):
    (tmp_path / os.fsdecode(b"\xff.txt")).write_text("x")
    with pytest.raises(UserError, match=r"'\\xff\.txt' is not in UTF-8"):
        files_below(tmp_path / os.fsdecode(b"\xff.txt"))
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/link.txt").symlink_to(os.fsdecode(b"\xfe"))
    with pytest.raises(UserError, match=r"is a link to '\\xfe'"):
        files_below(tmp_path / "sub")


def test_a_place_where_nothing_can_be_made_is_one_line(tmp_path):
    from jmlr.runtime.files import fresh_directory

    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot be made"), fresh_directory(tmp_path / "file" / "out"):
        pass


def test_a_gguf_file_that_is_not_there_is_no_name_on_the_hub():
    from jmlr.runtime.preflight import located

    with pytest.raises(UserError, match=r"there is no 'models/nothere\.gguf'"):
        located("models/nothere.gguf", "models.llm.path")


def test_weights_are_as_readable_as_the_umask_has_it(tmp_path):
    """safetensors makes files that their owner alone can read (findings/safetensors_mode.sh)."""
    from safetensors.numpy import save_file

    before = os.umask(0o027)
    try:
        with fresh_directory(tmp_path / "made") as folder:
            (folder / "adapter").mkdir()
            save_file({"w": np.zeros(2, np.float32)}, folder / "adapter/w.safetensors")
    finally:
        os.umask(before)
    assert oct((tmp_path / "made/adapter/w.safetensors").stat().st_mode & 0o777) == "0o640"
