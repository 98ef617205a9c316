"""Compares runs: curves, differing settings, results and texts."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import ContentSwitcher, Input
from textual.worker import get_current_worker

from data.errors import InputError
from data.paths import real_path
from engine.runs.folder import is_locked
from tui.control.keymap import bindings
from tui.screens.chart_actions import ChartActions
from tui.screens.keyed import KeyedScreen
from tui.text.letters import letter_of
from tui.widgets.comparison_table import ComparisonTable
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.notice import Notice
from tui.widgets.overlay_chart import COLOURS, OverlayChart
from tui.widgets.samples_compare import SamplesBeside

if TYPE_CHECKING:
    # Reading runs loads numpy, which waits for the first paint.
    from engine.metrics import Column, Mark
    from engine.runs.comparison import ComparedRun
    from engine.runs.curves import Axis, LossCurves
    from tui.charts.chart import Series

REFRESH_SECONDS = 2.0
REST = 10  # times the duration of reading: reading must not slow down training
MOST_RUNS = 26
MOST_OF_NOTE = 8  # rows
PARTS = ("-both", "-only-chart", "-only-table")  # which of chart and table are shown, in turn
OF_CHART = (
    "next_axis", "next_metric", "toggle_log", "toggle_window", "toggle_seeds", "move_cursor",
    "clear_cursor", "zoom", "fit", "pan", "smooth", "export_chart",
)  # fmt: skip

HELP_PAGE = """\
The arrow keys select a run in the table, or move in all texts at once. {compare.hide} hides the
selected run or shows it again, and {compare.solo} shows it alone; so does a click on its name.

Each run keeps its letter, which stands at the end of its curve, its colour and its stroke (solid,
dashed, dotted …): those of its mark among the runs. After six runs the colours come again, each
with another stroke. Where curves run through the same cells, each shows in turn.

Runs that differ in the seed alone can be drawn as their mean, in a band from the lowest to the
highest of them.

The table has the results, the best validation loss bold, then exactly the settings that differ,
those changed during training with all their values (0.001→0.0003).

Texts are written from each run's best checkpoint with the first run's prompt, seed and sampling
settings.
"""


@dataclass(frozen=True)
class View:
    """What the chart shows of each run."""

    metric: str
    axis: Axis


@dataclass(frozen=True)
class Reading:
    """A run as it was last read, and its curve in one view."""

    run: ComparedRun
    curves: LossCurves
    view: View
    column: Column
    names: Sequence[str]  # of the metrics that it has recorded


class CompareScreen(ChartActions, KeyedScreen[None]):
    """Several runs on one chart, with a table of what differs and texts side by side.

    Args:
        paths: Folders of two or more runs; of very many, the first ones are compared.
        places: What the letter and colour of each stand for; by default their order.
    """

    ABOUT = (
        "The comparison has several runs side by side: their curves on one chart, a table of their "
        "results and of the settings in which they differ, and a text of each. Use it to see what "
        "a change of settings was worth: whether a curve falls faster, or further, and whether one "
        "can read the difference."
    )
    HELP = HELP_PAGE
    CSS_PATH = "../styles/compare.tcss"
    AUTO_FOCUS = "ComparisonTable"
    VERTICAL_BREAKPOINTS = [(0, "-short"), (32, "-tall")]

    KEYS = "compare"
    QUEUE_GOES_ON = True
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    chart = getters.query_one(OverlayChart)
    table = getters.query_one(ComparisonTable)
    beside = getters.query_one(SamplesBeside)
    note = getters.query_one("#compare-note", Notice)

    @property
    def pointed_chart(self) -> OverlayChart:
        return self.chart

    @property
    def export_folder(self) -> Path | None:
        """That of the selected run."""
        return self.runs[self.table.selected].path if self.runs else None

    def __init__(self, paths: Sequence[Path], places: Sequence[int] | None = None) -> None:
        super().__init__()
        self.paths = [real_path(path) for path in paths[:MOST_RUNS]]
        self.places = dict(zip(self.paths, places or range(len(paths)), strict=False))
        self._left_out = len(paths) - len(self.paths)
        self._view: View | None = None  # once anything is read
        self._readings: dict[Path, Reading] = {}
        self._problems: list[str] = []
        self._hidden: set[int] = set()
        self._joins_seeds = False  # runs that differ in the seed alone are one curve
        self._next_look = 0.0  # by the monotonic clock

    def compose(self) -> ComposeResult:
        with Vertical(id="compare-chart"):
            yield OverlayChart(id="overlay")
        with ContentSwitcher(initial="differences", id="below"):
            yield ComparisonTable(id="differences")
            yield SamplesBeside(id="beside")
        yield Notice(id="compare-note")
        yield KeysFooter()

    @property
    def runs(self) -> list[ComparedRun]:
        """The runs that could be read, in order."""
        return [self._readings[path].run for path in self.paths if path in self._readings]

    def on_mount(self) -> None:
        from engine.runs.curves import Axis

        self._go_to(View("train_loss", Axis.STEPS))
        self.set_interval(REFRESH_SECONDS, self.refresh_runs)
        self.app.theme_changed_signal.subscribe(self, lambda _: self._show_table(anew=True))

    # -- reading ---------------------------------------------------------------------------------

    def refresh_runs(self) -> None:
        """Read again if a run is in training, and the last reading is long enough ago."""
        if time.monotonic() < self._next_look:
            return
        was_live = any(run.summary.live for run in self.runs)
        if self.is_current and (was_live or any(map(is_locked, self.paths))):
            assert self._view is not None
            self._read_soon(self._view)

    def _go_to(self, view: View) -> None:
        self._view = view
        smoothed = " (smoothed)" if _is_dense(view.metric) else ""
        title = self.chart.title = _title(view.metric)
        frame = self.query_one("#compare-chart")
        frame.border_subtitle = (
            f"←→: select · {self.key_of('compare.hide')}: hide, show · "
            f"{self.key_of('compare.solo')}: alone · "
            f"{self.key_of('compare.cursor_left')} {self.key_of('compare.cursor_right')}: values"
        )
        frame.border_title = f"compare · {title}{smoothed} over {view.axis}"
        self._read_soon(view)

    def _read_soon(self, view: View) -> None:
        self._next_look = math.inf  # until it is read: the thread cannot be cancelled
        self._read(view)

    @work(thread=True, exclusive=True, group="read")
    def _read(self, view: View) -> None:
        begin = time.monotonic()
        readings, problems = {}, []
        for path in self.paths:
            try:
                readings[path] = read_in_view(path, view, self._readings.get(path))
            except (InputError, OSError) as error:
                problems.append(str(error))
        if not get_current_worker().is_cancelled:
            rest = REST * (time.monotonic() - begin)
            self.call_from_worker(self._take, view, readings, problems, rest)

    def _take(
        self, view: View, readings: dict[Path, Reading], problems: list[str], rest: float
    ) -> None:
        self._next_look = time.monotonic() + rest
        if view != self._view:
            return
        self._readings, self._problems = readings, problems
        if self.runs:
            self.beside.prepare(self.runs[0].sampling())
        self._show_chart()
        self._show_table()
        self._show_note()
        self.refresh_bindings()

    # -- showing ---------------------------------------------------------------------------------

    def _show_chart(self) -> None:
        assert self._view is not None
        self.chart.empty_text = (
            f"all runs are hidden: {self.key_of('compare.solo')} shows them"
            if self._hidden
            else "nothing was measured yet"
        )
        unit = _unit(self._view.metric)
        self.chart.show(self._series(), self._view.axis, self._forks(), unit)

    def _series(self) -> list[Series]:
        """Return the curves of the shown runs; those of several seeds in one, if that is wanted."""
        from engine.runs.comparison import seed_groups
        from tui.charts.chart import Series

        assert self._view is not None
        smooth = _is_dense(self._view.metric)
        shown = [run for run in self.runs if self.paths.index(run.path) not in self._hidden]
        joined = seed_groups(shown) if self._joins_seeds else []
        first_of = {at: group for group in joined for at in group}
        series = []
        for at, run in enumerate(shown):
            place, column = self.places[run.path], self._readings[run.path].column
            group = first_of.get(at, [at])
            if len(group) == 1:
                series.append(Series.of_run(run.name, place, column, smooth=smooth))
            elif at == group[0]:
                columns = [self._readings[shown[one].path].column for one in group]
                name = f"mean of {len(group)} seeds"
                series.append(Series.of_seeds(name, place, columns, smooth=smooth))
        return series

    def _forks(self) -> list[Mark]:
        """Return the forks between shown runs; their position is known only along the steps."""
        from engine.metrics import Mark
        from engine.runs.curves import Axis

        shown = [run for run in self.runs if self.paths.index(run.path) not in self._hidden]
        names = {name for run in shown for name in (run.name, *run.summary.formerly)}
        if self._view is None or self._view.axis is not Axis.STEPS:
            return []
        return [
            Mark(run.summary.parent_step, f"{self._letter(run.path)} forked off")
            for run in shown
            if run.summary.parent in names and run.summary.parent_step is not None
        ]

    def _letter(self, path: Path) -> str:
        return letter_of(self.places[path])

    def _show_table(self, anew: bool = False) -> None:
        self.table.show(self.runs, [self._name_of(run.path) for run in self.runs], anew)

    def _name_of(self, path: Path) -> Text:
        letter = self._letter(path)
        hue = COLOURS[self.places[path] % len(COLOURS)]
        colour = self.chart.get_component_rich_style(f"chart--run-{hue}").color
        style = Style(color=colour, bold=True)  # without the background of the chart
        hidden = self.paths.index(path) in self._hidden
        return Text.assemble((f"{letter} ", style), (path.name, "dim strike" if hidden else "bold"))

    def _show_note(self) -> None:
        from engine.runs.comparison import cautions
        from tui.text.comparison import seed_lines

        lines = [*self._problems, *(f"note: {one}" for one in cautions(self.runs))]
        lines += seed_lines(self.runs, [self._letter(run.path) for run in self.runs])
        if self._left_out:
            lines.append(f"{MOST_RUNS} runs fit on a chart: the last {self._left_out} are left out")
        self.note.say("\n".join(lines), "hint")

    def on_resize(self) -> None:
        self._limit_note()

    def _limit_note(self) -> None:
        """Leave chart and table the room that they need; the help has all of the note."""
        is_short = self.size.height < self.VERTICAL_BREAKPOINTS[1][0]
        is_table = self.has_class(PARTS[2])
        lines = MOST_OF_NOTE if not is_short else MOST_OF_NOTE // 2 if is_table else 1
        self.note.limit(lines, self.size.width - 2, f"{self.key_of('app.help')} shows all")

    @property
    def message(self) -> str:
        return self.note.text

    @property
    def message_is_cut(self) -> bool:
        return self.note.is_cut

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if isinstance(self.focused, Input):  # keys are letters in a field
            return (
                ""
                if action in ("leave_field", "submit")
                else f"leave the field first ({self.key_of('field.back')})"
            )
        texts = self._below == "beside"
        if action == "table":
            return "" if texts else "the table is shown already"
        if action == "scroll_texts":
            return (
                ""
                if texts
                else f"the texts are not shown: {self.key_of('compare.sample')} shows them"
            )
        if action == "next_part" and texts:
            return (
                f"the texts are shown: {self.key_of('compare.table')} shows the table and the chart"
            )
        if action in OF_CHART and self.has_class("-short") and texts:
            shows = f"{self.key_of('compare.table')} shows the table and the chart"
            return f"the texts take all the room there is: {shows}"
        if action in OF_CHART and self.has_class("-only-table"):
            return f"the chart is hidden: {self.key_of('compare.part')} shows it"
        if action == "toggle_seeds" and self.runs:
            from engine.runs.comparison import seed_groups

            return "" if seed_groups(self.runs) else "no two runs differ in the seed alone"
        if self.runs or action in ("close", "leave_field"):
            return ""
        return "no run could be read"

    @property
    def _below(self) -> str | None:
        return self.query_one("#below", ContentSwitcher).current if self.is_mounted else None

    def action_next_axis(self) -> None:
        from engine.runs.curves import Axis

        assert self._view is not None
        axes = list(Axis)
        self._go_to(View(self._view.metric, axes[(axes.index(self._view.axis) + 1) % len(axes)]))

    def action_next_metric(self, by: int = 1) -> None:
        """Show the next metric that any of the runs has recorded, or the one before."""
        from engine.metric_catalogue import CHARTS

        assert self._view is not None
        there = {name for one in self._readings.values() for name in one.names} | {*LOSSES}
        known = [one.name for chart in CHARTS for one in chart.metrics if not one.source]
        metrics = [*LOSSES, *(name for name in known if name in there and name not in LOSSES)]
        at = metrics.index(self._view.metric) if self._view.metric in metrics else 0
        self._go_to(View(metrics[(at + by) % len(metrics)], self._view.axis))

    def action_toggle_run(self, at: int) -> None:
        if at < len(self.paths):
            self._hide(self._hidden ^ {at})

    def action_toggle_selected(self) -> None:
        if self.runs:
            self.action_toggle_run(self._selected)

    def action_solo(self) -> None:
        """Show only the selected run; if it is alone already, all."""
        others = set(range(len(self.paths))) - {self._selected}
        self._hide(set() if self._hidden == others else others)

    @property
    def _selected(self) -> int:
        """The index of the selected run among all."""
        return self.paths.index(self.runs[self.table.selected].path) if self.runs else 0

    def _hide(self, hidden: set[int]) -> None:
        self._hidden = hidden
        self._show_chart()
        self._show_table()

    def on_data_table_column_highlighted(self) -> None:
        if self.runs and self.table.selected < len(self.runs):
            self.chart.select(self.places[self.runs[self.table.selected].path])

    def on_data_table_header_selected(self, event: ComparisonTable.HeaderSelected) -> None:
        """Hide the run that was clicked on, or show it again."""
        if event.column_index:
            self.table.move_cursor(column=event.column_index, animate=False)
            self.action_toggle_selected()

    def action_toggle_seeds(self) -> None:
        """Draw runs that differ in the seed alone as their mean, or each."""
        self._joins_seeds = not self._joins_seeds
        self._show_chart()

    def action_next_part(self) -> None:
        """Show chart and table, then the chart alone, then the table alone."""
        now = next((part for part in PARTS if self.has_class(part)), PARTS[0])
        self.remove_class(now)
        self.add_class(PARTS[(PARTS.index(now) + 1) % len(PARTS)])
        self._limit_note()
        self.refresh_bindings()

    def action_table(self) -> None:
        self._switch_to("differences")
        self.table.focus()

    def action_sample(self) -> None:
        """Generate texts, or others with the next seed if there are some."""
        again = self._below == "beside" and self.beside.has_texts
        self._switch_to("beside")
        if again or not self.beside.has_texts:
            self._write(seed_step=int(again))

    def action_prompt(self) -> None:
        self._switch_to("beside")
        self.set_focus(self.beside.prompt)

    def action_leave_field(self) -> None:
        self.set_focus(None)
        self.refresh_bindings()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.action_leave_field()
        self._write()

    def action_scroll_texts(self, down: int, right: int) -> None:
        self.beside.scroll_texts(down, right)

    def action_close(self) -> None:
        self.dismiss()

    def _switch_to(self, what: str) -> None:
        self.query_one("#below", ContentSwitcher).current = what
        if what == "beside":
            self.set_focus(None)
        self.set_class(what == "beside", "-texts")
        self.refresh_bindings()

    def _write(self, seed_step: int = 0) -> None:
        titles = [(run.path, f"{self._letter(run.path)} {run.name}") for run in self.runs]
        try:
            self.beside.write(titles, seed_step)
        except InputError as error:
            self.notify(str(error), severity="error")


LOSSES = {"train_loss": "training loss", "val_loss": "validation loss"}


def _title(metric: str) -> str:
    from engine.metric_catalogue import chart_of

    if metric in LOSSES:
        return LOSSES[metric]
    kind, one = chart_of(metric)
    return kind.title if len(kind.metrics) == 1 else f"{kind.title}: {one.label}"


def _unit(metric: str) -> str:
    from engine.metric_catalogue import chart_of

    return chart_of(metric)[1].unit


def _is_dense(metric: str) -> bool:
    """Whether it has a value for each step, to be smoothed."""
    from engine.metric_catalogue import chart_of

    return metric != "val_loss" and chart_of(metric)[0].dense


def read_in_view(path: Path, view: View, before: Reading | None) -> Reading:
    """Read a run, reusing what has not changed."""
    from engine.metrics import Column
    from engine.runs.comparison import read_compared
    from engine.runs.curves import read_loss_curves, read_recorded

    run = read_compared(path)
    same = before if before is not None and before.run == run else None
    if same is not None and same.view == view:
        return same
    if same is not None and view.metric in same.curves.losses:
        names, curves = same.names, same.curves
    else:
        names = read_recorded(path).names
        curves = read_loss_curves(run, list({*LOSSES, view.metric}))
    column = Column()
    column.extend(*curves.along(view.axis, view.metric))
    return Reading(run, curves, view, column, names)
