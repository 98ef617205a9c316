"""All runs: looked through, written on, tidied up, opened and set beside each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from data.errors import InputError
from tui.control.run import OPEN_STATES, RunControl
from tui.control.runs_view import RunsView
from tui.screens.open_run_dialog import OpenRunDialog, is_busy
from tui.screens.runs_help import runs_help
from tui.text.numbers import counted, short_path, with_unit
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.line_editor import LineEditor
from tui.widgets.run_details import RunDetails, fit_items
from tui.widgets.runs_table import RunsTable

if TYPE_CHECKING:
    from engine.runs.summary import RunSummary
    from engine.runs.transfer import Trashed

REFRESH_SECONDS = 2.0
KEEP_HINT = "enter: keep · esc: as before"
Result = TypeVar("Result")


class RunsScreen(Screen[None]):
    """A table of all runs, kept up to date, and what can be done with them.

    Args:
        control: Of the run that is open in this app.
        view: What is shown; it outlives the screen.
    """

    CSS_PATH = "../styles/runs.tcss"
    AUTO_FOCUS = "RunsTable"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open",
                tooltip="open it in the cockpit; if others train it, watch it"),
        Binding("slash", "filter", "Filter", key_display="/",
                tooltip="only runs that have all these words"),
        Binding("s", "sort", "Sort",
                tooltip="sort by the next column (or click on a title)"),
        Binding("S", "reverse", "Reverse", show=False, tooltip="sort the other way round"),
        Binding("t", "tags", "Tags", show=False, tooltip="edit the tags"),
        Binding("n", "note", "Note", show=False, tooltip="edit the note"),
        Binding("R", "rename", "Rename", show=False, tooltip="give the run another name"),
        Binding("space", "mark", "Mark", tooltip="mark the run, or no longer"),
        Binding("c", "compare", "Compare", tooltip="set the marked runs beside each other"),
        Binding("delete,backspace", "trash", "Trash", key_display="del",
                tooltip="move the marked runs shown, or this one, to the trash"),
        Binding("u", "undo", "Undo", tooltip="bring back what was moved to the trash last"),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="this page"),
        Binding("escape,r", "leave", "Back", key_display="esc",
                tooltip="back to the cockpit (first out of a filter)"),
    ]  # fmt: skip

    class Read(Message):
        """The runs, as they were after so many changes made here."""

        def __init__(self, runs: list[RunSummary], changes: int) -> None:
            super().__init__()
            self.runs, self.changes = runs, changes

    class Measured(Message):
        """What they take on the disk, in bytes by path."""

        def __init__(self, sizes: dict[str, int]) -> None:
            super().__init__()
            self.sizes = sizes

    def __init__(self, control: RunControl, view: RunsView) -> None:
        super().__init__()
        self.control, self.view = control, view
        self._keys_shown: list[bool | None] = []
        self._editing: str | None = None  # path of the run that is written on
        self._filter_before = ""

    def compose(self) -> ComposeResult:
        """A heading, the table, the run under the cursor, and a line to type in."""
        yield Static(id="heading", markup=False)
        yield RunsTable(self.view, id="runs")
        yield Static(id="empty", markup=False)
        yield LineEditor(id="editor")
        yield RunDetails(id="details")
        yield KeysFooter()

    @property
    def table(self) -> RunsTable:
        """The table."""
        return self.query_one(RunsTable)

    @property
    def editor(self) -> LineEditor:
        """Where names, tags, notes and filters are typed."""
        return self.query_one(LineEditor)

    # -- reading ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        """Read what there is, and go on doing so."""
        self._show()
        self.read()
        self.set_interval(REFRESH_SECONDS, self._read_if_seen)

    def on_resize(self) -> None:
        """The heading has more room now, or less."""
        self._show_heading()

    def on_screen_resume(self) -> None:
        """What was hidden may be out of date."""
        self.read()

    def _read_if_seen(self) -> None:
        if self.is_current:
            self.read()

    @work(thread=True)
    def read(self) -> None:
        """Read what has changed, in a thread."""
        with self.view.reading() as catalogue:
            if catalogue:
                changes = self.view.changes
                self.post_message(self.Read(catalogue.read(), changes))
                self.post_message(self.Measured(catalogue.sizes()))

    def on_runs_screen_read(self, message: Read) -> None:
        """Show them, unless something was changed while they were read."""
        if message.changes != self.view.changes:
            self.read()
        elif message.runs != self.view.runs:
            self.view.take(message.runs)
            self._show()

    def on_runs_screen_measured(self, message: Measured) -> None:
        """Show that, too."""
        if message.sizes != self.view.sizes:
            self.view.sizes = message.sizes
            self.table.lay_out()
            self._show()
            self._show_details()

    # -- showing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        self.table.show()
        self.set_class(not self.table.runs, "-empty")
        self.query_one("#empty", Static).update(self.view.why_empty())
        self._show_heading()

    def _show_heading(self) -> None:
        view = self.view
        size, order, runs_dir = sum(view.sizes.values()), view.order, short_path(view.runs_dir)
        found = f"{len(self.table.runs):,} with {view.filter!r}" if view.filter else ""
        items = [
            Text(counted(len(view.runs or ()), "run"), "bold"),
            Text(found, "yellow"),
            Text(f"{len(view.marked):,} marked" if view.marked else "", "bold"),
            Text(with_unit(size, "B") if size else ""),
            Text(f"by {order.by} {order.arrow}", "dim"),
            Text(runs_dir, "dim"),
        ]
        text = fit_items([item for item in items if item], self.size.width - 2)
        self.query_one("#heading", Static).update(text)

    def on_runs_table_moved(self) -> None:
        """Show what is under the cursor now."""
        self._show_details()

    def _show_details(self) -> None:
        run, parent = self.table.current, ""
        if run and run.parent:
            from engine.runs.catalogue import find_parent

            found = find_parent(run, self.view.runs or ())
            parent = found.name if found else f"{run.parent} (not here any more)"
        size = self.view.sizes.get(run.path) if run else None
        self.query_one(RunDetails).show(run, size, parent)
        self._refresh_keys()

    # -- keys ------------------------------------------------------------------------------------

    def _refresh_keys(self) -> None:
        """Bring the footer in line; it is built anew, so only if other keys work than before."""
        now = [self.check_action(action, ()) for action in sorted(SINGLE_KEYS)]
        if now != self._keys_shown:
            self._keys_shown = now
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """While something is typed the keys are letters; without a run some make no sense."""
        if action not in SINGLE_KEYS:
            return True
        if not self.is_mounted or self.editor.is_open:
            return False
        if action in ("open", "tags", "note", "rename", "mark", "trash", "compare"):
            return self.table.current is not None
        return action != "undo" or bool(self.view.trashed)

    def action_leave(self) -> None:
        """Out of the filter, then back to the cockpit."""
        if self.view.filter:
            self.view.filter = ""
            self._show()
        else:
            self.dismiss()

    def action_help(self) -> None:
        """Say what the keys do."""
        bindings = [one for one in self.BINDINGS if isinstance(one, Binding)]
        self.app.push_screen(runs_help(bindings))

    def action_mark(self) -> None:
        """Mark the run under the cursor."""
        self.table.toggle_mark()
        self._show_heading()

    def action_sort(self) -> None:
        """By the next column."""
        self.view.sort_by_next()
        self._show()

    def action_reverse(self) -> None:
        """The other way round."""
        self.view.sort_by(self.view.order.by)
        self._show()

    def on_runs_table_header_clicked(self, message: RunsTable.HeaderClicked) -> None:
        """By this column; a second time the other way round."""
        self.view.sort_by(message.key)
        self._show()

    # -- writing on runs -------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter; the table follows."""
        self._filter_before = self.view.filter
        self._edit("filter", self.view.filter, "words, tag:WORD, state:WORD, -WORD")

    def action_tags(self) -> None:
        """Edit the tags."""
        if self.table.current:
            self._edit("tags", " ".join(self.table.current.tags))

    def action_note(self) -> None:
        """Edit the note."""
        if self.table.current:
            self._edit("note", self.table.current.note)

    def action_rename(self) -> None:
        """Edit the name."""
        if self.table.current:
            self._edit("name", self.table.current.name)

    def _edit(self, what: str, text: str, example: str = "") -> None:
        self._editing = self.table.current.path if self.table.current else None
        self.editor.open(what, text, KEEP_HINT, example)
        self._refresh_keys()

    def on_line_editor_changed(self, message: LineEditor.Changed) -> None:
        """A filter works as it is typed."""
        if message.what == "filter":
            self.view.filter = message.text.strip()
            self._show()

    def on_line_editor_submitted(self, message: LineEditor.Submitted) -> None:
        """Keep what was typed, or say why not."""
        try:
            if message.what != "filter":
                self._write(message.what, message.text)
        except InputError as error:
            self.editor.show_problem(str(error))
            return
        self.editor.close()
        self._back_to_table()

    def on_line_editor_cancelled(self, message: LineEditor.Cancelled) -> None:
        """Leave all as it was."""
        if message.what == "filter":
            self.view.filter = self._filter_before
            self._show()
        self._back_to_table()

    def _write(self, what: str, text: str) -> None:
        from engine.runs.notes import set_note, set_tags, split_tags

        assert self._editing
        run = Path(self._editing)
        if what == "tags":
            set_tags(run, split_tags(text))
            self.view.changes += 1
        elif what == "note":
            set_note(run, text)
            self.view.changes += 1
        else:
            self._rename(run, text.strip())

    def _rename(self, run: Path, name: str) -> None:
        from engine.runs.transfer import rename_run

        self._refuse_open(run, "renamed")
        renamed = str(rename_run(run, name))
        self.view.renamed(str(run), renamed)
        self._show()
        self.table.go_to(renamed)

    def _back_to_table(self) -> None:
        self._editing = None
        self.table.focus()
        self._refresh_keys()
        self.read()

    # -- the trash -------------------------------------------------------------------------------

    def action_trash(self) -> None:
        """Move the marked runs, or the one under the cursor, to the trash."""
        from engine.runs.transfer import trash_run

        def trash(path: Path) -> Trashed:
            self._refuse_open(path, "deleted")
            return trash_run(path)

        tried = {path: self._try(partial(trash, path)) for path in self._marked_or_current()}
        trashed = [one for one in tried.values() if one]
        if trashed:
            self.view.trashed.append(trashed)
            what = trashed[0].name if len(trashed) == 1 else counted(len(trashed), "run")
            self.notify(f"{what} moved to the trash: u brings it back", markup=False)
            self.view.forget({str(path) for path, one in tried.items() if one})
            self._show()
            self.read()

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        from engine.runs.transfer import restore_run

        if not self.view.trashed:
            return
        left = [one for one in self.view.trashed.pop() if not self._try(partial(restore_run, one))]
        self.view.changes += 1
        if left:
            self.view.trashed.append(left)
        self._refresh_keys()
        self.read()

    # -- opening and comparing -------------------------------------------------------------------

    def on_runs_table_chosen(self) -> None:
        """Two clicks open a run."""
        self.action_open()

    def action_open(self) -> None:
        """Open the run in the cockpit; what trains there is asked about, saved and kept."""
        run, control = self.table.current, self.control
        if run is None:
            return
        if self._is_open_here(Path(run.path)):
            self.dismiss()
        elif run.state == "damaged" and not run.is_restorable:
            self._say(run.problem)
        elif is_busy(control) or control.draft.edits:
            path = Path(run.path)
            self.app.push_screen(
                OpenRunDialog(control, run.name), lambda yes: self._open(path) if yes else None
            )
        else:
            self._open(Path(run.path))

    def _open(self, path: Path) -> None:
        self.control.open_run(path)
        self.dismiss()

    def action_compare(self) -> None:
        """Set the marked runs beside each other; one marked run beside the one under the cursor."""
        chosen = set(self.view.marked)
        if len(chosen) < 2 and self.table.current:
            chosen.add(self.table.current.path)
        paths = [Path(run.path) for run in self.view.runs or () if run.path in chosen]
        if len(paths) < 2:
            self._say("mark the runs to compare with space: two at least")
        else:
            from tui.screens.compare import CompareScreen

            self.app.push_screen(CompareScreen(paths))

    # -- small things ----------------------------------------------------------------------------

    def _marked_or_current(self) -> list[Path]:
        """Of the marked runs those in sight: nothing happens to a run that a filter hides."""
        marked = [Path(run.path) for run in self.table.runs if run.path in self.view.marked]
        if marked:
            return marked
        return [Path(self.table.current.path)] if self.table.current else []

    def _is_open_here(self, path: Path) -> bool:
        return self.control.run_path == path and self.control.status.state in OPEN_STATES

    def _refuse_open(self, path: Path, what: str) -> None:
        if self._is_open_here(path):
            raise InputError(
                f"{path.name} is open in the cockpit, so that it cannot be {what} now: open "
                f"another run first"
            )

    def _try(self, act: Callable[[], Result]) -> Result | None:
        """Do something, or say why not."""
        try:
            return act()
        except InputError as error:
            self._say(str(error))
            return None

    def _say(self, problem: str) -> None:
        self.notify(problem, severity="warning", markup=False)


SINGLE_KEYS = frozenset(
    binding.action for binding in RunsScreen.BINDINGS if isinstance(binding, Binding)
)
