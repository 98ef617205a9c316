"""The queue: its runs, their states and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Static

from data.errors import InputError
from engine.sweeps.queue import Entry, EntryState
from tui.control.run import RunControl
from tui.screens.dialogs import OpenRunDialog, is_busy
from tui.text.leaderboard import (
    format_key,
    format_progress,
    format_state,
    format_value,
    varying_settings,
)
from tui.text.numbers import format_count, format_loss
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.notice import Notice

if TYPE_CHECKING:
    from engine.sweeps.leaderboard import Place

REFRESH_SECONDS = 2.0
STYLES = {
    "running": "green",
    "interrupted": "yellow",
    "done": "dim",
    "stopped early": "dim",
    "failed": "red",
    "cancelled": "dim",
}
EMPTY = (
    "Nothing is queued.\n\nIn the cockpit, a adds the edited settings, as one run or several;\n"
    "on the command line, gpt-tui sweep does."
)


class QueueScreen(Screen[None]):
    """A table of the queue, to view and rearrange."""

    CSS_PATH = "../styles/queue.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "start_next", "Run next", tooltip="train the next run now"),
        Binding("h", "hold", "Hold", tooltip="let no run start by itself, or go on"),
        Binding("l", "toggle_order", "Best first", tooltip="sort by loss, or in the queue's order"),
        Binding("x", "cancel", "Cancel", tooltip="do not train the run; what it has is kept"),
        Binding("t", "retry", "Retry", tooltip="queue a failed or cancelled run again"),
        Binding("K", "move(-1)", "Sooner", tooltip="move the run towards the front"),
        Binding("J", "move(1)", "Later", tooltip="move the run towards the end"),
        Binding("escape,Q", "dismiss", "Back"),
    ]

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control, self.queue = control, control.queue.queue
        self.best_first = False
        self.places: list[Place] = []  # as in the rows of the table

    def compose(self) -> ComposeResult:
        yield Static(id="heading")
        yield Notice(id="queue-notice")
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Static(EMPTY, id="empty")
        yield Static(id="detail")
        yield KeysFooter()

    @property
    def table(self) -> DataTable[Text]:
        return self.query_one("#runs", DataTable)

    @property
    def place(self) -> Place | None:
        """The row under the cursor; None also while the screen is built or removed."""
        for table in self.query("#runs").results(DataTable):
            if 0 <= table.cursor_row < len(self.places):
                return self.places[table.cursor_row]
        return None

    def on_mount(self) -> None:
        self.refresh_table()
        self.set_interval(REFRESH_SECONDS, self.refresh_table)

    # -- showing ---------------------------------------------------------------------------------

    def refresh_table(self) -> None:
        """Read the queue again; the cursor stays on its entry."""
        from engine.sweeps.leaderboard import leaderboard  # imports numpy

        try:
            entries = self.queue.entries()
        except InputError as error:
            self.query_one(Notice).say(str(error), "error")
            return
        places = leaderboard(self.queue, entries, self.places)
        if not self.best_first:
            order = [entry.id for entry in entries]
            places.sort(key=lambda place: order.index(place.entry.id))
        self.query_one("#heading", Static).update(self._heading(entries))
        self.set_class(not entries, "-empty")
        if places != self.places or not self.table.columns:
            self._fill(places)
        self._show_detail()

    def _fill(self, places: list[Place]) -> None:
        table, before = self.table, self.place
        keys = varying_settings(place.entry for place in places)
        self.places = places
        table.clear(columns=True)
        table.add_columns("run", "state")
        for name in ("best val", *map(format_key, keys), "step", "time"):
            table.add_column(Text(name, justify="right"))
        for place in places:
            table.add_row(*_row(place, keys))
        ids = [place.entry.id for place in places]
        if before and before.entry.id in ids:
            table.move_cursor(row=ids.index(before.entry.id), animate=False)

    def _heading(self, entries: Sequence[Entry]) -> Text:
        text = Text("queue", "bold")
        pending = sum(entry.is_pending for entry in entries)
        text.append(f" · {format_count(pending, 'run')} to go", "not bold")
        if self.control.queue.held:
            text.append(" · held: no run starts by itself", "yellow")
        if self.best_first:
            text.append(" · the best first", "dim")
        return text

    def _show_detail(self) -> None:
        place, text = self.place, Text()
        if place:
            entry, state = place.entry, format_state(place)
            text.append(f"{entry.run or entry.sweep or 'waiting'}  ", "bold")
            text.append(state, STYLES.get(state, ""))
            if place.run:
                text.append("  enter opens it", "dim")
            words = [f"{key} {format_value(key, value)}" for key, value in entry.changes.items()]
            text.append("\n" + (" · ".join(words) or "settings unchanged"))
            for problem, style in ((place.pruned, "yellow"), (entry.problem, "red")):
                text.append(f"\n{problem}" if problem else "", style)
        self.query_one("#detail", Static).update(text)
        self.refresh_bindings()

    def on_data_table_row_highlighted(self) -> None:
        self._show_detail()

    # -- keys ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        entry = self.place.entry if self.place else None
        state = entry.state if entry else None
        can = {
            "cancel": entry is not None and entry.is_pending,
            "retry": state in (EntryState.FAILED, EntryState.CANCELLED),
            "move": state is EntryState.WAITING,
            "toggle_order": bool(self.places),
            "start_next": any(place.entry.is_pending for place in self.places),
        }
        return can.get(action, True)

    def on_data_table_row_selected(self) -> None:
        """Open the run in the cockpit; ask first if that interrupts another one."""
        control = self.control
        if not self.place or not self.place.run:
            return
        run = Path(self.place.run.path)
        self.dismiss()
        if control.is_open and control.run_path == run:
            return
        if is_busy(control) or control.draft.edits:
            dialog = OpenRunDialog(control, run.name)
            self.app.push_screen(dialog, lambda yes: control.open_run(run) if yes else None)
        else:
            control.open_run(run)

    def action_start_next(self) -> None:
        self._try(self.control.queue.start_next)

    def action_hold(self) -> None:
        self.control.queue.toggle_hold()
        self.refresh_table()

    def action_toggle_order(self) -> None:
        self.best_first = not self.best_first
        self.refresh_table()

    def action_cancel(self) -> None:
        self._change(self.queue.cancel)

    def action_retry(self) -> None:
        self._change(self.queue.retry)

    def action_move(self, places: int) -> None:
        self._change(lambda id: self.queue.move(id, places))

    def _change(self, change: Callable[[int], None]) -> None:
        place = self.place
        if place:
            self._try(lambda: change(place.entry.id))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
            self.query_one(Notice).say("")
        except InputError as error:
            self.query_one(Notice).say(str(error), "error")
        self.refresh_table()


def _row(place: Place, keys: Sequence[str]) -> list[Text]:
    entry, run, state = place.entry, place.run, format_state(place)
    cells = [
        format_loss(run.best_val_loss if run else None),
        *(format_value(key, entry.value(key)) for key in keys),
        *format_progress(place),
    ]
    name = run.name if run else entry.run  # it may have been renamed
    first = Text(name or entry.sweep or "–", "" if name else "dim")
    right = [Text(cell, justify="right") for cell in cells]
    return [first, Text(state, STYLES.get(state, "")), *right]
