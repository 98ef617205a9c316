"""Surprise: the text coloured by the bits of each token, and where the bits go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tui.charts.heatmap import Ink, Matrix, levels
from tui.inside.columns import draw_columns
from tui.inside.layout import Picture, bar, below, beside, cut, figures, wrapped
from tui.inside.tokens import draw_tokens, quoted

if TYPE_CHECKING:
    from engine.inspect.surprise import KindCost, Surprise

MOST_BITS = 8.0  # of the highest level, so that a colour means the same at all steps
MOST_DIFFERENCE = 4.0  # bits
WIDE = 100
LONGEST_BAR = 24
FEWEST_ROWS, MOST_ROWS = 5, 12  # of what each position costs
MARKS = {"pixels": " ▁▂▃▄▅▆▇█", "blocks": " ▁▂▃▄▅▆▇█", "ascii": " 12345678"}
LESS, MORE = "-", "+"


@dataclass(frozen=True)
class Surprises:
    """What is drawn.

    Attributes:
        measured: The surprisal of each token.
        kinds: What the tokens of each kind cost.
        position: The token at the cursor.
        difference: Bits that each token is more surprising than to another model; None alone.
        other: A name of the other model.
        problem: Why it is not compared with the other model.
        by_position: (T,), the mean bits at each position of the context; None if not known.
        contexts: How many were measured for that.
    """

    measured: Surprise
    kinds: Sequence[KindCost]
    position: int
    difference: np.ndarray | None = None
    other: str = ""
    problem: str = ""
    by_position: Matrix | None = None
    contexts: int = 0


def draw_surprise(one: Surprises, width: int, height: int, ink: Ink) -> Picture:
    """Draw the text, the worst tokens and what each kind of token costs."""
    wide = width >= WIDE
    side = max(30, width // 3) if wide else width
    worst_count = max(3, min(20, height - 12)) if wide else max(2, (height - 8) // 2)
    head = _draw_head(one, width - side - 2 if wide else width, ink)
    lists = below(_draw_worst(one, worst_count, ink), Picture([[]]), _draw_kinds(one, side, ink))
    text_width = width - side - 2 if wide else width
    text_height = height - len(head.rows) - (0 if wide else worst_count + 1)
    text = below(head, _draw_text(one, text_width, max(2, text_height), ink))
    spare = height - len(text.rows) - 1
    if wide:
        by_position = _draw_positions(one, text_width, min(MOST_ROWS, spare), ink)
        return beside(
            [(below(text, Picture([[]]), by_position), text_width), (lists, side)], height
        )
    by_position = _draw_positions(one, width, min(MOST_ROWS, spare - worst_count - 1), ink)
    text = below(text, by_position)
    half = (width - 2) // 2
    both = beside(
        [(_draw_worst(one, worst_count, ink), half), (_draw_kinds(one, half, ink), half)],
        worst_count + 1,
    )
    return cut(below(text, both), width, height)


def _draw_positions(one: Surprises, width: int, height: int, ink: Ink) -> Picture:
    """Draw what the tokens at each position of the context cost, if there is room."""
    if one.by_position is None or height < FEWEST_ROWS:
        return Picture()
    told = f"bits on average, over {one.contexts} contexts of the validation split"
    title = Picture([[("by position ", "title"), (told, "dim")]])
    return below(title, draw_columns(one.by_position, width, height - 1, ink))


def _draw_head(one: Surprises, width: int, ink: Ink) -> Picture:
    measured, at = one.measured, one.position
    picture = Picture()
    told = [("mean", "none: it is a single token")]
    if len(measured.tokens) > 1:
        told = [
            ("mean", f"{measured.mean_bits:.2f} bits a token"),
            ("per character", f"{measured.bits_per_character:.2f}"),
        ]
    if one.difference is not None:
        mean = float(one.difference[1:].mean()) if len(one.difference) > 1 else math.nan
        told.append((f"against {one.other}", f"{mean:+.2f}, here {float(one.difference[at]):+.2f}"))
    picture.add(*figures(told))
    token = quoted(measured.tokens[at], ink == "ascii")
    told = [("surprisal", _bits(measured.bits[at]) if at else "none: it is the first")]
    if at:
        told += [("rank", str(int(measured.rank[at]))), ("expected", _bits(measured.entropy[at]))]
    picture.add((f" {token} ", "cursor"), (f" token {at}  ", "dim"), *figures(told))
    return below(picture, wrapped(one.problem, width, "bad"))


def _bits(value: float) -> str:
    return f"{float(value):.2f} bits"


def _draw_text(one: Surprises, width: int, height: int, ink: Ink) -> Picture:
    measured = one.measured
    if one.difference is not None:
        differences = np.nan_to_num(one.difference, nan=0.0)
        signed = np.rint(np.clip(differences / MOST_DIFFERENCE, -1, 1) * 8).astype(int).tolist()
        styles = [f"diff {level}" for level in signed]
        marks = [LESS if level <= -1 else MORE if level >= 1 else " " for level in signed]
    else:
        found = levels(measured.bits, 0.0, MOST_BITS).tolist()
        ramp = MARKS[ink]
        styles = [f"shade {max(0, level)}" if level >= 0 else "dim" for level in found]
        marks = [ramp[max(0, level) * (len(ramp) - 1) // 16] for level in found]
    return draw_tokens(measured.tokens, styles, width, height, one.position, marks, ink == "ascii")


def _draw_worst(one: Surprises, count: int, ink: Ink) -> Picture:
    picture = Picture()
    picture.add(("the most surprising", "title"))
    for at in one.measured.worst(count):
        token = quoted(one.measured.tokens[at], ink == "ascii")
        before = "".join(one.measured.tokens[max(0, at - 8) : at])
        picture.add(
            (f"{float(one.measured.bits[at]):5.1f} bits ", "ink"),
            (f" {token} ", "cursor" if at == one.position else "good"),
            (f" after {quoted(before, ink == 'ascii')}", "dim"),
            what=("token", at),
        )
    return picture


def _draw_kinds(one: Surprises, width: int, ink: Ink) -> Picture:
    """Draw what each kind costs: bits a token, and its share of all bits as a bar."""
    picture = Picture()
    picture.add(("by kind of token", "title"))
    full = "#" if ink == "ascii" else "█"
    longest = max(4, min(LONGEST_BAR, width - 32))
    most = max((cost.share for cost in one.kinds), default=0.0) or 1.0
    for cost in one.kinds:
        picture.add(
            (cost.kind.ljust(12), "ink"),
            (f"{cost.mean_bits:5.2f} bits ", "ink"),
            (f"{cost.share:4.0%} ", "dim"),
            (bar(cost.share / most, longest, full), "bar"),
        )
    return picture
