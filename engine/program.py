"""The program's version, and the command that starts it, for hints in messages."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "gpt-tui"
VERSION = "0.1.0"  # the only definition; pyproject.toml reads it, too


def program() -> str:
    """Return the command that starts this program: its name, or a path if that is not on PATH."""
    started = Path(sys.argv[0])
    if shutil.which(PROGRAM) or not started.is_file():
        return PROGRAM
    if started.name == PROGRAM:
        return shlex.quote(_from_here(started))
    if started.name == "__main__.py":  # python -m tui
        return f"{shlex.quote(_from_here(Path(sys.executable)))} -m tui"
    return PROGRAM


def _from_here(file: Path) -> str:
    """Return the shortest path that a shell runs from here; a bare name would be looked up."""
    path = os.path.relpath(file)
    if path.startswith(os.pardir):
        return str(file.absolute())
    return path if os.sep in path else os.path.join(os.curdir, path)
