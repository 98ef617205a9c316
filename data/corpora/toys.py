"""Toy tasks: texts that the program makes, the same each time, whose rules a model can learn."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

LINES = 20_000
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAIRS = ("()", "[]", "{}")
CLOSING = ")]}"
MOST_TRIES = 100  # for each problem, to find one that is not in the text


@dataclass(frozen=True)
class Problem:
    """A line of a task that is not in its text, and what of it follows from the rule.

    Attributes:
        line: With its line end.
        asked: The places of the characters that those before them determine.
        among: The characters to choose from there; empty for all.
    """

    line: str
    asked: tuple[int, ...]
    among: str = ""


def make(name: str) -> str:
    """Return the text of a task."""
    rng = random.Random(f"gpt-tui {name}")  # a text seeds it the same everywhere
    line = LINE_OF[name]
    return "".join(f"{line(rng)}\n" for _ in range(LINES))


def problems(name: str, count: int) -> list[Problem]:
    """Return problems of a task, the same each time; none of them is in its text."""
    seen = set(make(name).splitlines())
    rng = random.Random(f"gpt-tui {name}, held out")
    found = dict.fromkeys(LINE_OF[name](rng) for _ in range(MOST_TRIES * count))
    new = [one for one in found if one not in seen][:count]
    return [_problem(name, f"{line}\n") for line in new]


def _problem(name: str, line: str) -> Problem:
    if name == "brackets":  # where one closes, which one does; when is a matter of chance
        places = tuple(place for place, letter in enumerate(line) if letter in CLOSING)
        return Problem(line, places, CLOSING)
    start = line.index(ENDS_QUESTION[name]) + 1
    return Problem(line, tuple(range(start, len(line))))


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


ENDS_QUESTION = {"counting": " ", "addition": "=", "copying": ">"}
LINE_OF: dict[str, Callable[[random.Random], str]] = {
    "counting": _counting,
    "addition": _addition,
    "brackets": _brackets,
    "copying": _copying,
}
