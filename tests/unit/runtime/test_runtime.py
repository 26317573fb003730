import os
from pathlib import Path

import pytest

import jmlr.runtime.digest as digest
from jmlr.runtime.files import fresh_directory, fresh_file
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


def test_streams_differ_by_name_and_repeat_for_the_same():
    assert stream(0, "a", 1) == stream(0, "a", 1)
    assert len({stream(s, n, i) for s in range(3) for n in "ab" for i in range(3)}) == 18


def test_a_stage_is_digested_with_what_it_imports_and_nothing_else():
    assert "jmlr.losses.llm_rank" in digest.modules_of("train")
    assert "jmlr.losses.llm_rank" not in digest.modules_of("encode")
    assert not any(m.startswith("jmlr.training.step") for m in digest.modules_of("search"))
    assert "jmlr.config" not in digest.modules_of("train")


def test_every_stage_has_a_digest_of_its_own():
    stages = [p.stem for p in Path(digest.PACKAGE / "stages").glob("*.py") if p.stem != "__init__"]
    assert len({digest.stage_digest(s) for s in stages}) == len(stages)
