"""One head, step by step: from a query and a key to what is added to the residual stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from engine.config.setting import format_float
from tui.charts.heatmap import Ink, Matrix, draw_heatmap, pooled
from tui.inside.attention import WIDE, Heads, draw_shaded
from tui.inside.layout import Picture, Row, below, beside, cut, guide, width_of, wrapped
from tui.inside.tokens import quoted
from tui.inside.words import STEPS_READING
from tui.terminal.cells import cells_of
from tui.text.numbers import format_count

if TYPE_CHECKING:
    from engine.inspect.attention import HeadSteps

LONGEST_LINE = 100  # columns of sentences
FEWEST_CELLS = 8  # of a vector
NAME = 11  # columns of the names of the rows
SPACIOUS = 24  # rows from which there are gaps between the steps
FEWEST_TEXT = 3  # rows of the text below them


def draw_steps(heads: Heads, found: HeadSteps | None, width: int, height: int, ink: Ink) -> Picture:
    """Draw q · k, scale, mask, softmax and the weighted values of one pair of tokens."""
    picture = _draw_pair(heads, width, ink)
    is_it = found is not None and (found.layer, found.head, found.query, found.key) == (
        heads.layer, heads.head, heads.query, heads.key,
    )  # fmt: skip
    if found is None or not is_it:
        picture.add(("computing …", "dim"))
        return picture
    gap = Picture([[]] if height >= SPACIOUS else [])
    for draw in (_draw_product, _draw_score, _draw_weight, _draw_output):
        picture = below(picture, gap, draw(found, width, ink))
    rest = height - len(picture.rows) - 1
    if rest >= FEWEST_TEXT:
        picture = below(picture, Picture([[]]), _draw_text(heads, width, rest, ink))
    return cut(picture, width, height)


def _draw_pair(heads: Heads, width: int, ink: Ink) -> Picture:
    """Draw which token looks at which, in two rows where one has no room."""
    query, key = (quoted(heads.tokens[one], ink == "ascii") for one in (heads.query, heads.key))
    title: Row = [(f"L{heads.layer} H{heads.head} step by step: ", "title")]
    pair: Row = [
        (f" {query} ", "cursor"), (f" token {heads.query} looks at ", "dim"),
        (f" {key} ", "good"), (f" token {heads.key}", "dim"),
    ]  # fmt: skip
    whole = [*title, *pair]
    return Picture([whole] if width_of(whole) <= width else [title, pair])


def _draw_product(found: HeadSteps, width: int, ink: Ink) -> Picture:
    """Draw q, k and their product, number by number, with the sum."""
    dot, times = (".", "x") if ink == "ascii" else ("·", "×")
    most = float(max(np.abs(found.q).max(), np.abs(found.k).max()))
    wanted = "what it looks for"
    picture = Picture()
    picture.rows += [
        _vector("q", found.q, most, width, ink, f"{wanted}, sizes without signs", wanted),
        _vector("k", found.k, most, width, ink, "what the other offers"),
        _vector(f"q {times} k", found.products, float(np.abs(found.products).max()), width, ink),
    ]
    picture.add(
        (f"q {dot} k".ljust(NAME), "dim"), (f"{found.score:.3f}", "ink"), (", their sum", "dim")
    )
    return picture


def _draw_score(found: HeadSteps, width: int, ink: Ink) -> Picture:
    """Draw the scaled score of the pair, and whether it is masked."""
    size = len(found.q)
    root, endless = (f"sqrt({size})", "-inf") if ink == "ascii" else (f"√{size}", "−∞")
    scaled = float(found.scaled[found.key])
    picture = Picture()
    _add_noted(
        picture,
        [("scale".ljust(NAME), "dim"), (f"{found.score:.3f} / {root} = {scaled:.3f}", "ink")],
        "keeps the variance of scores at 1 for any head size",
        width,
    )
    told, style = "not masked: it comes no later", "ink"
    if found.masked[found.key]:
        told, style = f"{endless}: it comes later, and must not be seen", "bad"
    picture.add(("mask".ljust(NAME), "dim"), (told, style))
    return picture


def _draw_weight(found: HeadSteps, width: int, ink: Ink) -> Picture:
    """Draw the scores and weights of all tokens, and how softmax makes one of the other."""
    sum_of = "sum" if ink == "ascii" else "Σ"
    shape = f"  ({len(found.weights)},)"
    seen = found.scaled[: found.query + 1]
    low, high = float(seen.min()), float(seen.max())
    scores = np.where(found.masked, low, found.scaled)
    largest = float(found.weights.max()) or 1.0
    picture = Picture()
    picture.rows += [
        _cells("scores", scores, low, high, width, ink, f"{shape} of all tokens"),
        _cells("softmax", found.weights, 0.0, largest, width, ink, f"{shape} sums to 1"),
    ]
    total = sum(math.exp(float(one) - high) for one in seen) if math.isfinite(high) else math.nan
    is_masked = bool(found.masked[found.key])
    made = f"exp({float(found.scaled[found.key]):.3f}) / {sum_of} exp = "
    _add_noted(
        picture,
        [
            ("weight".ljust(NAME), "dim"),
            ("0" if is_masked else made, "ink"),
            ("" if is_masked else _exactly(float(found.weights[found.key])), "good"),
        ],
        f"{sum_of} exp over {format_count(found.query + 1, 'token')} is {total:.2f} times the "
        f"largest",
        width,
    )
    return picture


def _draw_output(found: HeadSteps, width: int, ink: Ink) -> Picture:
    """Draw a value, the weighted sum of all of them, and what that adds to the stream."""
    mixed = "sum w.v" if ink == "ascii" else "Σ weight·v"
    value = found.values[found.key]
    most = float(max(np.abs(value).max(), np.abs(found.mixed).max()))
    norm = f"length {found.added_norm:.3f}"
    told = f"through the output projection; {norm}"
    return Picture([
        _vector("v", value, most, width, ink, "of the other token"),
        _vector(mixed, found.mixed, most, width, ink, "of all it looks at"),
        _vector("added", found.added, float(np.abs(found.added).max()), width, ink, told, norm),
    ])  # fmt: skip


def _draw_text(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw the text shaded by the weights, and what to look for beside it if there is room."""
    shaded = draw_shaded(heads, width, height, ink)
    across = max([width_of(row) for row in shaded.rows], default=0)
    reading = guide(STEPS_READING, min(width - across - 2, LONGEST_LINE), height)
    if width >= WIDE and reading.rows:
        return beside([(shaded, across), (reading, width - across - 2)], height)
    return shaded


def _add_noted(picture: Picture, row: Row, note: str, width: int) -> None:
    """Add a row with a note, which has a row of its own where there is no room beside."""
    if width_of(row) + 3 + cells_of(note) <= width:
        row = [*row, (f"   {note}", "dim")]
        note = ""
    picture.rows.append(row)
    for line in wrapped(note, width - NAME, "dim").rows:
        picture.rows.append([(" " * NAME, "ink"), *line])


def _exactly(weight: float) -> str:
    return f"{weight:.4f}" if weight >= 0.001 else format_float(weight, 2)


def _vector(name: str, values: Matrix, most: float, width: int, ink: Ink, *notes: str) -> Row:
    """Draw a vector (N,) as a row of cells by size, with its shape; the sign is not shown.

    Args:
        notes: What is said of it: the first that there is room for.
    """
    shape = f"  ({len(values)},)"
    texts = [*(f"{shape} {note}" for note in notes), shape]
    room = width - NAME - 2
    text = next((one for one in texts if FEWEST_CELLS + cells_of(one) <= room), shape)
    return _cells(name, np.abs(values), 0.0, most or 1.0, width, ink, text)


def _cells(
    name: str, values: Matrix, low: float, high: float, width: int, ink: Ink, text: str
) -> Row:
    """Draw numbers (N,) as a row of cells, the largest of a few where there are more."""
    columns = max(FEWEST_CELLS, width - NAME - 2 - cells_of(text))
    few = pooled(values[None].astype(np.float32), 1, columns)
    (cells,) = draw_heatmap(np.repeat(few, 2, axis=0), ink, low, high)
    return [(name.ljust(NAME), "dim"), *cells, (text, "dim")]
