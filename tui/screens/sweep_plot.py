"""A figure of runs over a setting in which they differ, as a plot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from rich.style import Style
from rich.text import Text
from textual import getters
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from engine.config.schema import SETTINGS
from tui.control.keymap import bindings
from tui.screens.keyed import KeyedScreen
from tui.text.numbers import format_count, format_duration, format_loss
from tui.text.tables import fit_items
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.runs_columns import format_value
from tui.widgets.sweep_chart import SweepChart

if TYPE_CHECKING:
    from engine.runs.summary import RunSummary

HELP_PAGE = """\
Each point is a run; its letter is that of its mark or, if no run is marked, one for this plot. The
dotted line goes through the best run of each value, and ★ is the best of all. Where the runs differ
in a second setting, each of up to four values of that has a line of its own; the frame says which.
The axis is logarithmic where the values span about a decade or more.

Runs that differ in the seed alone can have their mean ╋ in a band ┃ from the lowest to the highest
of them; the line then goes through the means.

The arrow keys, or a click, go from run to run; {plot.choose}, or a second click, goes back
to the table with the cursor on that run.

If two or more runs are marked, those are plotted; else all that the filter lists.
"""


class SweepPlotScreen(KeyedScreen[str | None]):
    """Plots a figure over a setting; its result is the path of the chosen run.

    Args:
        runs: At least two.
        settings: The settings in which they differ, at least one.
        places: Of the marked runs, by path.
        colour_of: Returns the style of the letter at a place.
    """

    ABOUT = (
        "The plot shows the loss, or another figure, of several runs over a setting in which they "
        "differ. Use it to see which value is the best, how much depends on it, and whether the "
        "best one lies at the edge of those that were tried, so that it pays to go further."
    )
    HELP = HELP_PAGE
    CSS_PATH = "../styles/sweep_plot.tcss"

    KEYS = "plot"
    QUEUE_GOES_ON = True
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    chart = getters.query_one(SweepChart)

    def __init__(
        self,
        runs: Sequence[RunSummary],
        settings: Sequence[str],
        places: dict[str, int],
        colour_of: Callable[[int], Style],
    ) -> None:
        super().__init__()
        self.runs, self.settings = list(runs), list(settings)
        self._places, self._colour_of = places, colour_of
        self.key = self.settings[0]
        self.figure = "best val"

    def compose(self) -> ComposeResult:
        with Vertical(id="sweep-frame"):
            yield SweepChart(self._colour_of, id="sweep")
        yield Static(id="sweep-run")
        yield KeysFooter()

    def on_mount(self) -> None:
        self._show()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_run)

    def _show(self) -> None:
        from engine.runs.sweep import second_setting, sweep_over
        from tui.charts.sweep import LINE_SIGNS

        sweep = sweep_over(self.runs, self.key, self.figure)
        plotted = [one.run for one in sweep.points]
        second = second_setting(plotted, self.settings, self.key, len(LINE_SIGNS))
        self.chart.show(sweep, self.key, self._places, second)
        frame = self.query_one("#sweep-frame")
        count = format_count(len(sweep.points), "run")
        left_out = len(self.runs) - len(sweep.points)
        without = f" · {left_out} without {self.figure}" if left_out else ""
        place = f"{self.settings.index(self.key) + 1} of {len(self.settings)}"
        frame.border_title = f"{self.figure} over {self.key} · {count}{without}"
        lines = "  ".join(
            f"{sign} {format_value(second[0], value)}"
            for sign, value in zip(LINE_SIGNS, second[1], strict=False)
        )
        legend = f"{second[0].partition('.')[2]} {lines} · " if lines else ""
        setting = f"{self.key_of('plot.setting')}: setting {place}"
        frame.border_subtitle = f"{legend}{setting} · ★ the best"
        self.call_after_refresh(self._show_run)

    def _show_run(self) -> None:
        """Show the values of the run at the cursor."""
        note = self.query_one("#sweep-run", Static)
        points = self.chart.sweep.points if self.chart.sweep else []
        if not points:
            way = f"{self.key_of('plot.figure')} shows another figure"
            note.update(Text(f"no run has {self.figure} yet: {way}", "dim"))
            return
        one = points[self.chart.cursor]
        letter = self.chart.letter_of(one.run.path)
        config = one.run.config
        value = self._format(one.y)
        others = [key for key in self.settings if key != self.key]
        seeds = self._seeds_of(one.run.path) if self.chart.joins_seeds else ""
        items = [
            Text(f"{letter} {one.run.name}".strip(), "bold"),
            Text(f"{self.key} {SETTINGS[self.key].format(one.value)}"),
            Text(f"{self.figure} {value}"),
            *([Text(seeds)] if seeds else []),
            *(
                Text(f"{key.partition('.')[2]} {format_value(key, config.get(key))}", "dim")
                for key in others
                if config is not None
            ),
        ]
        note.update(fit_items(items, self.size.width - 2))

    def _format(self, figure: float) -> str:
        return format_duration(figure) if self.figure == "train time" else format_loss(figure)

    def _seeds_of(self, path: str) -> str:
        """Return the mean and the ends of the seeds that a run is one of; empty if of none."""
        for one in self.chart.spreads:
            if path in one.runs:
                low, mean, high = map(self._format, (one.low, one.mean, one.high))
                return f"mean of {len(one.runs)} seeds {mean} ({low} to {high})"
        return ""

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if action == "toggle_seeds" and self.is_mounted and not self.chart.spreads:
            return "no two runs of one value differ in the seed alone"
        return ""

    def action_toggle_seeds(self) -> None:
        """Draw the mean and a band of runs that differ in the seed alone, or only the runs."""
        self.chart.join_seeds(not self.chart.joins_seeds)
        self._show_run()

    def on_sweep_chart_moved(self) -> None:
        self._show_run()

    def on_sweep_chart_chosen(self) -> None:
        self.action_choose()

    def action_next_setting(self, by: int) -> None:
        at = self.settings.index(self.key) + by
        self.key = self.settings[at % len(self.settings)]
        self._show()

    def action_next_figure(self) -> None:
        from engine.runs.sweep import FIGURES

        figures = list(FIGURES)
        self.figure = figures[(figures.index(self.figure) + 1) % len(figures)]
        self._show()

    def action_move(self, points: int) -> None:
        self.chart.move(points)

    def action_choose(self) -> None:
        self.dismiss(self.chart.current)

    def action_close(self) -> None:
        self.dismiss(None)
