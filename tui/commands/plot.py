"""``gpt-tui plot RUN …``: the curves of runs on standard output."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from data.errors import InputError, brief, nearest
from engine.program import program
from engine.runs.folder import find_run, typed_name
from engine.runs.summary import read_summary
from engine.states import DAMAGED
from tui import EXIT_DONE
from tui.charts.characters import CharacterSet, translated
from tui.charts.view import RANGES, Range
from tui.commands.options import (
    Parser,
    characters_of,
    finite_number,
    is_coloured,
    runs_dir_of,
    whole_number,
)
from tui.control.preferences import Preferences, preference
from tui.terminal.stdout import complain, standard_output
from tui.terminal.visible import Control, visible_line

if TYPE_CHECKING:
    from engine.metric_catalogue import ChartKind, Metric
    from engine.runs.curves import Axis, Recorded
    from tui.charts.chart import Chart, Series

# Of a chart that is not printed on a terminal.
WIDTH, HEIGHT = 100, 28

NARROWEST, LOWEST, MOST = 20, 6, 1000
MOST_CURVES = 26  # each has a letter of its own, or shares it with another one of its run
STROKES = "─╌"  # of the two curves of a run that share a letter, as the legend has them
AXES = ("step", "tokens", "epochs", "time")


class Look(NamedTuple):
    """How curves are drawn."""

    width: int
    height: int
    characters: CharacterSet
    coloured: bool
    smoothing: float
    y: Range
    x: str


class Curve(NamedTuple):
    """One curve, and what the legend says of it."""

    series: Series
    metric: Metric
    bad: int  # how many of its values are not finite
    run: str


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    look = _look(args)
    runs_dir = runs_dir_of(args)
    runs = list(dict.fromkeys(find_run(name, runs_dir) for name in args.runs))
    for run in runs:
        summary = read_summary(run)
        if summary.state == DAMAGED:
            raise InputError(f"the run {run.name!r} cannot be drawn: {summary.problem}")
    from tui.charts.plotted import plotted

    kind, curves = _read(runs, args.metric, look)
    legend = _legend(kind, curves, look)
    height = max(look.height - len(legend), LOWEST - 2)
    drawn = plotted(_chart(curves, look), look.width, height, coloured=look.coloured)
    if drawn.log_refused:
        complain("not all values are positive, so the axis is not logarithmic")
    lines = [*legend, *(line if look.coloured else line.rstrip() for line in drawn.lines)]
    with standard_output() as out:
        out.write(Control(translated("\n".join(lines), look.characters) + "\n"))
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui plot",
        "Print the curves of one or several runs, as a chart of text.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="names or paths of runs")
    parser.add_argument(
        "--metric",
        default="loss",
        metavar="NAME",
        help="what to draw: a metric of docs/metrics.md, or a chart of several (%(default)s)",
    )
    parser.add_argument(
        "--x", choices=AXES, default="step", help="what the horizontal axis counts (%(default)s)"
    )
    parser.add_argument(
        "--y",
        choices=RANGES,
        help="the vertical axis: without outliers, all values, or logarithmic "
        "(default: the preference chart.y_scale)",
    )
    parser.add_argument("--log", action="store_true", help="short for --y log")
    parser.add_argument(
        "--smoothing",
        type=finite_number,
        metavar="WEIGHT",
        help="0 draws all values, 0.99 smooths most (default: the preference chart.smoothing)",
    )
    parser.add_argument(
        "--width", type=whole_number, metavar="N", help=f"characters (the terminal's, or {WIDTH})"
    )
    parser.add_argument(
        "--height", type=whole_number, metavar="N", help=f"lines (the terminal's, or {HEIGHT})"
    )
    parser.add_argument(
        "--characters",
        choices=("auto", "braille", "block", "ascii"),
        help="what to draw with (default: what the terminal can show)",
    )
    return parser


def _look(args: argparse.Namespace) -> Look:
    if args.log and args.y not in (None, "log"):
        raise InputError(f"--log and --y {args.y} contradict each other: leave one out")
    preferences = Preferences.load()
    smoothing = preferences.get("chart.smoothing")
    if args.smoothing is not None:
        try:
            smoothing = preference("chart.smoothing").check(args.smoothing)
        except ValueError:
            raise InputError("--smoothing must be from 0 to 0.99") from None
    terminal = sys.stdout.isatty()
    size = shutil.get_terminal_size((WIDTH, HEIGHT)) if terminal else (WIDTH, HEIGHT)
    width = size[0] if args.width is None else args.width
    height = size[1] - terminal if args.height is None else args.height  # a line for the prompt
    for name, value, least in (("width", width, NARROWEST), ("height", height, LOWEST)):
        if not least <= value <= MOST:
            raise InputError(f"--{name} must be from {least} to {MOST}, not {value}")
    return Look(
        width,
        height,
        characters_of(terminal, args.characters or ""),
        is_coloured(terminal),
        float(smoothing),
        "log" if args.log else args.y or preferences.get("chart.y_scale"),
        args.x,
    )


# -- reading -----------------------------------------------------------------------------------


def _read(runs: Sequence[Path], name: str, look: Look) -> tuple[ChartKind, list[Curve]]:
    """Read the curves of a metric, or of all metrics of a chart, of some runs.

    Raises:
        InputError: There is no such metric, or a run has no values of it.
    """
    from engine.metric_catalogue import short_list
    from engine.runs.curves import read_recorded

    recorded = {run: read_recorded(run) for run in runs}
    names = dict.fromkeys(one for known in recorded.values() for one in known.names)
    kind = _kind(name, list(names))
    curves: list[Curve] = []
    for run, known in recorded.items():
        found = _curves_of(run, known, kind, look, _next_place(curves), several=len(runs) > 1)
        if not found:
            told = f"the run {run.name!r} has no values of {brief(name)} yet"
            if known.names and not any(one.name in known.names for one in kind.metrics):
                raise InputError(f"{told}: it has {', '.join(short_list(known.names))}")
            train = f"{program()} train --resume {typed_name(run)}"
            raise InputError(f"{told}: {train} trains it")
        curves += found
    if len({one.series.place for one in curves}) > MOST_CURVES:
        raise InputError(f"{len(curves)} curves are too many for one chart: name fewer runs")
    return kind, curves


def _next_place(curves: Sequence[Curve]) -> int:
    return max((one.series.place + 1 for one in curves if one.series.place is not None), default=0)


def _shares_letters(kind: ChartKind, several: bool) -> bool:
    """Whether the curves of a run have one letter, and differ in their strokes."""
    return several and len(kind.metrics) == len(STROKES)


def _kind(name: str, recorded: Sequence[str]) -> ChartKind:
    """Return the chart that a name stands for: its own, or that of one metric.

    Raises:
        InputError: It stands for none.
    """
    from engine.metric_catalogue import (
        AXES,
        CHARTS,
        FAMILIES,
        HEALTH,
        METRICS,
        ChartKind,
        chart_of_part,
        charts_of,
        charts_of_families,
        family_of,
    )

    if family := family_of(name):  # of a single layer or matrix
        return chart_of_part(family, family.part_of(name))
    unknown = charts_of(one for one in recorded if one not in METRICS)  # of another version
    for chart in (*CHARTS, *charts_of_families(recorded), *unknown):
        if chart.name == name:
            return chart
        for one in chart.metrics:
            if one.name == name:
                title = f"{chart.title}, {one.label}"
                return replace(chart, title=title, metrics=(one,))
    for one in AXES:
        if one.name == name:
            return ChartKind(name, one.label, "", (one,))
    for known_family in FAMILIES:  # of which nothing is recorded yet
        if known_family.name == name:
            return ChartKind(name, known_family.title, HEALTH, ())
    known = [
        *METRICS,
        *(one.name for one in FAMILIES),
        *(chart.name for chart in (*CHARTS, *unknown)),
    ]
    near = nearest(name, known)
    hint = f"did you mean {near}?" if near else f"there are {', '.join(METRICS)}"
    raise InputError(f"there is no metric {brief(name)}: {hint}")


def _curves_of(
    run: Path, known: Recorded, kind: ChartKind, look: Look, place: int, *, several: bool
) -> list[Curve]:
    """Read the curves of a run that have a value which can be drawn.

    Args:
        place: Of the first one: it determines its letter.
    """
    metrics = [one for one in kind.metrics if (one.source or one.name) in known.names]
    if not metrics:
        return []
    import numpy as np

    from engine.metric_catalogue import transform_of
    from engine.metrics import Column
    from engine.runs.comparison import read_compared
    from engine.runs.curves import read_loss_curves
    from tui.charts.chart import Series
    from tui.charts.raster import DASHED, SOLID

    shares = _shares_letters(kind, several)
    found = read_loss_curves(read_compared(run), [one.source or one.name for one in metrics])
    curves: list[Curve] = []
    if look.x == "epochs" and not found.epochs_per_token:
        raise InputError(f"how many epochs the run {run.name!r} was trained is not known")
    for metric in metrics:
        steps, values = found.along(_axis(look.x), metric.source or metric.name)
        transform = transform_of(metric, known.references)
        sound = np.isfinite(transform(values) if transform else values)
        if not sound.any():
            continue
        column = Column()
        column.extend(steps, values)
        label = f"{run.name} {metric.label}" if several and not shares else metric.label
        smooth = kind.dense and not metric.name.startswith("val_")
        own = place if shares else place + len(curves)
        series = Series.of_run(visible_line(label), own, column, smooth=smooth)
        stroke = DASHED if shares and metric is not kind.metrics[0] else SOLID
        series = replace(series, transform=transform, stroke=stroke)
        curves.append(Curve(series, metric, int((~sound).sum()), visible_line(run.name)))
    return curves


def _axis(x: str) -> Axis:
    from engine.runs.curves import Axis

    return dict(zip(AXES, (Axis.STEPS, Axis.TOKENS, Axis.EPOCHS, Axis.SECONDS), strict=True))[x]


# -- drawing -----------------------------------------------------------------------------------


def _chart(curves: Sequence[Curve], look: Look) -> Chart:
    from tui.charts.chart import Chart
    from tui.charts.window import Window, XAxis

    axis = XAxis.along(_axis(look.x))
    last = max(one.series.column.last_step or 0 for one in curves)
    window = Window(0.0, float(axis.of(max(last, 1))), axis)
    series = [one.series for one in curves]
    return Chart(series, window, look.smoothing, look.y, reached=last)


def _legend(kind: ChartKind, curves: Sequence[Curve], look: Look) -> list[str]:
    """Return the lines above the chart: what it shows, and the last value of each curve."""
    from rich.cells import cell_len, set_cell_size

    from tui.charts.plotted import colour_of

    over = {"step": "steps", "time": "training time"}.get(look.x, look.x)
    smoothed = any(one.series.kind == "dense" for one in curves) and look.smoothing > 0
    detail = f" (smoothed, {look.smoothing:g})" if smoothed else ""
    lines = [f"{visible_line(kind.title)} over {over}{detail}"[: look.width]]
    lengths = [look.width]  # of the lines so far: escape sequences take no room
    shares = _shares_letters(kind, several=len({one.run for one in curves}) > 1)
    for place, curve in enumerate(curves):
        one = curve.series
        sign = one.letter if len(curves) > 1 else STROKES[0]
        told = f"{one.name} {_latest(curve, look)}"
        if shares:
            if place and curves[place - 1].run == curve.run:
                continue  # it is in the entry of its run
            of_run = [other for other in curves if other.run == curve.run]
            values = [f"{_stroke(it)} {it.series.name} {_latest(it, look)}" for it in of_run]
            told = f"{curve.run} {', '.join(values)}"
            if len(of_run) == 1:
                told = f"{curve.run} {one.name} {_latest(curve, look)}"
        if cell_len(told) + 2 > look.width:
            told = set_cell_size(told, look.width - 3).rstrip() + "…"
        length = cell_len(told) + 2
        if look.coloured:
            sign = f"\x1b[38;5;{colour_of(one.style)}m{sign}\x1b[0m"
        if lengths[-1] + 2 + length <= look.width:
            lines[-1] += f"  {sign} {told}"
            lengths[-1] += 2 + length
        else:
            lines.append(f"{sign} {told}")
            lengths.append(length)
    return lines


def _stroke(curve: Curve) -> str:
    from tui.charts.raster import SOLID

    return STROKES[curve.series.stroke != SOLID]


def _latest(curve: Curve, look: Look) -> str:
    """Return the last value of a curve, and how many are left out."""
    import numpy as np

    from engine.metric_catalogue import format_value
    from tui.charts.reduction import reduction_of

    series = curve.series
    rows = np.flatnonzero(np.isfinite(series.shown(reduction_of(series.column).values)))
    value = float(series.values_at(rows[-1:], look.smoothing)[0])
    bad = f" ({curve.bad} not finite)" if curve.bad else ""
    return f"{format_value(curve.metric, value)}{bad}"
