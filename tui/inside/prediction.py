"""Predictions: the most likely next tokens as bars, with what the settings of sampling leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tui.charts.heatmap import Ink, Matrix, levels
from tui.inside.columns import draw_columns
from tui.inside.layout import Picture, bar, below, beside, cut, figures, guide, window
from tui.inside.tokens import draw_tokens, quoted
from tui.terminal.cells import padded, shortened

if TYPE_CHECKING:
    from engine.inspect.prediction import Candidates

WIDE = 100
MOST_BITS = 8.0  # of the highest mark
MARKS = {"pixels": "▁▂▃▄▅▆▇█", "blocks": "▁▂▃▄▅▆▇█", "ascii": "123456789"}
LONGEST_BAR = 60
VERY_WIDE = 160
TEXT_COLUMN = 70  # columns of the text there
FEWEST_ROWS, MOST_ROWS = 5, 16  # of the entropy after each token
FEWEST_ALONG = 4  # rows of what comes after each token


Along: TypeAlias = tuple[Sequence[tuple[str, float]], int]


@dataclass(frozen=True, kw_only=True)
class Next:
    """What is drawn of a prediction.

    Attributes:
        tokens: T strings, with those that were chosen behind the text.
        chosen: How many of them were chosen.
        position: The prediction is of the token after this one.
        candidates: The tokens that may come next, the most likely first.
        texts: The text of the token of each of the first candidates.
        actual: The id of the token that does come next in the text, if one does.
        entropy: (T,), of the prediction after each token, in bits; NaN where that is not known.
        cursor: Which candidate is chosen.
        settings: The settings of sampling by name, as they are shown.
        setting: Which of them the keys change.
        tried: What was tried from here before: token texts and the probability of each.
        along: (T,) of each position the likeliest tokens with their probabilities, and the rank of
            the one that does come next, 0 at the end; empty if that was not computed.
        guide: What to look for, in paragraphs.
    """

    tokens: Sequence[str]
    chosen: int
    position: int
    candidates: Candidates
    texts: Sequence[str]
    actual: int | None
    entropy: Matrix
    cursor: int
    settings: dict[str, str]
    setting: str
    tried: Sequence[tuple[str, float]] = ()
    along: Sequence[Along] = ()
    guide: Sequence[str] = ()


def draw_prediction(one: Next, width: int, height: int, ink: Ink) -> Picture:
    """Draw the text, the bars and the settings."""
    if width >= VERY_WIDE:
        bars_width = (width - 4 - TEXT_COLUMN) // 2
        rest = width - 4 - TEXT_COLUMN - bars_width
        head = _draw_head(one, bars_width, ink)
        bars = below(head, _draw_bars(one, bars_width, height - len(head.rows), ink))
        text = _draw_text(one, TEXT_COLUMN, ink, height)
        text = below(text, guide(one.guide, TEXT_COLUMN, height - len(text.rows)))
        along = _draw_along(one, rest, height, ink)
        return beside([(text, TEXT_COLUMN), (bars, bars_width), (along, rest)], height)
    if width >= WIDE:
        bars_width = width // 2
        left_width = width - bars_width - 2
        head = _draw_head(one, bars_width, ink)
        bars = below(head, _draw_bars(one, bars_width, height - len(head.rows), ink))
        text = _draw_text(one, left_width, ink, height)
        room = height - len(text.rows) - 1
        if room >= FEWEST_ALONG and one.along:
            text = below(text, Picture([[]]), _draw_along(one, left_width, room, ink))
        return beside([(text, left_width), (bars, bars_width)], height)
    head, text = _draw_head(one, width, ink), _draw_text(one, width, ink, 4)
    bars = _draw_bars(one, width, height - len(text.rows) - 1 - len(head.rows), ink)
    return cut(below(text, Picture([[]]), head, bars), width, height)


def _draw_along(one: Next, width: int, height: int, ink: Ink) -> Picture:
    """Draw what comes most likely after each token around the cursor, and the rank of the next."""
    picture = Picture()
    if not one.along:
        return picture
    ascii = ink == "ascii"
    told = "likeliest after each token, and what comes"
    picture.add(("along the text ", "title"), (told, "dim"))
    first = window(one.position, height - 1, len(one.tokens))
    for at in range(first, min(len(one.tokens), first + height - 1)):
        likeliest, rank = one.along[at]
        token = shortened(quoted(one.tokens[at], ascii), 8)
        row = [
            (f"{at:5} ", "dim"),
            (f" {padded(token, 4)} ", "cursor" if at == one.position else "ink"),
        ]
        for text, probability in likeliest:
            name = padded(shortened(quoted(text, ascii), 8), 3)
            row += [(f"  {name}", "ink"), (f"{probability:4.0%}", "dim")]
        if rank:
            comes = shortened(quoted(one.tokens[at + 1], ascii), 8)
            row += [
                (f"   {padded(comes, 3)}", "good" if rank == 1 else "ink"),
                (f" rank {rank}", "dim"),
            ]
        picture.add(*row, what=("token", at))
    return picture


def _draw_text(one: Next, width: int, ink: Ink, height: int) -> Picture:
    first = len(one.tokens) - one.chosen
    styles = [
        "good" if number >= first else "ink" if number <= one.position else "dim"
        for number in range(len(one.tokens))
    ]
    tried = Picture()
    for text, probability in one.tried[: max(0, height // 4)]:
        tried.add(("tried ", "dim"), (f"{quoted(text, ink == 'ascii')} ", "good"),
                  (f"{probability:.1%}", "dim"))  # fmt: skip
    ramp = MARKS[ink]
    found = levels(one.entropy, 0.0, MOST_BITS).tolist()
    marks = [ramp[level * (len(ramp) - 1) // 16] if level >= 0 else " " for level in found]
    room = max(2, height - len(tried.rows) - (1 if tried.rows else 0))
    drawn = draw_tokens(one.tokens, styles, width, room, one.position, marks, ink == "ascii")
    if tried.rows:
        drawn = below(drawn, tried)
    spare = height - len(drawn.rows) - 1
    if spare < FEWEST_ROWS:
        return drawn
    title = Picture([[("entropy ", "title"), ("of what comes after each token, in bits", "dim")]])
    columns = draw_columns(one.entropy, width, min(MOST_ROWS, spare) - 1, ink)
    return below(drawn, Picture([[]]), title, columns)


def _draw_head(one: Next, width: int, ink: Ink) -> Picture:
    picture = Picture()
    token = quoted(one.tokens[one.position], ink == "ascii") if one.tokens else ""
    after = [("after token ", "dim"), (f"{one.position} ", "ink"), (f" {token} ", "cursor")]
    told = [("entropy", f"{float(one.entropy[one.position]):.2f} bits")]
    if one.actual is not None:
        ids = one.candidates.ids.tolist()
        rank = ids.index(one.actual) + 1
        told.append(("comes next", f"rank {rank}"))
    picture.add(*after, ("  ", "ink"), *figures(told))
    row = []
    for name, value in one.settings.items():
        style = "cursor" if name == one.setting else "dim"
        row += [(f"{name} {value}", style), ("  ", "ink")]
    picture.add(*row)
    return picture


def _draw_bars(one: Next, width: int, count: int, ink: Ink) -> Picture:
    """Draw a bar for each candidate: what the model says, and what is left of it."""
    ids = one.candidates.ids.tolist()
    first = window(one.cursor, count, len(one.texts))
    longest = max(8, min(LONGEST_BAR, width - 28))
    picture = Picture()
    full, cut_off = ("#", "-") if ink == "ascii" else ("█", "░")
    for place in range(first, min(len(one.texts), first + count)):
        probability = float(one.candidates.probabilities[place])
        drawn_with = float(one.candidates.sampled[place])
        kept = bool(one.candidates.kept[place])
        is_next = one.actual is not None and ids[place] == one.actual
        sign = "◆" if ink != "ascii" else "*"
        token = padded(shortened(quoted(one.texts[place], ink == "ascii"), 8), 5)
        length = bar(drawn_with if kept else probability, longest, full if kept else cut_off)
        picture.add(
            (f"{sign if is_next else ' '}", "good"),
            (f" {token} ", "cursor" if place == one.cursor else "ink" if kept else "dim"),
            (f"{probability:6.1%} ", "ink" if kept else "dim"),
            (f"{drawn_with:6.1%} " if kept else "   cut ", "good" if kept else "dim"),
            (length, "bar" if kept else "dim"),
            what=("candidate", place),
        )
    return picture
