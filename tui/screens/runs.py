"""All runs in a table, with a preview: sort, filter, mark, tag, rename, delete, open, compare."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from rich.style import Style
from rich.text import Text
from textual import getters, work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.timer import Timer
from textual.widgets import Input, Static

from data.errors import InputError
from engine.runs.selection import FILTER_EXAMPLE
from tui.control.keymap import bindings
from tui.control.run import OPEN_STATES, RunControl
from tui.control.runs_view import RunsView, can_sort_by
from tui.screens.dialogs import OpenRunDialog, is_busy
from tui.screens.keyed import KeyedScreen
from tui.text.numbers import format_count, format_path, format_unit
from tui.text.tables import fit_items
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.line_editor import LineEditor
from tui.widgets.run_details import RunFacts
from tui.widgets.run_preview import RunPreview
from tui.widgets.runs_columns import columns_of, format_value
from tui.widgets.runs_table import RunsTable

if TYPE_CHECKING:
    from engine.config.schema import Config
    from engine.runs.preview import Preview
    from engine.runs.summary import RunSummary
    from engine.runs.transfer import Trashed

REFRESH_SECONDS = 2.0
PREVIEW_SECONDS = 0.1  # that the cursor rests before a run is read
BLANK_SECONDS = 0.3  # that the preview of the run before stays while one is read
WIDE = 170  # columns from which the preview stands beside the table
OF_A_RUN = ("open", "mark", "mark_all", "trash", "compare", "plot", "inside")
SAME = "same settings as"
TITLES = {column.key: column.title for column in columns_of({})}
Result = TypeVar("Result")

HELP_PAGE = """\
The table has all runs, those in training included; below or beside it is the run under the cursor:
its curve, its last text, and the settings that differ from the open run and from its preset.

**Filter.** `lr>1e-3 best<2 preset:fast -tag:bad | age<2d`: terms that must all hold, `|` between
alternatives, `-` before what must not be.

- a word is looked for in name, state, preset, data, tags, note and parent; `field:word` in one of
  them (`note:"two words"`)
- `best`, `val`, `train`, `step`, `params`, `tokens`, `speed` are compared with `<`, `>`, `<=`,
  `>=`, `=`, `!=` or a range, `best:1.5..2`; `1k` and `1M` are numbers, too
- so are all settings: `lr`, `layers`, `batch`, `context`, `width`, `heads`, `warmup`, `wd`,
  `dropout`, `optim.beta2` …
- `time` and `age` take `30s`, `10m`, `2h`, `3d`

**Columns.** Settings that differ among the listed runs are columns, as far as there is room;
`{runs.columns}` chooses. A click on a title sorts, another one the other way round.

**Marks.** `{runs.mark}`, a click in front of the name or ctrl and a click mark a run; shift and a
click mark all in between, `{runs.mark_all}` all that are listed. A mark has the letter and colour
of the run's curve.

Tags and note are kept in the run's folder (`notes.toml`) and can be changed while it trains; a run
in training can be neither renamed nor deleted.

Deleted runs stay in the trash until it is emptied: `gpt-tui runs trash` lists them,
`gpt-tui runs restore RUN` brings one back. `gpt-tui runs` can do all of this, too, and copy and
export runs.
"""


class RunsScreen(KeyedScreen[None]):
    """A table of all runs, kept up to date, with actions on them."""

    ABOUT = (
        "All runs in the folder of runs: what they have reached, and with which settings. Use it "
        "to find a run again, to see what worked best, and to open, compare, tag "
        "or delete runs."
    )
    HELP = HELP_PAGE
    CSS_PATH = "../styles/runs.tcss"
    AUTO_FOCUS = ""  # the table has it once it has rows

    KEYS = "runs"
    QUEUE_GOES_ON = True
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    table = getters.query_one(RunsTable)
    editor = getters.query_one(LineEditor)
    preview = getters.query_one(RunPreview)

    def __init__(self, control: RunControl, view: RunsView) -> None:
        super().__init__()
        self.control, self.view = control, view
        self._keys_shown: list[bool | None] = []
        self._editing: str | None = None  # path of the run whose name, tags or note are edited
        self._filter_before = ""
        self._asked_to_trash: list[Path] = []  # the marked runs that a second press moves
        self._waiting: Timer | None = None  # for the cursor to rest
        self._blanking: Timer | None = None

    def compose(self) -> ComposeResult:
        yield Static(id="heading")
        with Container(id="runs-body"):
            with Container(id="runs-list"):
                yield RunsTable(self.view, self._colour_of, id="runs")
                yield Static(id="empty")
                yield LineEditor(id="editor")
            yield RunPreview(id="preview")
        yield KeysFooter()

    def _colour_of(self, place: int) -> Style:
        return self.preview.colour_of(place)

    # -- reading ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.view.use(self.app.preferences)  # type: ignore[attr-defined]
        self._show()
        self.read()
        self.set_interval(REFRESH_SECONDS, self._read_if_seen)

    def on_resize(self) -> None:
        self.set_class(self.size.width >= WIDE, "-wide")
        self.set_class(not self.view.has_preview, "-no-preview")
        self._show_heading()
        self._show_details()

    def on_screen_resume(self) -> None:
        """Read again, as nothing was read while the screen was hidden."""
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
                self.call_from_worker(self.take, catalogue.read(), changes)
                self.call_from_worker(self._take_sizes, catalogue.sizes())

    def take(self, runs: list[RunSummary], changes: int) -> None:
        """Show runs, unless `changes` shows that something was changed while they were read."""
        if changes != self.view.changes:
            self.read()
        elif runs != self.view.runs:
            self.view.take(runs)
            self._show()

    def _take_sizes(self, sizes: dict[str, int]) -> None:
        if sizes != self.view.sizes:
            self.view.sizes = sizes
            self.table.lay_out()
            self._show()
            self._show_details()

    # -- showing ---------------------------------------------------------------------------------

    def _show(self) -> None:
        self.table.show()
        self.set_class(not self.table.runs, "-empty")
        if self.focused in (None, self.table):  # nothing that is hidden has the focus
            self.set_focus(self.table if self.table.runs else None)
        self.query_one("#empty", Static).update(self.view.why_empty(self.key_of))
        self._show_heading()

    def _show_heading(self) -> None:
        view = self.view
        size, order, runs_dir = sum(view.sizes.values()), view.order, format_path(view.runs_dir)
        found = f"{len(self.table.runs):,} match {view.filter}" if view.filter else ""
        items = [
            Text(format_count(len(view.runs or ()), "run"), "bold"),
            Text(found, "yellow"),
            Text(f"{len(view.marked):,} marked" if view.marked else "", "bold"),
            Text(format_unit(size, "B") if size else ""),
            Text(f"by {TITLES.get(order.by) or _short(order.by)} {order.arrow}", "dim"),
            Text(runs_dir, "dim"),
        ]
        text = fit_items([item for item in items if item], self.size.width - 2)
        self.query_one("#heading", Static).update(text)

    def on_runs_table_moved(self) -> None:
        self._show_details()

    def _show_details(self) -> None:
        run = self.table.current
        facts = self._facts_of(run) if run else None
        self.preview.show_facts(facts, wraps=self.size.width >= WIDE)
        self._show_preview()
        self._refresh_keys()

    def _facts_of(self, run: RunSummary) -> RunFacts:
        parent = ""
        if run.parent:
            from engine.runs.catalogue import find_parent

            found = find_parent(run, self.view.runs or ())
            parent = found.name if found else f"{run.parent} (not here any more)"
        open_here = self.control.is_open and self.control.run_path == Path(run.path)
        size = self.view.sizes.get(run.path)
        return RunFacts(run, size, parent, open_here, self._differs(run))

    def _differs(self, run: RunSummary) -> tuple[tuple[str, str], ...]:
        """Return what differs from the open run, and from what the settings began from."""
        if run.config is None:
            return ()
        from engine.runs.preview import defaults_of

        others: list[tuple[str, Config]] = []
        control = self.control
        if control.run_path and control.is_open and str(control.run_path) != run.path:
            others.append((f"{control.run_path.name} (open)", control.draft.base))
        others.append(defaults_of(run.config))
        if self.size.width < WIDE:
            del others[1:]
        found = ((name, _differing(run.config, other)) for name, other in others)
        return tuple((f"unlike {name}", words) if words else (SAME, name) for name, words in found)

    # -- the preview -----------------------------------------------------------------------------

    def _show_preview(self) -> None:
        """Show curve and text of the run under the cursor: at once if they are known."""
        run = self.table.current
        if self._waiting:
            self._waiting.stop()
        if run is None or not self.view.has_preview:
            return
        known = self.view.previews.known(run)
        if known is not None:
            self._take_preview(run, known)
        else:
            self._waiting = self.set_timer(PREVIEW_SECONDS, lambda: self._begin_preview(run))

    def _begin_preview(self, run: RunSummary) -> None:
        if self._blanking:
            self._blanking.stop()
        self._blanking = self.set_timer(BLANK_SECONDS, lambda: self.preview.show_content(None))
        self._read_preview(run)

    @work(thread=True, exclusive=True, group="preview")
    def _read_preview(self, run: RunSummary) -> None:
        self.call_from_worker(self._take_preview, run, self.view.previews.read(run))

    def _take_preview(self, run: RunSummary, found: Preview | str) -> None:
        if self.table.current and self.table.current.path == run.path:
            if self._blanking:
                self._blanking.stop()
            self.preview.show_content(found)

    def action_inside(self) -> None:
        """Look inside the model of the run at the cursor, or of two that are marked."""
        from tui.screens.inside import InsideScreen

        paths = self._marked_or_current()
        if len(paths) > 2:
            told = "two runs can be looked into beside each other: mark one or two"
            self.notify(told, severity="warning")
            return
        first, other = paths[0], paths[1] if len(paths) == 2 else None
        if other is not None and self._is_open_here(other):
            first, other = other, first  # the open one is looked at as it is now
        run = None if self._is_open_here(first) else first
        self.app.push_screen(InsideScreen(self.control, run, other=other))

    def action_preview(self) -> None:
        self.view.has_preview = not self.view.has_preview
        self._try(self.view.remember)
        self.set_class(not self.view.has_preview, "-no-preview")
        self._show_preview()

    # -- keys ------------------------------------------------------------------------------------

    def _refresh_keys(self) -> None:
        """Update the footer, only if other keys work than before."""
        now = [self.check_action(action, ()) for action in (*OF_A_RUN, "undo")]
        if now != self._keys_shown:
            self._keys_shown = now
            self.refresh_bindings()

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        of_a_run = action in OF_A_RUN or (action == "edit" and parameters != ("filter",))
        # none also while the screen is removed
        if of_a_run and not any(table.current for table in self.query(RunsTable)):
            clears = f": {self.key_of('runs.back')} clears the filter" if self.view.filter else ""
            return f"there is no run here{clears}"
        if action == "undo" and not self.view.trashed:
            return "nothing was moved to the trash since the app was started"
        return ""

    def action_leave(self) -> None:
        """Clear the filter; if there is none, go back to the cockpit."""
        if self.view.filter:
            self.view.filter_by("")
            self._show()
        else:
            self.dismiss()

    def action_mark(self) -> None:
        self.table.toggle_mark()
        self._show_heading()

    def action_mark_all(self) -> None:
        self.table.mark_all()
        self._show_heading()

    def on_runs_table_marked(self) -> None:
        self._show_heading()

    def action_sort(self) -> None:
        """Sort by the column to the right of that which the table is sorted by."""
        columns = [key for key in self.table.columns if can_sort_by(key)]
        now = self.view.order.by
        at = columns.index(now) + 1 if now in columns else 0
        self._sort_by(columns[at % len(columns)])

    def _sort_by(self, key: str) -> None:
        self.view.sort_by(key)
        self._show()
        self._try(self.view.remember)

    def action_columns(self) -> None:
        from tui.screens.columns_dialog import ColumnsDialog

        def choose(columns: str | None) -> None:
            if columns is not None:
                self.view.columns = columns
                self.table.lay_out()
                self._show()
                self._try(self.view.remember)

        shown = [_short(key) for key in self.table.columns]
        self.app.push_screen(ColumnsDialog(self.view.columns, shown), choose)

    def action_reverse(self) -> None:
        self._sort_by(self.view.order.by)

    def on_runs_table_header_clicked(self, message: RunsTable.HeaderClicked) -> None:
        self._sort_by(message.key)

    # -- writing on runs -------------------------------------------------------------------------

    def action_edit(self, what: str) -> None:
        run = self.table.current
        texts = {"filter": self.view.filter}
        if run:
            texts |= {"tags": " ".join(run.tags), "note": run.note, "name": run.name}
        self._editing = run.path if run else None
        self._filter_before = self.view.filter
        self.editor.open(what, texts[what])
        self._show_example()
        self._refresh_keys()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._show_example()
        if self.editor.what == "filter":
            self.filter_while_typing(event.value)

    def filter_while_typing(self, text: str) -> None:
        """Filter by what was typed so far, without the beginning of a term such as ``best<2``."""
        if self._is_naming_field(text):
            text = text.rpartition(" ")[0]
        self._filter_by(text.strip())

    def _is_naming_field(self, text: str) -> bool:
        """Whether a filter that finds nothing ends in the beginning of one such as ``best<2``."""
        from engine.runs.fields import FIELDS
        from engine.runs.selection import parse_filter

        *_, word = text.split(" ")
        name = word.lstrip("-").lower()
        if not name or not any(field.startswith(name) for field in FIELDS):
            return False
        with suppress(InputError):
            if any(map(parse_filter(text).matches, self.view.runs or ())):
                return False
        if name in FIELDS:
            field = FIELDS[name]
            sign = "<" if field.example else ":"
            self.editor.problem.say(f"{name}{sign}{field.example or 'WORD'}", "hint")
        return True

    def _show_example(self) -> None:
        """Use the line below the field, so that a problem there moves nothing."""
        example = f"such as {FILTER_EXAMPLE}" if self.editor.what == "filter" else ""
        self.editor.problem.say(example, "hint")

    def _filter_by(self, text: str) -> bool:
        """Filter; say what is wrong, and keep the last filter that was right."""
        try:
            self.view.filter_by(text)
        except InputError as error:
            self.editor.problem.say(str(error), "problem")
            return False
        self._show()
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            if self.editor.what != "filter":
                self._write(self.editor.what, event.value)
            elif not self._filter_by(event.value.strip()):
                return
        except InputError as error:
            self.editor.problem.say(str(error), "problem")
            return
        self._back_to_table()

    def action_leave_field(self) -> None:
        """Restore the previous filter, and discard what was typed."""
        if self.editor.what == "filter":
            self.view.filter_by(self._filter_before)
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

        self._check_movable(run, "renamed")
        renamed = str(rename_run(run, name))
        self.view.renamed(str(run), renamed)
        self._show()
        self.table.go_to(renamed)

    def _back_to_table(self) -> None:
        self._editing = None
        self.editor.close()
        self.set_focus(self.table if self.table.runs else None)
        self._refresh_keys()
        self.read()

    # -- the trash -------------------------------------------------------------------------------

    def action_trash(self) -> None:
        """Move the marked runs, or the one under the cursor, to the trash."""
        from engine.runs.transfer import trash_run

        def trash(path: Path) -> Trashed:
            self._check_movable(path, "deleted")
            return trash_run(path)

        paths = self._marked_or_current()
        if len(paths) > 1 and paths != self._asked_to_trash:  # marked earlier, for something else?
            self._asked_to_trash = paths
            again = self.key_of("runs.trash")
            self.notify(f"{again} again moves the {len(paths)} marked runs to the trash")
            return
        self._asked_to_trash = []
        tried = {path: self._try(partial(trash, path)) for path in paths}
        trashed = [one for one in tried.values() if one]
        if trashed:
            self.view.trashed.append(trashed)
            one = len(trashed) == 1
            what = trashed[0].name if one else format_count(len(trashed), "run")
            back = f"{self.key_of('runs.undo')} brings {'it' if one else 'them'} back"
            self.notify(f"{what} moved to the trash: {back}")
            self.view.forget({str(path) for path, one in tried.items() if one})
            self._show()
            self.read()

    def action_undo(self) -> None:
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
        self.action_open()

    def action_open(self) -> None:
        """Open the run in the cockpit; ask first if that interrupts another one."""
        run, control = self.table.current, self.control
        if run is None:
            return
        if self._is_open_here(Path(run.path)):
            self.dismiss()
        elif run.state == "damaged" and not run.is_restorable:
            self._say(run.problem)
        elif is_busy(control) or control.draft.waiting:
            path = Path(run.path)
            self.app.push_screen(
                OpenRunDialog(control, run.name),
                lambda answer: self._open(path) if answer else None,
            )
        else:
            self._open(Path(run.path))

    def _open(self, path: Path) -> None:
        self.control.open_run(path)
        self.dismiss()

    def action_compare(self) -> None:
        """Compare the marked runs; a single one with the run under the cursor."""
        chosen = dict(self.view.marked)
        if len(chosen) < 2 and self.table.current:
            chosen.setdefault(self.table.current.path, self.view.free_place())
        paths = [Path(path) for path in sorted(chosen, key=lambda path: chosen[path])]
        if len(paths) < 2:
            self._say(f"mark the runs to compare with {self.key_of('runs.mark')}: two at least")
        else:
            from tui.screens.compare import CompareScreen

            self.app.push_screen(CompareScreen(paths, sorted(chosen.values())))

    def action_plot(self) -> None:
        """Plot the marked runs, or all that are listed, over a setting in which they differ."""
        from engine.runs.sweep import swept_settings
        from tui.screens.sweep_plot import SweepPlotScreen

        marked = [run for run in self.view.runs or () if run.path in self.view.marked]
        runs = marked if len(marked) > 1 else self.table.runs
        settings = swept_settings(runs)
        if not settings:
            which = "marked" if runs is marked else "listed"
            self._say(
                f"the runs {which} differ in no setting, so there is nothing to plot them over: "
                f"gpt-tui sweep trains some that do"
            )
            return
        if self.view.order.by in settings:  # what one looks at comes first
            settings.sort(key=lambda key: key != self.view.order.by)

        def go_to(path: str | None) -> None:
            if path:
                self.table.go_to(path)

        plot = SweepPlotScreen(runs, settings, dict(self.view.marked), self._colour_of)
        self.app.push_screen(plot, go_to)

    # -- helpers ---------------------------------------------------------------------------------

    def _marked_or_current(self) -> list[Path]:
        """Return the marked runs that the filter does not hide, else the one at the cursor."""
        marked = [Path(run.path) for run in self.table.runs if run.path in self.view.marked]
        if marked:
            return marked
        return [Path(self.table.current.path)] if self.table.current else []

    def _is_open_here(self, path: Path) -> bool:
        return self.control.run_path == path and self.control.status.state in OPEN_STATES

    def _check_movable(self, path: Path, what: str) -> None:
        from engine.runs.folder import check_own_run

        check_own_run(path, self.view.runs_dir)
        if self._is_open_here(path):
            raise InputError(
                f"{path.name} is open in the cockpit, so that it cannot be {what} now: open "
                f"another run first"
            )

    def _try(self, act: Callable[[], Result]) -> Result | None:
        """Call a function; show an ``InputError`` instead of raising it."""
        try:
            return act()
        except InputError as error:
            self._say(str(error))
            return None

    def _say(self, problem: str) -> None:
        self.notify(problem, severity="warning")


def _short(key: str) -> str:
    """Return what a column is called: ``lr`` for ``optim.learning_rate``."""
    from engine.runs.fields import short_name

    return short_name(key)


def _differing(config: Config, other: Config) -> str:
    """Return the settings that differ, as ``lr 0.003 (0.001), layers 2 (4)``."""
    from engine.runs.preview import differences

    return ", ".join(
        f"{_short(one.key)} {format_value(one.key, one.value)} ({format_value(one.key, one.other)})"
        for one in differences(config, other)
    )
