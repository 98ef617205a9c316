"""A batch as a model gets it: the targets beneath the inputs, one token later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from tui.corpus.pages import APART
from tui.inside.layout import Picture, Row, below, fitted
from tui.inside.tokens import shown
from tui.terminal.cells import cells_of, padded

LABELS = "input ", "target "
LABEL = 8  # columns


@dataclass(frozen=True)
class Window:
    """A row of a batch.

    Attributes:
        number: In the batch, from 0.
        offset: Of its first token in the training split.
        tokens: The inputs and the last target, (T + 1,).
    """

    number: int
    offset: int
    tokens: Sequence[str]


def draw_window(window: Window, rows: int, split: int, width: int, ascii: bool = False) -> Picture:
    """Draw a row of a batch: each target stands beneath the last of the tokens it follows.

    Args:
        rows: Of the batch.
        split: Tokens of the training split.
    """
    share = window.offset / split
    title = f" row {window.number + 1:,} of {rows:,}"
    where = f" · from token {window.offset:,} of {split:,} ({share:.1%})"
    picture = Picture([fitted([(title, "title"), (where, "dim")], width)])
    texts = [shown(one, ascii).replace(" ", "_" if ascii else "␣") or "∅" for one in window.tokens]
    room = max(1, width - LABEL - 1)
    inputs: Row = []
    targets: Row = []
    used = 0
    for place, (before, after) in enumerate(pairwise(texts)):
        cells = min(room, max(cells_of(before), cells_of(after)))
        if used + cells > room:
            picture = below(picture, _pair(inputs, targets, width))
            inputs, targets, used = [], [], 0
        inputs.append(_cell(before, cells, place))
        targets.append(_cell(after, cells, place + 1))
        used += cells
    return below(picture, _pair(inputs, targets, width))


def _cell(text: str, cells: int, place: int) -> tuple[str, str]:
    """Return a token with its style, which is the same above and beneath."""
    ((part, _), *_) = fitted([(text, "ink")], cells)
    return padded(part, cells), APART[place % 2]


def _pair(inputs: Row, targets: Row, width: int) -> Picture:
    rows = []
    for label, row in zip(LABELS, (inputs, targets), strict=True):
        rows.append(fitted([(f" {label:{LABEL - 1}}", "dim"), *row], width))
    return Picture([*rows, []])
