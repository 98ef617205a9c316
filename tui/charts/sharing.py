"""Where curves run through the same cells: each shows there in turn, in dashes of its colour."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.metrics import Flags
from tui.charts.plotext_backend import DISC
from tui.charts.raster import FIRST_BRAILLE, LAST_BRAILLE, Characters, ChartFrame

# Columns that a shared stretch is of one colour. Discs lie four columns apart: with dashes of two
# or four they would all take the same turn.
DASH = 3


def share_cells(
    canvas: ChartFrame,
    curves: Sequence[tuple[Flags, int]],
    drawn: Callable[[Characters], Flags],
) -> None:
    """Colour the cells of several curves by turns; a terminal has one colour for a cell.

    Without this the curve drawn last takes all of them, and the others seem to end there.

    Args:
        canvas: With the curves drawn on it.
        curves: The cells (rows, columns) that each runs through, and its style.
        drawn: Which characters are the curves' own.
    """
    if len(curves) < 2:
        return
    through = np.stack([cells for cells, _ in curves])  # (curves, rows, columns)
    count = through.sum(axis=0)
    shared = (count > 1) & drawn(canvas.characters)
    turn = np.arange(canvas.size[0]) // DASH % np.maximum(count, 1)
    rank = np.cumsum(through, axis=0) - 1
    for cells, place, (_, style) in zip(through, rank, curves, strict=True):
        canvas.styles[shared & cells & (place == turn)] = style


def is_braille(characters: Characters) -> Flags:
    """Which cells are part of a line."""
    within: Flags = (characters >= FIRST_BRAILLE) & (characters <= LAST_BRAILLE)
    return within


def is_disc(characters: Characters) -> Flags:
    """Which cells hold a disc."""
    discs: Flags = characters == DISC
    return discs
