"""Rows of JSON lines and of a JSON array, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from json.decoder import WHITESPACE  # type: ignore[attr-defined]
from typing import Any

MOST_ROW = 1 << 26  # characters of one row; a longer one is broken
BROKEN = object()  # stands for a row that is no JSON


class Damaged(Exception):
    """An array goes on with something that is no JSON; the message is where."""


def json_lines(pieces: Iterator[str]) -> Iterator[Any]:
    """Yield the value of each line, or ``BROKEN``; empty lines are passed over."""
    import msgspec  # not needed before the first paint

    decode = msgspec.json.Decoder().decode
    for line in lines(pieces):
        try:  # what it decodes it decodes as ``json`` does, in a third of the time
            yield decode(line) if len(line) <= MOST_ROW else BROKEN
        except (msgspec.MsgspecError, ValueError, RecursionError):
            if line and not line.isspace():
                yield parsed(line)  # which takes more: NaN, and half a surrogate pair


def lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a text without their ends; of one that is too long only a beginning."""
    held: list[str] = []
    length = 0
    for piece in pieces:
        first, *others = piece.split("\n")
        if length <= MOST_ROW:
            held.append(first)
            length += len(first)
        if others:
            yield "".join(held)
            *whole, last = others
            yield from whole
            held, length = [last], len(last)
    yield "".join(held)


def parsed(text: str) -> Any:
    """Return the value of a JSON text, or ``BROKEN``."""
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    return BROKEN


def first_of_array(head: str) -> Any:
    """Return the first element of a text that begins as an array; ``BROKEN`` if it does not."""
    start = WHITESPACE.match(head, 0).end()
    if head[start : start + 1] != "[":
        return BROKEN
    try:
        return json.JSONDecoder().raw_decode(head, WHITESPACE.match(head, start + 1).end())[0]
    except (ValueError, RecursionError):
        return BROKEN


def json_object(pieces: Iterator[str]) -> Iterator[Any]:
    """Yield the one value of a text.

    Raises:
        Damaged: It is no JSON, or too long.
    """
    text = ""
    for piece in pieces:
        text += piece
        if len(text) > MOST_ROW:
            raise Damaged(f"one value of more than {MOST_ROW:,} characters")
    value = parsed(text)
    if value is BROKEN:
        raise Damaged("it cannot be parsed")
    yield value


def json_array(pieces: Iterator[str]) -> Iterator[Any]:
    """Yield the elements of an array.

    Raises:
        Damaged: It ends too early, or goes on with something else.
    """
    decode = json.JSONDecoder().raw_decode
    text, at = "", 0  # what is read, and where the bracket or comma before an element is
    offset = 0  # of the text, in the file
    wanted = 0  # characters that have to be there for another try
    is_first, is_over = True, False
    while True:
        at = WHITESPACE.match(text, at).end()
        if len(text) - at <= wanted and not is_over:
            piece = next(pieces, None)
            is_over = piece is None
            text, offset, at = text[at:] + (piece or ""), offset + at, 0
            continue
        if not is_first and text[at : at + 1] == "]":
            return
        if text[at : at + 1] != ("[" if is_first else ","):
            raise Damaged(f"at character {offset + at:,}")
        start = WHITESPACE.match(text, at + 1).end()
        if is_first and text[start : start + 1] == "]":
            return
        try:
            value, end = decode(text, start)
        except (ValueError, RecursionError):
            end = len(text)
        if text[end : end + 1] in (*".eE", ""):  # the value, or number, goes on in the next piece
            wanted = 2 * (len(text) - at)
            if is_over or wanted > MOST_ROW:
                raise Damaged(f"at character {offset + start:,}")
            continue
        yield value
        at, wanted, is_first = end, 0, False
