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
from textual.widgets import Footer, Static

from data.errors import InputError
from tui.run_control import OPEN_STATES, RunControl
from tui.screens.open_run_dialog import OpenRunDialog, is_busy
from tui.screens.runs_help import runs_help
from tui.widgets.line_editor import LineEditor
from tui.widgets.run_details import RunDetails, fit_items
from tui.widgets.runs_table import RunsTable
from tui.wording import counted, short_path, with_unit

if TYPE_CHECKING:
    from engine.run.catalogue import Catalogue
    from engine.run.reader import RunSummary
    from engine.run.trash import Trashed

REFRESH_SECONDS = 2.0
DESCENDING_AT_FIRST = ("created", "step", "time", "parameters", "disk", "tags")
KEEP_HINT = "enter: keep · esc: as before"
Result = TypeVar("Result")


class RunsScreen(Screen[None]):
    """A table of all runs, kept up to date, and what can be done with them.

    Args:
        control: Of the run that is open in this app.
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
        """The runs, as they are now."""

        def __init__(self, runs: list[RunSummary]) -> None:
            super().__init__()
            self.runs = runs

    class Measured(Message):
        """What they take on the disk, in bytes by path."""

        def __init__(self, sizes: dict[str, int]) -> None:
            super().__init__()
            self.sizes = sizes

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control
        self.runs: list[RunSummary] | None = None  # None until they are read
        self.filter = ""
        self.order = ("created", True)  # by what, and whether the largest comes first
        self._catalogue: Catalogue | None = None  # made in the thread that reads
        self._reading = False
        self._keys_shown: list[bool | None] = []
        self._editing: str | None = None  # path of the run that is written on
        self._filter_before = ""
        self._trashed: list[list[Trashed]] = []  # deletion by deletion

    def compose(self) -> ComposeResult:
        """A heading, the table, the run under the cursor, and a line to type in."""
        yield Static(id="heading", markup=False)
        yield RunsTable(id="runs")
        yield Static(id="empty", markup=False)
        yield LineEditor(id="editor")
        yield RunDetails(id="details")
        yield Footer(compact=True, show_command_palette=False)  # the keys take all the room

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

    def read(self) -> None:
        """Read what has changed, in a thread."""
        if not self._reading:
            self._reading = True
            self._read_in_thread()

    @work(thread=True)
    def _read_in_thread(self) -> None:
        if self._catalogue is None:
            from engine.run.catalogue import Catalogue  # with numpy

            self._catalogue = Catalogue(self.control.launch.runs_dir)
        try:
            self.post_message(self.Read(self._catalogue.read()))
            self.post_message(self.Measured(self._catalogue.sizes()))
        finally:
            self._reading = False

    def on_runs_screen_read(self, message: Read) -> None:
        """Show them."""
        if message.runs != self.runs:
            self.runs = message.runs
            self.table.marked &= {run.path for run in message.runs}
            self._show()

    def on_runs_screen_measured(self, message: Measured) -> None:
        """Show that, too."""
        if message.sizes != self.table.sizes:
            self.table.show_sizes(message.sizes)
            self._show()
            self._show_details()

    # -- showing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        by, descending = self.order
        self.table.show(self._chosen(), by, descending)
        self.set_class(not self.table.runs, "-empty")
        self.query_one("#empty", Static).update(self._why_empty())
        self._show_heading()

    def _chosen(self) -> list[RunSummary]:
        """The runs that the filter lets through, in order."""
        if not self.runs:
            return []
        from engine.run.selecting import matches, sort_by, sort_runs

        by, descending = self.order
        runs = [run for run in self.runs if matches(run, self.filter)]
        if by == "disk":
            sizes = self.table.sizes
            return sort_by(runs, lambda run: sizes.get(run.path), descending)
        return sort_runs(runs, by, descending)

    def _why_empty(self) -> str:
        if self.runs is None:
            return "reading the runs …"
        if self.runs:
            return f"no run has {self.filter!r}: esc shows all of them"
        return "There are no runs yet: space in the cockpit begins one."

    def _show_heading(self) -> None:
        by, descending = self.order
        count, shown = len(self.runs or ()), len(self.table.runs)
        size, marked = sum(self.table.sizes.values()), len(self.table.marked)
        items = [
            Text(counted(count, "run"), "bold"),
            Text(f"{shown:,} with {self.filter!r}" if self.filter else "", "yellow"),
            Text(f"{marked:,} marked" if marked else "", "bold"),
            Text(with_unit(size, "B") if size else ""),
            Text(f"by {by} {'▼' if descending else '▲'}", "dim"),
            Text(short_path(self.control.launch.runs_dir), "dim"),
        ]
        text = fit_items([item for item in items if item], self.size.width - 2)
        self.query_one("#heading", Static).update(text)

    def on_runs_table_moved(self) -> None:
        """Show what is under the cursor now."""
        self._show_details()

    def _show_details(self) -> None:
        run, parent = self.table.current, ""
        if run and run.parent:
            from engine.run.catalogue import find_parent

            found = find_parent(run, self.runs or ())
            parent = found.name if found else f"{run.parent} (not here any more)"
        size = self.table.sizes.get(run.path) if run else None
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
        return action != "undo" or bool(self._trashed)

    def action_leave(self) -> None:
        """Out of the filter, then back to the cockpit."""
        if self.filter:
            self.filter = ""
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
        keys = self._sortable()
        here = keys.index(self.order[0]) if self.order[0] in keys else -1
        self._sort_by(keys[(here + 1) % len(keys)])

    def action_reverse(self) -> None:
        """The other way round."""
        self.order = (self.order[0], not self.order[1])
        self._show()

    def on_runs_table_header_clicked(self, message: RunsTable.HeaderClicked) -> None:
        """By this column; a second time the other way round."""
        if message.key == self.order[0]:
            self.action_reverse()
        elif message.key in self._sortable():
            self._sort_by(message.key)

    def _sortable(self) -> list[str]:
        from engine.run.selecting import SORTS

        return [*SORTS, "disk"]

    def _sort_by(self, key: str) -> None:
        self.order = (key, key in DESCENDING_AT_FIRST)
        self._show()

    # -- writing on runs -------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type a filter; the table follows."""
        self._filter_before = self.filter
        self._edit("filter", self.filter, "words, tag:WORD, state:WORD, -WORD")

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
            self.filter = message.text.strip()
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
            self.filter = self._filter_before
            self._show()
        self._back_to_table()

    def _write(self, what: str, text: str) -> None:
        from engine.run.notes import set_note, set_tags, split_tags

        assert self._editing
        run = Path(self._editing)
        if what == "tags":
            set_tags(run, split_tags(text))
        elif what == "note":
            set_note(run, text)
        else:
            self._rename(run, text.strip())

    def _rename(self, run: Path, name: str) -> None:
        from engine.run.moving import rename_run

        self._refuse_open(run, "renamed")
        path = str(rename_run(run, name))
        if str(run) in self.table.marked:
            self.table.marked = self.table.marked - {str(run)} | {path}
        self._replace_path(str(run), path)

    def _replace_path(self, before: str, after: str) -> None:
        """Let a renamed run stay where it is until it is read again, under its new name."""
        from dataclasses import replace

        self.table.runs = [
            replace(run, path=after, name=Path(after).name) if run.path == before else run
            for run in self.table.runs
        ]

    def _back_to_table(self) -> None:
        self._editing = None
        self.table.focus()
        self._refresh_keys()
        self.read()

    # -- the trash -------------------------------------------------------------------------------

    def action_trash(self) -> None:
        """Move the marked runs, or the one under the cursor, to the trash."""
        from engine.run.trash import trash_run

        def trash(path: Path) -> Trashed:
            self._refuse_open(path, "deleted")
            return trash_run(path)

        tried = [self._try(partial(trash, path)) for path in self._marked_or_current()]
        trashed = [one for one in tried if one]
        if trashed:
            self._trashed.append(trashed)
            what = trashed[0].name if len(trashed) == 1 else counted(len(trashed), "run")
            self.notify(f"{what} moved to the trash: u brings it back", markup=False)
        self._forget({one.name for one in trashed})

    def _forget(self, names: set[str]) -> None:
        """Take deleted runs out of the table at once."""
        if names and self.runs:
            self.runs = [run for run in self.runs if run.name not in names]
            self.table.marked &= {run.path for run in self.runs}
            self._show()
        self.read()

    def action_undo(self) -> None:
        """Bring back what was deleted last."""
        from engine.run.trash import restore_run

        if not self._trashed:
            return
        left = [one for one in self._trashed.pop() if not self._try(partial(restore_run, one))]
        if left:
            self._trashed.append(left)
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
        elif run.state == "damaged":
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
        chosen = set(self.table.marked)
        if len(chosen) < 2 and self.table.current:
            chosen.add(self.table.current.path)
        paths = [Path(run.path) for run in self.runs or () if run.path in chosen]
        if len(paths) < 2:
            self._say("mark the runs to compare with space: two at least")
        else:
            from tui.screens.compare import CompareScreen

            self.app.push_screen(CompareScreen(paths))

    # -- small things ----------------------------------------------------------------------------

    def _marked_or_current(self) -> list[Path]:
        """Of the marked runs those in sight: nothing happens to a run that a filter hides."""
        marked = [Path(run.path) for run in self.table.runs if run.path in self.table.marked]
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
