"""One kind of line end, no byte order marks inside a text, and letters of one form."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from data.sources.tally import Tally

MARK = "\ufeff"
UNICODE_ENDS = "\x85\u2028\u2029"  # next line, line separator, paragraph separator
COMBINING = "\u0301\u0308\u0300\u0302\u0303\u030a\u030c\u0327"  # the usual ones
MOST_HELD = 1 << 12  # characters at the end of a piece that may join with what follows

DOS = "Windows line end (\\r\\n)"
MAC = "lone carriage return (\\r)"
UNICODE = "line end of Unicode (U+0085, U+2028, U+2029)"
MARKS = "byte order mark (U+FEFF)"
PARTS = "letters in two parts"


def normalized(pieces: Iterator[str], form: str, name: str, tally: Tally) -> Iterator[str]:
    """Yield a text with ``\\n`` alone at the ends of lines, without byte order marks.

    Args:
        form: ``none``, ``nfc`` or ``nfkc``.
        name: Of the text, for the tally.
        tally: Receives what was replaced.
    """
    plain = _plain(without_mark(pieces), name, tally)
    if form == "none":
        return _watched(plain, tally)
    return _in_form(plain, form.upper())


def as_before(pieces: Iterator[str]) -> Iterator[str]:
    """Yield a text without a first byte order mark, and with ``\\n`` for ``\\r\\n`` alone."""
    held = ""  # a carriage return at the end of a piece: what follows decides
    for piece in without_mark(pieces):
        text = held + piece
        held = "\r" if text.endswith("\r") else ""
        yield text.removesuffix("\r").replace("\r\n", "\n")
    yield held


def normal_text(text: str, form: str, name: str, tally: Tally) -> str:
    """Return a short text normalized."""
    if text.isascii() and "\r" not in text:
        return text
    return "".join(normalized(iter((text,)), form, name, tally))


def without_mark(pieces: Iterator[str]) -> Iterator[str]:
    """Yield a text without a byte order mark at its start."""
    at_start = True
    for piece in pieces:
        yield piece.removeprefix(MARK) if at_start else piece
        at_start = at_start and not piece


def _plain(pieces: Iterator[str], name: str, tally: Tally) -> Iterator[str]:
    held = ""  # a carriage return at the end of a piece: what follows decides
    for piece in pieces:
        text, held = held + piece, ""
        if text.endswith("\r"):
            text, held = text[:-1], "\r"
        if "\r" in text:
            dos = text.count("\r\n")
            tally.add(DOS, name, dos)
            tally.add(MAC, name, text.count("\r") - dos)
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not text.isascii():
            text = _without_signs(text, name, tally)
        yield text
    if held:
        tally.add(MAC, name)
        yield "\n"


def _without_signs(text: str, name: str, tally: Tally) -> str:
    for sign in UNICODE_ENDS:
        if sign in text:
            tally.add(UNICODE, name, text.count(sign))
            text = text.replace(sign, "\n")
    if MARK in text:
        tally.add(MARKS, name, text.count(MARK))
        text = text.replace(MARK, "")
    return text


def _watched(pieces: Iterator[str], tally: Tally) -> Iterator[str]:
    for piece in pieces:
        if not piece.isascii() and PARTS not in tally.counts and (found := _letter_in_parts(piece)):
            tally.add(PARTS, found)
        yield piece


def _letter_in_parts(piece: str) -> str:
    """Describe a letter that is written as two characters and could be one; empty if none is."""
    for mark in COMBINING:
        at = piece.find(mark, 1)
        if at > 0 and len(unicodedata.normalize("NFC", piece[at - 1 : at + 1])) == 1:
            return f"{piece[at - 1]} and U+{ord(mark):04X}"
    return ""


def _in_form(pieces: Iterator[str], form: str) -> Iterator[str]:
    """Yield a text in a form of Unicode; the last letter of a piece waits for what follows it."""
    held = ""
    for piece in pieces:
        text = held + piece
        end = _last_start(text)
        held = text[end:]
        yield unicodedata.normalize(form, text[:end])  # type: ignore[arg-type]
    yield unicodedata.normalize(form, held)  # type: ignore[arg-type]


def _last_start(text: str) -> int:
    """Return where the last character begins that does not join with what precedes it."""
    lowest = max(0, len(text) - MOST_HELD)
    return next((at for at in range(len(text) - 1, lowest, -1) if _starts(text[at])), lowest)


def _starts(letter: str) -> bool:
    return (
        letter < "\u0300"
        or "\u3400" <= letter <= "\u9fff"  # Chinese
        or "\u3000" <= letter <= "\u3098"  # Japanese
        or "\u309b" <= letter <= "\u30ff"
    )
