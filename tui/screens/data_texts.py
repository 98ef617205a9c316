"""The view of the data screen that lists texts: to look at, download, prepare and delete."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import BindingType

from data.corpora import obtain
from data.corpora.catalogue import CATALOGUE
from data.errors import InputError
from data.prepared import store
from data.prepared.texts import KnownText, known_texts
from data.program import named
from engine.runs.text import read_text
from tui.control.keymap import Key, bindings
from tui.corpus.texts import draw_texts
from tui.inside.layout import Picture, cut, wrapped
from tui.screens.data_views import View
from tui.screens.dialogs import Dialog
from tui.text.numbers import format_unit

if TYPE_CHECKING:
    from tui.control.text_look import TextLook
    from tui.screens.data import DataScreen
    from tui.screens.jobs import Job

JOB = "job"  # the group of what is done with a text


class TextsView(View):
    """The texts that have a name, and those whose tokens are kept."""

    title = "texts"

    def __init__(self, screen: DataScreen) -> None:
        super().__init__(screen)
        self.listed: list[KnownText] | None = None
        self.cursor = 0
        self._problem = ""

    @property
    def at_cursor(self) -> KnownText | None:
        return self.listed[self.cursor] if self.listed else None

    def begin(self) -> None:
        """Look at what there is."""
        self.screen.jobs.begin("list", lambda job: job.hand(self._take, known_texts()), self._fail)

    def _take(self, listed: list[KnownText]) -> None:
        if self.listed is None:
            names = [one.name for one in listed]
            chosen = self.screen.next_text
            self.cursor = names.index(chosen) if chosen in names else 0
        self.listed, self._problem = listed, ""
        self.cursor = max(0, min(self.cursor, len(listed) - 1))
        self.screen.refresh_picture()

    def _fail(self, error: InputError) -> None:
        self._problem = str(error)
        self.screen.refresh_picture()

    def draw(self, text: TextLook | None, width: int, height: int) -> Picture:  # needs none
        if self._problem:
            return wrapped(self._problem, width, "bad")
        if self.listed is None:
            return Picture([[(" looking at what is here …", "dim")]])
        picture = draw_texts(self.listed, self.cursor, self.screen.next_text, width, height)
        return cut(picture, width, height)

    def why_not(self, what: str) -> str:
        if what in ("go_down", "page", "go_to_end"):
            return ""
        if what == "take":
            return "the text at the cursor is looked at first"
        if what not in ("look", "fetch", "prepare", "remove"):
            return "another view has it"
        one = self.at_cursor
        if one is None:
            return "the list is not there yet"
        if self.screen.jobs.is_running(JOB):
            return f"{self.screen.key_of('data.back')} cancels what is being done, first"
        if what in ("look", "prepare") and not one.in_catalogue:
            other = self.screen.key_of("data.choose")
            return f"only its tokens are known, not where it is: {other} names its file"
        if what == "fetch" and (one.is_here or not one.in_catalogue):
            return "there is nothing to download of it"
        if what == "prepare" and not one.is_here:
            return f"it is not here yet: {self.screen.key_of('data.fetch')} downloads it"
        if what == "remove" and not (one.prepared or can_remove(one)):
            return "nothing of it is kept"
        return ""

    def fetch(self) -> None:
        one = self.at_cursor
        assert one
        name = one.name
        self._do(lambda job: obtain.fetch(name, job.watcher), f"{name} is here", may_download=True)

    def prepare(self) -> None:
        """Make the tokens that the next run would have of the text."""
        one = self.at_cursor
        assert one
        data = replace(self.screen.next_config.data, corpus=one.name)
        tokens = f"the tokens of {one.name} are prepared ({data.tokenizer})"
        self._do(lambda job: read_text(data, job.watcher), tokens)

    def ask_to_remove(self) -> None:
        one = self.at_cursor
        assert one

        def remove(answer: str | None) -> None:
            if answer:
                self._do(lambda job: _remove(one, answer), f"deleted: {named(one.name)}")

        self.screen.app.push_screen(RemoveTextDialog(one), remove)

    def _do(self, work: Callable[[Job], object], done: str, may_download: bool = False) -> None:
        def run(job: Job) -> None:
            work(job)
            job.hand(self.screen.notify, done)
            job.hand(self._take, known_texts())

        self.screen.jobs.begin(JOB, run, self._complain, may_download)

    def _complain(self, error: InputError) -> None:
        self.screen.notify(str(error), severity="warning")

    # -- keys --------------------------------------------------------------------------------------

    def go_down(self, by: int) -> None:
        self.cursor = max(0, min(self.cursor + by, len(self.listed or ()) - 1))

    def page(self, by: int) -> None:
        self.go_down(by * 10)

    def go_to_end(self, which: int) -> None:
        self.go_down(which * len(self.listed or ()))

    def click(self, what: int) -> None:
        self.cursor = what


def can_remove(one: KnownText) -> bool:
    """Return whether a text was downloaded, and could be again."""
    return (
        one.in_catalogue and one.is_here and obtain.place_in_cache(CATALOGUE[one.name]) is not None
    )


def _remove(one: KnownText, what: str) -> None:
    store.remove_of([one.name])
    if what == "all":
        obtain.remove(CATALOGUE[one.name])


class RemoveTextDialog(Dialog):
    """Asks before what is kept of a text is deleted; the answer is ``tokens`` or ``all``."""

    KEYS = "ask_remove_text"
    BINDINGS: ClassVar[list[BindingType]] = bindings(KEYS)

    def __init__(self, text: KnownText) -> None:
        self._text = text
        question = Text("A run makes the tokens of its text again, as long as the text is there.\n")
        super().__init__(f"Delete what is kept of {named(text.name)}?", question)

    def label_of(self, key: Key) -> str:
        one = self._text
        tokens = f"its tokens, {format_unit(one.bytes_prepared, 'B')}"
        if key.name == "tokens":
            return f"delete {tokens}" if one.prepared else ""
        if key.name == "all":
            if not can_remove(one):
                return ""
            return f"delete the text{f' and {tokens}' if one.prepared else ''}"
        return key.label

    def why_not(self, action: str, parameters: tuple[object, ...]) -> str:
        if parameters == ("tokens",) and not self._text.prepared:
            return "no tokens of it are kept"
        if parameters == ("all",) and not can_remove(self._text):
            return "it was not downloaded"
        return ""
