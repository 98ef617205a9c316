"""The views of the data screen: what each draws, and what the keys do in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import InputError
from tui.control.text_look import TextLook
from tui.corpus.batch import Window, draw_window
from tui.corpus.facts import draw_facts
from tui.corpus.histograms import draw_frequent, draw_lengths
from tui.corpus.pages import draw_apart, draw_text, page_back
from tui.inside.layout import Picture, below, beside, cut, figure_rows, fitted, wrapped
from tui.inside.tokens import Piece, lines_of, quoted
from tui.text.numbers import format_count

if TYPE_CHECKING:
    from tui.screens.data import DataScreen

WIDE = 110  # columns from which the figures stand beside the text
LEAST_TEXT = 5  # rows of the text, whatever there is to say of it
FREQUENT = 40
ELSEWHERE = ("look", "prepare", "remove", "typed", "second")  # what a single view has
LINES_BEFORE = 2  # above what was found


class View:
    """One view: it draws the text of the screen, and keeps where one is in it."""

    title = ""

    def __init__(self, screen: DataScreen) -> None:
        self.screen = screen

    def begin(self) -> None:
        """Find out what it needs besides the text: it is shown from now on."""

    def why_not(self, what: str) -> str:
        """Return why a key does nothing in this view; empty if it does something.

        Args:
            what: Its action, or what it edits.
        """
        return "another view has it" if what in ELSEWHERE else ""

    def draw(self, text: TextLook, width: int, height: int) -> Picture:
        raise NotImplementedError

    def move(self, by: int) -> None:
        """Go to the left or to the right."""

    def go_down(self, by: int) -> None:
        raise NotImplementedError

    def page(self, by: int) -> None:
        raise NotImplementedError

    def go_to_end(self, which: int) -> None:
        """Go to the start (-1) or to the end (1)."""
        raise NotImplementedError

    def click(self, what: int) -> None:
        """Go to what was clicked."""


class TextView(View):
    """What the text is, and how it reads."""

    title = "text"

    def why_not(self, what: str) -> str:
        if what == "next_match" and not self.screen.words:
            return f"nothing was searched for: {self.screen.key_of('data.search')} does"
        if what == "now":
            return "the text is the same at each step"
        if what == "move" and self.title == TextView.title:
            return "the text is read by line and page: the tokens are in another view"
        return super().why_not(what)

    def __init__(self, screen: DataScreen) -> None:
        super().__init__(screen)
        self.at = 0  # the token that the page begins with
        self.match = range(0)  # what was searched for
        self._size = 80, 10  # of the page
        self._after = 0  # the first token that is not on the page

    def draw(self, text: TextLook, width: int, height: int) -> Picture:
        if width >= WIDE:
            half = min(90, (width - 2) // 2)
            facts = draw_facts(text.facts(self.screen.config), half)
            page = self._page(text, width - half - 2, height)
            return beside([(facts, half), (page, width - half - 2)], height)
        facts = draw_facts(text.facts(self.screen.config), width)
        facts = cut(facts, width, max(0, height - LEAST_TEXT - 1))
        return below(facts, self._page(text, width, height - len(facts.rows)))

    def _page(self, text: TextLook, width: int, height: int) -> Picture:
        lines = self._lines(text, width, max(1, height - 1))
        place = f"── {self.at / text.total:.1%} · from token {self.at:,} of {text.total:,} "
        title = fitted([(place + "─" * width, "dim")], width)
        title = [(title[0][0].removesuffix("…") + "─", "dim")] if title else []
        return below(Picture([title]), self._draw_lines(text, lines, width))

    def _draw_lines(self, text: TextLook, lines: list[list[Piece]], width: int) -> Picture:
        match = range(self.match.start - self.at, self.match.stop - self.at)
        return draw_text(lines, width, match)

    def _lines(self, text: TextLook, width: int, height: int) -> list[list[Piece]]:
        """Return the lines of the page."""
        self._size = width, height
        count = width * height // 2
        while True:
            texts = self._texts(text, self.at, self.at + count)
            lines = lines_of(texts, width, self.screen.is_ascii)
            if len(lines) > height or len(texts) < count:
                break
            count *= 2
        rest = lines[height:]
        self._after = self.at + (rest[0][0].token if rest and rest[0] else len(texts))
        return lines[:height]

    def _texts(self, text: TextLook, start: int, stop: int) -> list[str]:
        return text.read(start, stop)

    def go_down(self, by: int) -> None:
        text, (width, height) = self.screen.text, self._size
        if text is None:
            return
        if by < 0:
            start = max(0, self.at - 2 * width * -by)
            before = self._texts(text, start, self.at)
            self.at = start + page_back(before, width, -by, self.screen.is_ascii)
            return
        ahead = self._texts(text, self.at, self.at + 2 * width * (height + by))
        lines = lines_of(ahead, width, self.screen.is_ascii)
        by = max(0, min(by, len(lines) - 1))
        if self._after < text.total:
            self.at += lines[by][0].token if lines[by] else 0

    def page(self, by: int) -> None:
        self.go_down(by * max(1, self._size[1] - 1))

    def go_to_end(self, which: int) -> None:
        text = self.screen.text
        self.at = 0
        if text and which > 0:
            self.at = text.total
            self.go_down(-self._size[1])

    def show_match(self, match: range) -> None:
        """Show what was found, below some lines before it."""
        self.at, self.match = match.start, match
        self.go_down(-LINES_BEFORE - 1)


class TokensView(TextView):
    """The tokens told apart, and how many there are of which."""

    title = "tokens"

    def __init__(self, screen: DataScreen) -> None:
        super().__init__(screen)
        self.cursor = 0

    def draw(self, text: TextLook, width: int, height: int) -> Picture:
        self.cursor = min(self.cursor, text.total - 1)
        if width >= WIDE:
            half = (width - 2) * 3 // 5
            rest = width - half - 2
            bars = self._bars(text, rest, height, stacked=True)
            return beside([(self._page(text, half, height), half), (bars, rest)], height)
        page = self._page(text, width, height // 2)
        return below(page, Picture([[]]), self._bars(text, width, height - height // 2 - 1))

    def _page(self, text: TextLook, width: int, height: int) -> Picture:
        return below(self._told(text, width), super()._page(text, width, height - 1))

    def _told(self, text: TextLook, width: int) -> Picture:
        """Say what the token at the cursor is."""
        id = text.id(self.cursor)
        body = text.tokenizer.token_bytes(id)
        parts = [
            ("token", f"{self.cursor:,}"),
            ("reads", quoted(text.tokenizer.token_text(id), self.screen.is_ascii)),
            ("id", str(id)),
            ("bytes", body.hex(" ").upper() or "none"),
        ]
        if text.counts is not None:
            parts.append(("occurs", format_count(int(text.counts[id]), "time")))
        return cut(_figures(parts, width), width, 1)

    def _bars(self, text: TextLook, width: int, height: int, stacked: bool = False) -> Picture:
        if text.counts is None:
            return Picture([[("counting the tokens …", "dim")]])
        lengths, ascii = text.lengths(), self.screen.is_ascii
        if stacked:
            rows = min(len(lengths) + 1, height // 2)
            frequent = draw_frequent(
                text.frequent(FREQUENT), text.total, width, height - rows - 1, ascii
            )
            return below(
                frequent, Picture([[]]), draw_lengths(lengths, text.total, width, rows, ascii)
            )
        half = (width - 2) // 2
        return beside(
            [
                (draw_frequent(text.frequent(height), text.total, half, height, ascii), half),
                (draw_lengths(lengths, text.total, half, height, ascii), half),
            ],
            height,
        )

    def _draw_lines(self, text: TextLook, lines: list[list[Piece]], width: int) -> Picture:
        match = range(self.match.start - self.at, self.match.stop - self.at)
        return draw_apart(lines, width, self.at, self.cursor - self.at, match)

    def _texts(self, text: TextLook, start: int, stop: int) -> list[str]:
        return text.shown(start, stop)

    def move(self, by: int) -> None:
        text = self.screen.text
        if text is None:
            return
        self.cursor = max(0, min(self.cursor + by, text.total - 1))
        if self.cursor < self.at:
            super().go_down(-1)
        elif self.cursor >= self._after:
            super().go_down(1)

    def go_down(self, by: int) -> None:
        before = self.at
        super().go_down(by)
        self._keep_cursor(before)

    def go_to_end(self, which: int) -> None:
        super().go_to_end(which)
        self.cursor = self.screen.text.total - 1 if which > 0 and self.screen.text else 0

    def _keep_cursor(self, before: int) -> None:
        """Have the cursor on the page, as far from its start as it was."""
        self.cursor = max(0, self.cursor + self.at - before)

    def show_match(self, match: range) -> None:
        super().show_match(match)
        self.cursor = match.start

    def click(self, what: int) -> None:
        self.cursor = what


class BatchView(View):
    """A batch as the model gets it."""

    title = "batch"

    def why_not(self, what: str) -> str:
        if what in ("search", "next_match"):
            return "a batch is not searched: its windows are drawn at random"
        return super().why_not(what)

    def __init__(self, screen: DataScreen) -> None:
        super().__init__(screen)
        self.row = 0
        self.step: int | None = None  # None for the present one
        self._top, self._most, self._page_rows = 0, 0, 1  # of its first row, scrolled

    @property
    def shown_step(self) -> int:
        return self.screen.present_step if self.step is None else self.step

    @property
    def size(self) -> int:
        """Rows of the batch of a step."""
        train = self.screen.config.train
        return train.batch_size * train.grad_accum_steps

    def draw(self, text: TextLook, width: int, height: int) -> Picture:
        self.row = min(self.row, self.size - 1)
        train, ascii = self.screen.config.train, self.screen.is_ascii
        micro = f" × {train.grad_accum_steps}" if train.grad_accum_steps > 1 else ""
        data = self.screen.config.data
        parts = [
            ("step", f"{self.shown_step:,}{', the present one' if self.step is None else ''}"),
            ("batch", f"{train.batch_size}{micro} rows"),
            ("context", format_count(self.screen.config.model.block_size, "token")),
            ("seed", str(train.seed)),
            ("order", "random windows" if data.order == "random" else "each window once an epoch"),
            *([("windows", "of one document each")] if data.within_documents else []),
        ]
        head = below(_figures(parts, width), Picture([[]]))
        try:
            # more rows than fit: the shortest has three lines
            rows = range(self.row, min(self.size, self.row + max(1, height // 3)))
            found = text.windows(self.screen.config, self.shown_step, rows)
        except InputError as error:
            return below(head, wrapped(str(error), width, "bad"))
        room = height - len(head.rows)
        picture = Picture()
        for number, (offset, tokens) in zip(rows, found, strict=True):
            one = Window(number, offset, tokens)
            drawn = draw_window(one, self.size, len(text.train), width, ascii)
            if number == self.row:  # pages are those of this row, where it is longer than one
                self._page_rows, self._most = max(1, room - 1), max(0, len(drawn.rows) - room)
                self._top = min(self._top, self._most)
            elif len(picture.rows) + len(drawn.rows) - 1 > room:  # no half rows
                break
            picture = below(picture, drawn)
        return below(head, Picture(picture.rows[self._top :]))

    def move(self, by: int) -> None:
        self.row, self._top = max(0, min(self.row + by, self.size - 1)), 0

    def go_down(self, by: int) -> None:
        self.step = max(0, self.shown_step + by)

    def page(self, by: int) -> None:
        self._top = max(0, min(self._top + by * self._page_rows, self._most))

    def go_to_end(self, which: int) -> None:
        self.row = 0 if which < 0 else self.size - 1


def _figures(parts: list[tuple[str, str]], width: int) -> Picture:
    picture = figure_rows(parts, width - 1)
    for row in picture.rows:
        row.insert(0, (" ", "ink"))
    return picture
