"""One head, step by step: from a query and a key to what is added to the residual stream."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

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


def draw_steps(heads: Heads, found: HeadSteps | None, width: int, height: int, ink: Ink) -> Picture:
    """Draw q · k, scale, mask, softmax and the weighted values of one pair of tokens."""
    picture = Picture()
    ascii = ink == "ascii"
    query, key = (quoted(heads.tokens[one], ascii) for one in (heads.query, heads.key))
    title: Row = [(f"L{heads.layer} H{heads.head} step by step: ", "title")]
    pair: Row = [
        (f" {query} ", "cursor"), (f" token {heads.query} looks at ", "dim"),
        (f" {key} ", "good"), (f" token {heads.key}", "dim"),
    ]  # fmt: skip
    whole = [*title, *pair]
    picture.rows += [whole] if width_of(whole) <= width else [title, pair]
    is_it = found is not None and (found.layer, found.head, found.query, found.key) == (
        heads.layer, heads.head, heads.query, heads.key,
    )  # fmt: skip
    if found is None or not is_it:
        picture.add(("computing …", "dim"))
        return picture
    dot, times, sum_of = (".", "x", "sum") if ascii else ("·", "×", "Σ")
    mixed = "sum w.v" if ascii else "Σ weight·v"
    root = f"sqrt({len(found.q)})" if ascii else f"√{len(found.q)}"
    room = width - NAME - 2
    size = len(found.q)
    spacious = height >= 24

    def gap() -> None:
        if spacious:
            picture.add()

    gap()
    scale = float(max(np.abs(found.q).max(), np.abs(found.k).max()))
    picture.rows.append(
        _strip(
            "q",
            found.q,
            scale,
            room,
            ink,
            size,
            "what it looks for, sizes without signs",
            "what it looks for",
        )
    )
    picture.rows.append(_strip("k", found.k, scale, room, ink, size, "what the other offers"))
    most = float(np.abs(found.products).max())
    picture.rows.append(_strip(f"q {times} k", found.products, most, room, ink, size))
    picture.add(
        (f"q {dot} k".ljust(NAME), "dim"), (f"{found.score:.3f}", "ink"), (", their sum", "dim")
    )
    gap()
    scaled = float(found.scaled[heads.key])
    _add_noted(
        picture,
        [("scale".ljust(NAME), "dim"), (f"{found.score:.3f} / {root} = {scaled:.3f}", "ink")],
        "keeps the variance of scores at 1 for any head size",
        width,
    )
    masked = bool(found.masked[heads.key])
    endless = "-inf" if ascii else "−∞"
    told = (
        f"{endless}: it comes later, and must not be seen"
        if masked
        else "not masked: it comes no later"
    )
    picture.add(("mask".ljust(NAME), "dim"), (told, "bad" if masked else "ink"))
    gap()
    T = len(found.weights)
    seen = found.scaled[: heads.query + 1]
    low, high = float(seen.min()), float(seen.max())
    row = np.where(found.masked, low, found.scaled)[None].astype(np.float32)
    picture.rows.append(_scores("scores", row, low, high, room, ink, f"({T},) of all tokens"))
    weights = found.weights[None]
    largest = float(weights.max()) or 1.0
    picture.rows.append(_scores("softmax", weights, 0.0, largest, room, ink, f"({T},) sums to 1"))
    weight = float(found.weights[heads.key])
    seen_tokens = format_count(heads.query + 1, "token")
    total = sum(math.exp(float(one) - high) for one in seen) if math.isfinite(high) else math.nan
    _add_noted(
        picture,
        [
            ("weight".ljust(NAME), "dim"),
            ("0" if masked else f"exp({scaled:.3f}) / {sum_of} exp = ", "ink"),
            ("" if masked else _exactly(weight), "good"),
        ],
        f"{sum_of} exp over {seen_tokens} is {total:.2f} times the largest",
        width,
    )
    gap()
    values = found.values[heads.key]
    most = float(max(np.abs(values).max(), np.abs(found.mixed).max()))
    picture.rows.append(_strip("v", values, most, room, ink, size, "of the other token"))
    picture.rows.append(_strip(mixed, found.mixed, most, room, ink, size, "of all it looks at"))
    norm = f"length {found.added_norm:.3f}"
    told = f"through the output projection; {norm}"
    most = float(np.abs(found.added).max())
    added = _strip("added", found.added, most, room, ink, len(found.added), told, norm)
    picture.rows.append(added)
    if height - len(picture.rows) >= 4:
        picture.rows.append([])
        rest = height - len(picture.rows)
        shaded = draw_shaded(heads, width, rest, ink)
        across = max([width_of(row) for row in shaded.rows], default=0)
        reading = guide(STEPS_READING, min(width - across - 2, LONGEST_LINE), rest)
        if width >= WIDE and reading.rows:
            shaded = beside([(shaded, across), (reading, width - across - 2)], rest)
        picture = below(picture, shaded)
    return cut(picture, width, height)


def _add_noted(picture: Picture, row: Row, note: str, width: int) -> None:
    """Add a row with a note, which has a row of its own where there is no room beside."""
    if width_of(row) + 3 + cells_of(note) <= width:
        row = [*row, (f"   {note}", "dim")]
        note = ""
    picture.rows.append(row)
    for line in wrapped(note, width - NAME, "dim").rows:
        picture.rows.append([(" " * NAME, "ink"), *line])


def _exactly(weight: float) -> str:
    return f"{weight:.4f}" if weight >= 0.001 else f"{weight:.2g}"


def _strip(
    name: str, values: Matrix, most: float, room: int, ink: Ink, size: int, *notes: str
) -> Row:
    """Draw a vector as a row of cells by size, with its shape; the sign is not shown.

    Args:
        notes: What is said of it: the first that there is room for.
    """
    shape = f"  ({size},)"
    texts = [*(f"{shape} {note}" for note in notes), shape]
    text = next((one for one in texts if FEWEST_CELLS + cells_of(one) <= room), shape)
    columns = max(FEWEST_CELLS, min(len(values), room - len(text)))
    magnitudes = np.abs(values)[None].astype(np.float32)
    few = pooled(magnitudes, 1, columns)
    (cells,) = draw_heatmap(np.repeat(few, 2, axis=0), ink, 0.0, most or 1.0)
    return [(name.ljust(NAME), "dim"), *cells, (text, "dim")]


def _scores(
    name: str, values: Matrix, low: float, high: float, room: int, ink: Ink, shape: str
) -> Row:
    text = f"  {shape}"
    few = pooled(values, 1, max(FEWEST_CELLS, room - len(text)))
    (cells,) = draw_heatmap(np.repeat(few, 2, axis=0), ink, low, high)
    return [(name.ljust(NAME), "dim"), *cells, (text, "dim")]
