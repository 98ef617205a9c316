"""The charts of a run: the loss alone, a grid of all, or one of them maximised."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from msgspec.structs import replace
from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.geometry import NULL_OFFSET, Region, Size, Spacing
from textual.layout import ArrangeResult, Layout, WidgetPlacement
from textual.message import Message
from textual.reactive import var
from textual.widget import Widget
from textual.widgets import Static

from data.errors import InputError, brief
from tui.charts.view import View
from tui.control.limits import (
    EXAMPLES,
    FREE,
    Ends,
    format_all,
    parse_all,
    parse_limits,
)
from tui.control.remap import key_in_force
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.field import Field
from tui.widgets.loss_chart import LossChart
from tui.widgets.metric_chart import MetricChart, Plan

if TYPE_CHECKING:
    from engine.metric_catalogue import ChartKind
    from engine.metrics import MetricStore

Mode: TypeAlias = Literal["loss", "grid", "one"]

LOSS_NAME = "loss"  # of the chart of the loss, in the catalogue of metrics

GAP = 2  # columns between charts
TILE_WIDTH, TILE_HEIGHT = 28, 7  # at least
BEST_TILE_HEIGHT = 8
SPACIOUS = 100  # columns from which the loss has a larger place of its own
LOSS_SHARE, LOSS_WIDTH = 0.36, 44
FRAME = 16  # columns of the frame's label that are not for keys
LARGE_TURNS = 4  # ticks after which the loss, or a chart alone, is drawn again …
TURNS = 20  # … and the small charts, in so many groups one after another


class Arrangement(NamedTuple):
    """How many charts a page has, and where they are."""

    loss: Region | None  # a larger place for the loss, on each page
    tiles: list[Region]


def arrangement(width: int, height: int, count: int | None = None) -> Arrangement:
    """Divide a place among charts: all alike, or beside a larger one for the loss.

    Args:
        width: In cells.
        height: In cells.
        count: Of the charts, with the loss; the pages then have about as many each, and no more
            room than for that. None for as many as a page can have.
    """
    rows = max(1, height // BEST_TILE_HEIGHT)
    if rows * TILE_HEIGHT > height:
        rows = 1
    if width < SPACIOUS or height < 2 * TILE_HEIGHT:
        columns = max(1, (width + GAP) // (TILE_WIDTH + GAP)) if height >= 2 * TILE_HEIGHT else 1
        columns = min(columns, 2) if width < SPACIOUS else columns
        columns, rows = _even(columns, rows, height, count)
        return Arrangement(None, _tiles(0, width, height, columns, rows))
    loss = max(LOSS_WIDTH, int(width * LOSS_SHARE))
    left = loss + GAP
    columns = max(1, (width - left + GAP) // (TILE_WIDTH + GAP))
    columns, rows = _even(columns, rows, height, count - 1 if count else None)
    return Arrangement(
        Region(0, 0, loss, height), _tiles(left, width - left, height, columns, rows)
    )


def _even(columns: int, rows: int, height: int, count: int | None) -> tuple[int, int]:
    """Return how many columns and rows a page needs, if all pages are to be about as full.

    All are on one page if rows of the least height make that possible.
    """
    if not count:
        return columns, rows
    lower = max(rows, height // TILE_HEIGHT)
    if columns * rows < count <= columns * lower:
        rows = lower
    pages = ceil(count / (columns * rows))
    rows = min(rows, ceil(ceil(count / pages) / columns))
    return min(columns, ceil(ceil(count / pages) / rows)), rows


def _tiles(left: int, width: int, height: int, columns: int, rows: int) -> list[Region]:
    """Divide a place evenly; what is left over widens the first ones."""
    across = [(width - GAP * (columns - 1) + columns - 1 - at) // columns for at in range(columns)]
    down = [(height + rows - 1 - at) // rows for at in range(rows)]
    found, y = [], 0
    for tall in down:
        x = left
        for wide in across:
            found.append(Region(x, y, wide, tall))
            x += wide + GAP
        y += tall
    return found


class _Places(Layout):
    """Puts the charts where their grid says."""

    name = "places"

    def arrange(
        self, parent: Widget, children: list[Widget], size: Size, greedy: bool = True
    ) -> ArrangeResult:
        assert isinstance(parent, ChartGrid)
        parent.pre_layout(self)
        places = parent.places(size)
        no_space = Spacing()
        return [
            WidgetPlacement(places[one], NULL_OFFSET, no_space, one)
            for one in children
            if one in places
        ]


class ChartGrid(Widget):
    """The loss chart, and a small chart for every other kind of metric that the run has.

    All of them show the same steps and have the same cursor. Small charts are drawn in turns, so
    that no redraw takes long.
    """

    DEFAULT_CSS = """
    ChartGrid { height: 1fr; }
    ChartGrid > #no-chart { display: none; content-align: center middle; text-align: center; }
    ChartGrid > Field { display: none; height: 1; background: $surface; }
    ChartGrid.-filtering > #chart-filter, ChartGrid.-limiting > #chart-limits { display: block; }
    """

    mode: var[Mode] = var[Mode]("loss")
    """The loss alone, all charts, or the selected one alone."""

    words: var[str] = var("")
    """Only charts with this in their name, title or group are shown; the loss always is.

    Those of single layers are shown only if this finds them.
    """

    class Arranged(Message):
        """Another part of the charts is shown."""

        def __init__(self, title: str, subtitle: str, pages: str) -> None:
            super().__init__()
            self.title, self.subtitle, self.pages = title, subtitle, pages

    class Chosen(Message):
        """The order of the charts, or which are shown, was changed; to be remembered."""

        def __init__(self, order: str) -> None:
            super().__init__()
            self.order = order

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._layout = _Places()
        self.loss = LossChart(id="chart")
        self._tiles: dict[str, MetricChart] = {}
        self._order: list[str] = []  # names; those that are hidden begin with -
        self._names: list[str] = []  # of the metrics when the tiles were made
        self._store: MetricStore | None = None
        self._plan: Plan | None = None
        self._limits: dict[str, Ends] = {}  # of the vertical axes, by the names of charts
        self._selected = 0
        self._turn = 0
        self._shown: list[ChartWidget] = []
        self._placed: list[tuple[ChartWidget, Region]] = []
        self._behind: dict[ChartWidget, None] = {}  # are to be drawn, in this order

    @property
    def layout(self) -> Layout:
        return self._layout

    def compose(self) -> ComposeResult:
        yield self.loss
        keep, end = key_in_force(self, "field.submit"), key_in_force(self, "field.back")
        yield Field(
            id="chart-filter",
            placeholder=f"only charts whose name has…, | means or ({keep} keeps, {end} ends)",
        )
        yield Field(id="chart-limits", placeholder=f"limits: {EXAMPLES}")
        yield Static(id="no-chart")

    # -- what is shown -----------------------------------------------------------------------------

    def show(
        self,
        store: MetricStore,
        *,
        max_step: int | None = None,
        val_label: str = "val",
        plan: Plan | None = None,
    ) -> None:
        """Choose what to show.

        Args:
            store: Where the curves are.
            max_step: As for ``LossChart.show``.
            val_label: As for ``LossChart.show``.
            plan: The schedule ahead; None shows none.
        """
        if store is not self._store:
            self._names = []
        self._store, self._plan = store, plan
        self.loss.show(store, max_step=max_step, val_label=val_label)
        self._make_tiles(anew=True)
        self._draw_soon(self._shown)

    def _make_tiles(self, anew: bool = False) -> None:
        """Make a chart for each kind of metric that has appeared."""
        store = self._store
        if store is None or not self.is_mounted:
            return
        names = [name for name in store.names() if len(store.column(name))]
        if names == self._names and not anew:
            return
        from engine.metric_catalogue import LOSS, MOST_OF_FAMILIES, charts_of, charts_of_families

        self._names = names
        kinds = {one.name: one for one in charts_of(names) if one.name != LOSS}
        if self.words.strip():  # those of single layers are for who looks for them
            found = (one for one in charts_of_families(names) if self._has_words(one))
            kinds |= {one.name: one for one in islice(found, MOST_OF_FAMILIES)}
        for name, kind in kinds.items():
            if name not in self._tiles:
                self._tiles[name] = tile = MetricChart(kind, self.loss)
                tile.display = False
                tile.characters, tile.large = self.loss.characters, self.loss.large
                tile.view = replace(
                    self.loss.view,
                    y="log" if kind.log else "robust",
                    cursor=None,
                    limits=self._limits.get(name, FREE),
                )
                self.mount(tile)
            self._tiles[name].show(store, kind, self._plan)
        for name in self._tiles.keys() - kinds.keys():
            self._tiles.pop(name).remove()
        self._tiles = {name: self._tiles[name] for name in kinds}  # in the order of the catalogue
        self._arrange()

    def enlarge(self, large: bool) -> None:
        """Draw all charts with large strokes, or as usual."""
        for chart in (self.loss, *self._tiles.values()):
            chart.large = large

    def arrange_as(self, order: str) -> None:
        """Take over an order of charts: names with commas between them, - before those to hide."""
        self._order = [one.strip() for one in order.split(",") if one.strip()]
        self._arrange()

    def limit_as(self, limits: str) -> None:
        """Take over the limits of vertical axes, as `limits` returns them."""
        self._limits = parse_all(limits)
        self.loss.view = replace(self.loss.view, limits=self._limits.get(LOSS_NAME, FREE))

    @property
    def limits(self) -> str:
        """The limits of the vertical axes of all charts that have been shown."""
        return format_all(self._limits)

    @property
    def _named(self) -> dict[str, ChartWidget]:
        """All charts by name, those that are hidden, too."""
        return {LOSS_NAME: self.loss, **self._tiles}

    def listed(self) -> list[ChartWidget]:
        """Return the charts of all pages, in their order: the loss first."""
        rank = {name.lstrip("-"): at for at, name in enumerate(self._order)}
        known = list(self._tiles)
        names = sorted(known, key=lambda one: (rank.get(one, len(rank)), known.index(one)))
        found: list[ChartWidget] = [self.loss]
        for name in names:
            hidden = f"-{name}" in self._order and not self.words.strip()
            if not hidden and self._has_words(self._tiles[name].kind):
                found.append(self._tiles[name])
        return found

    def _has_words(self, kind: ChartKind) -> bool:
        """Whether the filter finds a chart."""
        names = [kind.name, kind.title, kind.group, *(one.name for one in kind.metrics)]
        text = " ".join(names).casefold()
        either = [words for one in self.words.casefold().split("|") if (words := one.split())]
        return not either or any(all(word in text for word in words) for words in either)

    @property
    def _finds_none(self) -> bool:
        """Whether the filter finds no chart at all."""
        if self.mode == "loss" or not self.words.strip() or len(self.listed()) > 1:
            return False
        from engine.metric_catalogue import CHARTS, LOSS

        return not any(self._has_words(kind) for kind in CHARTS if kind.name == LOSS)

    @property
    def current(self) -> ChartWidget:
        """The chart that keys for one chart concern."""
        listed = self.listed()
        return self.loss if self.mode == "loss" else listed[min(self._selected, len(listed) - 1)]

    # -- where it is -------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._arrange()

    def on_mount(self) -> None:
        self._make_tiles(anew=True)

    def watch_mode(self) -> None:
        self._arrange()

    def watch_words(self) -> None:
        self._selected = 0
        self._make_tiles(anew=True)
        self._arrange()

    def _chart_size(self) -> Size:
        return Size(self.size.width, max(self.size.height - (self._field is not None), 1))

    def _page(self, size: Size) -> tuple[list[tuple[ChartWidget, Region]], int, int]:
        """Return the charts to show with their places, and which page it is of how many."""
        listed, whole = self.listed(), Region(0, 0, *size)
        if self.mode == "loss":
            return [(self.loss, whole)], 0, 1
        selected = min(self._selected, len(listed) - 1)
        if self.mode == "one":
            return [(listed[selected], whole)], selected, len(listed)
        plan = arrangement(*size, len(listed))
        rest = listed[1:] if plan.loss else listed
        each = len(plan.tiles)
        pages = max(1, ceil(len(rest) / each))
        at = max(selected - (1 if plan.loss else 0), 0) // each
        page = min(at, pages - 1)
        charts = list(zip(rest[page * each : (page + 1) * each], plan.tiles, strict=False))
        if plan.loss:
            charts.insert(0, (self.loss, plan.loss if rest else whole))
        return charts, page, pages

    def places(self, size: Size) -> dict[Widget, Region]:
        """Return where each chart is."""
        field = self._field
        size = Size(size.width, max(size.height - (field is not None), 1))
        found: dict[Widget, Region] = dict(self._page(size)[0])
        if self._finds_none:
            found = {self.query_one("#no-chart"): Region(0, 0, *size)}
        if field is not None:
            found[field] = Region(0, size.height, size.width, 1)
        return found

    def _arrange(self) -> None:
        """Show the charts of this page, and say which it is."""
        if not self.is_mounted or not self.size:
            return
        charts, page, pages = self._page(self._chart_size())
        none = self.query_one("#no-chart", Static)
        none.display = self._finds_none
        if none.display:
            charts = []
            every, filter = (
                key_in_force(self, f"cockpit.{name}") for name in ("hide", "filter_charts")
            )
            none.update(
                f"no chart has {brief(self.words)} in its name\n"
                f"{every} shows all charts, {filter} changes the words"
            )
        before, self._shown = self._shown, [chart for chart, _ in charts]
        current = self.current
        for chart in (self.loss, *self._tiles.values()):
            chart.display = chart in self._shown
            if isinstance(chart, MetricChart):
                chart.selected = chart is current and self.mode == "grid"
        self.loss.set_class(self.mode == "grid" and current is self.loss, "-selected")
        if charts != self._placed:
            self._placed = charts
            self.loss.refresh(layout=True)  # a child's request makes this widget place them anew
        self._draw_soon(chart for chart in self._shown if chart not in before)
        self.post_message(self.Arranged(*self._titles(page, pages)))

    def _titles(self, page: int, pages: int) -> tuple[str, str, str]:
        current = self.current
        several = len(self._shown) != 1
        title = "all charts" if several else "loss" if current is self.loss else current.title
        of = f"{page + 1}/{pages}" if pages > 1 else ""
        words = f"charts with {self.words!r}" if self.words and self.mode != "loss" else ""
        return title, words or self._ways(page_label=of), of

    def _ways(self, page_label: str) -> str:
        """Return the keys to other charts, and to more room, as far as the frame has place."""
        names = {
            "loss": (("charts", "all charts"), ("panels", "more room")),
            "grid": (("next_chart", "next"), ("charts", "loss alone"), ("panels", "more room")),
            "one": (("next_chart", "next"), ("maximise", "all charts"), ("panels", "more room")),
        }[self.mode]
        told = [f"{key_in_force(self, f'cockpit.{name}')} {words}" for name, words in names]
        room = self.size.width - cell_len(page_label) - FRAME
        while told and cell_len(" · ".join(told)) > room:
            told.pop(0)
        return " · ".join(told)

    # -- refreshing --------------------------------------------------------------------------------

    def refresh_data(self, everything: bool = True) -> None:
        """Draw what has changed: all charts that are shown, or the loss and the next few."""
        self._make_tiles()
        shown = self._shown or [self.loss]
        if everything:
            self._draw_soon(shown)
            return
        self._turn = (self._turn + 1) % TURNS
        large = self.loss if len(shown) > 1 else shown[0]
        if self._turn % LARGE_TURNS == 0:
            large.refresh_data()
        for at, chart in enumerate(shown):
            if chart is not large and at % TURNS == self._turn:
                chart.refresh_data()

    def on_chart_widget_view_changed(self, event: ChartWidget.ViewChanged) -> None:
        """Have all charts show the same steps, with the same cursor, soon after the first one."""
        name = next((name for name, one in self._named.items() if one is event.chart), None)
        if name is None:
            return
        self._limits[name] = event.view.limits
        for chart in (self.loss, *self._tiles.values()):
            if chart is not event.chart:  # whose watcher would draw it at once
                chart.set_reactive(ChartWidget.view, _same_steps(chart.view, event.view))
        self._draw_soon(one for one in self._shown if one is not event.chart)

    def _draw_soon(self, charts: Iterable[ChartWidget]) -> None:
        """Draw charts one after another; while a key is held, those that have waited longest."""
        if not self._behind:
            self.call_after_refresh(self._draw_next)
        self._behind |= dict.fromkeys(charts)

    def _draw_next(self) -> None:
        """Draw one of the charts that wait for it; the next once this one is painted."""
        chart = next(iter(self._behind), None)
        if chart is None:
            return
        del self._behind[chart]
        if chart in self._shown:
            chart.refresh_data()
        if self._behind:
            self.call_after_refresh(self._draw_next)

    # -- actions -----------------------------------------------------------------------------------

    def toggle_grid(self) -> None:
        """Show all charts, or the loss alone."""
        self._selected = 0
        self.mode = "loss" if self.mode != "loss" else "grid"

    def maximise(self) -> None:
        """Show the selected chart alone, or all again."""
        self.mode = "one" if self.mode == "grid" else "grid"

    @property
    def can_go_back(self) -> bool:
        """Whether there is a filter or a maximised chart to leave."""
        return bool(self.words) or self.mode == "one"

    def back(self) -> bool:
        """Leave a filter, then a maximised chart; return whether there was either."""
        if self.words:
            self.words = ""
            return True
        if self.mode == "one":
            self.mode = "grid"
            return True
        return False

    def move(self, by: int) -> None:
        """Select another chart, on the next page if need be."""
        if self.mode == "loss":
            self.mode = "grid"
            return
        count = len(self.listed())
        self._selected = (min(self._selected, count - 1) + by) % count
        self._arrange()

    def turn_page(self, by: int) -> None:
        """Show another page, or the next chart while one is maximised."""
        size = self._chart_size()
        _, page, pages = self._page(size)
        if self.mode == "one":
            self.move(by)
        elif pages > 1:
            plan = arrangement(*size, len(self.listed()))
            first = 1 if plan.loss else 0  # in its place on each page
            self._selected = first + (page + by) % pages * len(plan.tiles)
            self._arrange()

    def move_chart(self, by: int) -> None:
        """Put the selected chart before or behind its neighbour."""
        listed = self.listed()
        at, to = self._selected, self._selected + by
        if self.mode == "loss" or self.words or not (0 < at < len(listed) and 0 < to < len(listed)):
            return
        listed[at], listed[to] = listed[to], listed[at]
        self._selected = to
        self._remember([one.kind.name for one in listed if isinstance(one, MetricChart)])

    def hide_chart(self) -> None:
        """Show the selected chart no more, until all are shown again."""
        current = self.current
        if isinstance(current, MetricChart) and self.mode != "loss":
            name = current.kind.name
            self._remember([one for one in self._order if one != name] + [f"-{name}"])

    def show_all(self) -> None:
        """Show all charts again, in the usual order."""
        self.words = ""
        self._remember([])

    def _remember(self, order: list[str]) -> None:
        hidden = [one for one in self._order if one.startswith("-") and one not in order]
        self._order = [*order, *(hidden if order else [])]
        self._arrange()
        self.post_message(self.Chosen(",".join(self._order)))

    @property
    def _field(self) -> Field | None:
        """The field below the charts, while there is one."""
        for asks, id in (("-filtering", "#chart-filter"), ("-limiting", "#chart-limits")):
            if self.has_class(asks):
                return self.query_one(id, Field)
        return None

    def filter(self) -> None:
        """Ask for words that the names of charts must have."""
        if self.mode == "loss":
            self.mode = "grid"
        self._ask("-filtering", self.words)

    def ask_limits(self) -> None:
        """Ask for the limits of the selected chart."""
        chart = self.current
        steps = "" if chart.view.zoom is None else "step {:.0f}..{:.0f}".format(*chart.view.zoom)
        self._ask("-limiting", f"{chart.shown_limits} {steps}".strip())

    def _ask(self, what: str, value: str) -> None:
        self.end_field(keep=True)
        self.add_class(what)
        self._arrange()
        if (field := self._field) is not None:
            field.value = value
            field.cursor_position = len(value)
            field.focus()

    def end_field(self, keep: bool) -> None:
        """Close the field below the charts; a filter that is not kept ends, too."""
        field = self._field
        if field is None:
            return
        if not keep and self.has_class("-filtering"):
            self.words = ""
        self.remove_class("-filtering", "-limiting")
        self._arrange()
        if field.has_focus:
            self.screen.set_focus(None)

    def on_input_changed(self, event: Field.Changed) -> None:
        event.stop()
        if self.has_class("-filtering"):
            self.words = event.value

    def on_input_submitted(self, event: Field.Submitted) -> None:
        event.stop()
        if self.has_class("-limiting"):
            try:
                limits = parse_limits(event.value)
            except InputError as error:
                self.screen.notify(str(error), severity="error")
                return
            # called by the chart itself, what it then posts goes up beyond this widget
            self.current.call_next(self.current.limit, limits)
        self.end_field(keep=True)

    def on_descendant_blur(self, event: events.DescendantBlur) -> None:
        self.end_field(keep=True)  # Tab or a click elsewhere keeps what was typed

    def on_click(self, event: events.Click) -> None:
        """Select the chart that was clicked."""
        listed = self.listed()
        if self.mode == "grid" and event.widget in listed:
            self._selected = listed.index(event.widget)
            self._arrange()

    def on_metric_chart_picked(self, event: MetricChart.Picked) -> None:
        event.stop()
        listed = self.listed()
        if event.chart in listed:
            self._selected = listed.index(event.chart)
            self.maximise()


def _same_steps(view: View, other: View) -> View:
    return replace(
        view,
        zoom=other.zoom,
        follow=other.follow,
        recent=other.recent,
        unit=other.unit,
        log_x=other.log_x,
        smoothing=other.smoothing,
        references=other.references,
        cursor=other.cursor,
    )
