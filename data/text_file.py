"""Read a text file piece by piece: a large one is never in memory as a whole.

A text is normalised: a UTF-8 byte order mark at its start is dropped and `\\r\\n` becomes `\\n`.
Runs know their text by the hash of what is read here, so that nothing else may be changed.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data.download import Watcher
from data.encoding import SAMPLE_BYTES, UTF8, Encoding, marked, recognise, sample_around
from data.errors import Cancelled, InputError, NotFound, reason_of
from data.file_kinds import kind_of, structure_of, way_out
from data.paths import expanded, quoted_path, typed_path
from data.program import named, program
from data.reading import open_regular

PIECE_BYTES = 1 << 20
REPORT_SECONDS = 0.5
MARK = "\ufeff"
COMBINING = "\u0301\u0308\u0300\u0302\u0303\u030a\u030c\u0327"  # the usual ones


@dataclass(frozen=True)
class Survey:
    """What is known of a text after it was read once."""

    characters: int
    sha256: str
    told: tuple[str, ...]  # what is unusual about it, in sentences


class TextFile:
    """A text file in UTF-8.

    Args:
        spec: Its path, as it is named in messages.

    Raises:
        InputError: The path cannot be used.
    """

    def __init__(self, spec: str) -> None:
        self.spec = spec
        self.path = typed_path(spec).absolute()
        self._before: tuple[int, ...] = ()  # what the file was when it was read first

    def survey(self, watcher: Watcher) -> Survey:
        """Read the text once.

        Raises:
            InputError: It cannot be read, or is no text in UTF-8.
            Cancelled: `watcher.cancelled` returned true.
        """
        sha, notes = hashlib.sha256(), _Notes(self.spec)
        for piece in self.pieces("reading", watcher):
            sha.update(piece.encode())
            notes.look(piece)
        if notes.is_blank:
            raise InputError(
                f"{named(self.spec)} is empty: give a text of at least a few thousand characters."
            )
        return Survey(notes.characters, sha.hexdigest(), tuple(notes.sentences()))

    def pieces(self, doing: str, watcher: Watcher) -> Iterator[str]:
        """Yield the text in pieces.

        Raises:
            InputError: It cannot be read, is no text in UTF-8, or has changed since it was read
                first.
            Cancelled: `watcher.cancelled` returned true.
        """
        with opened(self.spec, self.path) as file:
            self._check_unchanged(file)
            chunks = read_chunks(file, self.spec, watcher, doing)
            pieces = _decoded(chunks, file, self.spec)
            yield from _with_plain_line_ends(_without_mark(pieces))
            self._check_unchanged(file)

    def _check_unchanged(self, file: IO[bytes]) -> None:
        there = os.fstat(file.fileno())
        now = (there.st_dev, there.st_ino, there.st_size, there.st_mtime_ns)
        self._before = self._before or now
        if now != self._before:
            raise InputError(f"{named(self.spec)} has changed while it was read: try again.")


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
            raise InputError(f"{named(spec)} is a pipe or a device: save its text to a file first.")
        file = os.fdopen(open_regular(path, follow=True), "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"The file {named(spec)} does not exist.") from None
    except IsADirectoryError:
        raise InputError(
            f"{named(spec)} is a folder: give one text file "
            f"(cat {quoted_path(spec)}/*.txt > {quoted_path(new_name('all.txt'))} joins several)."
        ) from None
    except PermissionError:
        raise InputError(
            f"No permission to read {named(spec)}: grant it (chmod u+r {quoted_path(spec)}) "
            "or give another file."
        ) from None
    except (OSError, ValueError) as error:  # e.g. a NUL in the path
        raise InputError(_unreadable(spec, error)) from error
    with file:
        try:
            yield file
        except OSError as error:  # a disk that fails
            if error.filename is not None:  # of another file
                raise
            raise InputError(_unreadable(spec, error)) from error


def _unreadable(spec: str, error: Exception) -> str:
    return f"{spec!r} cannot be read ({reason_of(error)}): check the path or give another file."


def read_chunks(
    file: IO[bytes], spec: str, watcher: Watcher, doing: str = "reading"
) -> Iterator[bytes]:
    """Yield the bytes of a file, and report on it; the last chunk is empty."""
    size, read, due = os.fstat(file.fileno()).st_size, 0, time.monotonic() + REPORT_SECONDS
    chunk = b" "
    while chunk:
        if watcher.cancelled():
            raise Cancelled
        if time.monotonic() >= due:
            watcher.report(f"{doing} {named(spec)}: {read / 1e6:,.0f} of {size / 1e6:,.0f} MB")
            due = time.monotonic() + REPORT_SECONDS
        try:
            chunk = file.read(PIECE_BYTES)
        except OSError as error:
            raise InputError(_unreadable(spec, error)) from None
        read += len(chunk)
        yield chunk


class NotUtf8(Exception):
    """Bytes are not text in UTF-8.

    Attributes:
        offset: Of the first byte that is not, or is NUL.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


def decode_utf8(chunks: Iterator[bytes]) -> Iterator[str]:
    """Decode chunks, of which the last one is empty.

    Raises:
        NotUtf8: They are not UTF-8, or have a NUL.
    """
    rest, offset = b"", 0
    for chunk in chunks:
        block = rest + chunk
        nul = block.find(b"\0")
        try:
            sound = block if nul < 0 else block[:nul]
            text, used = codecs.utf_8_decode(sound, "strict", nul >= 0 or not chunk)
        except UnicodeDecodeError as error:
            raise NotUtf8(offset + error.start) from None
        if nul >= 0:
            raise NotUtf8(offset + nul)
        rest, offset = block[used:], offset + used
        yield text


def _decoded(chunks: Iterator[bytes], file: IO[bytes], spec: str) -> Iterator[str]:
    """Decode a file; the offsets in error messages are those of the file's bytes."""
    try:
        yield from decode_utf8(_of_text(chunks, spec))
    except NotUtf8 as error:
        raise _not_utf8(file, spec, error.offset) from None


def _of_text(chunks: Iterator[bytes], spec: str) -> Iterator[bytes]:
    """Pass on the bytes of a file, if its first ones are not those of something else than text."""
    is_first = True
    for chunk in chunks:
        if is_first and (kind := kind_of(chunk)):
            what = f"{named(spec)} is {kind.called}, no plain text"
            raise InputError(f"{what}: {way_out(kind, spec, new_name(spec))}")
        if is_first and marked(chunk):
            raise NotUtf8(0)
        is_first = False
        yield chunk


def _without_mark(pieces: Iterator[str]) -> Iterator[str]:
    at_start = True
    for piece in pieces:
        yield piece.removeprefix(MARK) if at_start else piece
        at_start = at_start and not piece


def _with_plain_line_ends(pieces: Iterator[str]) -> Iterator[str]:
    held = ""  # a carriage return at the end of a piece: what follows decides
    for piece in pieces:
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r").replace("\r\n", "\n")
    yield held


# ---- what is wrong or unusual --------------------------------------------------------------------


def encoding_at(file: IO[bytes], offset: int) -> Encoding | None:
    """Return the encoding of a file that has a byte at an offset that UTF-8 does not allow.

    None if it is probably no text; `UTF8` if that is what it is, with damage.
    """
    file.seek(0)
    head = file.read(SAMPLE_BYTES)
    start = max(0, offset - SAMPLE_BYTES // 2)
    file.seek(start)
    block = file.read(SAMPLE_BYTES)
    return recognise(head, sample_around(start, offset, block))


def is_cut(file: IO[bytes], offset: int) -> bool:
    """Return whether the text ends inside a letter, and is UTF-8 but for that."""
    file.seek(max(0, offset - SAMPLE_BYTES))
    before, rest = file.read(min(offset, SAMPLE_BYTES)), file.read(5)
    try:
        whole = codecs.getincrementaldecoder("utf-8")().decode(rest)
    except UnicodeDecodeError:
        return False
    # one letter with an accent at the end of an ASCII text is rather another encoding
    return not whole and (len(rest) > 1 or not before.isascii())


def _not_utf8(file: IO[bytes], spec: str, offset: int) -> InputError:
    file.seek(offset)
    byte = file.read(1)[0]
    name = named(spec)
    convert = f"{program()} convert {quoted_path(spec)} {quoted_path(new_name(spec))}"
    if is_cut(file, offset):
        return InputError(
            f"{name} is UTF-8, but cut inside its last letter, at offset {offset:,}: save it "
            f"again, or leave that letter out: {convert}"
        )
    found = encoding_at(file, offset)
    where = f"byte 0x{byte:02x} at offset {offset:,}"
    if found == UTF8:
        return InputError(
            f"{name} is UTF-8, but damaged: {where} is invalid. Save it again, or put � in the "
            f"place of what is invalid: {convert}"
        )
    if found:
        return InputError(f"{name} is in {found.described}, not UTF-8 ({where}): {convert}")
    if not byte:
        return InputError(
            f"{name} is not a text file: it has a NUL byte at offset {offset:,}. "
            "Give a plain text file in UTF-8."
        )
    return InputError(
        f"{name} is not UTF-8 ({where}), and it is not clear what it is. If it is a text, name "
        f"its encoding: {convert} --from ENCODING"
    )


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


class _Notes:
    """What is unusual in a text, found while it is read."""

    def __init__(self, spec: str) -> None:
        self._spec = spec
        self.characters = 0
        self.is_blank = True
        self._structure = self._in_parts = ""
        self._returns = self._marks = 0

    def look(self, piece: str) -> None:
        if not self.characters:
            self._structure = structure_of(piece, self._spec)
        self.characters += len(piece)
        self.is_blank = self.is_blank and (not piece or piece.isspace())
        self._returns += piece.count("\r")
        if not piece.isascii():
            self._marks += piece.count(MARK)
            self._in_parts = self._in_parts or _letter_in_parts(piece)

    def sentences(self) -> Iterator[str]:
        spec = named(self._spec)
        if self._structure:
            yield (
                f"{spec} is {self._structure}: it is learned as it stands, with all its signs and "
                f"names of columns or keys"
            )
        odd = []
        if self._returns:
            odd.append(f"{self._returns:,} lone carriage return{'s' * (self._returns > 1)} (\\r)")
        if self._marks:
            odd.append(f"{self._marks:,} byte order mark{'s' * (self._marks > 1)} (U+FEFF)")
        if self._in_parts:
            odd.append(f"letters in two parts ({self._in_parts})")
        if odd:
            yield (
                f"{spec} has {' and '.join(odd)}, learned as they are. A new text without them: "
                f"{program()} convert {quoted_path(self._spec)} {quoted_path(new_name(self._spec))}"
            )


def _letter_in_parts(piece: str) -> str:
    """Describe a letter that is written as two characters and could be one; empty if none is."""
    import unicodedata

    for mark in COMBINING:
        at = piece.find(mark, 1)
        if at > 0 and len(unicodedata.normalize("NFC", piece[at - 1 : at + 1])) == 1:
            return f"{piece[at - 1]} and U+{ord(mark):04X}"
    return ""
