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
from tui.terminal.cells import cells_of, padded, shortened

LARGEST_MAP = 32  # pixels of one head in the overview
SMALLEST_MAP = 4
MOST_PIXELS = 8  # of one token, across and down, where there are few
BAR = 12  # columns of the longest bar
SHORTEST_BAR = 3  # a shorter one says nothing
TITLE = 26  # columns of the name of a head
NARROW = 40  # columns, below which one picture has all the room
WIDE = 100  # columns, from which on the pattern stands beside the overview
LOW = 17  # rows, below which a text has no room for which head does each thing most
TEXT_BESIDE = 30  # columns of a text that can stand beside the overview
FEWEST_COLUMNS = 13  # of two heads
NARROW_TEXT = 24  # … where the rows are few
VERY_WIDE = 160  # … and the text has a column of its own
TEXT_COLUMN = 46  # columns of it, at least
FEWEST_BARS, MOST_BARS = 3, 8
FEWEST_LINES = 2  # of the text
LEAST_TEXT = 13  # rows of what one token looks at below all heads
# what heads are named after, as it is said in a list: where the token looks; and in few columns
PLACES = {
    "previous token": ("one back", "one back"),
    "first token": ("at the first token", "first token"),
    "induction": ("at what followed it before", "what followed"),
    "current token": ("at itself", "itself"),
    "same token": ("at the same one before", "same before"),
    "recent tokens": ("at the last four", "last four"),
    "spread": ("everywhere alike", "everywhere"),
}
RANKED = len(PLACES) + 1  # rows of which head does each thing most, with the title
# the names of heads where there is no room for all of them
SHORT_NAMES = {
    "previous token": "previous",
    "first token": "first",
    "current token": "current",
    "same token": "same",
    "recent tokens": "recent",
}
NAMELESS = "mixed"  # of heads whose score says nothing: they do no thing more than others


@dataclass(frozen=True, kw_only=True)
class Heads:
    """What is drawn of the attention of a text.

    Attributes:
        maps: (L, nh, p, p), the patterns of all heads, pooled to at most p pixels.
        pattern: (T, T), of the chosen head; row i has the weights of query token i.
        names: What each head does and how much, by layer; empty if that is not known.
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
    names: Sequence[Sequence[tuple[str, float]]]
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
    if width >= VERY_WIDE and height >= LOW:
        return _draw_very_wide(heads, width, height, ink)
    if width >= WIDE and height >= LOW:
        return _draw_wide(heads, width, height, ink)
    if width < NARROW:
        draw = draw_pattern if enlarged else draw_query
        return cut(draw(heads, width, height, ink), width, height)
    ranking_width = _ranking_width(heads)
    if enlarged:
        left_width = _pattern_width(heads, width - 30, height)
        left = draw_pattern(heads, left_width, height, ink)
    else:
        rest = 2 + ranking_width
        if RANKED <= height < LOW:  # the list has columns of its own
            rest += 2 + NARROW_TEXT
        over_width = width - rest if width - rest >= FEWEST_COLUMNS else width
        left = draw_overview(heads, min(width // 2, over_width), height, ink)
        left_width = max([width_of(row) for row in left.rows], default=0)
    room = width - left_width - 2
    text_width = room - 2 - ranking_width
    if RANKED <= height < LOW and text_width >= NARROW_TEXT:
        text = draw_query(heads, text_width, height, ink, has_ranking=False)
        ranking = draw_ranking(heads, ranking_width, ink)
        parts = [(left, left_width), (text, text_width), (ranking, ranking_width)]
        return beside(parts, height)
    return beside([(left, left_width), (draw_query(heads, room, height, ink), room)], height)


def _draw_very_wide(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw all heads, the pattern of one with the list below it, and the text."""
    has_list = height - RANKED - 1 >= len(heads.tokens) // 2 + 2  # below the whole pattern
    pattern_height = height - RANKED - 1 if has_list else height
    pattern_width = _pattern_width(heads, (width - 4) // 2, pattern_height)
    left_width = width - 4 - pattern_width - TEXT_COLUMN
    overview = draw_overview(heads, left_width, height, ink)
    left_width = max([width_of(row) for row in overview.rows], default=0)
    pattern = draw_pattern(heads, pattern_width, pattern_height, ink)
    if has_list:
        pattern = below(pattern, Picture([[]]), draw_ranking(heads, pattern_width, ink))
    text_width = width - 4 - pattern_width - left_width
    text = draw_query(heads, text_width, height, ink, not has_list)
    parts = [(overview, left_width), (pattern, pattern_width), (text, text_width)]
    return beside(parts, height)


def _draw_wide(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw the pattern of one head at the right, and all heads with the text at the left."""
    pattern_width = min(_pattern_width(heads, width // 2, height), width - 2 - 44)
    pattern_width = max(pattern_width, min(len(heads.tokens) + 3, width - 2 - 44))
    left_width = width - 2 - pattern_width
    pattern = draw_pattern(heads, pattern_width, height, ink)
    across = _overview_width(heads, left_width, height)
    room = left_width - across - 2
    if room >= TEXT_BESIDE:  # few heads, which are high then
        tall = draw_overview(heads, left_width, height, ink)
        text = draw_query(heads, room, height, ink)
        return beside([(tall, across), (text, room), (pattern, pattern_width)], height)
    count = heads.maps.shape[1]
    over_width = left_width - 2 - _ranking_width(heads)
    has_list = 3 + count * (SMALLEST_MAP + 1) <= over_width  # beside all heads
    if has_list:
        overview = draw_overview(heads, over_width, max(RANKED, height - LEAST_TEXT), ink)
        over_width = max(width_of(row) for row in overview.rows)
        room, rows = left_width - 2 - over_width, max(RANKED, len(overview.rows))
        ranking = draw_ranking(heads, room, ink)
        ranking = below(ranking, _draw_scores(heads, room, rows - len(ranking.rows), ink))
        overview = beside([(overview, over_width), (ranking, room)], rows)
    else:
        most = max(height - LOW, SMALLEST_MAP // 2 + 1)
        overview = draw_overview(heads, left_width, min(height // 2, most), ink)
    text = draw_query(heads, left_width, height - len(overview.rows), ink, not has_list)
    return beside([(below(overview, text), left_width), (pattern, pattern_width)], height)


def name_of(name: tuple[str, float], width: int = TITLE) -> str:
    """Return what a head does, and how much; as much of it as there is room for, in whole words."""
    label, score = name
    scored = label if label == NAMELESS else f"{label} {score:.2f}"
    for text in (scored, label, SHORT_NAMES.get(label, label)):
        if len(text) <= width:
            return text
    return ""


def _name(heads: Heads) -> str:
    return name_of(heads.names[heads.layer][heads.head]) if heads.names else ""


def _map_size(heads: Heads, width: int, height: int) -> int:
    """Return the pixels of a head's map, at least so many that it looks like something.

    Where there are fewer tokens each of them has some.
    """
    layers, count, pixels = heads.maps.shape[:3]
    across = (width - 3) // count - 1
    down = 2 * (height // layers - 1)
    size = max(SMALLEST_MAP, min(LARGEST_MAP, across, down) // 2 * 2)
    return int(min(size // pixels, MOST_PIXELS) * pixels if pixels <= size else size)


def _overview_width(heads: Heads, width: int, height: int) -> int:
    """Return the columns that the patterns of all heads take of a width."""
    size = _map_size(heads, width, height)
    shown = min(int(heads.maps.shape[1]), max(1, (width - 3) // (size + 1)))
    return 3 + shown * (size + 1)


def draw_overview(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw the patterns of all heads, a row of them for each layer, those near the chosen one."""
    layers, count, pixels = heads.maps.shape[:3]
    size = _map_size(heads, width, height)
    per_token = max(1, size // pixels)
    rows = (size + 1) // 2
    per_layer = rows + 1
    room, across = max(1, height // per_layer), max(1, (width - 3) // (size + 1))
    top, first = window(heads.layer, room, layers), window(heads.head, across, count)
    shown_heads = range(first, min(count, first + across))
    picture = Picture()
    for layer in range(top, min(layers, top + room)):
        row: Row = [(f"L{layer}".ljust(3)[:3], "dim")]
        for head in shown_heads:
            chosen = (layer, head) == (heads.layer, heads.head)
            number = f"H{head}"
            does = name_of(heads.names[layer][head], size - len(number) - 1) if heads.names else ""
            name = f"{number} {does}"[:size].ljust(size)
            left = width_of(row)
            row += [(name, "cursor" if chosen else "dim"), (" ", "ink")]
            for down in range(per_layer):
                picture.targets.append(
                    Target(len(picture.rows) + down, left, left + size, ("head", layer, head))
                )
        picture.rows.append(row)
        drawn = [
            draw_heatmap(_enlarged(brightness(pooled(heads.maps[layer, head], size, size)),
                                   per_token), ink)
            for head in shown_heads
        ]  # fmt: skip
        for line in range(rows):
            cells: Row = [("   ", "ink")]
            for one in drawn:
                cells += one[line] if line < len(one) else []
                missing = size - (width_of(one[line]) if line < len(one) else 0)
                cells.append((" " * (missing + 1), "ink"))
            picture.rows.append(cells)
    return picture


def _enlarged(values: Matrix, times: int) -> Matrix:
    """Return a matrix with so many pixels across and down for each of its values."""
    return values if times == 1 else values.repeat(times, axis=0).repeat(times, axis=1)


def _pixels(tokens: int, width: int, height: int) -> int:
    """Return the columns of a token of a pattern: more than one where there are few tokens.

    Then they are even, and a token has half as many rows.
    """
    fits = min((width - 3) // max(1, tokens), 2 * (height - 2) // max(1, tokens), MOST_PIXELS)
    return max(1, fits // 2 * 2)


def _pattern_width(heads: Heads, width: int, height: int) -> int:
    """Return the columns that a pattern takes of a width."""
    T = len(heads.tokens)
    return min(width, max(TITLE, T * _pixels(T, width, height) + 3))


def draw_pattern(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw one head's pattern, queries down and keys across; the part around the cursor."""
    T = len(heads.tokens)
    pixels = _pixels(T, width, height)
    rows, columns = 2 * max(1, height - 2) // pixels, max(1, width - 3) // pixels
    top = window(heads.query, rows, T)
    top = top // 2 * 2 if pixels == 1 else top
    left = window(heads.key, columns, T)
    part = heads.pattern[top : top + rows, left : left + columns]
    picture = Picture()
    picture.add((f"L{heads.layer} H{heads.head} ", "title"), (_name(heads), "ink"))
    tokens = heads.tokens[left : left + columns]
    signs = [padded(initial(one, ink == "ascii"), pixels) for one in tokens]
    at = heads.key - left
    before, after = "".join(signs[:at]), "".join(signs[at + 1 :])
    picture.add(("   ", "ink"), (before, "dim"), (signs[at], "cursor"), (after, "dim"))
    sign = ">" if ink == "ascii" else "▸"
    for number, cells in enumerate(draw_heatmap(_enlarged(brightness(part), pixels), ink)):
        upper, lower = (top + (2 * number + one) // pixels for one in range(2))
        begins = pixels == 1 or 2 * number % pixels == 0  # the first row of a token
        here = begins and heads.query in (upper, lower)
        label = initial(heads.tokens[heads.query if here else upper], ink == "ascii")
        picture.rows.append(
            [
                (sign if here else " ", "cursor" if here else "dim"),
                (padded(label if begins else "", 2), "dim"),
                *cells,
            ]
        )
        at_row = len(picture.rows) - 1
        if pixels == 1:
            target = Target(at_row, 3, 3 + len(tokens), ("key", left), counts=True)
            picture.targets.append(target)
            continue
        for place in range(len(tokens)):
            start = 3 + place * pixels
            picture.targets.append(Target(at_row, start, start + pixels, ("key", left + place)))
    return picture


def draw_query(
    heads: Heads, width: int, height: int, ink: Ink, has_ranking: bool = True
) -> Picture:
    """Draw what the query token looks at: the text shaded by its weights, and the largest.

    Below, if there is room for all of it, which heads do each thing most; and what to look for.
    """
    head = Picture()
    token = quoted(heads.tokens[heads.query], ink == "ascii")
    head.add((f"L{heads.layer} H{heads.head} ", "title"), (_name(heads), "ink"))
    head.add((f"token {heads.query} ", "dim"), (f" {token} ", "cursor"), (" looks at", "dim"))
    room = height - len(head.rows) - 1  # with a gap above the bars
    has_ranking = has_ranking and height >= LOW and width >= _ranking_width(heads)
    if has_ranking:
        room -= RANKED + 1
    most = max(FEWEST_BARS, min(MOST_BARS, height // 5, room - FEWEST_LINES))
    bars = draw_bars(heads, width, most, ink)
    text = draw_shaded(heads, width, max(FEWEST_LINES, room - len(bars.rows)), ink)
    shown = below(head, text, Picture([[]]), bars)
    if has_ranking:
        shown = below(shown, Picture([[]]), draw_ranking(heads, width, ink))
    shown = below(shown, _draw_scores(heads, width, height - len(shown.rows), ink))
    return cut(below(shown, guide(heads.guide, width, height - len(shown.rows))), width, height)


def _head_columns(heads: Heads) -> int:
    """Return the columns of the place of a head."""
    layers, count = heads.maps.shape[:2]
    return len(f"L{layers - 1} H{count - 1}")


def _ranking_width(heads: Heads) -> int:
    """Return the columns that which head does each thing most takes at least."""
    return max(len(few) for _, few in PLACES.values()) + _head_columns(heads) + len("   0.00")


def _places(heads: Heads, width: int) -> tuple[dict[str, str], int]:
    """Return what heads do in words of one length that leave room, and the columns of a bar."""
    for words in zip(*PLACES.values(), strict=True):
        longest = max(map(len, words))
        room = width - longest - _head_columns(heads) - len("   0.00 ")
        if room >= -1:
            break
    names = {name: one.ljust(longest) for name, one in zip(PLACES, words, strict=True)}
    return names, min(BAR, room) if room >= SHORTEST_BAR else 0


def draw_ranking(heads: Heads, width: int, ink: Ink) -> Picture:
    """Draw the head that does each thing most, whatever it is named after."""
    picture = Picture()
    if not heads.scores:
        return picture
    full = "#" if ink == "ascii" else "█"
    title = "which head looks "
    told = next((one for one in ("most of all, from 0 to 1", "most, 0 to 1")
                 if len(title + one) <= width), "most")  # fmt: skip
    picture.add((title, "title"), (told, "dim"))
    names, longest = _places(heads, width)
    for name, place in names.items():
        scores = heads.scores.get(name)
        if scores is None or not np.isfinite(scores).any():
            continue
        layer, head = divmod(int(np.nanargmax(scores)), scores.shape[1])
        here = (layer, head) == (heads.layer, heads.head)
        score = float(scores[layer, head])
        picture.add(
            (f" {place} ", "ink"),
            (f"L{layer} H{head}".ljust(_head_columns(heads)), "cursor" if here else "good"),
            (f" {score:4.2f}", "ink"),
            (" " + bar(score, longest, full) if longest else "", "bar"),
            what=("head", layer, head),
        )
    return picture


def _draw_scores(heads: Heads, width: int, height: int, ink: Ink) -> Picture:
    """Draw how much the chosen head does of each thing, if there is room for all of it."""
    picture = Picture([[]])
    full = "#" if ink == "ascii" else "█"
    picture.add((f"L{heads.layer} H{heads.head} ", "title"), ("looks", "dim"))
    names, longest = _places(heads, width)
    for name, place in names.items():
        if name not in heads.scores:
            continue
        score = float(heads.scores[name][heads.layer, heads.head])
        picture.add(
            (f" {place} " + " " * _head_columns(heads), "ink"),
            (f" {score:4.2f}", "ink"),
            (" " + bar(score, longest, full) if longest else "", "bar"),
        )
    fits = len(picture.rows) <= height and width >= _ranking_width(heads)
    return picture if len(picture.rows) > 2 and fits else Picture()


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
    tokens = [padded(shortened(quoted(heads.tokens[key], ink == "ascii"), 12), 4) for key in order]
    away = [heads.query - key for key in order]
    wheres = [f"{one} back" if one else "itself" for one in away]
    columns = max(map(cells_of, tokens), default=0)
    longest = min(BAR, width - columns - max(map(len, wheres), default=0) - len("  00.0%  "))
    longest = longest if longest >= SHORTEST_BAR else 0
    for key, token, where in zip(order, tokens, wheres, strict=True):
        value = float(heads.pattern[heads.query, key])
        picture.add(
            (f" {padded(token, columns)} ", "cursor" if key == heads.key else "ink"),
            (f"{value:5.1%} ", "ink"),
            (bar(value / most, longest, full).ljust(longest), "bar"),
            (f" {where}", "dim"),
            what=("key", key),
        )
    return picture
