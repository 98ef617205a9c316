"""The bytes of a file of the user's, which may be no file, vanish, or change while it is read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data.download import NOBODY, Watcher
from data.errors import InputError, NotFound, reason_of
from data.paths import quoted_path
from data.program import named
from data.reading import file_type, open_regular
from data.sources.meter import Meter

PIECE_BYTES = 1 << 18  # stays in the cache of a core while it is decoded, encoded and written
HEAD_BYTES = 1 << 12


class Unusable(InputError):
    """A file cannot be used as a text; in a folder it is skipped.

    Attributes:
        why: In a few words that follow "3 files are", such as "no text".
    """

    def __init__(self, problem: str, why: str) -> None:
        super().__init__(problem)
        self.args = (problem, why)  # from which pickle rebuilds it
        self.why = why


class FileSource:
    """A file.

    Args:
        path: Absolute.
        spec: How it is named in messages.
        name: How its document is called: for a file of a folder, its path in there.
    """

    def __init__(self, path: Path, spec: str, name: str) -> None:
        self.path, self.spec, self.name, self.inner_name = path, spec, name, name
        self._before: tuple[int, ...] = ()  # what the file was when it was read first

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 if they are not known."""
        try:
            return self.path.stat().st_size
        except (OSError, ValueError):
            return 0

    def head(self, size: int = HEAD_BYTES) -> bytes:
        """Return its first bytes; none if it cannot be read, which is told when it is."""
        try:
            with opened(self.spec, self.path) as file:
                return file.read(size)
        except InputError:
            return b""

    @contextmanager
    def opened(self, watcher: Watcher = NOBODY) -> Iterator[IO[bytes]]:
        """Open it.

        Args:
            watcher: Of a download, if it has to be downloaded first.

        Raises:
            InputError: It cannot be read, or has changed since it was opened first, or while it
                was open.
        """
        with opened(self.spec, self.path) as file:
            self._check_unchanged(file)
            yield file
            self._check_unchanged(file)

    def chunks(self, meter: Meter) -> Iterator[bytes]:
        """Yield its bytes; the last chunk is empty.

        Raises:
            InputError: As ``opened``.
            Cancelled: The meter's watcher returned true.
        """
        with self.opened() as file:
            yield from read_chunks(file, self.spec, meter)

    def _check_unchanged(self, file: IO[bytes]) -> None:
        now = self._identity(os.fstat(file.fileno()))
        self._before = self._before or now
        if now != self._before:
            raise InputError(f"{named(self.spec)} has changed while it was read: try again.")

    def _identity(self, there: os.stat_result) -> tuple[int, ...]:
        return (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns)


@contextmanager
def opened(spec: str, path: Path) -> Iterator[IO[bytes]]:
    """Open a file of the user's.

    Raises:
        NotFound: It is missing.
        InputError: It is no regular file, or may not be read.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError
        if not stat.S_ISREG(mode):  # may be endless, and cannot be read again on resume
            raise Unusable(
                f"{named(spec)} is {file_type(mode)}: save its text to a file first.",
                "no regular files",
            )
        file = os.fdopen(open_regular(path, follow=True), "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"The file {named(spec)} does not exist.") from None
    except IsADirectoryError:
        raise InputError(f"{named(spec)} is a folder: name a file.") from None
    except PermissionError:
        raise Unusable(
            f"No permission to read {named(spec)}: grant it (chmod u+r {quoted_path(spec)}) "
            "or give another file.",
            "not allowed to be read",
        ) from None
    except (OSError, ValueError) as error:  # e.g. a NUL in the path
        raise unreadable(spec, error) from error
    with file:
        try:
            yield file
        except OSError as error:  # a disk that fails
            if error.filename is not None:  # of another file
                raise
            raise unreadable(spec, error) from error


def unreadable(spec: str, error: Exception) -> Unusable:
    """Return what to say of a file that the system does not read."""
    return Unusable(
        f"{spec!r} cannot be read ({reason_of(error)}): check the path or give another file.",
        "unreadable",
    )


def read_chunks(file: IO[bytes], spec: str, meter: Meter) -> Iterator[bytes]:
    """Yield the bytes of a file, and report on it; the last chunk is empty."""
    chunk = b" "
    while chunk:
        meter.tick()
        try:
            chunk = file.read(PIECE_BYTES)
        except OSError as error:
            raise unreadable(spec, error) from None
        meter.read += len(chunk)
        yield chunk
