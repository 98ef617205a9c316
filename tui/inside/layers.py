"""Layers: what each would predict, what it adds to the stream, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from tui.charts.heatmap import Ink, Matrix, levels, mark
from tui.inside.layout import Picture, Row, Target, below, beside, cut, figures, width_of
from tui.inside.tokens import quoted, shown

CELL = 4  # columns of a guess of the logit lens
NAME = 6
WORTH = 7  # columns of what a part is worth
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
    lens = draw_lens(one, width if width < WIDE else width - 50, ink)
    at_cursor = draw_streams(one, 48, ink)
    effect = draw_effect(one, width, ink)
    rows = len(one.guesses) + 2
    worth = draw_worth(one, width, max(3, height - rows - len(effect.rows) - 1), ink)
    if width >= WIDE:
        top = beside([(lens, width - 50), (at_cursor, 48)], rows)
        return cut(below(top, Picture([[]]), worth, effect), width, height)
    room = height - len(worth.rows) - len(effect.rows)
    top = lens if room >= rows else cut(lens, width, max(3, room))
    spare = height - len(top.rows) - len(worth.rows) - len(effect.rows)
    if spare > rows:
        return cut(below(top, Picture([[]]), at_cursor, worth, effect), width, height)
    return cut(below(top, worth, effect), width, height)


def draw_lens(one: Layers, width: int, ink: Ink) -> Picture:
    """Draw what each layer would predict at the positions around the cursor."""
    ascii = ink == "ascii"
    columns = max(1, (width - NAME) // CELL)
    first = max(0, min(one.position - columns // 2, len(one.tokens) - columns))
    shown_ones = range(first, min(len(one.tokens), first + columns))
    picture = Picture()
    picture.add(("logit lens ", "title"), ("what comes after each token, by layer", "dim"))
    row: Row = [("text".ljust(NAME), "dim")]
    for at in shown_ones:
        left = width_of(row)
        text = quoted(one.tokens[at], ascii)[: CELL - 1].ljust(CELL - 1)
        row += [(text, "cursor" if at == one.position else "ink"), (" ", "ink")]
        picture.targets.append(Target(1, left, left + CELL, ("token", at)))
    picture.rows.append(row)
    found = levels(one.probability)
    for number, guesses in enumerate(one.guesses):
        name = "embed" if number == 0 else f"L{number - 1}"
        row = [(name.ljust(NAME), "dim")]
        for at in shown_ones:
            level = int(found[number, at])
            right = at + 1 < len(one.tokens) and guesses[at] == one.tokens[at + 1]
            sign = ("*" if ascii else "◆") if right else " "
            text = quoted(guesses[at], ascii)[: CELL - 2]
            strength = mark(level, ink) if ink != "pixels" and level >= 0 else ""
            style = "bad" if level < 0 else f"shade {level}" if ink == "pixels" else "ink"
            text = ("x" if level < 0 else text + strength)[: CELL - 2].ljust(CELL - 2)
            row += [(text, style), (sign, "good"), (" ", "ink")]
            target = Target(len(picture.rows), width_of(row) - CELL, width_of(row), ("token", at))
            picture.targets.append(target)
        picture.rows.append(row)
    return picture


def draw_streams(one: Layers, width: int, ink: Ink) -> Picture:
    """Draw the stream at the cursor: its norm, what is added to it, the true next token."""
    at = one.position
    picture = Picture()
    picture.add(("at the cursor ", "title"), ("norms; p of the true next token", "dim"))
    picture.add(("stream  attention    feed-fwd      p", "dim"))
    most = float(np.nanmax(one.added[:, :, at])) if np.isfinite(one.added[:, :, at]).any() else 1.0
    full = "#" if ink == "ascii" else "█"
    for number in range(len(one.guesses)):
        row: Row = [(f"{float(one.stream[number, at]):6.1f}  ", "ink")]
        for part in range(2):
            value = float(one.added[number - 1, part, at]) if number else 0.0
            size = round(5 * value / most) if value == value and most else 0
            text = f"{value:5.1f} " if number else "      "
            row += [(text, "ink"), ((full * size).ljust(7), "bar")]
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
    at = one.parts.index(one.cursor[1])
    first = max(0, min(at - columns // 2, len(places) - columns))
    places = places[first : first + columns]
    head: Row = [(" " * NAME, "dim")]
    head += [(names[place].rjust(WORTH - 1) + " ", "dim") for place in places]
    picture.rows.append(head)
    layers = len(one.guesses) - 1
    room = max(1, height - 2)
    top = max(0, min(one.cursor[0] - room // 2, layers - room))
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
    whole, without = one.bits
    picture = Picture()
    changed = [("this text", f"{whole:.2f} bits a token")]
    if one.off:
        changed.append(("with what is off", f"{without:.2f} ({without - whole:+.2f})"))
    picture.add(*figures(changed))
    picture.add(("goes on ", "dim"), (shown(one.goes_on[0], ascii), "ink"))
    if one.off:
        picture.add(("without ", "bad"), (shown(one.goes_on[1], ascii), "ink"))
    return cut(picture, width, len(picture.rows))
