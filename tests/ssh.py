"""A program ``ssh`` that runs the command on this machine, and fails as the real one does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = f"cd '{ROOT}' && exec '{sys.executable}' -m tui"
SCRIPT = """#!/bin/sh
echo $$ >> "$SSH_FOLDER/pids"
echo "$@" >> "$SSH_FOLDER/calls"
if [ -e "$SSH_FOLDER/before" ]; then . "$SSH_FOLDER/before"; fi
while [ "$1" != "--" ]; do shift; done
shift 2
exec sh -c "$*"
"""


class FakeSsh:
    """Stands in front of the real one on ``PATH``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        program = folder / "bin" / "ssh"
        program.parent.mkdir()
        program.write_text(SCRIPT)
        program.chmod(0o755)
        monkeypatch.setenv("SSH_FOLDER", str(folder))
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")

    def does_first(self, script: str) -> None:
        """Have it carry out some lines of a shell before the command, or instead."""
        (self._folder / "before").write_text(script)

    @property
    def calls(self) -> list[str]:
        """The arguments of each call."""
        return (self._folder / "calls").read_text().splitlines()

    @property
    def last_pid(self) -> int:
        """The process of the latest call, which is that of the command."""
        return int((self._folder / "pids").read_text().split()[-1])
