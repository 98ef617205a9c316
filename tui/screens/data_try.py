"""The view of the data screen that tries tokenizers on a typed text, two side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.config.escapes import escape, unescape
from tui.control.second_tokenizer import (
    choices,
    parse_second,
    second_name,
    second_tokenizer,
    tokenized,
    usual_second,
)
from tui.control.text_look import TextLook
from tui.corpus.tokenized import Tokenized, draw_tokenized
from tui.inside.layout import Picture, below, fitted, wrapped
from tui.inside.tokens import quoted
from tui.screens.data_views import View

if TYPE_CHECKING:
    from tui.screens.data import DataScreen
    from tui.screens.jobs import Job

TYPED = "typed"
SECOND = "second"
FIRST_TOKENS = 200  # of the text, in which its first line is looked for
MOST_TYPED = 2000  # characters, which are tokenized at each key


class TryView(View):
    """A typed text, as the tokenizer of the text and a second one cut it."""

    title = "try"

    def __init__(self, screen: DataScreen) -> None:
        super().__init__(screen)
        self.typed: str | None = None  # until then the first line of the text
        self.second = ""  # as it was typed; empty for the usual one
        self._tokenizer: Tokenizer | None = None  # the second one, once it is made
        self._told = ""  # why there is none

    def forget(self) -> None:
        """The text is another one: a tokenizer that was made of it is, too."""
        self._tokenizer = None

    def why_not(self, what: str) -> str:
        return "" if what in (TYPED, SECOND) else "another view has it"

    def begin(self) -> None:
        """Make the second tokenizer, if need be."""
        text, config = self.screen.text, self.screen.config
        if text is None or self._tokenizer:
            return
        name = self.second or usual_second(text.tokenizer.kind)
        try:
            data = parse_second(name, config)
        except (InputError, ValueError) as error:
            self._told = str(error)
            return
        self._told = f"making {second_name(data)} …"

        def make(job: Job) -> None:
            job.hand(self._take, second_tokenizer(text, data, config, job.watcher))

        self.screen.jobs.begin("second", make, self._fail)

    def choose(self, typed: str) -> None:
        """Compare with another tokenizer.

        Raises:
            InputError: There is none such.
        """
        self.second = second_name(parse_second(typed, self.screen.config))
        self._tokenizer = None
        self.begin()

    def type(self, written: str) -> None:
        """Take a text, with ``\\n`` and the like as they are written in a field."""
        try:
            self.typed = unescape(written, "the text")[:MOST_TYPED]
        except ValueError:
            self.typed = written[:MOST_TYPED]  # a backslash that begins an escape

    def value(self, what: str) -> str:
        """Return what is in a field when it is opened."""
        text = self.screen.text
        if what == SECOND:
            return self.second or (usual_second(text.tokenizer.kind) if text else "")
        return escape(self._text(text)) if text else ""

    def draw(self, text: TextLook, width: int, height: int) -> Picture:
        typed = self._text(text)
        keys = f"{self.screen.key_of('data.type')} writes another text, "
        keys += f"{self.screen.key_of('data.second')} another second tokenizer ({choices()})"
        head = below(
            Picture(
                [fitted([(" text ", "dim"), (quoted(typed, self.screen.is_ascii), "ink")], width)]
            ),
            wrapped(keys, width, "dim"),
            Picture([[]]),
        )
        second = self.second or usual_second(text.tokenizer.kind)
        both = (
            tokenized(text.tokenizer, typed, self._first_name(text)),
            tokenized(self._tokenizer, typed, second)
            if self._tokenizer
            else Tokenized(second, told=self._told),
        )
        rows = height - len(head.rows)
        return below(head, draw_tokenized(both, width, rows, self.screen.is_ascii))

    def _first_name(self, text: TextLook) -> str:
        return f"{text.tokenizer.kind}, of the text"

    def _text(self, text: TextLook) -> str:
        if self.typed is not None:
            return self.typed
        begin = "".join(text.read(0, min(FIRST_TOKENS, text.total)))
        return next((line for line in begin.splitlines() if line.strip()), begin)

    def _take(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._told = tokenizer, ""
        self.screen.refresh_picture()

    def _fail(self, error: InputError) -> None:
        self._told = str(error)
        self.screen.refresh_picture()

    # -- keys: one line has nothing to go through --------------------------------------------------

    def go_down(self, by: int) -> None:
        pass

    def page(self, by: int) -> None:
        pass

    def go_to_end(self, which: int) -> None:
        pass
