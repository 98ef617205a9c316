"""Toy tasks: texts that the program makes, the same each time, whose rules a model can learn."""

from __future__ import annotations

import random
from collections.abc import Callable

LINES = 20_000
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = ("()", "[]", "{}")


def make(name: str) -> str:
    """Return the text of a task."""
    rng = random.Random(f"gpt-tui {name}")  # a text seeds it the same everywhere
    line = LINE_OF[name]
    return "".join(f"{line(rng)}\n" for _ in range(LINES))


def _below(rng: random.Random, limit: int) -> int:
    return int(rng.random() * limit)  # which no version of Python changes


def _counting(rng: random.Random) -> str:
    start = _below(rng, 10 ** (1 + _below(rng, 4)))
    return " ".join(str(start + n) for n in range(8))


def _addition(rng: random.Random) -> str:
    a, b = (_below(rng, 10 ** (1 + _below(rng, 3))) for _ in "ab")
    return f"{a}+{b}={a + b}"


def _brackets(rng: random.Random) -> str:
    """Return brackets that close in the order in which they were opened."""
    text, waiting = "", ""
    length = 2 * (1 + _below(rng, 20))
    while len(text) < length:
        may_open = len(text) + len(waiting) < length
        if may_open and (not waiting or rng.random() < 0.5):
            pair = PAIRS[_below(rng, len(PAIRS))]
            text, waiting = text + pair[0], waiting + pair[1]
        else:
            text, waiting = text + waiting[-1], waiting[:-1]
    return text


def _copying(rng: random.Random) -> str:
    word = "".join(LETTERS[_below(rng, 26)] for _ in range(1 + _below(rng, 12)))
    return f"{word}>{word}"


LINE_OF: dict[str, Callable[[random.Random], str]] = {
    "counting": _counting,
    "addition": _addition,
    "brackets": _brackets,
    "copying": _copying,
}
