"""Health: a figure of all layers over the steps, and what stands out in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tui.charts.heatmap import Ink, draw_heatmap
from tui.inside.layout import Picture, Row, Target, below, cut, window, wrapped
from tui.terminal.cells import cells_of, shortened

if TYPE_CHECKING:
    from engine.inspect.health import Finding, HealthMap

MOST_LISTED = 8
VALUE = 9  # columns of today's value
TOLD = 2 + 26 + VALUE + 2  # columns before what is told of a finding


@dataclass(frozen=True)
class Health:
    """What is drawn.

    Attributes:
        map: One figure of the layers and matrices over the steps.
        findings: Today's values, the most suspicious first.
        cursor: Which of them the cursor is on.
        short: Returns a short name of a layer or matrix.
        format: Returns a value as it is shown.
    """

    map: HealthMap
    findings: Sequence[Finding]
    cursor: int
    short: Callable[[str], str]
    format: Callable[[Finding], str]


def draw_health(one: Health, width: int, height: int, ink: Ink) -> Picture:
    """Draw the findings, and below them the figure at the cursor over the steps."""
    listed = _draw_findings(one, width, max(3, min(MOST_LISTED, height // 3)), ink)
    explained = _draw_healthy(one, width)
    room = height - len(listed.rows) - len(explained.rows)
    return cut(below(listed, explained, _draw_map(one, width, room, ink)), width, height)


def _draw_findings(one: Health, width: int, count: int, ink: Ink) -> Picture:
    suspicious = sum(finding.is_suspicious for finding in one.findings)
    picture = Picture()
    told = f"{suspicious} suspicious of {len(one.findings)}" if suspicious else "nothing stands out"
    picture.add(("latest values ", "title"), (told, "bad" if suspicious else "good"))
    first = window(one.cursor, count, len(one.findings))
    bad, good = ("!", "ok") if ink == "ascii" else ("▲", "✓")
    for place in range(first, min(len(one.findings), first + count)):
        finding = one.findings[place]
        sign = (bad, "bad") if finding.is_suspicious else (good, "good")
        figure = finding.family.short or finding.family.title
        name = f" {figure} {one.short(finding.part)} ".ljust(26)
        picture.add(
            (sign[0].ljust(2), sign[1]),
            (name, "cursor" if place == one.cursor else "ink"),
            (one.format(finding).rjust(VALUE) + "  ", "ink"),
            (finding.told or "", "ink"),
            what=("finding", place),
        )
    return picture


def _draw_healthy(one: Health, width: int) -> Picture:
    """Tell all of the finding at the cursor, and what its figure is like where all is well."""
    if not one.findings:
        return Picture([[]])
    finding = one.findings[one.cursor]
    healthy = finding.healthy
    is_cut = cells_of(finding.told) > width - TOLD
    return below(
        Picture([[]]),
        wrapped(finding.told if is_cut else "", width - 2, "bad"),
        wrapped(f"healthy: {healthy.told} ({healthy.source})", width - 2, "dim"),
        Picture([[]]),
    )


def _draw_map(one: Health, width: int, height: int, ink: Ink) -> Picture:
    """Draw parts down and steps across, by the logarithm where the figure spans decades."""
    shown = one.map
    picture = Picture()
    if not len(shown.steps) or height < 3:
        return picture
    names = [one.short(part) for part in shown.parts]
    label = min(18 if width < 100 else 30, max(map(len, names), default=0)) + 1
    columns = max(8, width - label - VALUE - 1)
    steps = _sampled(len(shown.steps), columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log10(shown.values) if shown.family.log else shown.values
    values = np.where(np.isfinite(values) | ~np.isfinite(shown.values), values, np.nan)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    ends = (_power(value, shown.family.log) for value in (low, high))
    scale = "{} is the weakest colour, {} the strongest".format(*ends)
    picture.add((shown.family.title, "title"), (f"  {scale}", "dim"))
    room = height - 2
    part = one.findings[one.cursor].part if one.findings else ""
    at = shown.parts.index(part) if part in shown.parts else 0
    top = window(at, room, len(names))
    for row in range(top, min(len(names), top + room)):
        here = shown.parts[row] == part
        cells = values[row, steps][None].astype(np.float32)  # (1, columns)
        (drawn,) = draw_heatmap(np.repeat(cells, 2, axis=0), ink, low, high)
        today = shown.values[row, -1]
        line: Row = [
            (shortened(names[row], label - 1).ljust(label), "cursor" if here else "dim"),
            *drawn,
            (f"{float(today):{VALUE}.3g}", "ink"),
        ]
        picture.targets.append(Target(len(picture.rows), 0, width, ("part", row)))
        picture.rows.append(line)
    first, last = f"step {int(shown.steps[0]):,}", f"{int(shown.steps[-1]):,}"
    gap = max(1, min(columns, len(steps)) - len(first) - len(last))
    picture.add((" " * label, "ink"), (first + " " * gap + last, "dim"))
    return picture


def _power(value: float, is_log: bool) -> str:
    return f"{10**value:.2g}" if is_log else f"{value:.2g}"


def _sampled(count: int, most: int) -> list[int]:
    """Return the columns to draw: all, stretched to the width, or some of more."""
    columns: list[int] = np.linspace(0, count - 1, most).round().astype(int).tolist()
    return columns
