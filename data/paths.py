"""Paths that a user typed or set in the environment, and the folders of this program.

A path is checked where it enters: what is returned here can be passed to the system, although it
need not exist.
"""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from data.errors import InputError, brief, reason_of, shortage_of_files

MOST_LEVELS = 200  # of folders; Python makes missing ones by recursion
MISSING = (errno.ENOENT, errno.ENOTDIR)
NOT_UTF8 = re.compile("[\udc80-\udcff]")  # how Python has bytes that are not UTF-8
NO_HOME = "there is no home folder, as HOME is not set"
WAYS_OUT = {
    errno.ENAMETOOLONG: "use a shorter one",
    errno.EACCES: "allow it, or choose another",
    errno.EPERM: "allow it, or choose another",
    errno.EROFS: "choose another",
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room",
    errno.ENOENT: "it may have been deleted just now",
    errno.EIO: "the disk may be failing, so copy what is on it",
}


def typed_path(text: str | os.PathLike[str], what: str = "") -> Path:
    """Return the path that a text names, with ``~`` expanded.

    Args:
        what: The environment variable that the text is from.

    Raises:
        InputError: It is empty, cannot be looked up, or its ``~`` has no meaning here.
    """
    text = os.fspath(text)
    if problem := _problem_of(text):
        reason, way_out = problem
        named = f"{what}={brief(text)}" if what else brief(text)
        raise InputError(f"{named} cannot be used ({reason}): {way_out}")
    return expanded(text)


def expanded(text: str) -> Path:
    """Return the path that a text names; ``~/x`` is in the home folder, ``./~x`` is here.

    Raises:
        RuntimeError: There is no such user, or no home folder.
    """
    # a Path drops the ./ in front
    return Path(text) if text.startswith(f"{os.curdir}/") else Path(text).expanduser()


def real_path(path: str | os.PathLike[str]) -> Path:
    """Return a path with its links followed.

    Links that lead in a circle are left in it, where ``Path.resolve`` raises ``RuntimeError``.
    """
    return Path(os.path.realpath(path))


def absolute(path: Path) -> Path:
    """Return a path that does not depend on the current folder.

    Raises:
        InputError: The current folder was deleted.
    """
    try:
        return path.absolute()
    except FileNotFoundError:
        raise InputError("the current folder was deleted: change to another (cd ~)") from None


def own_folder(variable: str, default: Callable[[], Path], option: str = "") -> Path:
    """Return the folder that an environment variable names, or else the user's own.

    Args:
        default: Returns the user's own folder, by platformdirs.
        option: Can be used instead of the variable.

    Raises:
        InputError: The variable's value cannot be used, or there is no home folder.
    """
    if chosen := os.environ.get(variable):
        return absolute(typed_path(chosen, variable))
    try:
        folder = default()
    except RuntimeError:  # platformdirs finds no home folder; older versions leave a ~
        folder = Path("~")
    if not folder.is_absolute():
        raise InputError(f"{NO_HOME}: set {variable}{f', or use {option}' if option else ''}")
    return typed_path(folder)


def cache_folder() -> Path:
    """Return the cache folder, which may not exist yet.

    Raises:
        InputError: The path cannot be used, or there is no home folder.
    """
    return own_folder("GPT_TUI_CACHE", _users_cache)


def _users_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("gpt-tui")


def check_may_be_read(path: Path) -> None:
    """Check that a file is not another user's alone, where a library does not say why it fails.

    Raises:
        InputError: It is there, and may not be read.
    """
    if os.path.exists(path) and not os.access(path, os.R_OK):
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        raise InputError(describe_os_error(denied))


def describe_os_error(error: OSError) -> str:
    """Return what the system refused and why, and a way out."""
    if shortage := shortage_of_files(error):
        return shortage
    named = "a file" if error.filename is None else utf8_text(error.filename)
    return f"{named} cannot be used ({reason_of(error)}): {way_out_of(error)}"


def way_out_of(error: OSError) -> str:
    """Return what helps where the system refused a path, as an imperative."""
    return WAYS_OUT.get(error.errno or 0, "check it, or choose another")


def no_room(error: OSError) -> bool:
    """Return whether a disk, or the user's part of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def utf8_text(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path, or a text with paths in it; bytes that are not UTF-8 become ``\\xff``."""
    return NOT_UTF8.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", os.fsdecode(path))


def quoted(text: str | os.PathLike[str]) -> str:
    """Quote a text for a shell; what cannot be printed is escaped, as in ``$'caf\\xe9'``."""
    text = os.fspath(text)
    if text.isprintable():
        return shlex.quote(text)
    return f"$'{''.join(map(_escaped, text))}'"


def quoted_path(path: str | Path) -> str:
    """Quote a path for a shell: never an option, and with a ``~`` that the shell expands."""
    text = os.path.join(os.curdir, path) if str(path).startswith("-") else str(path)
    # a shell expands it only outside quotes
    return f"~/{quoted(text[2:])}" if text.startswith("~/") else quoted(text)


@contextmanager
def utf8_path(folder: Path) -> Iterator[Path]:
    """Yield a path of a folder in UTF-8, for libraries that take no other.

    It relies on Linux, where an open folder has a second path; other systems rarely allow names
    that are not UTF-8.
    """
    if is_unicode(str(folder)):
        yield folder
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def check_storable(*paths: str) -> None:
    """Check that paths can be stored in a run, whose files are in UTF-8.

    Raises:
        InputError: One cannot; the sentence says how to rename it.
    """
    path = next((one for one in paths if not is_unicode(one)), "")
    if not path:
        return
    parts = Path(path).parts
    first = next(i for i, part in enumerate(parts) if not is_unicode(part))
    old = Path(*parts[: first + 1])
    new = old.with_name(NOT_UTF8.sub("_", old.name))
    raise InputError(
        f"{utf8_text(path)} cannot be used (its name is not UTF-8): rename it with "
        f"mv -n -- {quoted(old)} {quoted(new)}"
    )


def is_unicode(text: str) -> bool:
    """Return whether a text can be stored in UTF-8; file names that are not UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _problem_of(text: str) -> tuple[str, str] | None:
    """Return why a text cannot be a path, and a way out."""
    if not text:
        return "it is empty", "name a file or a folder"
    if "\0" in text:
        return "it has a NUL character", "leave that out"
    try:
        path = expanded(text)
        os.lstat(path)
    except RuntimeError:
        if user := Path(text).parts[0][1:]:
            return f"there is no user {user!r}", "check the name"
        return NO_HOME, "write it without ~"
    except UnicodeEncodeError:
        return "it has characters that no file name has", "check it"
    except OSError as error:
        if error.errno not in MISSING:
            return reason_of(error), way_out_of(error)
        if len(path.parts) > MOST_LEVELS:
            return f"it would have more than {MOST_LEVELS} levels of folders", "use a shorter one"
    return None


def _escaped(character: str) -> str:
    if character.isprintable():
        return f"\\{character}" if character in "'\\" else character
    errors = "surrogateescape" if NOT_UTF8.match(character) else "surrogatepass"
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors=errors))
