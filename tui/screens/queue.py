"""The queue: its runs, their states and results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Static

from data.errors import InputError
from engine.sweeps.queue import Entry, EntryState
from tui.control.keymap import bindings
from tui.control.run import RunControl
from tui.screens.dialogs import OpenRunDialog, is_busy
from tui.screens.keyed import KeyedScreen
from tui.text.leaderboard import (
    format_key,
    format_losses,
    format_name,
    format_progress,
    format_state,
    format_value,
    loss_names,
    varying_settings,
)
from tui.text.numbers import format_count
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.notice import Notice

if TYPE_CHECKING:
    from engine.sweeps.leaderboard import Place

ROOMY = 100  # columns in which a name has room for what it tries
REFRESH_SECONDS = 2.0
ADD = "cockpit.add_to_queue"
STYLES = {
    "running": "green",
    "interrupted": "yellow",
    "done": "dim",
    "stopped early": "dim",
    "failed": "red",
    "cancelled": "dim",
}
EMPTY = (
    "Nothing is queued.\n\nIn the cockpit, {} adds the edited settings, as one run or several;\n"
    "on the command line, gpt-tui sweep does."
)


class QueueTable(DataTable[Text]):
    """The runs of the queue in rows; enter is the screen's key."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings("table"),
        Binding("enter", "screen.open", "Open", id="queue.open"),  # instead of the table's own
    ]


class QueueScreen(KeyedScreen[None]):
    """A table of the queue, to view and rearrange."""

    ABOUT = (
        "The queue has the runs that are to be trained one after the other, without anybody at the "
        "keyboard: the runs of sweeps, and others that were added in the cockpit. Use it to try "
        "several settings overnight; in the morning `{queue.order}` puts the run with the lowest "
        "loss at the top."
    )
    CSS_PATH = "../styles/queue.tcss"
    AUTO_FOCUS = ""  # the table has it once it has rows
    KEYS = "queue"
    QUEUE_GOES_ON = True
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control, self.queue = control, control.queue.queue
        self.best_first = False
        self.places: list[Place] = []  # as in the rows of the table
        self._entries: list[Entry] = []  # in the queue's order

    def compose(self) -> ComposeResult:
        yield Static(id="heading")
        yield Notice(id="queue-notice")
        yield QueueTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Static(EMPTY.format(self.key_of(ADD)), id="empty", markup=False)
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
        self._entries = entries
        places = leaderboard(self.queue, entries, self.places)
        if not self.best_first:
            order = [entry.id for entry in entries]
            places.sort(key=lambda place: order.index(place.entry.id))
        self.query_one("#heading", Static).update(self._heading(entries))
        self.set_class(not entries, "-empty")
        self.set_focus(self.table if entries else None)  # nothing that is hidden has the focus
        if places != self.places or not self.table.columns:
            self._fill(places)
        self._show_detail()

    def _fill(self, places: list[Place]) -> None:
        table, before = self.table, self.place
        keys = varying_settings(place.entry for place in places)
        self.places = places
        sweeps: dict[str, list[Entry]] = {}
        for place in places:
            sweeps.setdefault(place.entry.sweep, []).append(place.entry)
        self._tried = {sweep: varying_settings(entries) for sweep, entries in sweeps.items()}
        table.clear(columns=True)
        table.add_columns("run", "state")
        for name in (*loss_names(places), *map(format_key, keys), "step", "time"):
            table.add_column(Text(name, justify="right"))
        for place in places:
            table.add_row(*_row(place, keys, self._name_of(place)))
        ids = [place.entry.id for place in places]
        if before and before.entry.id in ids:
            table.move_cursor(row=ids.index(before.entry.id), animate=False)

    def _name_of(self, place: Place) -> str:
        """Return the name of its run, which may have been renamed, or what it will try."""
        name = place.run.name if place.run else place.entry.run
        tried = self._tried.get(place.entry.sweep, ()) if self.app.size.width >= ROOMY else ()
        return name or format_name(place.entry, tried)  # columns beside have the values, too

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
            text.append(f"{self._name_of(place) or 'waiting'}  ", "bold")
            text.append(state, STYLES.get(state, ""))
            if place.run:
                text.append(f"  {self.key_of('queue.open')} opens it", "dim")
            words = [f"{key} {format_value(key, value)}" for key, value in entry.changes.items()]
            text.append("\n" + (" · ".join(words) or "settings unchanged"))
            for problem, style in ((place.pruned, "yellow"), (entry.problem, "red")):
                text.append(f"\n{problem}" if problem else "", style)
        self.query_one("#detail", Static).update(text)
        self.refresh_bindings()

    def on_data_table_row_highlighted(self) -> None:
        self._show_detail()

    # -- keys ------------------------------------------------------------------------------------

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        place, possible, reason = self.place, True, ""
        entry = place.entry if place else None
        state = entry.state if entry else None
        if action in ("cancel", "retry", "move", "open") and entry is None:
            return f"nothing is queued: {self.key_of(ADD)} in the cockpit adds a run"
        if action == "open":
            possible, reason = (
                bool(place and place.run),
                "the run has not started: there is nothing to open",
            )
        elif action == "cancel":
            possible = entry is not None and entry.is_pending
            reason = "only a run that waits or trains can be cancelled"
        elif action == "retry":
            possible = state in (EntryState.FAILED, EntryState.CANCELLED)
            reason = "only a failed or cancelled run can be queued again"
        elif action == "move":
            possible = state is EntryState.WAITING and self._can_move(parameters)
            reason = (
                f"no run that waits is {'before' if parameters[0] == -1 else 'after'} this one"
                if state is EntryState.WAITING
                else "only a run that waits can be moved"
            )
        elif action == "toggle_order":
            possible, reason = len(self.places) > 1, "there is nothing to sort"
        elif action == "start_next":
            return self._why_no_start()
        return "" if possible else reason

    def _can_move(self, parameters: tuple[object, ...]) -> bool:
        """Whether another waiting run is on that side of the one under the cursor."""
        waiting = [one.id for one in self._entries if one.state is EntryState.WAITING]
        place = self.place
        if place is None or place.entry.id not in waiting:
            return False
        at, by = waiting.index(place.entry.id), parameters[0] if parameters else 0
        return isinstance(by, int) and 0 <= at + by < len(waiting)

    def _why_no_start(self) -> str:
        ready = (EntryState.WAITING, EntryState.INTERRUPTED)
        if not any(entry.state in ready for entry in self._entries):
            return f"no run waits: {self.key_of(ADD)} in the cockpit adds one"
        if is_busy(self.control):
            return "a run is training: the next one starts when it ends"
        return ""

    def action_open(self) -> None:
        self.on_data_table_row_selected()

    def on_data_table_row_selected(self) -> None:
        """Open the run in the cockpit; ask first if that interrupts another one."""
        control = self.control
        if not self.place or not self.place.run:
            return
        run = Path(self.place.run.path)
        self.dismiss()
        if control.is_open and control.run_path == run:
            return
        if is_busy(control) or control.draft.waiting:
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


def _row(place: Place, keys: Sequence[str], name: str) -> list[Text]:
    entry, state = place.entry, format_state(place)
    cells = [
        *format_losses(place),
        *(format_value(key, entry.value(key)) for key in keys),
        *format_progress(place),
    ]
    first = Text(name or "–", "" if entry.run else "dim")
    right = [Text(cell, justify="right") for cell in cells]
    return [first, Text(state, STYLES.get(state, "")), *right]
