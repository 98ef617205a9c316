"""Write a plain text in UTF-8 of a text in another encoding, or with signs that are in the way."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data.corpora.decoding import Undecodable, decode, is_codec, new_name
from data.corpora.encoding import (
    SAMPLE_BYTES,
    UTF8,
    Encoding,
    example_for,
    look_around,
    marked,
)
from data.corpora.file_kinds import kind_of, way_out
from data.corpora.normalize import normalized
from data.download import Watcher
from data.errors import InputError, reason_of
from data.paths import no_room, typed_path
from data.program import named
from data.sources.files import opened, read_chunks
from data.sources.meter import Meter
from data.sources.tally import Tally


@dataclass(frozen=True)
class Converted:
    """What was done.

    Attributes:
        characters: That were written.
        encoding: Of the old text.
        replaced: Bytes that were invalid in it; � stands in their places.
        is_cut: Whether its last letter was cut, and is left out.
    """

    characters: int
    encoding: str
    replaced: int
    is_cut: bool


def convert(spec: str, new: str, codec: str, watcher: Watcher) -> Converted:
    """Write a new file with the text of another one.

    Line ends become `\\n`, byte order marks are left out, and letters in two parts are joined.

    Args:
        spec: The text.
        new: The path of the new file; nothing may be there.
        codec: The encoding of the text; empty finds it out.

    Raises:
        InputError: The text cannot be read, its encoding is unknown, or the new file cannot be
            written. No file is left behind.
        Cancelled: `watcher.cancelled` returned true.
    """
    with opened(spec, typed_path(spec)) as file:
        size = os.fstat(file.fileno()).st_size
        encoding, cut = _encoding_of(file, spec, codec, Meter("reading", spec, size, watcher))
        file.seek(0)
        counts = _Counts()
        chunks = read_chunks(file, spec, Meter("converting", spec, size, watcher))
        pieces = _decoded(chunks, encoding, spec, counts)
        _write(typed_path(new), new, normalized(pieces, "nfc", spec, Tally()), counts)
    return Converted(counts.characters, encoding.described, counts.replaced, cut)


@dataclass
class _Counts:
    characters: int = 0
    replaced: int = 0


def _encoding_of(file: IO[bytes], spec: str, codec: str, meter: Meter) -> tuple[Encoding, bool]:
    """Return the encoding of a file, and whether its last letter is cut."""
    if codec:
        if not is_codec(codec):
            raise InputError(
                f"there is no encoding {codec!r}: name one such as cp1252, gbk, koi8-r or utf-16"
            )
        return Encoding(codec, codec), False
    head = file.read(SAMPLE_BYTES)
    if kind := kind_of(head):
        raise InputError(
            f"{named(spec)} is {kind.called}, no plain text: {way_out(kind, spec, new_name(spec))}"
        )
    if found := marked(head):
        return found, False
    file.seek(0)
    offset = _first_invalid(file, spec, meter)
    if offset is None:
        return UTF8, False
    file.seek(0)
    window = look_around(read_chunks(file, spec, meter), offset)
    if window.is_cut:
        return UTF8, True
    if found := window.encoding:
        return found, False
    file.seek(0)
    example = example_for(read_chunks(file, spec, meter))
    if not example:
        raise InputError(
            f"{named(spec)} is not a text file: it has control characters, and what is at offset "
            f"{offset:,} is not UTF-8. Give a text file."
        )
    raise InputError(
        f"{named(spec)} is not UTF-8 (at offset {offset:,}), and it is not clear what it is: "
        f"name its encoding with --from, such as --from {example}, if it is a text"
    )


def _first_invalid(file: IO[bytes], spec: str, meter: Meter) -> int | None:
    """Return the offset of the first byte that is not UTF-8, or is NUL."""
    try:
        for _ in decode(read_chunks(file, spec, meter)):
            pass
    except Undecodable as error:
        return error.offset
    return None


def _decoded(
    chunks: Iterator[bytes], encoding: Encoding, spec: str, counts: _Counts
) -> Iterator[str]:
    """Decode a text; what is invalid in a damaged UTF-8 is replaced, elsewhere it is an error."""
    is_utf8 = encoding == UTF8
    decoder = codecs.getincrementaldecoder(encoding.codec)("replace" if is_utf8 else "strict")
    read = 0
    for chunk in chunks:
        try:
            text = decoder.decode(chunk)  # a letter that is cut at the end is left out
        except UnicodeError as error:
            at = read + getattr(error, "start", 0)
            raise InputError(
                f"{named(spec)} is not in {encoding.described}: what is near offset {at:,} is no "
                f"letter of it. Name another encoding with --from."
            ) from None
        counts.replaced += text.count("\ufffd") if is_utf8 else 0
        read += len(chunk)
        yield text


def _write(path: Path, new: str, pieces: Iterator[str], counts: _Counts) -> None:
    try:
        file = path.open("xb")
    except FileExistsError:
        raise InputError(
            f"{named(new)} is there already, and is not overwritten: name another"
        ) from None
    except (OSError, ValueError) as error:
        why = reason_of(error)
        raise InputError(f"{named(new)} cannot be written ({why}): name another") from None
    try:
        with file:
            for piece in pieces:
                counts.characters += len(piece)
                file.write(piece.encode("utf-8", "replace"))  # lone surrogates of UTF-16
            os.fsync(file.fileno())
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            way_out = "make room, or name another" if no_room(error) else "name another"
            raise InputError(
                f"{named(new)} cannot be written ({error.strerror}): {way_out}"
            ) from None
        raise
