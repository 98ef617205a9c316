"""The command that starts this program, and its arguments as a shell takes them, for hints."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from data.paths import quoted

PROGRAM = "gpt-tui"


def program() -> str:
    """Return the command that starts this program: its name, or a path if that is not on PATH."""
    started = Path(sys.argv[0])
    if shutil.which(PROGRAM) or not started.is_file():
        return PROGRAM
    if started.name == PROGRAM:
        return quoted(_from_here(started))
    if started.name == "__main__.py":  # python -m tui
        return f"{quoted(_from_here(Path(sys.executable)))} -m tui"
    return PROGRAM


def _from_here(file: Path) -> str:
    """Return the shortest path that a shell runs from here; a bare name would be looked up."""
    path = os.path.relpath(file)
    if path.startswith(os.pardir):
        return str(file.absolute())
    return path if os.sep in path else os.path.join(os.curdir, path)


def named(path: str) -> str:
    """Return a path as it is named in a sentence: as it is, unless that is more than a line."""
    return path if path.isprintable() else quoted(path)
