"""Read files that may be damaged, foreign or hostile.

Nothing here hangs, follows a link, or returns more than was asked for. Whatever is wrong with a
file is an ``OSError`` whose ``strerror`` says what, or a ``ValueError``.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MOST_DOTS = 1000  # in one key; tomllib takes seconds for a key of 20,000 parts
BETWEEN_KEYS = re.compile(r"[=,\n\[\]{}]")
KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def open_regular(path: str | Path, flags: int = os.O_RDONLY, follow: bool = False) -> int:
    """Open a regular file; return its descriptor.

    Args:
        flags: Of ``os.open``.
        follow: Whether `path` may be a link.

    Raises:
        OSError: It is missing, something else than a regular file, or may not be opened.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, 0o666)
    except ValueError as error:  # a NUL in the path, or a letter that the system cannot encode
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a link", str(path)) from None
        if error.errno in (errno.ENXIO, errno.EISDIR):  # a socket or a pipe, a folder
            check_regular(path, follow)
        raise
    try:
        _check_kind(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: str | Path, follow: bool = False) -> None:
    """Check that a path is a regular file, without opening it.

    Raises:
        OSError: It is missing or something else.
    """
    _check_kind((os.stat if follow else os.lstat)(path).st_mode, path)


def read_regular(path: str | Path, limit: int, follow: bool = False) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: As ``open_regular``, or it is larger.
    """
    with open(open_regular(path, follow=follow), "rb") as file:
        body = file.read(limit + 1)
    if len(body) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit // 1024:,} kB", str(path))
    return body


def parse_json(body: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: It is not JSON in UTF-8, nested too deeply, has a number of thousands of digits
            or half of a surrogate pair.
    """
    try:
        text = body.decode() if isinstance(body, bytes) else body
        value = json.loads(text)
        if "\\u" in text:  # a lone surrogate can be written as an escape, but nowhere else
            json.dumps(value, ensure_ascii=False).encode()
    except (RecursionError, ValueError) as error:
        raise _told(error) from None
    return value


def parse_toml(body: bytes) -> dict[str, Any]:
    """Parse TOML in UTF-8, with or without a byte order mark.

    Raises:
        ValueError: It is not TOML, nested too deeply or has a number of thousands of digits.
    """
    try:
        text = body.decode("utf-8-sig")
        parts = BETWEEN_KEYS.split(text) if text.count(".") > MOST_DOTS else ()
        if any(part.count(".") > MOST_DOTS for part in parts):
            raise RecursionError
        return tomllib.loads(text)
    except (RecursionError, ValueError) as error:
        raise _told(error) from None


def _told(error: Exception) -> ValueError:
    """Say what a parser's error means where its own words are about Python."""
    if isinstance(error, RecursionError):
        return ValueError("it is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        byte = error.object[error.start]
        return ValueError(f"byte 0x{byte:02x} at offset {error.start} is not UTF-8")
    if isinstance(error, json.JSONDecodeError):
        return ValueError(f"line {error.lineno} column {error.colno} is not JSON")
    if "int_max_str_digits" in str(error):
        return ValueError("it has a number of thousands of digits")
    return error if isinstance(error, ValueError) else ValueError(str(error))


def convert(value: Any, to: type[T], what: str) -> T:
    """Convert plain values to a type, such as a dataclass; unknown keys are left out.

    Bounds are given as ``Annotated[int, msgspec.Meta(ge=0)]``; a bounded number is finite.

    Args:
        what: The name of the value in the message.

    Raises:
        ValueError: A key is missing, of another type or out of its bounds.
    """
    import msgspec  # not needed before the first paint

    try:
        return msgspec.convert(value, to)
    except (msgspec.ValidationError, RecursionError) as error:
        told, _, where = str(error).partition(" - at ")
        place = f"{what}{where.strip('`').removeprefix('$')}"
        raise ValueError(f"{place}: {told[:1].lower()}{told[1:].replace('`', '')}") from None


def _check_kind(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, f"it is {file_type(mode)}", str(path))


def file_type(mode: int) -> str:
    """Return what something of a mode is that is no regular file, such as ``a pipe``."""
    return next((words for is_kind, words in KINDS if is_kind(mode)), "a device")
