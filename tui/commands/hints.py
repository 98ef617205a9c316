"""What to type next: commands that work from here, as they are."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from engine.run.folder import is_default, typed_name

__all__ = ["PROGRAM", "in_runs_dir", "program", "typed_name"]

PROGRAM = "gpt-tui"


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


def in_runs_dir(runs_dir: Path) -> str:
    """The option, with a space before it, that a command needs to find a runs folder."""
    return "" if is_default(runs_dir) else f" --runs-dir {shlex.quote(str(runs_dir))}"


def _from_here(file: Path) -> str:
    """A path as short as it can be typed in this folder; never a bare word, which is a name."""
    path = os.path.relpath(file)
    if path.startswith(os.pardir):
        return str(file.absolute())
    return path if os.sep in path else os.path.join(os.curdir, path)
