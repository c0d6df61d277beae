"""Changed files are told once, and only when they stand still."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.cli.service.files import Files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.toml"
    file.write_text("a = 1\n")
    (tmp_path / "conf.d").mkdir()
    return file


def test_a_change_is_told_when_the_files_stand_still(file: Path) -> None:
    files = Files(file)
    assert not files.have_changed()
    file.write_text("a = 12\n")
    assert not files.have_changed()
    file.write_text("a = 123\n")
    assert not files.have_changed()
    assert files.have_changed()
    files.note_read()
    assert not files.have_changed()


def test_a_file_that_is_put_in_its_place_with_the_same_size_and_time_is_a_change(
    file: Path,
) -> None:
    files, times = Files(file), file.stat()
    draft = file.with_suffix(".new")
    draft.write_text("a = 2\n")
    os.utime(draft, ns=(times.st_atime_ns, times.st_mtime_ns))
    draft.rename(file)
    assert [files.have_changed(), files.have_changed()] == [False, True]


def test_files_in_conf_d_that_come_and_go_are_changes_and_others_are_not(file: Path) -> None:
    files, more = Files(file), file.parent / "conf.d" / "press.toml"
    more.with_suffix(".txt").write_text("")
    assert [files.have_changed(), files.have_changed()] == [False, False]
    more.write_text("")
    assert [files.have_changed(), files.have_changed()] == [False, True]
    files.note_read()
    more.unlink()
    assert [files.have_changed(), files.have_changed()] == [False, True]


def test_what_changes_while_it_is_read_is_told_afterwards(file: Path) -> None:
    files = Files(file)
    files.note_read()
    file.write_text("a = 12345\n")
    assert [files.have_changed(), files.have_changed()] == [False, True]


def test_a_file_that_vanishes_is_a_change(file: Path) -> None:
    files = Files(file)
    file.unlink()
    assert [files.have_changed(), files.have_changed()] == [False, True]
