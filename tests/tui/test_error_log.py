"""What native code writes on descriptor 2: in the log of the run that is trained, and no other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.config.schema import Config
from tests.faults.hostile_files import INSTEAD
from tests.tui.conftest import ListeningApp
from tui.control.preferences import Preferences
from tui.control.run import Launch
from tui.terminal.stderr import ErrorLog, open_to_append


@contextmanager
def opened() -> Iterator[ErrorLog]:
    """A log in the place of descriptor 2, which comes back; pytest changes it before each test."""
    before = os.dup(2)
    try:
        yield ErrorLog()
    finally:
        os.dup2(before, 2)
        os.close(before)


def test_what_was_written_before_there_was_a_run_goes_into_its_log(tmp_path: Path) -> None:
    with opened() as log:
        file = tmp_path / "log.txt"
        file.write_text("earlier\n")
        os.write(2, b"early\n")
        assert log.text() == "early\n"
        log.move_to(file)
        os.write(2, b"late\n")
        assert log.text() == file.read_text() == "earlier\nearly\nlate\n"
        log.leave()
        os.write(2, b"elsewhere\n")
        assert log.text() == "elsewhere\n"
        assert file.read_text() == "earlier\nearly\nlate\n"


@pytest.mark.parametrize(
    "instead", [one for one in INSTEAD if one not in ("absent", "empty", "huge", "noise")]
)
def test_something_else_in_the_place_of_the_log_is_not_written(
    tmp_path: Path, instead: str
) -> None:
    with opened() as log:
        file, victim = tmp_path / "log.txt", tmp_path / "victim"
        INSTEAD[instead](file)
        log.move_to(file)
        os.write(2, b"told")
        assert (log.path, log.text()) == (None, "told")
        with pytest.raises(OSError):
            open_to_append(file)
        victim.write_text("theirs")
        (tmp_path / "link").symlink_to(victim)
        log.move_to(tmp_path / "link")
        os.write(2, b" again")
        assert (victim.read_text(), log.text()) == ("theirs", "told again")


def test_nothing_is_written_to_a_run_that_is_watched(tmp_path: Path) -> None:
    with opened() as log:
        app = ListeningApp(Launch(Config(), tmp_path, command_line="gpt-tui"), Preferences())
        app._errors = log
        app.log_to_run(str(tmp_path), watching=True)
        os.write(2, b"told")
        assert not list(tmp_path.iterdir())
        app.log_to_run(str(tmp_path), watching=False)
        assert (tmp_path / "log.txt").read_text() == "told"
