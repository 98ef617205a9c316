"""Packed files, unpacked as they are read: gzip, bzip2, xz and Zstandard.

What a few bytes unpack to may be endless: the ratio is bounded, and the size.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import IO, Any

from data.errors import InputError
from data.program import install_command, named
from data.sources.files import PIECE_BYTES, FileSource, Unusable
from data.sources.meter import Meter

MOST_RATIO = 250  # of unpacked to packed bytes; texts have 3 to 20, and logs up to 100
FREE_BYTES = 1 << 24  # that any file may unpack to
ZSTANDARD_BYTES = 1 << 8  # that are unpacked at a time
MOST_BYTES = 1 << 38  # 256 GiB
DAMAGED = (EOFError, OSError, lzma.LZMAError, zlib.error)


@dataclass(frozen=True)
class Packing:
    """A format of one packed file.

    Attributes:
        called: With its article.
        magic: What it begins with.
        suffix: Of its names.
        open: Returns a file of what is packed in another one.
    """

    called: str
    magic: bytes
    suffix: str
    open: Callable[[IO[bytes]], Any]


def _zstandard(file: IO[bytes]) -> Any:
    with suppress(ImportError):  # from Python 3.14
        return importlib.import_module("compression.zstd").ZstdFile(file)
    try:
        return _ZstandardFile(file)
    except ImportError:
        raise InputError(
            f"it is a Zstandard file, which needs another package: {install_command('zstd')}"
        ) from None


class _ZstandardFile:
    """What is packed in a Zstandard file; the library's own class takes a cut one for a whole."""

    def __init__(self, file: IO[bytes]) -> None:
        from zstandard import ZstdDecompressor

        self._file, self._begin = file, ZstdDecompressor().decompressobj
        self._frame, self._rest, self._is_inside = self._begin(), b"", False

    def read(self, size: int) -> bytes:
        """Return some of it; nothing at its end.

        Raises:
            EOFError: The last frame is cut.
        """
        out = bytearray()
        while len(out) < size:
            # of few bytes, so that what they unpack to fits into memory whatever it is
            packed = self._rest or self._file.read(ZSTANDARD_BYTES)
            if not packed:
                if self._is_inside:
                    raise EOFError
                break
            if self._frame.eof:
                self._frame = self._begin()
            out += self._frame.decompress(packed)
            self._rest = self._frame.unused_data if self._frame.eof else b""
            self._is_inside = not self._frame.eof
        return bytes(out)


PACKINGS = (
    Packing("a gzip file", b"\x1f\x8b\x08", ".gz", lambda file: gzip.GzipFile(fileobj=file)),
    Packing("a bzip2 file", b"BZh", ".bz2", bz2.BZ2File),
    Packing("an xz file", b"\xfd7zXZ\0", ".xz", lzma.LZMAFile),
    Packing("a Zstandard file", b"\x28\xb5\x2f\xfd", ".zst", _zstandard),
)


def packing_of(head: bytes) -> Packing | None:
    """Return how a file with these first bytes is packed; None if it is not."""
    found = next((one for one in PACKINGS if head.startswith(one.magic)), None)
    if found and found.suffix == ".bz2" and head[4:10] not in (b"1AY&SY", b"\x17rE8P\x90"):
        return None  # a text that begins so
    return found


class PackedSource:
    """What is packed in a file."""

    def __init__(self, file: FileSource, packing: Packing) -> None:
        self.spec, self.name = file.spec, file.name
        self.inner_name = str(PurePath(file.name).with_suffix("")) if _is_named(file.name) else ""
        self._file, self._packing = file, packing

    @property
    def size(self) -> int:
        return self._file.size

    def chunks(self, meter: Meter) -> Iterator[bytes]:
        """Yield what is packed; the last chunk is empty.

        Raises:
            InputError: The file cannot be read, is damaged, or unpacks to far too much.
            Cancelled: The meter's watcher returned true.
        """
        before, unpacked, chunk = meter.read, 0, b" "
        with self._file.opened() as file:
            reader = self._opened(file)
            bound = Bound(self.spec)
            while chunk:
                meter.tick()
                chunk = self._read(reader)
                unpacked += len(chunk)
                bound.check(unpacked, file.tell())
                meter.read = before + file.tell()
                yield chunk

    def _opened(self, file: IO[bytes]) -> Any:
        try:
            return self._packing.open(file)
        except InputError as error:
            raise Unusable(f"{named(self.spec)}: {error}", "packed by Zstandard") from None

    def _read(self, reader: Any) -> bytes:
        try:
            return bytes(reader.read(PIECE_BYTES))
        except Exception as error:
            if not isinstance(error, DAMAGED) and type(error).__name__ != "ZstdError":
                raise
            is_cut = isinstance(error, EOFError)
            what = "ends too early" if is_cut else f"is damaged ({error})"
            raise Unusable(
                f"{named(self.spec)} is {self._packing.called} that {what}: get it again",
                "packed and cut" if is_cut else "packed and damaged",
            ) from None


class Bound:
    """Refuses what unpacks to far more than a text does."""

    def __init__(self, spec: str) -> None:
        self._spec = spec

    def check(self, unpacked: int, packed: int) -> None:
        """Check a number of bytes, and from how many they were unpacked.

        Raises:
            Unusable: They are far too many.
        """
        if unpacked > MOST_BYTES or unpacked > max(FREE_BYTES, MOST_RATIO * packed):
            raise Unusable(
                f"{named(self._spec)} unpacks to more than {unpacked / 1e6:,.0f} MB from "
                f"{packed / 1e6:,.3f} MB, which is no text: unpack it yourself if it is meant",
                "packed, and unpack to far too much",
            )


def _is_named(name: str) -> bool:
    return name.lower().endswith(tuple(one.suffix for one in PACKINGS))
