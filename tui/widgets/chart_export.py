"""Writes what a chart widget shows to files."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from data.files import replacing

if TYPE_CHECKING:
    from tui.widgets.chart_widget import ChartWidget

CHARTS_FOLDER = "charts"  # of a run
MOST_LETTERS = 50  # of a title in the name of a file: four bytes each


def export_chart(widget: ChartWidget, folder: Path) -> list[Path]:
    """Write a picture (SVG, and PNG where a library for it is there) and a table (CSV).

    Args:
        widget: What it shows now is written.
        folder: Of the run.

    Returns:
        The files that were written.

    Raises:
        InputError: There is nothing to export, or the folder cannot be written.
    """
    shown = widget.shown()
    if shown is None:
        raise InputError("the chart is empty: there is nothing to export yet")
    from tui.charts.export import csv_lines, png, svg
    from tui.charts.reduction import one_reading

    chart, drawing = shown
    picture = svg(chart, drawing, f"{widget.title or 'loss'} · {folder.name}", widget.colour_of)
    place = folder / CHARTS_FOLDER
    stem = _free_stem(place, _file_stem((widget.title or "loss").split(" · ")[0]))
    written = [place / f"{stem}.svg", place / f"{stem}.csv"]
    try:
        if place.is_symlink():  # a run writes to its own files alone
            raise InputError(f"{place} is a link: remove it, and export again")
        place.mkdir(exist_ok=True)
        with replacing(written[0], "w", encoding="utf-8") as file:
            file.write(picture)
        text = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        with replacing(written[1], "w", **text) as file, one_reading():
            file.writelines(csv_lines(chart))
        with suppress(ImportError):  # a picture of dots is an extra
            dots = png(picture)
            with replacing(place / f"{stem}.png") as file:
                file.write(dots)
            written.append(place / f"{stem}.png")
    except OSError as error:
        raise InputError(
            f"{place} cannot be written: {error.strerror or error}; make room or set its "
            "permissions, and export again"
        ) from None
    return written


def _file_stem(title: str) -> str:
    """Return a title as the name of a file; an unknown metric's may be any text, also a path."""
    return re.sub(r"[^\w.-]+", "-", title).strip(".-")[:MOST_LETTERS] or "chart"


def _free_stem(folder: Path, stem: str) -> str:
    """Return a name that no file has yet: an export never replaces another."""
    number = 1
    kinds = ("svg", "csv", "png")
    while any(os.path.lexists(folder / f"{stem}-{number}.{kind}") for kind in kinds):
        number += 1
    return f"{stem}-{number}"
