"""The version of this program, and how to call it in hints of what to type next."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "gpt-tui"
VERSION = "0.1.0"  # here alone: pyproject.toml and the rest read it


def program() -> str:
    """How to call this program: by its name, or as it was started if no shell would find that."""
    started = Path(sys.argv[0])
    if shutil.which(PROGRAM) or not started.is_file():
        return PROGRAM
    if started.name == PROGRAM:
        return shlex.quote(_from_here(started))
    if started.name == "__main__.py":  # python -m tui
        return f"{shlex.quote(_from_here(Path(sys.executable)))} -m tui"
    return PROGRAM


def _from_here(file: Path) -> str:
    """A path as short as it can be typed in this folder; never a bare word, which is a name."""
    path = os.path.relpath(file)
    if path.startswith(os.pardir):
        return str(file.absolute())
    return path if os.sep in path else os.path.join(os.curdir, path)
