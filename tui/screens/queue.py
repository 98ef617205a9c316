"""The queue: what is to come, what has become of the rest, and which is the best."""

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
from engine.sweeps.queue_entry import Entry, EntryState, varying
from tui.control.queue import QueueControl
from tui.text.leaderboard import format_state, pruned, short, shown
from tui.text.numbers import counted, duration, loss
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
    """A table of the queue, to be looked at and rearranged.

    Args:
        control: The app's hand on the queue.
        begin: Has the next run begin now, or says why it cannot.
        toggle_hold: Lets nothing begin of itself, or go on.
        open_run: Opens a run in the cockpit.
    """

    CSS_PATH = "../styles/queue.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "begin", "Run next", tooltip="train what comes next"),
        Binding("h", "hold", "Hold", tooltip="let nothing begin of itself, or go on"),
        Binding("l", "toggle_order", "Best first", tooltip="the best first, or in their order"),
        Binding("x", "cancel", "Cancel", tooltip="take the run out of turn"),
        Binding("t", "retry", "Retry", tooltip="train what failed or was cancelled after all"),
        Binding("K", "move(-1)", "Sooner", tooltip="let it wait for less"),
        Binding("J", "move(1)", "Later", tooltip="let it wait for longer"),
        Binding("escape,Q", "dismiss", "Back"),
    ]

    def __init__(
        self,
        control: QueueControl,
        begin: Callable[[], None],
        toggle_hold: Callable[[], None],
        open_run: Callable[[Path], None],
    ) -> None:
        super().__init__()
        self._open_run = open_run
        self.control = control
        self._begin, self._toggle_hold = begin, toggle_hold
        self.best_first = False
        self.places: list[Place] = []  # as they stand in the table
        self._settled: dict[int, Place] = {}  # of entries that are over: they change no more

    def compose(self) -> ComposeResult:
        """A heading, the table, and all there is to say of the row under the cursor."""
        yield Static(id="heading", markup=False)
        yield Notice(id="queue-notice")
        yield DataTable(id="runs", cursor_type="row", zebra_stripes=True)
        yield Static(EMPTY, id="empty", markup=False)
        yield Static(id="detail", markup=False)
        yield KeysFooter()

    @property
    def table(self) -> DataTable[Text]:
        """The runs."""
        return self.query_one("#runs", DataTable)

    @property
    def current(self) -> Entry | None:
        """The entry under the cursor; None, too, while the screen comes to be or goes."""
        for table in self.query("#runs").results(DataTable):
            if 0 <= table.cursor_row < len(self.places):
                return self.places[table.cursor_row].entry
        return None

    def on_mount(self) -> None:
        """Show what there is, and keep it true."""
        self.refresh_table()
        self.set_interval(REFRESH_SECONDS, self.refresh_table)

    # -- showing ---------------------------------------------------------------------------------

    def refresh_table(self) -> None:
        """Bring the table in line with the queue, the cursor staying on its entry."""
        try:
            entries = self.control.queue.entries()
        except InputError as error:
            self._say(str(error))
            return
        places = self._places(entries)
        self.query_one("#heading", Static).update(self._heading(entries))
        self.set_class(not entries, "-empty")
        if places != self.places or not self.table.columns:
            self._fill(places)
        self._show_detail()

    def _places(self, entries: Sequence[Entry]) -> list[Place]:
        from engine.sweeps.leaderboard import leaderboard  # numpy waits for the first look

        for one in entries:
            if not one.is_over:  # tried again, perhaps
                self._settled.pop(one.id, None)
        moving = [one for one in entries if one.id not in self._settled]
        known = {one.id for one in entries} - {one.id for one in moving}
        found = leaderboard(moving, self.control.queue.runs_dir)
        self._settled |= {one.entry.id: one for one in found if one.entry.is_over}
        places = found + [self._settled[id] for id in known]
        places.sort(key=lambda one: (one.entry.position, one.entry.id))
        if self.best_first:
            places.sort(key=_score)
        return places

    def _fill(self, places: list[Place]) -> None:
        table, kept = self.table, self.current
        keys = varying(place.entry for place in places)
        self.places = places
        table.clear(columns=True)
        table.add_columns("run", "state")
        for name in ("best val", *map(short, keys), "step", "time"):
            table.add_column(Text(name, justify="right"))
        for place in places:
            table.add_row(*_row(place, keys))
        ids = [place.entry.id for place in places]
        if kept and kept.id in ids:
            table.move_cursor(row=ids.index(kept.id), animate=False)

    def _heading(self, entries: Sequence[Entry]) -> Text:
        left = sum(not one.is_over and not one.live for one in entries)
        text = Text("queue", "bold")
        text.append(f" · {counted(left, 'run')} to go", "not bold")
        if self.control.held:
            text.append(" · held: nothing begins of itself", "yellow")
        if self.best_first:
            text.append(" · the best first", "dim")
        return text

    def _show_detail(self) -> None:
        entry, text = self.current, Text()
        if entry:
            text.append(f"{entry.run or entry.sweep or 'to come'}  ", "bold")
            place = self.places[self.table.cursor_row]
            state = format_state(place)
            text.append(state, STYLES.get(state, ""))
            if place.run:
                text.append("  enter opens it", "dim")
            words = [f"{key} {shown(key, value)}" for key, value in entry.changes.items()]
            text.append("\n" + (" · ".join(words) or "settings as they were"))
            if why := pruned(place):
                text.append(f"\n{why}", "yellow")
            if entry.problem:
                text.append(f"\n{entry.problem}", "red")
        self.query_one("#detail", Static).update(text)
        self.refresh_bindings()

    def on_data_table_row_highlighted(self) -> None:
        """Another row: say what it is."""
        self._show_detail()

    def on_data_table_row_selected(self) -> None:
        """Enter: open the run in the cockpit."""
        place = self.places[self.table.cursor_row]
        if place.run:
            self.dismiss()
            self._open_run(Path(place.run.path))

    # -- keys ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Which keys make sense for the row under the cursor."""
        entry = self.current
        state = entry.state if entry else None
        can = {
            "cancel": entry is not None and not entry.is_over and not entry.live,
            "retry": state in (EntryState.FAILED, EntryState.CANCELLED),
            "move": state is EntryState.WAITING,
            "toggle_order": bool(self.places),
            "begin": any(not one.entry.is_over and not one.entry.live for one in self.places),
        }
        return can.get(action, True)

    def action_begin(self) -> None:
        """Train what comes next."""
        self._try(self._begin)

    def action_hold(self) -> None:
        """Let nothing begin of itself, or go on."""
        self._toggle_hold()
        self.refresh_table()

    def action_toggle_order(self) -> None:
        """The best first, or the order of the queue."""
        self.best_first = not self.best_first
        self.refresh_table()

    def action_cancel(self) -> None:
        """Take the entry out of turn."""
        self._change(self.control.queue.cancel)

    def action_retry(self) -> None:
        """Train it after all."""
        self._change(self.control.queue.retry)

    def action_move(self, places: int) -> None:
        """Sooner or later."""
        self._change(lambda id: self.control.queue.move(id, places))

    def _change(self, change: Callable[[int], None]) -> None:
        entry = self.current
        if entry:
            self._try(lambda: change(entry.id))

    def _try(self, wish: Callable[[], None]) -> None:
        try:
            wish()
            self.query_one(Notice).dismiss()
        except InputError as error:
            self._say(str(error))
        self.refresh_table()

    def _say(self, problem: str) -> None:
        self.query_one(Notice).say(problem, "error")


def _score(place: Place) -> float:
    best = place.run.best_val_loss if place.run and place.rank else None
    return float("inf") if best is None else best


def _row(place: Place, keys: Sequence[str]) -> list[Text]:
    entry, run = place.entry, place.run
    state = format_state(place)
    cells = [
        loss(run.best_val_loss if run else None),
        *(shown(key, entry.value(key)) for key in keys),
        f"{run.step:,}/{run.total_steps:,}" if run else "–",
        duration(run.train_seconds if run else None),
    ]
    named = run.name if run else entry.run  # it may have been renamed
    name = Text(named or entry.sweep or "–", "" if named else "dim")
    right = [Text(cell, justify="right") for cell in cells]
    return [name, Text(state, STYLES.get(state, "")), *right]
