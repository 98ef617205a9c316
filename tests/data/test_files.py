from __future__ import annotations

from pathlib import Path

import pytest

from data.files import write_atomically


def test_a_file_is_written_with_the_folders_above_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "text", b"new")
    assert (tmp_path / "a" / "b" / "text").read_bytes() == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"old")

    def full_disk(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as told:
        write_atomically(path, b"new")
    assert told.value.filename == str(path), "which Python does not know of a write"
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["text"]


def test_the_new_name_appears_only_once_all_bytes_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, existed = tmp_path / "text", []
    monkeypatch.setattr("os.fsync", lambda file: existed.append(path.exists()))
    write_atomically(path, b"new")
    assert existed == [False]
