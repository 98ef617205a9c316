"""The data screen: what the text is, its tokens, and the batches that a model gets of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.widgets import Input

from data.download import NotHere
from data.errors import InputError
from data.specs import called
from engine.config.schema import SETTINGS, Config
from engine.protocol import Event, RunOpened
from tui.control.keymap import bindings
from tui.control.run import RunControl
from tui.control.second_tokenizer import parse_tokenizer
from tui.control.text_look import TextLook, changes_of, counted, described, look
from tui.inside.layout import Picture, below, cut, draw_tabs, fitted, wrapped
from tui.screens.data_texts import JOB, TextsView
from tui.screens.data_try import SECOND, TYPED, TryView
from tui.screens.data_views import BatchView, TextView, TokensView, View
from tui.screens.jobs import Job, Jobs
from tui.screens.picture_screen import PictureScreen
from tui.widgets.field import Field, FieldLabel
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.picture_view import PictureView

if TYPE_CHECKING:
    from pathlib import Path

SEARCH = "search"
LABELS = {
    SEARCH: "search for",
    TYPED: "text to try",
    SECOND: "second tokenizer",
    "data.corpus": "text",
    "data.tokenizer": "tokenizer",
    "data.vocab_size": "tokens of bpe",
}
TICK_SECONDS = 1.0


class DataScreen(PictureScreen[dict[str, Any] | None]):
    """Looks at the text of the open run, or of the next one; its result is what to set, or None."""

    ABOUT = (
        "This screen shows what a model learns from: the text, the tokens that it is cut into, and "
        "the batches in which the model gets them. Look here before you train, and whenever a loss "
        "is not what you expect: the text may be too short for the model, have odd characters, or "
        "be cut into tokens that do not suit it. The text of the next run is chosen here, too."
    )
    CSS_PATH = "../styles/data.tcss"
    KEYS = "data"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, control: RunControl) -> None:
        super().__init__()
        self.control = control
        self.text: TextLook | None = None
        self.wanted: Config | None = None  # another text or tokenizer, for the next run
        self.jobs = Jobs(self, self._say)
        self._tried, self._texts = TryView(self), TextsView(self)  # whatever text is shown
        self._views: dict[str, View] = {}
        self._make_views()
        self._shown = "text"
        self._doing = "reading the text …"
        self._problem = ""
        self._is_elsewhere = False  # the text would have to be downloaded
        self.words = ""  # that were searched for
        self._edited = SEARCH
        self._step_seen = -1

    def _make_views(self) -> None:
        self._tried.forget()
        views = TextView(self), TokensView(self), BatchView(self), self._tried, self._texts
        self._views = {view.title: view for view in views}

    @property
    def views(self) -> dict[str, View]:
        return self._views

    @property
    def shown(self) -> str:
        return self._shown

    @property
    def view(self) -> View:
        return self._views[self._shown]

    @property
    def run_path(self) -> Path | None:
        """The folder of the run whose text is shown; None for that of the next run."""
        return None if self.wanted else self.control.run_path

    @property
    def config(self) -> Config:
        """The settings with which the text is read and learned."""
        if self.wanted:
            return self.wanted
        draft = self.control.draft
        return draft.base if self.control.run_path else draft.next_or_base()

    @property
    def next_config(self) -> Config:
        """The settings of the next run, as they would be."""
        return self.wanted or self._base

    @property
    def next_text(self) -> str:
        """The text of the next run, as it is set."""
        return self._base.data.corpus

    @property
    def present_step(self) -> int:
        return self.control.status.step if self.run_path else 0

    @property
    def is_ascii(self) -> bool:
        return self.picture.ink == "ascii"

    def compose(self) -> ComposeResult:
        yield PictureView(self._draw, id="data")
        with Horizontal(id="data-field"):
            yield FieldLabel("search for")
            yield Field(id="data-typed")
        yield KeysFooter()

    def on_mount(self) -> None:
        self._read()
        self.set_interval(TICK_SECONDS, self._follow)

    # -- reading, in a thread ----------------------------------------------------------------------

    def _read(self, may_download: bool = False) -> None:
        """Begin to read the text; what was read before is forgotten."""
        self.text, self._problem, self._doing = None, "", "reading the text …"
        self._is_elsewhere = False
        self._make_views()
        run, config = self.run_path, self.config

        def read(job: Job) -> None:
            text = look(run, config, job.watcher)
            job.hand(self._take_text, text)
            text = counted(text, job.watcher)
            job.hand(self._take_text, text)
            job.hand(self._take_text, described(text, config, job.watcher))

        self.jobs.begin("text", read, self._fail, may_download)
        self.refresh_picture()

    def _take_text(self, text: TextLook) -> None:
        is_new, self.text = self.text is None, text
        if is_new:
            self.view.begin()
        self.refresh_picture()

    def _say(self, doing: str) -> None:
        self._doing = doing
        self.refresh_picture()

    def _fail(self, error: InputError) -> None:
        self._problem, self._doing = str(error), ""
        self._is_elsewhere = isinstance(error, NotHere)
        self.refresh_picture()

    def hear(self, event: Event) -> bool:
        if isinstance(event, RunOpened) and not self.wanted:
            self.call_later(self._read)  # once the control has taken it over
        return False

    def _follow(self) -> None:
        """Show the batch of the present step while a run trains."""
        if self.present_step != self._step_seen and isinstance(self.view, BatchView):
            self._step_seen = self.present_step
            self.refresh_picture()

    # -- drawing -----------------------------------------------------------------------------------

    def _draw(self, width: int, height: int) -> Picture:
        top = below(draw_tabs({one: one for one in self._views}, self._shown, width))
        top = below(top, Picture([fitted([(" ", "ink"), *self._about()], width)]))
        room = max(0, height - len(top.rows))
        if isinstance(self.view, TextsView):
            body = self.view.draw(self.text, width, room)
        elif self._problem:
            download = f"{self.key_of('data.fetch')} downloads it, " if self._is_elsewhere else ""
            ways = (
                f"{download}{self.key_of('data.choose')} names another text, "
                f"{self.key_of('data.tokenizer')} another tokenizer"
            )
            body = below(wrapped(self._problem, width, "bad"), wrapped(ways, width, "dim"))
        elif self.text is None:
            body = Picture([[(f" {self._doing}", "dim")]])
        else:
            body = self.view.draw(self.text, width, room)
        return below(top, cut(body, width, room))

    def _about(self) -> list[tuple[str, str]]:
        """Say whose text it is, and what is being done."""
        if self.wanted:
            changes = changes_of(self._base, self.wanted)
            words = ", ".join(  # of a path its name, so that the hint has room
                called(one) if isinstance(one, str) else SETTINGS[key].format(one)
                for key, one in changes.items()
            )
            row = [(f"what would be: {words}", "title")]
            if not self._problem:
                row.append((f" · {self.key_of('data.take')} takes it for the next run", "dim"))
        else:
            run = self.control.run_path
            name = f"run {run.name}" if run else "next run"
            row = [(f"{called(self.config.data.corpus)}", "title"), (f" · {name}", "dim")]
        doing = self._doing if self.text or isinstance(self.view, TextsView) else ""
        return [*row, (f" · {doing}" if doing else "", "dim")]

    # -- keys --------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if isinstance(self.focused, Field) and action != "leave_field":
            return False  # while something is typed, keys are part of it
        return super().check_action(action, parameters)

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        what = str(parameters[0]) if action == "edit" else action
        if what in ("close", "show", "next_view", "data.corpus"):
            return ""
        if isinstance(self.view, TextsView):
            return self.view.why_not(what)
        if what == "fetch":
            return "" if self._is_elsewhere else "there is nothing to download"
        if what == "take":
            choose, tokens = self.key_of("data.choose"), self.key_of("data.tokenizer")
            if not self.wanted:
                return f"{choose} names another text, {tokens} another tokenizer to take"
            return "it cannot be read" if self._problem else ""
        if what in ("data.tokenizer", "data.vocab_size"):
            return ""
        return self.view.why_not(what) if self.text else "there is no text yet"

    def action_show(self, view: str) -> None:
        self._shown = view
        self.view.begin()
        self.refresh_picture()

    def action_page(self, by: int) -> None:
        self.view.page(by)
        self.refresh_picture()

    def action_go_to_end(self, which: int) -> None:
        self.view.go_to_end(which)
        self.refresh_picture()

    def action_now(self) -> None:
        """Show the batch of the present step."""
        if isinstance(self.view, BatchView):
            self.view.step = None
        self.refresh_picture()

    def on_picture_view_clicked(self, message: PictureView.Clicked) -> None:
        kind, what = message.what
        if kind == "view":
            self.action_show(str(what))
            return
        self.view.click(int(what))
        self.refresh_picture()

    def action_close(self) -> None:
        """Go back to the text of the run first, then to the cockpit."""
        if self.jobs.is_running(JOB):
            self.jobs.cancel(JOB)
            self.notify("cancelled")
        elif self.wanted:
            self.wanted = None
            self._read()
        else:
            self.dismiss(None)

    # -- texts -------------------------------------------------------------------------------------

    def action_look(self) -> None:
        """Look at the text at the cursor of the list."""
        if one := self._texts.at_cursor:
            self._shown = TextView.title
            self._try("data.corpus", one.name)

    def action_fetch(self) -> None:
        if isinstance(self.view, TextsView):
            self.view.fetch()
            self.refresh_bindings()
        else:
            self._read(may_download=True)

    def action_prepare(self) -> None:
        self._texts.prepare()
        self.refresh_bindings()

    def action_remove(self) -> None:
        self._texts.ask_to_remove()

    # -- searching ---------------------------------------------------------------------------------

    def action_next_match(self) -> None:
        if self.text and isinstance(self.view, TextView):
            start = self.view.match.start + 1 if self.view.match else self.view.at
            self._search(self.text, self.words, min(start, self.text.total - 1))

    def _search(self, text: TextLook, words: str, start: int) -> None:
        def search(job: Job) -> None:
            match = text.search(words, start, job.watcher)
            job.hand(self._show_match, (words, match, start))

        self.jobs.begin("search", search, self._fail)

    def _show_match(self, found: tuple[str, range | None, int]) -> None:
        words, match, start = found
        if match is None:
            self.notify(f"{words!r} is not in the text", severity="warning")
            return
        if match.start < start:
            self.notify("from the beginning again")
        for view in self._views.values():
            if isinstance(view, TextView):
                view.show_match(match)
        self.refresh_picture()

    # -- typing ------------------------------------------------------------------------------------

    def action_edit(self, what: str) -> None:
        self._edited = what
        self.query_one("#data-field").add_class("-open")
        self.query_one(FieldLabel).update(LABELS[what])
        field = self.query_one(Field)
        field.escaped = what == TYPED
        field.value = self._value(what)
        self.set_focus(field)
        field.action_select_all()  # what is typed takes the place of what was there
        self.refresh_bindings()

    @property
    def _base(self) -> Config:
        """The settings of the next run, as they are."""
        return self.control.draft.next_or_base()

    def _value(self, what: str) -> str:
        """Return what stands in the field at first."""
        if what == SEARCH:
            return self.words
        if what in (TYPED, SECOND):
            return self._tried.value(what)
        return SETTINGS[what].format(self.next_config.get(what))

    def action_leave_field(self) -> None:
        self.query_one("#data-field").remove_class("-open")
        self.set_focus(None)
        self.refresh_bindings()

    def on_input_changed(self, event: Input.Changed) -> None:
        if self._edited == TYPED and self.focused is event.input:
            self._tried.type(event.value)
            self.refresh_picture()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        typed = event.value
        self.action_leave_field()
        if self._edited == TYPED:
            self._tried.type(typed)
            self.refresh_picture()
        elif not typed.strip():
            self.notify("nothing was typed", severity="warning")
        elif self._edited == SEARCH:
            self.words = typed
            if self.text and isinstance(self.view, TextView):
                self._search(self.text, typed, self.view.at)
        elif self._edited == SECOND:
            self._compare(typed)
        else:
            self._try(self._edited, typed)

    def _compare(self, typed: str) -> None:
        try:
            self._tried.choose(typed)
        except (InputError, ValueError) as error:
            self.notify(str(error), severity="warning")
        self.refresh_picture()

    def _try(self, key: str, typed: str) -> None:
        """Look at what the next run would have with another text or tokenizer."""
        changes: dict[str, Any] = {}
        try:
            if key == "data.tokenizer":
                changes |= parse_tokenizer(typed)
            else:
                changes[key] = SETTINGS[key].parse(typed.strip())
            if key == "data.vocab_size":
                changes["data.tokenizer"] = "bpe"
            wanted = self.next_config.replace(changes)
        except (InputError, ValueError) as error:
            self.notify(str(error), severity="warning")
            return
        if not changes_of(self._base, wanted) and not self.control.run_path:
            self.wanted = None  # it is what the next run has
        else:
            self.wanted = wanted
        self._read()

    def action_take(self) -> None:
        assert self.wanted
        self.dismiss(changes_of(self._base, self.wanted))
