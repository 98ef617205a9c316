"""The files in a ZIP archive, which is never unpacked to the disk."""

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import PurePosixPath
from typing import IO

from data.program import named
from data.sources.files import PIECE_BYTES, FileSource, Unusable
from data.sources.meter import Meter
from data.sources.packed import Bound
from data.sources.tally import Tally

MAGIC = b"PK\x03\x04"
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, ValueError)
ENCRYPTED = 1  # bit of a member's flags


class Archive:
    """A ZIP archive that stays open while its members are in use."""

    def __init__(self, file: FileSource) -> None:
        self.file, self.spec = file, file.spec

    @cached_property
    def zip(self) -> zipfile.ZipFile:
        try:
            with self.file.opened() as file:
                return zipfile.ZipFile(_again(file))
        except DAMAGED as error:
            raise self.damaged(error) from None

    def damaged(self, error: Exception) -> Unusable:
        return Unusable(
            f"{named(self.spec)} is a ZIP archive that is damaged ({error}): get it again",
            "damaged archives",
        )

    def members(self, skipped: Tally) -> list[Member]:
        """Return its files in the order of their names.

        Args:
            skipped: Receives what is hidden or no file.

        Raises:
            Unusable: It is damaged, encrypted, or made to write outside of its folder.
        """
        found = {}
        for info in self.zip.infolist():
            path = PurePosixPath(info.filename)
            if path.is_absolute() or ".." in path.parts or "\\" in info.filename:
                raise Unusable(
                    f"{named(self.spec)} has a member {named(info.filename)}, which leads out of "
                    "the archive: it may be hostile, and is not read",
                    "hostile archives",
                )
            if info.flag_bits & ENCRYPTED:
                raise Unusable(
                    f"{named(self.spec)} is encrypted: unpack it with its password",
                    "encrypted archives",
                )
            if why := _why_not(info, path):
                skipped.add(why, f"{self.file.name}/{info.filename}")
            elif not info.is_dir():
                found[path.parts] = Member(self, info)
        return [found[parts] for parts in sorted(found)]


class Member:
    """A file in an archive."""

    def __init__(self, archive: Archive, info: zipfile.ZipInfo) -> None:
        self._archive, self._info = archive, info
        self.name = f"{archive.file.name}/{info.filename}"
        self.spec = f"{archive.spec}/{info.filename}"
        self.inner_name = self.name

    @property
    def size(self) -> int:
        return self._info.compress_size

    def head(self, size: int) -> bytes:
        """Return its first bytes; none if it cannot be read, which is told when it is."""
        try:
            with self._archive.zip.open(self._info) as file:
                return file.read(size)
        except DAMAGED:
            return b""

    def chunks(self, meter: Meter) -> Iterator[bytes]:
        """Yield its bytes; the last chunk is empty.

        Raises:
            InputError: The archive has changed, is damaged, or unpacks to far too much.
            Cancelled: The meter's watcher returned true.
        """
        bound, unpacked, chunk = Bound(self.spec), 0, b" "
        with self._archive.file.opened():  # refuses one that has changed
            try:
                with self._archive.zip.open(self._info) as file:
                    while chunk:
                        meter.tick()
                        chunk = file.read(PIECE_BYTES)
                        unpacked += len(chunk)
                        bound.check(unpacked, self.size)
                        yield chunk
            except DAMAGED as error:
                raise self._archive.damaged(error) from None
        meter.read += self.size


def _again(file: IO[bytes]) -> IO[bytes]:
    """Return another file of the same, which stays open."""
    return os.fdopen(os.dup(file.fileno()), "rb")


def _why_not(info: zipfile.ZipInfo, path: PurePosixPath) -> str:
    """Return why a member is left out; empty if it is not."""
    if any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
        return "hidden"
    kind = stat.S_IFMT(info.external_attr >> 16)
    return "no regular files" if kind and kind not in (stat.S_IFREG, stat.S_IFDIR) else ""
