"""Health: a figure of all layers over the steps, and what stands out in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.config.setting import format_float
from tui.charts.heatmap import Ink, draw_heatmap
from tui.inside.layout import Picture, Row, Target, below, beside, cut, guide, window, wrapped
from tui.terminal.cells import ELLIPSIS, cells_of, plain, shortened

if TYPE_CHECKING:
    from engine.inspect.health import Finding, HealthMap

VERY_WIDE = 160
LIST_COLUMN = 70  # columns of the findings there
MOST_LISTED = 8
ROOM_BELOW = 12  # rows for what to look for
NAME, VALUE = 26, 9  # columns of a name and of today's value, at least


@dataclass(frozen=True, kw_only=True)
class Health:
    """What is drawn.

    Attributes:
        map: One figure of the layers and matrices over the steps.
        findings: Today's values, the most suspicious first.
        cursor: Which of them the cursor is on.
        short: Returns a short name of a layer or matrix.
        format: Returns a value as it is shown.
        others: The other figures, of whole layers, for where there is room.
        guide: What to look for, in paragraphs.
    """

    map: HealthMap
    findings: Sequence[Finding]
    cursor: int
    short: Callable[[str], str]
    format: Callable[[Finding], str]
    others: Sequence[HealthMap] = ()
    guide: Sequence[str] = ()


def draw_health(one: Health, width: int, height: int, ink: Ink) -> Picture:
    """Draw the findings, and below or beside them the figure at the cursor over the steps."""
    if width >= VERY_WIDE:
        explained = _draw_healthy(one, LIST_COLUMN)
        room = height - len(explained.rows)
        listed = _draw_findings(
            one, LIST_COLUMN, min(room - 1, max(MOST_LISTED, room - ROOM_BELOW)), ink
        )
        left = below(listed, explained)
        left = below(left, guide(one.guide, LIST_COLUMN, height - len(left.rows)))
        maps_width = width - LIST_COLUMN - 2
        most = max(height // 3, height - sum(len(other.parts) + 3 for other in one.others))
        right = _draw_map(one, one.map, maps_width, most, ink)
        for other in one.others:
            rows = len(other.parts) + 3
            if len(other.steps) and len(right.rows) + rows <= height:
                right = below(
                    right, Picture([[]]), _draw_map(one, other, maps_width, rows - 1, ink)
                )
        return beside([(left, LIST_COLUMN), (right, maps_width)], height)
    listed = _draw_findings(one, width, max(3, min(MOST_LISTED, height // 3)), ink)
    explained = _draw_healthy(one, width)
    room = height - len(listed.rows) - len(explained.rows)
    return cut(below(listed, explained, _draw_map(one, one.map, width, room, ink)), width, height)


def aligned(figures: Sequence[str]) -> list[str]:
    """Return figures of one width, with their decimal points below each other."""
    places = [re.match(r"[-\d,]*", one) for one in figures]
    before = [place.end() if place else 0 for place in places]
    most = max(before, default=0)
    shifted = [" " * (most - at) + one for at, one in zip(before, figures, strict=True)]
    width = max([VALUE, *map(len, shifted)])
    right = max(map(len, shifted), default=0)
    return [one.ljust(right).rjust(width) for one in shifted]


def _draw_findings(one: Health, width: int, count: int, ink: Ink) -> Picture:
    suspicious = sum(finding.is_suspicious for finding in one.findings)
    picture = Picture()
    told = f"{suspicious} suspicious of {len(one.findings)}" if suspicious else "nothing stands out"
    picture.add(("latest values ", "title"), (told, "bad" if suspicious else "good"))
    names = [_name_of(one, finding) for finding in one.findings]
    values = aligned([one.format(finding) for finding in one.findings])
    columns = min(max([NAME, *map(len, names)]), width // 2)
    room = width - columns - max([VALUE, *map(len, values)]) - 6
    first = max(0, min(one.cursor - 1, len(one.findings) - count))
    bad, good = ("!", "ok") if ink == "ascii" else ("▲", "✓")
    for place in range(first, min(len(one.findings), first + count)):
        finding = one.findings[place]
        sign = (bad, "bad") if finding.is_suspicious else (good, "good")
        picture.add(
            (sign[0].ljust(2), sign[1]),
            (f" {_narrowed(names[place], columns)} ".ljust(columns + 2),
             "cursor" if place == one.cursor else "ink"),
            (values[place] + "  ", "ink"),
            (finding.told if cells_of(finding.told) <= room else "", "ink"),  # else below
            what=("finding", place),
        )  # fmt: skip
    return picture


def _name_of(one: Health, finding: Finding) -> str:
    return f"{finding.family.short or finding.family.title} {one.short(finding.part)}"


def _draw_healthy(one: Health, width: int) -> Picture:
    """Tell all of the finding at the cursor, and what its figure is like where all is well."""
    if not one.findings:
        return Picture([[]])
    finding = one.findings[one.cursor]
    healthy = finding.healthy
    return below(
        Picture([[]]),
        wrapped(finding.told, width - 2, "bad"),
        wrapped(f"healthy: {healthy.told} ({healthy.source})", width - 2, "dim"),
        Picture([[]]),
    )


def _draw_map(one: Health, shown: HealthMap, width: int, height: int, ink: Ink) -> Picture:
    """Draw parts down and steps across, by the logarithm where the figure spans decades."""
    picture = Picture()
    if not len(shown.steps) or height < 3:
        return picture
    names = [one.short(part) for part in shown.parts]
    room = height - 2
    part = one.findings[one.cursor].part if one.findings else ""
    at = shown.parts.index(part) if part in shown.parts else 0
    top = window(at, room, len(names))
    more = _more(top, max(0, len(names) - top - room), ink)
    label = max(min(18 if width < 100 else 30, max(map(len, names), default=0)), len(more)) + 1
    today = aligned([format_float(value, 3) for value in shown.values[:, -1].tolist()])
    columns = max(8, width - label - len(today[0]) - 1)
    steps = _sampled(len(shown.steps), columns)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.log10(shown.values) if shown.family.log else shown.values
    values = np.where(np.isfinite(values) | ~np.isfinite(shown.values), values, np.nan)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    ends = (_power(value, shown.family.log) for value in (low, high))
    scale = "{} is the weakest colour, {} the strongest".format(*ends)
    picture.add((shown.family.title, "title"), (f"  {scale}", "dim"))
    for row in range(top, min(len(names), top + room)):
        here = shown.parts[row] == part and shown is one.map
        cells = values[row, steps][None].astype(np.float32)  # (1, columns)
        (drawn,) = draw_heatmap(np.repeat(cells, 2, axis=0), ink, low, high)
        line: Row = [
            (_narrowed(names[row], label - 1).ljust(label), "cursor" if here else "dim"),
            *drawn,
            (today[row], "ink"),
        ]
        picture.targets.append(Target(len(picture.rows), 0, width, ("part", row)))
        picture.rows.append(line)
    first, last = f"step {int(shown.steps[0]):,}", f"{int(shown.steps[-1]):,}"
    gap = max(1, min(columns, len(steps)) - len(first) - len(last))
    picture.add((more.ljust(label), "dim"), (first + " " * gap + last, "dim"))
    return picture


def _more(above: int, under: int, ink: Ink) -> str:
    """Say how many rows have no room, and where they are."""
    if not above + under:
        return ""
    if ink == "ascii":
        return f"{above + under} more"
    return f"… {above + under} more, {'↑' * bool(above)}{'↓' * bool(under)}"


def _narrowed(name: str, width: int) -> str:
    """Return the name of a matrix; one that is too long has its beginning and its end."""
    if cells_of(name) <= width or not plain(name):
        return shortened(name, width)
    end = (width - 1) // 2
    return name[: width - 1 - end] + ELLIPSIS + name[len(name) - end :]


def _power(value: float, is_log: bool) -> str:
    return format_float(10**value if is_log else value, 2)


def _sampled(count: int, most: int) -> list[int]:
    """Return the columns to draw: all, stretched to the width, or some of more."""
    columns: list[int] = np.linspace(0, count - 1, most).round().astype(int).tolist()
    return columns
