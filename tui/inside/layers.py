"""Layers: what each would predict, what it adds to the stream, and what it is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tui.charts.heatmap import Ink, Matrix, draw_heatmap, levels, mark
from tui.inside.layout import (
    Picture,
    Row,
    Target,
    bar,
    below,
    beside,
    cut,
    figure_rows,
    figures,
    guide,
    width_of,
    window,
    wrapped,
)
from tui.inside.tokens import initial, quoted, shown
from tui.terminal.cells import beginning, padded
from tui.text.numbers import UNKNOWN

CELL, WIDE_CELL = 4, 7  # columns of a guess of the logit lens, without and with how sure it is
NAME = 6
WORTH = 7  # columns of what a part is worth
OFF = " off"  # behind it, if the part is switched off
NOTHING = "with nothing: its predictions are no numbers"
MOST_WORTH = 0.3  # nats of the highest level
WIDE = 120
LEAST = 60  # columns that the two parts which are missed least take at most
SIDE = 50  # columns beside the lens
LONGEST_LINE = 100  # columns of sentences
VERY_WIDE = 160
BY_LAYER = 40  # columns of the longest bar of a layer

Place = tuple[int, int | str]  # a layer, and a part of it


@dataclass(frozen=True, kw_only=True)
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
        worth_step: Of the weights that were measured, if they are others than those shown.
        off: What is switched off.
        cursor: The part at the cursor.
        bits: Mean surprisal of the text, whole and with what is off; NaN if it is one token.
            It is shown in nats, as losses are.
        goes_on: How the text goes on, whole and with what is off.
        guide: What to look for, in paragraphs.
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
    measured: float = 1.0
    worth_step: int | None = None
    off: Set[Place] = frozenset()
    cursor: Place
    bits: tuple[float, float]
    goes_on: tuple[str, str]
    guide: Sequence[str] = ()


def draw_layers(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw the logit lens, the streams at the cursor and the map of what parts are worth."""
    if width >= VERY_WIDE:
        return _draw_very_wide(one, width, height, ink)
    effect = below(draw_least(one, width), draw_effect(one, width, ink))
    room = height - len(effect.rows) - 1
    most = len(one.guesses) + 1  # rows of what all parts are worth
    rows = min(max(room - most, len(one.guesses) + 2), max(5, room - min(most, room * 2 // 5)))
    lens = draw_lens(one, width if width < WIDE else width - SIDE, rows, ink)
    rows = len(lens.rows)
    at_cursor = draw_streams(one, rows, ink)
    worth = draw_worth(one, width, max(3, room - rows), ink)
    if width >= WIDE:
        told = guide(one.guide, SIDE - 2, rows - len(at_cursor.rows))
        top = beside([(lens, width - SIDE), (below(at_cursor, told), SIDE - 2)], rows)
        whole = below(top, Picture([[]]), worth, effect)
        whole = below(whole, draw_by_layer(one, width, height - len(whole.rows), ink))
        if not told.rows:
            room = height - len(whole.rows)
            whole = below(whole, guide(one.guide, min(width, LONGEST_LINE), room))
        return cut(whole, width, height)
    room = height - len(worth.rows) - len(effect.rows)
    top = lens if room >= rows else cut(lens, width, max(3, room))
    spare = height - len(top.rows) - len(worth.rows) - len(effect.rows)
    if spare > rows:
        return cut(below(top, Picture([[]]), at_cursor, worth, effect), width, height)
    return cut(below(top, worth, effect), width, height)


def _draw_very_wide(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw the lens at the left, and everything else at its right."""
    for_off = len(OFF) * max(1, len(_parts_off(one)))  # room for one, so that it moves nothing
    right_width = max(SIDE, min(width // 2, NAME + WORTH * len(one.parts) + for_off))
    left_width = width - 2 - right_width
    gap = Picture([[]])
    effect = below(draw_least(one, right_width), gap, draw_effect(one, right_width, ink))
    half = max(5, (height - len(effect.rows) - 2) // 2)
    at_cursor = draw_streams(one, half, ink)
    worth = draw_worth(one, right_width, half, ink)
    right = below(at_cursor, gap, worth, gap, effect)
    right = below(right, guide(one.guide, right_width, height - len(right.rows)))
    left = draw_lens(one, left_width, height, ink)
    left = below(left, draw_by_layer(one, left_width, height - len(left.rows), ink))
    return beside([(left, left_width), (right, right_width)], height)


def draw_by_layer(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw how good the guesses of each layer are, and what each token has written, if it fits."""
    picture = Picture([[]])
    count = len(one.guesses)
    full = "#" if ink == "ascii" else "█"
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -np.log2(one.truth[:, :-1]).astype(np.float64)  # (L + 1, T - 1)
    if not bits.size or height < count + 2:
        return Picture()
    told = "how often the guess is right, and bits of the true next token, on average"
    picture.add(("by layer ", "title"), (told, "dim"))
    means = [float(row[np.isfinite(row)].mean()) if np.isfinite(row).any() else math.nan
             for row in bits]  # fmt: skip
    most = max((one for one in means if math.isfinite(one)), default=1.0) or 1.0
    for place, mean in enumerate(means):
        name = "embed" if place == 0 else f"L{place - 1}"
        right = [a == b for a, b in zip(one.guesses[place][:-1], one.tokens[1:], strict=True)]
        picture.add(
            (name.ljust(NAME), "dim"),
            (f"{sum(right) / len(right):4.0%} right ", "ink"),
            (f"{mean:5.2f} bits ", "ink"),
            (bar(mean / most, min(BY_LAYER, width - 30), full), "bar"),
        )
    if height - len(picture.rows) < count + 2 or ink != "pixels":
        return picture
    picture.add()
    told = "at each token, above by attention, below by the feed-forward: the norms"
    picture.add(("written ", "title"), (told, "dim"))
    finite = one.added[np.isfinite(one.added)]
    high = float(finite.max()) if len(finite) else 1.0
    room = width - NAME
    first = window(one.position, room, len(one.tokens))
    times = max(1, min(WIDE_CELL, room // len(one.tokens)))  # columns of a token
    for layer, written in enumerate(one.added):  # (2, T)
        shown_ones = written[:, first : first + room].repeat(times, axis=1)
        (cells,) = draw_heatmap(shown_ones, ink, 0.0, high)
        picture.rows.append([(f"L{layer}".ljust(NAME), "dim"), *cells])
    return picture


def draw_least(one: Layers, width: int) -> Picture:
    """Say which layer and which smaller part are missed least, once all are measured."""
    picture = Picture()
    if one.measured < 1:
        return picture
    finite = {place: value for place, value in one.worth.items() if math.isfinite(value)}
    told = []
    for what, are in (
        ("layer", [place for place in finite if place[1] == "layer"]),
        ("head", [place for place in finite if isinstance(place[1], int)]),
    ):
        if are:
            layer, part = best = min(are, key=lambda place: finite[place])
            name = f"L{layer}" if part == "layer" else f"L{layer} H{part}"
            told.append((what, f"{name} ({finite[best]:+.3f})"))
    for number, one_told in enumerate(told):
        picture.add(("" if number else "least missed ", "title"), *figures([one_told]))
    if len(told) == 2 and width >= LEAST:
        picture = Picture([[*picture.rows[0], ("  ", "ink"), *picture.rows[1]]])
    elif len(told) == 2:
        picture.rows[1].insert(0, (" " * len("least missed "), "ink"))
    return picture


def _places_shown(one: Layers, rows: int) -> range:
    """Return the places of the stream for which there is room, those around the cursor."""
    count = len(one.guesses)
    first = window(one.cursor[0] + 1, rows, count)
    return range(first, min(count, first + rows))


def draw_lens(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw what each layer would predict at the positions around the cursor.

    Where all layers have room, there are as many bands of positions as fit.
    """
    places = _places_shown(one, height - 2)
    bands = max(1, height // (len(places) + 2))  # with a gap between them
    fits = -(-len(one.tokens) // bands) * WIDE_CELL + NAME <= width
    cell = WIDE_CELL if fits else CELL
    columns = max(1, (width - NAME) // cell)
    bands = min(bands, -(-len(one.tokens) // columns))
    first = window(one.position, columns * bands, len(one.tokens))
    picture = Picture()
    told = ", with its probability" if fits else ""
    picture.add(("logit lens ", "title"), (f"what comes after each token, by layer{told}", "dim"))
    found = levels(one.probability)
    for left in range(first, min(len(one.tokens), first + columns * bands), columns):
        shown_ones = range(left, min(len(one.tokens), left + columns))
        gap = Picture([[]] if left > first else [])
        picture = below(picture, gap, _draw_band(one, shown_ones, places, found, ink, cell))
    return picture


def _draw_band(
    one: Layers,
    shown_ones: range,
    places: range,
    found: NDArray[np.int64],
    ink: Ink,
    cell: int,
) -> Picture:
    """Draw some tokens, and below each what the layers would predict."""
    ascii = ink == "ascii"
    picture = Picture()
    row: Row = [("text".ljust(NAME), "dim")]
    for number, at in enumerate(shown_ones):
        left = NAME + number * cell
        text = _narrow(quoted(one.tokens[at], ascii), cell - 1)
        row += [(text, "cursor" if at == one.position else "ink"), (" ", "ink")]
        picture.targets.append(Target(0, left, left + cell, ("token", at)))
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
            if cell > CELL:
                text = _narrow(text, 2) + _percent(float(one.probability[place, at]))
            elif ink != "pixels":  # no colour says how sure it is
                text = initial(text, ascii) + mark(max(0, level), ink)
            style = "bad" if level < 0 else f"shade {level}" if ink == "pixels" else "ink"
            text = _narrow("x" if level < 0 else text, cell - 2)
            row += [(text, style), (sign, "good"), (" ", "ink")]
            left = NAME + number * cell
            target = Target(len(picture.rows), left, left + cell, ("token", at))
            picture.targets.append(target)
        picture.rows.append(row)
    return picture


def _percent(probability: float) -> str:
    """Return a probability in three columns."""
    return f"{min(99, round(100 * probability)):2d}%" if math.isfinite(probability) else "   "


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


def _parts_off(one: Layers) -> set[int | str]:
    """Return the parts of which a layer has one switched off: their columns are wider."""
    return {part for _, part in one.off}


def draw_worth(one: Layers, width: int, height: int, ink: Ink) -> Picture:
    """Draw the loss without each part minus the loss: a row for each layer."""
    picture = Picture()
    told = "" if one.measured >= 1 else f", measured {one.measured:.0%}"
    told += "" if one.worth_step is None else f", at step {one.worth_step:,}"
    picture.add(("worth ", "title"), (f"loss without a part minus loss, in nats{told}", "dim"))
    names = [f"H{part}" if isinstance(part, int) else NAMES[part] for part in one.parts]
    parts_off = _parts_off(one)
    columns = max(1, (width - NAME - len(OFF) * len(parts_off)) // WORTH)
    places = list(range(len(one.parts)))
    first = window(one.parts.index(one.cursor[1]), columns, len(places))
    places = places[first : first + columns]
    head: Row = [(" " * NAME, "dim")]
    for place in places:
        wider = len(OFF) if one.parts[place] in parts_off else 0
        head.append((names[place].rjust(WORTH - 1) + " " * (1 + wider), "dim"))
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
            text = ("…" if value is None else f"{value:+.3f}").rjust(WORTH - 1)[: WORTH - 1]
            if part in parts_off:
                text += OFF if here in one.off else " " * len(OFF)
            style = _style_of(value, here in one.off, ink)
            if here == one.cursor:
                style = "cursor"
            left = width_of(row)
            row += [(text, style), (" ", "ink")]
            target = Target(len(picture.rows), left, width_of(row), ("part", layer, place))
            picture.targets.append(target)
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
    is_one = len(one.tokens) == 1  # nothing comes after it that could be predicted
    told = f"{UNKNOWN}, as one token has none" if is_one else f"{whole:.3f}"
    changed = [("loss of this text", told)]
    if one.off and not is_one:
        changed.append(("with what is off", f"{without:.3f} ({without - whole:+.3f})"))
    picture = figure_rows(changed, width)
    whole_text, text = (shown(text, ascii) or NOTHING for text in one.goes_on)
    texts = [("goes on ", "dim", whole_text)]
    if one.off:
        texts.append(("without ", "bad", text))
    for name, style, words in texts:
        lines = wrapped(words, width - len(name)).rows or [[]]
        picture.rows.append([(name, style), *lines[0]])
        picture.rows += [[(" " * len(name), "ink"), *line] for line in lines[1:]]
    return cut(picture, width, len(picture.rows))
