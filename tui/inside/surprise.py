"""Surprise: the text coloured by the bits of each token, and where the bits go."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tui.charts.heatmap import Ink, Matrix, levels
from tui.inside.columns import draw_columns, sparkline
from tui.inside.layout import (
    Picture,
    Row,
    bar,
    below,
    beside,
    cut,
    figure_rows,
    guide,
    width_of,
    wrapped,
)
from tui.inside.tokens import draw_tokens, quoted
from tui.terminal.cells import cells_of
from tui.text.numbers import format_count

if TYPE_CHECKING:
    from engine.inspect.over_moments import OverMoments
    from engine.inspect.surprise import KindCost, Surprise

MOST_BITS = 8.0  # of the highest level, so that a colour means the same at all steps
MOST_DIFFERENCE = 4.0  # bits
WIDE = 100
VERY_WIDE = 160
TEXT_COLUMN = 70  # columns of the text there
LONGEST_BAR = 24
FEWEST_LINES = 4  # of the text, with a row of marks below each
FEWEST_ROWS, MOST_ROWS = 5, 16  # of what each position costs
COURSE_ROWS = 7  # of a chart of what a token cost over the steps, with its title
NAME, COST = 17, 32  # columns of what a course is of, and of what it says
MARKS = {"pixels": " ▁▂▃▄▅▆▇█", "blocks": " ▁▂▃▄▅▆▇█", "ascii": " 12345678"}
LESS, MORE = "-", "+"
AFTER = " after "


@dataclass(frozen=True, kw_only=True)
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
        course: What each token cost at each moment; None if not known.
        measured_share: How many of the moments that is of.
        kind: Of the token at the cursor.
        guide: What to look for, in paragraphs.
    """

    measured: Surprise
    kinds: Sequence[KindCost]
    position: int
    difference: np.ndarray | None = None
    other: str = ""
    problem: str = ""
    by_position: Matrix | None = None
    contexts: int = 0
    course: OverMoments | None = None
    measured_share: float = 1.0
    kind: str = ""
    guide: Sequence[str] = ()


def draw_surprise(one: Surprises, width: int, height: int, ink: Ink) -> Picture:
    """Draw the text, the worst tokens and what each kind of token costs."""
    if width >= VERY_WIDE:
        return _draw_very_wide(one, width, height, ink)
    if width >= WIDE:
        side = max(34, width // 3)
        left_width = width - side - 2
        head = _draw_head(one, left_width, ink)
        text = _draw_text(one, left_width, max(2, height - len(head.rows) - 3), ink)
        left = below(head, text)
        room = height - len(left.rows)
        left = below(left, _draw_course(one, left_width, room, ink, has_both=True))
        spare = min(MOST_ROWS, height - len(left.rows) - 1)
        left = below(left, Picture([[]]), _draw_positions(one, left_width, spare, ink))
        kinds = _draw_kinds(one, side, ink)
        worst = _draw_worst(one, side, height - len(kinds.rows) - 2, ink)
        return beside([(left, left_width), (below(worst, Picture([[]]), kinds), side)], height)
    head = _draw_head(one, width, ink)
    course = _draw_course(one, width, 3, ink)
    count = max(2, (height - len(course.rows) - 8) // 2)  # of the worst
    # and all kinds, if that leaves some lines of the text
    spare = height - len(head.rows) - len(course.rows) - 1 - FEWEST_LINES
    count = max(count, min(len(one.kinds), spare))
    room = height - len(head.rows) - len(course.rows) - count - 1
    text = _draw_text(one, width, max(2, room), ink)
    spare = height - len(head.rows) - len(text.rows) - len(course.rows) - count - 1
    by_position = _draw_positions(one, width, min(MOST_ROWS, spare), ink)
    if not by_position.rows:
        count += max(0, spare)
    half = (width - 2) // 2
    lists = [(_draw_worst(one, half, count, ink), half), (_draw_kinds(one, half, ink, count), half)]
    both = beside(lists, count + 1)
    return cut(below(head, text, course, by_position, both), width, height)


def _draw_very_wide(one: Surprises, width: int, height: int, ink: Ink) -> Picture:
    """Draw the text and what positions cost, the courses and kinds, and the worst tokens."""
    room = width - 4 - TEXT_COLUMN
    middle_width = room // 2
    right_width = room - middle_width
    head = _draw_head(one, TEXT_COLUMN, ink)
    text = _draw_text(one, TEXT_COLUMN, max(2, height - len(head.rows) - FEWEST_ROWS - 2), ink)
    left = below(head, text, Picture([[]]))
    left = below(left, _draw_positions(one, TEXT_COLUMN, min(24, height - len(left.rows)), ink))
    kinds = _draw_kinds(one, middle_width, ink)
    course = _draw_course(one, middle_width, height - len(kinds.rows) - 1, ink)
    middle = below(course, Picture([[]] if course.rows else []), kinds)
    middle = below(middle, guide(one.guide, middle_width, height - len(middle.rows)))
    worst = _draw_worst(one, right_width, height - 1, ink)
    return beside([(left, TEXT_COLUMN), (middle, middle_width), (worst, right_width)], height)


def _draw_course(
    one: Surprises, width: int, height: int, ink: Ink, has_both: bool = False
) -> Picture:
    """Draw what the token at the cursor, and any of its kind, cost at the kept moments.

    Args:
        has_both: Whether the two charts are beside each other.
    """
    picture = Picture()
    if one.course is None or height < 3:
        return picture
    at, course = one.position, one.course
    if not at:
        picture.add(("over the steps ", "title"), ("nothing comes before the first token", "dim"))
        return picture
    steps = f"step {course.steps[0]:,}", f"{course.steps[-1]:,}"
    told = f"bits at {len(course.steps)} kept moments, {steps[0]} to {steps[1]}"
    if one.measured_share < 1:
        told = f"measuring the kept moments: {one.measured_share:.0%}"
    picture.add(("over the steps ", "title"), (told, "dim"))
    token = f"this {quoted(one.measured.tokens[at], ink == 'ascii')}"
    parts = [(token, course.token, False)]
    if not np.array_equal(course.token[:, at], course.kind[:, at], equal_nan=True):
        parts.append((f"any {one.kind}", course.kind, True))  # else it is the only one of its kind
    rows = COURSE_ROWS if has_both else 2 * COURSE_ROWS
    if height <= rows or width < 40:
        room = max(1, min(width - NAME - COST - 2, len(course.steps)))
        for name, costs, of_kind in parts:
            line = sparkline(costs[:, at], MOST_BITS, room, ink)
            row: Row = [(name.ljust(NAME)[:NAME] + " ", "ink"), (line.ljust(room) + " ", "bar")]
            picture.rows.append([*row, *_learned(one, course, of_kind)])
        return picture
    one_width = (width - 2) // 2 if has_both else width
    charts = []
    for name, costs, of_kind in parts:
        head, learned = [(name.ljust(NAME)[:NAME] + " ", "ink")], _learned(one, course, of_kind)
        heads = Picture([head, learned] if has_both else [[*head, *learned]])
        columns = draw_columns(costs[:, at], one_width, COURSE_ROWS - 2, ink, steps)
        charts.append(below(heads, columns))
    if has_both:
        both = beside([(chart, one_width) for chart in charts], COURSE_ROWS)
        return below(picture, both)
    return below(picture, *charts)


def _learned(one: Surprises, course: OverMoments, of_kind: bool) -> Row:
    """Say since when the token at the cursor is cheap, once that is known."""
    if one.measured_share < 1:
        return []
    now = float((course.kind if of_kind else course.token)[-1, one.position])
    since = course.learned_at(one.position, of_kind)
    if since is None:
        return [(f"{now:.1f} bits, not below 1 yet", "dim")]
    before = [step for step in course.steps if step < since]  # it was learned between the two
    when = f"{before[-1]:,}–{since:,}" if before else f"step {since:,}"
    told = f"below 1 since {when}"
    return [(f"{now:.1f} bits, ", "dim"), (told, "good")]


def _draw_positions(one: Surprises, width: int, height: int, ink: Ink) -> Picture:
    """Draw what the tokens at each position of the context cost, if there is room."""
    if one.by_position is None or height < FEWEST_ROWS:
        return Picture()
    contexts = format_count(one.contexts, "context")
    told = f"bits on average, over {contexts} of the validation split"
    title = Picture([[("by position ", "title"), (told, "dim")]])
    return below(title, draw_columns(one.by_position, width, height - 1, ink))


def _draw_head(one: Surprises, width: int, ink: Ink) -> Picture:
    measured, at = one.measured, one.position
    told = [("mean", "none: it is a single token")]
    if len(measured.tokens) > 1:
        told = [
            ("mean", f"{measured.mean_bits:.2f} bits a token"),
            ("per character", f"{measured.bits_per_character:.2f}"),
        ]
    if one.difference is not None:
        with np.errstate(invalid="ignore"):  # inf - inf, of weights that are not finite
            mean = float(one.difference[1:].mean()) if len(one.difference) > 1 else math.nan
        told.append((f"against {one.other}", f"{mean:+.2f}, here {float(one.difference[at]):+.2f}"))
    picture = figure_rows(told, width)
    token = quoted(measured.tokens[at], ink == "ascii")
    told = [("surprisal", _bits(measured.bits[at]) if at else "none: it is the first")]
    if at:
        told += [("rank", str(int(measured.rank[at]))), ("expected", _bits(measured.entropy[at]))]
    here = figure_rows(told, width, [(f" {token} ", "cursor"), (f" token {at}", "dim")])
    return below(picture, here, wrapped(one.problem, width, "bad"))


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


def _draw_worst(one: Surprises, width: int, count: int, ink: Ink) -> Picture:
    """Draw the tokens that cost most, each with as much before it as there is room for."""
    picture = Picture()
    picture.add(("the most surprising", "title"))
    for at in one.measured.worst(max(1, count)):
        token = quoted(one.measured.tokens[at], ink == "ascii")
        row: Row = [
            (f"{float(one.measured.bits[at]):5.1f} bits ", "ink"),
            (f" {token} ", "cursor" if at == one.position else "good"),
        ]
        room = width - width_of(row) - len(AFTER)
        before = ""
        for text in reversed(one.measured.tokens[:at]):
            longer = quoted(text, ink == "ascii") + before
            if cells_of(longer) > room:
                break
            before = longer
        row.append((AFTER + before if before else "", "dim"))
        picture.add(*row, what=("token", at))
    return picture


def _draw_kinds(one: Surprises, width: int, ink: Ink, count: int | None = None) -> Picture:
    """Draw what each kind costs: bits a token, and its share of all bits as a bar.

    Args:
        count: The rows there are for them; None if there are enough.
    """
    picture = Picture()
    picture.add(("by kind of token", "title"))
    full = "#" if ink == "ascii" else "█"
    longest = max(4, min(LONGEST_BAR, width - 32))
    most = max((cost.share for cost in one.kinds), default=0.0) or 1.0
    kinds = one.kinds
    if count is not None and len(kinds) > count:
        kinds = kinds[: max(0, count - 1)]
    for cost in kinds:
        picture.add(
            (cost.kind.ljust(12), "ink"),
            (f"{cost.mean_bits:5.2f} bits ", "ink"),
            (f"{cost.share:4.0%} ", "dim"),
            (bar(cost.share / most, longest, full), "bar"),
        )
    if more := len(one.kinds) - len(kinds):
        picture.add((f"and {more} more", "dim"))
    return picture
