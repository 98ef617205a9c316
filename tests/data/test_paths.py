"""Paths as they are shown, quoted and found without a home folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from data.errors import InputError
from data.paths import own_folder, quoted, typed_path, utf8_text

NAMES = (b"plain", b"two words", b"caf\xe9", b"it's\n'here\\", b"\x1b[31m", "ä\u202e".encode())


@pytest.mark.parametrize("name", NAMES)
def test_a_quoted_name_reaches_the_program_as_it_was(name: bytes) -> None:
    word = quoted(os.fsdecode(name))
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout == name


def test_bytes_that_are_not_utf8_are_shown_as_such() -> None:
    assert utf8_text(os.fsdecode(b"/tmp/caf\xe9/\xff")) == "/tmp/caf\\xe9/\\xff"
    assert utf8_text(Path("/tmp/café")) == "/tmp/café"


def test_without_a_home_folder_the_variable_to_set_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("MINE", raising=False)
    with pytest.raises(InputError, match="there is no home folder, as HOME is not set: set MINE"):
        own_folder("MINE", lambda: Path("~/.local/share"))
    monkeypatch.setenv("MINE", str(tmp_path))
    assert own_folder("MINE", lambda: Path("~/.local/share")) == tmp_path


def test_a_path_need_not_exist(tmp_path: Path) -> None:
    for path in (tmp_path / "new", tmp_path / "new/newer", Path("/etc/passwd/below")):
        assert typed_path(path) == path
    assert typed_path("~") == Path.home()


def test_a_file_may_have_a_tilde_in_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert typed_path("~/x") == tmp_path / "home/x"
    assert typed_path("./~x") == Path("~x")
