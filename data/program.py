"""The command that starts this program, and its arguments as a shell takes them, for hints."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "gpt-tui"
PLAIN = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]*")  # what can stand in a line of text


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


def quote(path: str | Path) -> str:
    """Return a path as it is typed in a shell: one line, and never an option."""
    text = os.path.join(os.curdir, path) if str(path).startswith("-") else str(path)
    if text.startswith("~/"):  # a shell expands it only outside quotes
        return f"~/{quote(text[2:])}" if len(text) > 2 else text
    if PLAIN.fullmatch(text):
        return shlex.quote(text)
    escaped = "".join(_escaped(byte) for byte in os.fsencode(text))
    return f"$'{escaped}'"


def _escaped(byte: int) -> str:
    """Return a byte inside ``$'…'``, which bash, zsh and ksh know; octal has a fixed length."""
    if byte in b"'\\":
        return f"\\{byte:c}"
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"
