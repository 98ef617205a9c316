"""Files that are replaced as a whole, and kept through a power cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

MOST_BYTES_OF_NAME = 200  # file systems allow 255, and something is added


@contextmanager
def replacing(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file that takes the place of `path` once the block has ended without an error.

    Until then `path` is unchanged. `mode` and `options` are those of `open`.

    Raises:
        OSError: It could not be written; no temporary file is left behind.
    """
    # Not a file of tempfile, which is readable by its owner alone, whatever the umask.
    short = os.fsdecode(os.fsencode(path.name)[:MOST_BYTES_OF_NAME])
    part = path.with_name(f".{short}.{os.urandom(4).hex()}.tmp")
    try:
        with part.open(mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave the new name on an empty file
        part.replace(path)
    except OSError as error:
        if error.filename is None:  # that of a write or a flush has none
            error.filename = str(path)
        raise
    finally:
        part.unlink(missing_ok=True)


def write_atomically(path: Path, body: bytes) -> None:
    """Write a file, and its folder if need be: `path` has its old content or all of `body`.

    Raises:
        OSError: It could not be written; no temporary file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(body)


def remove_tree(folder: Path) -> None:
    """Delete a folder of this program's own, as far as that is possible.

    Unlike ``shutil.rmtree``, it has one file open at a time: too many may be open already.
    """
    for parent, folders, files in os.walk(folder, topdown=False):
        for name in (*files, *folders):
            path = os.path.join(parent, name)
            with suppress(OSError):
                is_folder = name in folders and not os.path.islink(path)
                os.rmdir(path) if is_folder else os.unlink(path)
    with suppress(OSError):
        os.rmdir(folder)


def sync_to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk itself (fsync).

    Raises:
        OSError: It does not exist, or the disk refuses.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # it may have become a pipe
    try:
        os.fsync(descriptor)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
