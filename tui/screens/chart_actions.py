"""The actions of a screen that shows a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import InputError
from engine.program import install_command
from tui.text.numbers import format_path
from tui.widgets.chart_widget import PAN, ChartWidget

if TYPE_CHECKING:
    from pathlib import Path

    from tui.screens.keyed import KeyedScreen
    from tui.widgets.chart_grid import ChartGrid

    Base = KeyedScreen[None]
else:
    Base = object

FAST = 10  # columns that the cursor moves with shift
KEY_ZOOM = 2  # steps of the mouse wheel for each key


class ChartActions(Base):
    """What keys do with the chart of a screen; the screen has the chart, and may have several."""

    @property
    def pointed_chart(self) -> ChartWidget:
        """The chart that keys act on; others show the same steps."""
        raise NotImplementedError

    @property
    def export_folder(self) -> Path | None:
        """Where charts are exported to; None while there is no run."""
        return None

    def action_cycle_range(self) -> None:
        self.pointed_chart.cycle_range()

    def action_toggle_log(self) -> None:
        self.pointed_chart.toggle_log()

    def action_toggle_log_x(self) -> None:
        self.pointed_chart.toggle_log_x()

    def action_toggle_smooth(self) -> None:
        self.pointed_chart.toggle_smooth()

    def action_smooth(self, by: int) -> None:
        self.pointed_chart.smooth(by)

    def action_toggle_window(self) -> None:
        self.pointed_chart.toggle_window()

    def action_toggle_references(self) -> None:
        self.pointed_chart.toggle_references()

    def action_next_unit(self) -> None:
        chart = self.pointed_chart
        if len(chart.units()) < 2:
            self.notify("steps are all that is known of this run yet", severity="warning")
        else:
            chart.cycle_unit()

    def action_zoom(self, steps: int) -> None:
        self.pointed_chart.zoom(steps * KEY_ZOOM)

    def action_fit(self) -> None:
        self.pointed_chart.fit()

    def action_follow(self) -> None:
        self.pointed_chart.follow()

    def action_pan(self, by: int) -> None:
        self.pointed_chart.pan(by * PAN)

    def action_move_cursor(self, by: int) -> None:
        self.pointed_chart.move_cursor(by)

    def action_clear_cursor(self) -> None:
        self.pointed_chart.clear_cursor()

    def action_export_chart(self) -> None:
        """Write what the chart shows as SVG and CSV, and say where."""
        from tui.widgets.chart_export import export_chart

        folder = self.export_folder
        if folder is None:
            self.notify("there is no run yet, and no chart to export", severity="warning")
            return
        try:
            written = export_chart(self.pointed_chart, folder)
        except InputError as error:
            self.notify(str(error), severity="error")
        else:
            no_png = all(path.suffix != ".png" for path in written)
            more = f"\n(a PNG, too, with: {install_command('pictures')})" if no_png else ""
            self.notify("exported " + "\n".join(format_path(path) for path in written) + more)


class GridActions(ChartActions):
    """What keys do with a grid of charts, beside what they do with one of them."""

    charts: ChartGrid

    @property
    def pointed_chart(self) -> ChartWidget:
        return self.charts.current

    def action_next_chart(self, by: int) -> None:
        self.charts.move(by)

    def action_maximise(self) -> None:
        self.charts.maximise()

    def action_filter_charts(self) -> None:
        self.charts.filter()

    def action_type_limits(self) -> None:
        self.charts.ask_limits()

    def action_move_chart(self, by: int) -> None:
        self.charts.move_chart(by)

    def action_hide_chart(self) -> None:
        self.charts.hide_chart()

    def action_all_charts(self) -> None:
        self.charts.show_all()

    def action_leave_chart(self) -> None:
        """Show all charts again, after one of them or a part."""
        self.charts.back()
