"""A run has only regular files and folders of its own, and writes to nothing else.

What somebody else put in its place (a link to another folder, a pipe, a second name of a file of
another run) is refused, or left as it is.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from data.errors import InputError, shortage_of_files
from data.files import replacing
from data.paths import quoted_path
from data.reading import file_type
from engine.runs.checkpoint_names import CHECKPOINTS_FOLDER


def check_own_files(run: Path, deep: bool = False) -> None:
    """Check that a run has only regular files and folders, before anything is written to it.

    Args:
        deep: Look into folders that are not the program's, too, as for a copy.

    Raises:
        InputError: Something else is there, or the run cannot be looked into.
    """
    _, told = find_foreign(run, deep)
    if told:
        raise InputError(told)


def find_foreign(run: Path, deep: bool = False) -> tuple[Path, str]:
    """Find something in a run that is no regular file or folder.

    Returns:
        Its path and a sentence on it, which is empty if there is nothing.
    """
    try:
        if not stat.S_ISDIR(os.lstat(run).st_mode):
            return run, _told(run)
        path = next((Path(path) for path in _foreign(str(run), 0, deep)), None)
        return (path, _told(path)) if path else (run, "")
    except OSError as error:
        told = f"the run folder {run} cannot be read ({error.strerror}): allow it"
        return run, shortage_of_files(error) or told


def _foreign(folder: str, depth: int, deep: bool) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            there = list(entries)
    except FileNotFoundError:  # dropped just then by whoever trains the run
        return
    for entry in there:
        if entry.is_dir(follow_symlinks=False):
            if deep or depth == 1 or (depth == 0 and entry.name == CHECKPOINTS_FOLDER):
                yield from _foreign(entry.path, depth + 1, deep)
        elif not entry.is_file(follow_symlinks=False) and os.path.lexists(entry.path):
            yield entry.path


def _told(path: Path) -> str:
    mode = os.lstat(path).st_mode
    what = file_type(mode)
    if stat.S_ISLNK(mode):
        what = f"a link to {os.readlink(path)}"
    return (
        f"{path} is {what}, and a run has only files and folders of its own: replace it "
        f"by one of those, or remove it: rm {quoted_path(path)}"
    )


def unlinked(folder: Path, what: str) -> Path:
    """Return a folder beside the runs, such as the trash, unless it is a link.

    Raises:
        InputError: It is one.
    """
    if os.path.islink(folder):
        raise InputError(
            f"{folder} is a link to {os.readlink(folder)}, and {what} is a folder of its own: "
            f"remove the link: rm {quoted_path(folder)}"
        )
    return folder


def unshare(path: Path) -> None:
    """Give a file that has several names (hard links, as of ``cp -al``) a copy of its own.

    A file that is changed in place would be changed under all of its names.

    Raises:
        OSError: It cannot be copied.
    """
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
        with replacing(path) as own, open(path, "rb") as shared:
            shutil.copyfileobj(shared, own, 2**20)


def remove_own_folder(folder: Path, names: Collection[str]) -> None:
    """Delete a folder with these files in it; anything else in it stays, and the folder with it."""
    for name in names:
        with suppress(OSError):
            os.unlink(folder / name)  # a link, and not what it leads to; no folder
    with suppress(OSError):
        os.rmdir(folder)


def has_only(folder: Path, names: Collection[str]) -> bool:
    """Return whether a real folder holds nothing but regular files of these names."""
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return False
        with os.scandir(folder) as entries:
            return all(one.name in names and one.is_file(follow_symlinks=False) for one in entries)
    except OSError:
        return False
