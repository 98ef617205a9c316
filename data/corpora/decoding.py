"""Bytes to characters: UTF-8 with the offset of what is invalid, and any other encoding."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from data.corpora.encoding import UTF8, Encoding, Window, example_for
from data.paths import expanded, quoted_path
from data.program import named, program
from data.sources.files import Unusable

Chunks = Callable[[], Iterable[bytes]]


class Undecodable(Exception):
    """Bytes are not text in the encoding that they were taken for.

    Attributes:
        offset: Of the first byte that is not, or is NUL.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def decode(chunks: Iterator[bytes], encoding: Encoding = UTF8) -> Iterator[str]:
    """Decode chunks, of which the last one is empty.

    Raises:
        Undecodable: They are not in that encoding, or have a NUL.
    """
    return _decode_utf8(chunks) if encoding == UTF8 else _decode_other(chunks, encoding.codec)


def _decode_utf8(chunks: Iterator[bytes]) -> Iterator[str]:
    rest, offset = b"", 0
    for chunk in chunks:
        block = rest + chunk if rest else chunk
        nul = block.find(b"\0")
        try:
            sound = block if nul < 0 else block[:nul]
            text, used = codecs.utf_8_decode(sound, "strict", nul >= 0 or not chunk)
        except UnicodeDecodeError as error:
            raise Undecodable(offset + error.start) from None
        if nul >= 0:
            raise Undecodable(offset + nul)
        rest, offset = block[used:], offset + used
        yield text


def _decode_other(chunks: Iterator[bytes], codec: str) -> Iterator[str]:
    decoder, read = codecs.getincrementaldecoder(codec)(), 0
    for chunk in chunks:
        waiting = len(decoder.getstate()[0])  # bytes of a letter that the last chunk cut
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            raise Undecodable(max(0, read - waiting + getattr(error, "start", 0))) from None
        if "\0" in text:
            raise Undecodable(read - waiting + len(text[: text.index("\0")].encode(codec)))
        read += len(chunk)
        yield text


def is_codec(name: str) -> bool:
    """Return whether Python knows an encoding of text by this name."""
    try:
        "".encode(name)  # refuses what is no encoding of text, such as hex
        codecs.getincrementaldecoder(name)
    except (LookupError, UnicodeError, ValueError):
        return False
    return True


def settled(window: Window, spec: str, chunks: Chunks) -> Encoding:
    """Return the encoding of a file that is not UTF-8.

    Args:
        spec: The file, as it is named in messages.
        chunks: Yields all of it.

    Raises:
        Unusable: It is no text, damaged, or its encoding is not clear.
    """
    name = named(spec)
    where = f"byte 0x{window.byte:02x} at offset {window.offset:,}"
    convert = f"{program()} convert {quoted_path(spec)} {quoted_path(new_name(spec))}"
    if window.is_cut:
        raise Unusable(
            f"{name} is UTF-8, but cut inside its last letter, at offset {window.offset:,}: save "
            f"it again, or leave that letter out: {convert}",
            "cut inside a letter",
        )
    found = window.encoding
    if found == UTF8:
        raise Unusable(
            f"{name} is UTF-8, but damaged: {where} is invalid. Save it again, or put � in the "
            f"place of what is invalid: {convert}",
            "damaged UTF-8",
        )
    if found:
        return found
    if not window.byte:
        raise Unusable(
            f"{name} is not a text file: it has a NUL byte at offset {window.offset:,}. "
            "Give a text file.",
            "binary",
        )
    example = example_for(chunks())
    if not example:
        raise Unusable(
            f"{name} is not a text file: it has control characters, and {where} is not UTF-8. "
            "Give a text file.",
            "binary",
        )
    raise Unusable(
        f"{name} is not UTF-8 ({where}), and it is not clear what it is. If it is a text, name "
        f"its encoding, as in --set data.encoding={example}",
        "in no encoding that is recognised",
    )


def misfit(
    window: Window, spec: str, chunks: Chunks, encoding: Encoding, is_asked: bool
) -> Unusable:
    """Return what to say of a file that is not in the encoding it was taken for.

    Args:
        chunks: Yields all of it.
        is_asked: Whether the setting ``data.encoding`` names it.
    """
    at = window.offset - window.start
    byte = f"byte 0x{window.block[at]:02x}" if at < len(window.block) else "what is"
    name, where = named(spec), f"{byte} at offset {window.offset:,}"
    convert = f"{program()} convert {quoted_path(spec)} {quoted_path(new_name(spec))}"
    if is_asked:
        told = (
            f"{name} is not in {encoding.described}, which data.encoding names ({where}): name "
            "another, or have it recognised with --set data.encoding=auto"
        )
    elif encoding.codec.startswith("utf-") and at >= len(window.block) - 4:
        told = (
            f"{name} is in {encoding.described}, but cut inside its last letter: save it again, or "
            f"leave that letter out: {convert}"
        )
    elif example := example_for(chunks()):
        told = (
            f"{name} is probably in {encoding.described}, but {where} is not: name its encoding, "
            f"as in --set data.encoding={example}"
        )
    else:
        told = (
            f"{name} is not a text file: it has control characters, and {where} is not in "
            f"{encoding.described}. Give a text file."
        )
    return Unusable(told, f"not in {encoding.described}")


def new_name(spec: str) -> str:
    """Return the name of a file that does not exist, for a new version of a text."""
    folder, name = os.path.split(spec)  # a Path drops the ./ in front of a ~
    path = Path(name)
    try:
        if not os.access(expanded(folder), os.W_OK):
            folder = ""
        stem = path.name.removesuffix(path.suffix)[:80] or "text"
        if path.suffix not in (".txt", ""):
            stem = stem.removesuffix(".txt")
        if stem.startswith("~"):
            folder = folder or os.curdir
        ends = (".txt", ".utf8.txt", *(f".utf8-{number}.txt" for number in range(2, 100)))
        free = (os.path.join(folder, f"{stem}{end}") for end in ends)
        return next(one for one in free if not _is_taken(expanded(one)))
    except (OSError, RuntimeError, StopIteration):
        return "utf8-text.txt"


def _is_taken(path: Path) -> bool:
    return os.path.lexists(path) or os.path.lexists(path.with_suffix(""))  # that is for a folder
