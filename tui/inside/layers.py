"""Layers: what each would predict, what it adds to the stream, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui.charts.heatmap import Ink, Matrix, levels, mark
from tui.inside.layout import (
    Picture,
    Row,
    Target,
    bar,
    below,
    beside,
    cut,
    figures,
    width_of,
    window,
)
from tui.inside.tokens import initial, quoted, shown
from tui.terminal.cells import beginning, padded

CELL = 4  # columns of a guess of the logit lens
NAME = 6
WORTH = 7  # columns of what a part is worth
NOTHING = "with nothing: its predictions are no numbers"
MOST_WORTH = 0.3  # nats of the highest level
WIDE = 120

Place = tuple[int, int | str]  # a layer, and a part of it


@dataclass(frozen=True)
class Layers:
    """What is drawn.

    Attributes:
        tokens: T strings.
        position: The token at the cursor.
        guesses: (L + 1, T) strings, what the embeddings and each layer would predict next.
        probability: (L + 1, T), of each guess.
        truth: (L + 1, T), of the token that does come next; NaN at the end.
        stream: (L + 1, T), the norm of the residual stream.
        added: (L, 2, T), the norms of what attention and feed-forward write.
        parts: What each layer can be without.
        worth: The loss without a part minus the loss, as far as it is known.
        measured: Share of the parts of which it is known.
        off: What is switched off.
        cursor: The part at the cursor.
        bits: Mean surprisal of the text, whole and with what is off; NaN if it is one token.
            It is shown in nats, as losses are.
        goes_on: How the text goes on, whole and with what is off.
    """

    tokens: Sequence[str]
    position: int
    guesses: Sequence[Sequence[str]]
    probability: Matrix
    truth: Matrix
    stream: Matrix
    added: Matrix
    parts: Sequence[int | str]
    worth: Mapping[Place, float]
    measured: float
    off: Set[Place]
    cursor: Place
    bits: tuple[float, float]
    goes_on: tuple[str, str]


def draw_layers(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw the logit lens, the streams at the cursor and the map of what parts are worth."""
    effect = draw_effect(one, width, ink)
    room = height - len(effect.rows) - 1
    most = len(one.guesses) + 1  # rows of what all parts are worth
    rows = min(max(room - most, len(one.guesses) + 2), max(5, room - min(most, room * 2 // 5)))
    lens = draw_lens(one, width if width < WIDE else width - 50, rows, ink)
    rows = len(lens.rows)
    at_cursor = draw_streams(one, rows, ink)
    worth = draw_worth(one, width, max(3, room - rows), ink)
    if width >= WIDE:
        top = beside([(lens, width - 50), (at_cursor, 48)], rows)
        return cut(below(top, Picture([[]]), worth, effect), width, height)
    room = height - len(worth.rows) - len(effect.rows)
    top = lens if room >= rows else cut(lens, width, max(3, room))
    spare = height - len(top.rows) - len(worth.rows) - len(effect.rows)
    if spare > rows:
        return cut(below(top, Picture([[]]), at_cursor, worth, effect), width, height)
    return cut(below(top, worth, effect), width, height)


def _places_shown(one: Layers, rows: int) -> range:
    """Return the places of the stream for which there is room, those around the cursor."""
    count = len(one.guesses)
    first = window(one.cursor[0] + 1, rows, count)
    return range(first, min(count, first + rows))


def draw_lens(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw what each layer would predict at the positions around the cursor.

    Where all layers have room, there are as many bands of positions as fit.
    """
    columns = max(1, (width - NAME) // CELL)
    places = _places_shown(one, height - 2)
    bands = max(1, min(height // (len(places) + 2), -(-len(one.tokens) // columns)))
    first = window(one.position, columns * bands, len(one.tokens))
    picture = Picture()
    picture.add(("logit lens ", "title"), ("what comes after each token, by layer", "dim"))
    found = levels(one.probability)
    for left in range(first, min(len(one.tokens), first + columns * bands), columns):
        shown_ones = range(left, min(len(one.tokens), left + columns))
        gap = Picture([[]] if left > first else [])
        picture = below(picture, gap, _draw_band(one, shown_ones, places, found, ink))
    return picture


def _draw_band(
    one: Layers, shown_ones: range, places: range, found: NDArray[np.int64], ink: Ink
) -> Picture:
    """Draw some tokens, and below each what the layers would predict."""
    ascii = ink == "ascii"
    picture = Picture()
    row: Row = [("text".ljust(NAME), "dim")]
    for number, at in enumerate(shown_ones):
        left = NAME + number * CELL
        text = _narrow(quoted(one.tokens[at], ascii), CELL - 1)
        row += [(text, "cursor" if at == one.position else "ink"), (" ", "ink")]
        picture.targets.append(Target(0, left, left + CELL, ("token", at)))
    picture.rows.append(row)
    for place in places:
        guesses = one.guesses[place]
        name = "embed" if place == 0 else f"L{place - 1}"
        row = [(name.ljust(NAME), "dim")]
        for number, at in enumerate(shown_ones):
            level = int(found[place, at])
            right = at + 1 < len(one.tokens) and guesses[at] == one.tokens[at + 1]
            sign = ("*" if ascii else "◆") if right else " "
            text = quoted(guesses[at], ascii)
            if ink != "pixels":  # no colour says how sure it is
                text = initial(text, ascii) + mark(max(0, level), ink)
            style = "bad" if level < 0 else f"shade {level}" if ink == "pixels" else "ink"
            text = _narrow("x" if level < 0 else text, CELL - 2)
            row += [(text, style), (sign, "good"), (" ", "ink")]
            left = NAME + number * CELL
            target = Target(len(picture.rows), left, left + CELL, ("token", at))
            picture.targets.append(target)
        picture.rows.append(row)
    return picture


def _narrow(text: str, width: int) -> str:
    """Return the beginning of a drawn text in exactly so many columns."""
    return padded(beginning(text, width), width)


def _size(value: float, columns: int) -> str:
    """Return a norm with one decimal, if there is room."""
    text = f"{value:{columns}.1f}"
    return text if len(text) <= columns else f"{value:{columns}.0e}"


def draw_streams(one: Layers, height: int, ink: Ink) -> Picture:
    """Draw the stream at the cursor: its norm, what is added to it, the true next token."""
    at = one.position
    picture = Picture()
    picture.add(("at the cursor ", "title"), ("norms; p of the true next token", "dim"))
    picture.add((f"{'stream':8}{'attention':13}{'feed-forward':13}{'p':>6}", "dim"))
    most = float(np.nanmax(one.added[:, :, at])) if np.isfinite(one.added[:, :, at]).any() else 1.0
    full = "#" if ink == "ascii" else "█"
    for number in _places_shown(one, height - 2):
        row: Row = [(_size(float(one.stream[number, at]), 6) + "  ", "ink")]
        for part in range(2):
            value = float(one.added[number - 1, part, at]) if number else 0.0
            text = _size(value, 5) + " " if number else "      "
            row += [(text, "ink"), (bar(value / (most or 1.0), 5, full).ljust(7), "bar")]
        truth = float(one.truth[number, at])
        row.append(("     –" if truth != truth else f"{truth:6.1%}", "ink"))
        picture.rows.append(row)
    return picture


def draw_worth(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw the loss without each part minus the loss: a row for each layer."""
    picture = Picture()
    told = "" if one.measured >= 1 else f", measured {one.measured:.0%}"
    picture.add(("worth ", "title"), (f"loss without a part minus loss, in nats{told}", "dim"))
    names = [f"H{part}" if isinstance(part, int) else NAMES[part] for part in one.parts]
    columns = max(1, (width - NAME) // WORTH)
    places = list(range(len(one.parts)))
    first = window(one.parts.index(one.cursor[1]), columns, len(places))
    places = places[first : first + columns]
    head: Row = [(" " * NAME, "dim")]
    head += [(names[place].rjust(WORTH - 1) + " ", "dim") for place in places]
    picture.rows.append(head)
    layers = len(one.guesses) - 1
    room = max(1, height - 2)
    top = window(one.cursor[0], room, layers)
    for layer in range(top, min(layers, top + room)):
        row: Row = [(f"L{layer}".ljust(NAME), "dim")]
        for place in places:
            part = one.parts[place]
            here = (layer, part)
            value = one.worth.get(here)
            text = "off" if here in one.off else "…" if value is None else f"{value:+.3f}"
            style = _style_of(value, here in one.off, ink)
            if here == one.cursor:
                style = "cursor"
            left = width_of(row)
            row += [(text.rjust(WORTH - 1)[: WORTH - 1], style), (" ", "ink")]
            picture.targets.append(
                Target(len(picture.rows), left, left + WORTH, ("part", layer, place))
            )
        picture.rows.append(row)
    return picture


NAMES = {"attention": "attn", "feed_forward": "ff", "layer": "layer"}


def _style_of(value: float | None, is_off: bool, ink: Ink) -> str:
    if is_off:
        return "bad"
    if value is None or value != value:
        return "dim"
    if ink != "pixels":
        return "ink"
    return f"diff {round(max(-1.0, min(1.0, value / MOST_WORTH)) * 8)}"


def draw_effect(one: Layers, width: int, ink: Ink) -> Picture:
    """Draw what the text costs, and how it goes on, with and without what is off."""
    ascii = ink == "ascii"
    whole, without = (bits * math.log(2) for bits in one.bits)
    picture = Picture()
    changed = [("loss of this text", f"{whole:.3f}")]
    if one.off:
        changed.append(("with what is off", f"{without:.3f} ({without - whole:+.3f})"))
    picture.add(*figures(changed))
    whole_text, text = (shown(text, ascii) or NOTHING for text in one.goes_on)
    picture.add(("goes on ", "dim"), (whole_text, "ink"))
    if one.off:
        picture.add(("without ", "bad"), (text, "ink"))
    return cut(picture, width, len(picture.rows))
