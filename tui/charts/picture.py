"""What surrounds curves: axes, marks, lines of reference, signs of what is not on the chart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from engine.config.setting import format_float
from engine.metrics import Flags, Mark, Values
from tui.charts import raster
from tui.charts.axes import Ticks
from tui.charts.canvas import Field
from tui.charts.raster import ChartFrame

GAP_SIGN, MARK_LINE = "×", "┊"
ABOVE, BELOW = "▲", "▼"
REFERENCE_LINE = "┈"
MARK_SIGNS = {"change": "◆", "best": "★", "checkpoint": "▪", "fork": "◇"}
"""On the axis, by the kind of the mark; other kinds have a dot."""

SIGN_DISTANCE = 3  # columns between signs of what is cut
LONG_LABEL = 10  # characters, from which the first word alone will do where there is no room
LABEL_REACH = 20  # columns from such a sign to its label

OTHER_SIGN = "•"
# The lowest wins a shared place, all others have the next rank.
SIGN_RANKS = {"best": 0, "fork": 1, "change": 2, "checkpoint": 3}


class Reference(NamedTuple):
    """A value that curves are compared with, drawn across the chart."""

    value: float
    label: str


class Cut(NamedTuple):
    """What of a curve does not fit on the vertical axis."""

    values: Values  # by cell column: the farthest beyond the edge, NaN where nothing is cut
    sign: str
    style: int


def paint_axes(frame: ChartFrame, field: Field, x_ticks: Ticks, y_ticks: Ticks, end: int) -> None:
    """Draw the axes and their labels.

    Args:
        frame: All cells.
        field: The canvas.
        x_ticks: Labels along the bottom.
        y_ticks: Labels on the left.
        end: The first cell column that no step has reached: from there, the axis is dotted.
    """
    layout = field.layout
    left, rows = layout.left, layout.rows
    if not left:
        return
    frame.characters[:rows, left - 1] = "│"
    frame.styles[:rows, left - 1] = raster.AXIS
    taken: set[int] = set()
    for height, label in y_ticks:
        row = min(int((1.0 - height) * rows), rows - 1)
        if row in taken:
            continue
        taken.add(row)
        frame.write(left - 1 - len(label), row, label, raster.TICK)
        frame.characters[row, left - 1] = "┤"
    if not layout.has_x_axis:
        return
    frame.characters[rows, left - 1] = "└"
    frame.characters[rows, left:] = "─"
    frame.characters[rows, left + end :] = "╌"
    frame.styles[rows, left - 1 :] = raster.AXIS
    free = 0
    for share, label in x_ticks:
        column = min(int(share * layout.columns), layout.columns - 1)
        start = min(max(left + column - len(label) // 2, 0), layout.width - len(label))
        if start < free:
            continue
        frame.characters[rows, left + column] = "┬"
        frame.write(start, rows + 1, label, raster.TICK)
        free = start + len(label) + 1


def paint_gaps(canvas: ChartFrame, bad: Flags) -> None:
    """Mark columns with a value that is not on the axis, such as NaN, at the upper edge."""
    canvas.characters[0, bad] = GAP_SIGN
    canvas.styles[0, bad] = raster.BAD


def paint_cuts(canvas: ChartFrame, cuts: Sequence[Cut], prefix: str) -> None:
    """Mark at the edge what lies beyond it, each stretch with a sign, the farthest with its value.

    Signs keep a distance from each other: the first cuts come first.

    Args:
        prefix: Of the unit, after each value, as after the labels of the axis.
    """
    for sign in (ABOVE, BELOW):
        beyond = [cut for cut in cuts if cut.sign == sign and not np.isnan(cut.values).all()]
        if beyond:
            _paint_edge(canvas, beyond, 0 if sign == ABOVE else canvas.size[1] - 1, prefix)


def _paint_edge(canvas: ChartFrame, cuts: Sequence[Cut], row: int, prefix: str) -> None:
    columns, _ = canvas.size
    taken = np.zeros(columns, dtype=np.bool_)
    far = np.nanmax if row == 0 else np.nanmin
    farthest = far([far(cut.values) for cut in cuts])
    # the cut that reaches farthest gets its place, and room for its label, before the others
    for cut in sorted(cuts, key=lambda cut: bool(far(cut.values) != farthest)):
        beyond = ~np.isnan(cut.values)
        begins = np.flatnonzero(beyond & ~np.concatenate(([False], beyond[:-1])))
        ends = np.flatnonzero(beyond & ~np.concatenate((beyond[1:], [False]))) + 1
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            places = begin + np.flatnonzero(cut.values[begin:end] == far(cut.values[begin:end]))
            at = int(places[0])
            is_bad = canvas.styles[row, at] == raster.BAD
            if is_bad or taken[max(at - SIGN_DISTANCE, 0) : at + SIGN_DISTANCE + 1].any():
                continue
            canvas.write(at, row, cut.sign, cut.style)
            taken[at] = True
            if cut.values[at] == farthest:
                label = f" {format_float(farthest, 4)}{prefix} "
                # beside the sign or, where a steep curve has no room, to the right of it
                for start in (at + 1, at - len(label), *range(at + 2, at + LABEL_REACH)):
                    fits = start >= 0 and start + len(label) <= columns
                    if fits and _is_free(canvas, row, start, len(label)):
                        canvas.write(start, row, label.rstrip(), cut.style)
                        taken[start : start + len(label)] = True
                        farthest = np.nan  # one label is enough
                        break


def _is_free(canvas: ChartFrame, row: int, start: int, length: int) -> bool:
    """Whether cells have nothing but faint raw values, which a label may cover."""
    styles = canvas.styles[row, start : start + length]
    return bool(_FAINT[styles].all())


_FAINT = np.isin(np.arange(len(raster.STYLES)), (raster.BLANK, raster.RAW, raster.REFERENCE))


def paint_references(canvas: ChartFrame, field: Field, references: Sequence[Reference]) -> None:
    """Draw dotted lines across what is blank, with their labels as far to the right as possible.

    Of two in one row the first is drawn.
    """
    _, rows = canvas.size
    taken: set[int] = set()
    for value, label in references:
        height = float(field.scale.heights(np.array([value]))[0])
        if not 0.0 <= height <= 1.0:
            continue
        row = min(int((1.0 - height) * rows), rows - 1)
        if row in taken:
            continue
        short = label.partition(" ")[0].rstrip(":") if len(label) > LONG_LABEL else label
        figure = format_float(value, 4)
        every = (f"{label} {figure}", f"{short} {figure}", figure)
        for words in dict.fromkeys(every):
            text = f" {words} "
            covered = np.cumsum(np.append(0, ~_FAINT[canvas.styles[row]]))  # up to each column
            free = np.flatnonzero(covered[len(text) :] == covered[: -len(text)])
            if not free.size:
                continue
            taken.add(row)  # a line without a label would say nothing, so another may have the row
            blank = canvas.styles[row] == raster.BLANK
            canvas.characters[row, blank] = REFERENCE_LINE
            canvas.styles[row, blank] = raster.REFERENCE
            canvas.write(int(free[-1]), row, text, raster.REFERENCE)
            break


def paint_marks(frame: ChartFrame, field: Field, all_marks: Sequence[Mark]) -> None:
    """Draw a sign on the axis for each mark, and a line and a label for the newest changes."""
    layout, window = field.layout, field.window
    canvas = layout.canvas_of(frame)
    if not all_marks:
        return
    steps = np.fromiter((mark.step for mark in all_marks), np.int64, len(all_marks))
    shares = window.shares(steps.astype(np.float64))
    seen = np.flatnonzero((shares >= 0) & (shares <= 1)).tolist()
    marks = [all_marks[i] for i in seen if all_marks[i].kind != "evaluation"]  # it has a disc
    steps = np.fromiter((mark.step for mark in marks), np.int64, len(marks))
    places = np.searchsorted(window.borders(layout.columns), steps, side="right") - 1
    places = np.clip(places, 0, layout.columns - 1)
    if layout.has_x_axis:
        ranks = (SIGN_RANKS.get(mark.kind, len(SIGN_RANKS)) for mark in marks)
        orders = np.fromiter(ranks, np.int64, len(marks))
        ranked = np.lexsort((-orders, places))  # in each place the one to show is the last
        for i in ranked[np.flatnonzero(np.diff(places[ranked], append=layout.columns))].tolist():
            sign = MARK_SIGNS.get(marks[i].kind, OTHER_SIGN)
            frame.write(layout.left + int(places[i]), layout.rows, sign, raster.MARK)
    lined = [
        (mark, place)
        for mark, place in zip(marks, places.tolist(), strict=True)
        if mark.kind in ("change", "fork")
    ]
    if not lined:
        return
    newest = lined[-1][0].step
    labels = [mark.label for mark, _ in lined if mark.step == newest]
    _paint_mark_label(canvas, lined[-1][1], list(dict.fromkeys(labels)))
    # Many lines would hide the curve: then only that of the newest mark.
    columns = {place for _, place in lined}
    for place in columns if len(columns) <= layout.columns // 8 else {lined[-1][1]}:
        free = canvas.styles[:, place] == raster.BLANK
        canvas.characters[free, place] = MARK_LINE
        canvas.styles[free, place] = raster.MARK


def _paint_mark_label(canvas: ChartFrame, place: int, labels: Sequence[str]) -> None:
    """Write all labels of a place, or the first and how many more where all do not fit."""
    texts = [", ".join(labels)]
    if len(labels) > 1:
        texts.append(f"{labels[0]} +{len(labels) - 1}")
    for text in texts:
        if _paint_beside(canvas, place, f" {text} "):
            return


def _paint_beside(canvas: ChartFrame, place: int, text: str) -> bool:
    """Write beside a column, into blank cells; return False if there are none."""
    columns, rows = canvas.size
    for start in (place + 1, place - len(text)):
        if start < 0 or start + len(text) > columns:
            continue
        for y in range(min(rows, 3)):
            if not canvas.styles[y, start : start + len(text)].any():
                canvas.write(start, y, text, raster.MARK)
                return True
    return False


def paint_cursor(
    frame: ChartFrame, field: Field, step: int, told: str, words: Sequence[str]
) -> None:
    """Draw a line at a step, its place on the axis, and what happened there."""
    layout = field.layout
    canvas = layout.canvas_of(frame)
    column = field.column_of(step)
    curves = (raster.TRAIN, raster.VAL, *range(raster.FIRST_RUN, len(raster.STYLES)))
    styles, signs = canvas.styles, canvas.characters
    labels = np.isin(styles, (raster.MARK, raster.REFERENCE))
    labels &= ~np.isin(signs, (MARK_LINE, REFERENCE_LINE))
    free = ~np.isin(styles[:, column], curves) & ~labels[:, column]
    canvas.characters[free, column] = "│"
    canvas.styles[free, column] = raster.CURSOR
    if layout.has_x_axis:
        frame.write(layout.left + column, layout.rows, "┴", raster.CURSOR)
        label = f" {told} "
        if len(label) <= layout.width:
            start = layout.left + column - len(label) // 2
            start = min(max(start, 0), layout.width - len(label))
            below = frame.characters[layout.rows + 1]
            for at, by in ((start, -1), (start + len(label) - 1, 1)):
                if below[at] != " ":  # the rest of a label that is covered in part
                    while 0 <= (at := at + by) < layout.width and below[at] != " ":
                        below[at] = " "
            frame.write(start, layout.rows + 1, label, raster.CURSOR)
    row = 0
    for word in list(dict.fromkeys(words))[:MOST_WORDS]:
        room = max(layout.columns - column - 2, column - 1)
        text = f" {word} " if len(word) + 2 <= room else f" {word[: max(room - 3, 0)]}… "
        to_left = column + 1 + len(text) > layout.columns
        start = max(column - len(text), 0) if to_left else column + 1
        text = text[: layout.columns - start]
        while row < layout.rows and _has_words(canvas, labels, row, start, len(text)):
            row += 1  # a value beside its sign stays
        if row == layout.rows:
            break
        signs[row, labels[row]] = " "  # no label is covered in part
        canvas.write(start, row, text, raster.MARK)
        row += 1


def _has_words(canvas: ChartFrame, but: Flags, row: int, start: int, length: int) -> bool:
    """Whether any of some cells has a sign or a letter, other than of a label that may go."""
    signs = canvas.characters[row, start : start + length][~but[row, start : start + length]]
    return any(sign.isalnum() or sign in (ABOVE, BELOW, GAP_SIGN) for sign in signs.tolist())


MOST_WORDS = 4  # marks that are named at the cursor
