"""Attention: all heads at a glance, one of them enlarged, and what one token looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tui.charts.heatmap import Ink, Matrix, draw_heatmap, levels, mark, pooled
from tui.inside.layout import (
    Picture,
    Row,
    Target,
    bar,
    below,
    beside,
    cut,
    guide,
    width_of,
    window,
)
from tui.inside.tokens import draw_tokens, initial, quoted
from tui.terminal.cells import padded, shortened

LARGEST_MAP = 32  # pixels of one head in the overview
SMALLEST_MAP = 4
BAR = 12  # columns of the longest bar
TITLE = 26  # columns of the name of a head
NARROW = 40  # columns, below which one picture has all the room
WIDE = 100  # columns, from which on the pattern stands beside the overview
TEXT_BESIDE = 30  # columns of a text that can stand beside the overview
VERY_WIDE = 160  # … and the text has a column of its own
TEXT_COLUMN = 46  # columns of it, at least
NAMED_MAP = 12  # pixels of a map over which the beginning of a name says something
FEWEST_RANKED = 4  # rows of which head does each thing most, with the title
# what heads are named after, as it is said in a list: where the token looks
PLACES = {
    "previous token": "one back",
    "first token": "at the first token",
    "induction": "at what followed it before",
    "current token": "at itself",
    "same token": "at the same one before",
    "recent tokens": "at the last four",
    "spread": "everywhere alike",
}


@dataclass(frozen=True)
class Heads:
    """What is drawn of the attention of a text.

    Attributes:
        maps: (L, nh, p, p), the patterns of all heads, pooled to at most p pixels.
        pattern: (T, T), of the chosen head; row i has the weights of query token i.
        names: What each head does, by layer.
        tokens: T strings.
        layer: Of the chosen head.
        head: Its number in the layer.
        query: The token that looks.
        key: One that it looks at.
        scores: How much each head does of each thing: (L, nh) by its name.
        guide: What to look for, in paragraphs.
    """

    maps: Matrix
    pattern: Matrix
    names: Sequence[Sequence[str]]
    tokens: Sequence[str]
    layer: int
    head: int
    query: int
    key: int
    scores: Mapping[str, Matrix] = field(default_factory=dict)
    guide: Sequence[str] = ()


def brightness(weights: Matrix) -> Matrix:
    """Return how bright weights are: their square roots, so that those of 64 tokens are visible."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(weights)


def draw_attention(heads: Heads, width: int, height: int, ink: Ink, enlarged: bool) -> Picture:
    """Draw heads beside the text; the pattern of one too if there is room, or instead of all."""
    T = len(heads.tokens)
    if width >= VERY_WIDE:
        pattern_width = min(max(TITLE, T + 3), (width - 4) // 2)
        left_width = width - 4 - pattern_width - TEXT_COLUMN
        overview = draw_overview(heads, left_width, height, ink)
        left_width = max([width_of(row) for row in overview.rows], default=0)
        pattern = draw_pattern(heads, pattern_width, height, ink)
        ranking = below(Picture([[]]), draw_ranking(heads, pattern_width, ink))
        has_room = height - len(pattern.rows) >= len(ranking.rows)
        text_width = width - 4 - pattern_width - left_width
        parts = [
            (overview, left_width),
            (below(pattern, ranking) if has_room else pattern, pattern_width),
            (draw_query(heads, text_width, height, ink, not has_room), text_width),
        ]
        return beside(parts, height)
    if width >= WIDE:
        pattern_width = min(max(TITLE, T + 3), width - 2 - 44)
        left_width = width - 2 - pattern_width
        pattern = draw_pattern(heads, pattern_width, height, ink)
        across = _overview_width(heads, left_width, height)
        if left_width - across - 2 >= TEXT_BESIDE:  # few heads, which are high then
            tall = draw_overview(heads, left_width, height, ink)
            room = left_width - across - 2
            text = draw_query(heads, room, height, ink)
            return beside([(tall, across), (text, room), (pattern, pattern_width)], height)
        overview = draw_overview(heads, left_width, max(8, height // 2), ink)
        text = draw_query(heads, left_width, height - len(overview.rows), ink)
        return beside([(below(overview, text), left_width), (pattern, pattern_width)], height)
    if width < NARROW:
        draw = draw_pattern if enlarged else draw_query
        return cut(draw(heads, width, height, ink), width, height)
    if enlarged:
        left_width = min(max(TITLE, T + 3), width - 30)
        left = draw_pattern(heads, left_width, height, ink)
    else:
        left = draw_overview(heads, width // 2, height, ink)
        left_width = max([width_of(row) for row in left.rows], default=0)
    room = width - left_width - 2
    return beside([(left, left_width), (draw_query(heads, room, height, ink), room)], height)


def _map_size(heads: int, layers: int, width: int, height: int) -> int:
    """Return the pixels of a head's map, at least so many that it looks like something."""
    across = (width - 3) // heads - 1
    down = 2 * (height // layers - 1)
    return max(SMALLEST_MAP, min(LARGEST_MAP, across, down) // 2 * 2)


def _overview_width(heads: Heads, width: int, height: int) -> int:
    """Return the columns that the patterns of all heads take of a width."""
    layers, count = heads.maps.shape[:2]
    size = _map_size(count, layers, width, height)
    shown = min(int(count), max(1, (width - 3) // (size + 1)))
    return 3 + shown * (size + 1)


def draw_overview(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw the patterns of all heads, a row of them for each layer, those near the chosen one."""
    layers, count = heads.maps.shape[:2]
    size = _map_size(count, layers, width, height)
    per_layer = size // 2 + 1
    room, across = max(1, height // per_layer), max(1, (width - 3) // (size + 1))
    top, first = window(heads.layer, room, layers), window(heads.head, across, count)
    shown_heads = range(first, min(count, first + across))
    picture = Picture()
    for layer in range(top, min(layers, top + room)):
        row: Row = [(f"L{layer}".ljust(3)[:3], "dim")]
        for head in shown_heads:
            chosen = (layer, head) == (heads.layer, heads.head)
            does = heads.names[layer][head] if heads.names else ""
            if len(f"H{head} {does}") > size:  # without its score
                does = does.rpartition(" ")[0]
            name = (f"H{head} {does}" if size >= NAMED_MAP else f"H{head}")[:size].ljust(size)
            left = width_of(row)
            row += [(name, "cursor" if chosen else "dim"), (" ", "ink")]
            for down in range(per_layer):
                picture.targets.append(
                    Target(len(picture.rows) + down, left, left + size, ("head", layer, head))
                )
        picture.rows.append(row)
        drawn = [
            draw_heatmap(brightness(pooled(heads.maps[layer, head], size, size)), ink)
            for head in shown_heads
        ]
        for line in range(size // 2):
            cells: Row = [("   ", "ink")]
            for one in drawn:
                cells += one[line] if line < len(one) else []
                missing = size - (width_of(one[line]) if line < len(one) else 0)
                cells.append((" " * (missing + 1), "ink"))
            picture.rows.append(cells)
    return picture


def draw_pattern(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw one head's pattern, queries down and keys across; the part around the cursor."""
    T = len(heads.tokens)
    rows, columns = 2 * max(1, height - 2), max(1, width - 3)
    top = window(heads.query, rows, T) // 2 * 2
    left = window(heads.key, columns, T)
    part = heads.pattern[top : top + rows, left : left + columns]
    picture = Picture()
    name = heads.names[heads.layer][heads.head] if heads.names else ""
    picture.add((f"L{heads.layer} H{heads.head} ", "title"), (name, "ink"))
    signs = [initial(one, ink == "ascii") for one in heads.tokens[left : left + columns]]
    at = heads.key - left
    before, after = "".join(signs[:at]), "".join(signs[at + 1 :])
    picture.add(("   ", "ink"), (before, "dim"), (signs[at], "cursor"), (after, "dim"))
    for number, cells in enumerate(draw_heatmap(brightness(part), ink)):
        upper = top + 2 * number
        here = heads.query in (upper, upper + 1)
        label = initial(heads.tokens[heads.query if here else upper], ink == "ascii")
        sign = ">" if ink == "ascii" else "▸"
        picture.rows.append(
            [
                (sign if here else " ", "cursor" if here else "dim"),
                (padded(label, 2), "dim"),
                *cells,
            ]
        )
        last = 3 + part.shape[1]
        picture.targets.append(Target(len(picture.rows) - 1, 3, last, ("key", left), counts=True))
    return picture


def draw_query(
    heads: Heads, width: int, height: int, ink: Ink, has_ranking: bool = True
) -> Picture:
    """Draw what the query token looks at: the text shaded by its weights, and the largest.

    Below, as far as there is room, which heads do each thing most, and what to look for.
    """
    head = Picture()
    name = heads.names[heads.layer][heads.head] if heads.names else ""
    token = quoted(heads.tokens[heads.query], ink == "ascii")
    head.add((f"L{heads.layer} H{heads.head} ", "title"), (name, "ink"))
    head.add((f"token {heads.query} ", "dim"), (f" {token} ", "cursor"), (" looks at", "dim"))
    bars = draw_bars(heads, width, max(3, min(8, height // 5)), ink)
    ranking = draw_ranking(heads, width, ink) if has_ranking else Picture()
    room = height - len(head.rows) - len(bars.rows) - 1
    kept = min(len(ranking.rows), FEWEST_RANKED) + 1 if ranking.rows else 0
    text = draw_shaded(heads, width, max(2, room - kept if room > 2 * kept else room), ink)
    shown = below(head, text, Picture([[]]), bars)
    room = height - len(shown.rows) - 1
    if ranking.rows and room >= 2:
        shown = below(shown, Picture([[]]), cut(ranking, width, room))
    shown = below(shown, _draw_scores(heads, width, height - len(shown.rows), ink))
    return cut(below(shown, guide(heads.guide, width, height - len(shown.rows))), width, height)


def draw_ranking(heads: Heads, width: int, ink: Ink) -> Picture:
    """Draw the head that does each thing most, whatever it is named after."""
    picture = Picture()
    if not heads.scores:
        return picture
    full = "#" if ink == "ascii" else "█"
    picture.add(("which head looks ", "title"), ("most of all, from 0 to 1", "dim"))
    longest = max(map(len, PLACES.values()))
    for name, place in PLACES.items():
        scores = heads.scores.get(name)
        if scores is None or not np.isfinite(scores).any():
            continue
        layer, head = divmod(int(np.nanargmax(scores)), scores.shape[1])
        here = (layer, head) == (heads.layer, heads.head)
        score = float(scores[layer, head])
        picture.add(
            (f" {place.ljust(longest)} ", "ink"),
            (f"L{layer} H{head}".ljust(6), "cursor" if here else "good"),
            (f" {score:4.2f} ", "ink"),
            (bar(score, max(0, min(BAR, width - longest - 14)), full), "bar"),
            what=("head", layer, head),
        )
    return picture


def _draw_scores(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw how much the chosen head does of each thing, if there is room for all of it."""
    picture = Picture([[]])
    full = "#" if ink == "ascii" else "█"
    longest = max(map(len, PLACES.values()))
    picture.add((f"L{heads.layer} H{heads.head} ", "title"), ("looks", "dim"))
    for name, place in PLACES.items():
        if name not in heads.scores:
            continue
        score = float(heads.scores[name][heads.layer, heads.head])
        picture.add(
            (f" {place.ljust(longest)} ", "ink"),
            (f"       {score:4.2f} ", "ink"),
            (bar(score, max(0, min(BAR, width - longest - 14)), full), "bar"),
        )
    return picture if 2 < len(picture.rows) <= height else Picture()


def _mark(level: int, ink: Ink) -> str:
    return mark(level, ink) if level >= 0 else "×"


def draw_shaded(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw the text, shaded by the weights of the query token."""
    weights = heads.pattern[heads.query]  # (T,)
    largest = float(np.nanmax(weights)) if np.isfinite(weights).any() else 1.0
    found = levels(weights, 0.0, largest or 1.0)
    styles = [
        "future" if number > heads.query else f"shade {max(0, level)}"
        for number, level in enumerate(found.tolist())
    ]
    marks = [
        " " if number > heads.query else _mark(level, ink)
        for number, level in enumerate(found.tolist())
    ]
    # where the terminal has no colours, marks below the text say it
    shown_marks = marks if ink != "pixels" else None
    ascii = ink == "ascii"
    return draw_tokens(heads.tokens, styles, width, height, heads.query, shown_marks, ascii)


def draw_bars(heads: Heads, width: int, count: int, ink: Ink) -> Picture:
    """Draw the largest weights of the query token as bars, with the tokens and how far back."""
    weights = np.nan_to_num(heads.pattern[heads.query, : heads.query + 1], nan=-1.0)
    order = np.argsort(-weights, kind="stable")[:count].tolist()
    most = float(weights.max()) or 1.0  # has the longest bar: many weights are small
    picture = Picture()
    full = "#" if ink == "ascii" else "█"
    for key in order:
        value = float(heads.pattern[heads.query, key])
        away = heads.query - key
        where = "itself" if away == 0 else f"{away} back"
        token = padded(shortened(quoted(heads.tokens[key], ink == "ascii"), 12), 4)
        style = "cursor" if key == heads.key else "ink"
        picture.add(
            (f" {token} ", style),
            (f"{value:5.1%} ", "ink"),
            (bar(value / most, BAR, full).ljust(BAR), "bar"),
            (f" {where}", "dim"),
            what=("key", key),
        )
    return picture
