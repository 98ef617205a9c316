"""Texts of a run that are written to files in its folder."""

from __future__ import annotations

import itertools
from pathlib import Path

from data.errors import InputError
from data.files import write_atomically
from data.paths import describe_os_error

TEXTS_FOLDER = "texts"


def save_text(run: Path, step: int, text: str) -> Path:
    """Write a text to a new file in the folder of a run; return its path.

    Raises:
        InputError: It cannot be written.
    """
    folder = run / TEXTS_FOLDER
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, so nothing is written to it: remove it")
    try:
        folder.mkdir(exist_ok=True)
        taken = {path.name for path in folder.iterdir()}
        names = (f"step-{step}-{number}.txt" for number in itertools.count(1))
        path = folder / next(name for name in names if name not in taken)
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise InputError(f"the text cannot be saved: {describe_os_error(error)}") from None
    return path
