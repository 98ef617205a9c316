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


def install_command(extra: str) -> str:
    """Return the command that adds the packages of an extra to this installation.

    It installs from where this program was installed from: a folder, an address, or an index.
    """
    # not for every start of the program
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote_to_bytes, urlsplit

    wanted, option = f"{PROGRAM}[{extra}]", ""
    try:
        # PEP 610: there is none if it came from an index
        origin = json.loads(distribution(PROGRAM).read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    match origin:
        case {"url": str(url), "dir_info": {**how}}:
            folder = os.fsdecode(unquote_to_bytes(urlsplit(url).path))
            wanted, option = f"{folder}[{extra}]", "-e " if how.get("editable") else ""
        case {"url": str(url), "vcs_info": {"vcs": str(system), **how}}:
            at = f"@{revision}" if (revision := how.get("requested_revision")) else ""
            wanted += f" @ {system}+{url}{at}"
        case {"url": str(url)}:
            wanted += f" @ {url}"
    return f"pip install {option}{quoted(wanted)}"


def _from_here(file: Path) -> str:
    """Return the shortest path that a shell runs from here; a bare name would be looked up."""
    path = os.path.relpath(file)
    if path.startswith(os.pardir):
        return str(file.absolute())
    return path if os.sep in path else os.path.join(os.curdir, path)


def named(path: str) -> str:
    """Return a path as it is named in a sentence: as it is, unless that is more than a line."""
    return path if path.isprintable() else quoted(path)
