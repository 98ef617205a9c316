"""Texts of a model, beside or below each other: only the lines on the screen are laid out.

It scrolls by itself. Textual's scrolling would lay out the whole screen whenever a line is added,
and the time for that is taken from training.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, TypeAlias

from msgspec import Struct, field
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from engine.protocol import TokenOdds
from tui.control.remap import key_in_force
from tui.terminal.cells import ELLIPSIS, cells_of, shortened, straight
from tui.text.wrapping import Wrapped, cells_of_line

NARROWEST = 28  # columns of a text beside others; in fewer they stand below each other
SEPARATOR = " │ "
CARET = "▌"
WHEEL_LINES = 3
GUTTER = 2  # columns at the right: the caret at the end of a full line, and the scrollbar

Shading: TypeAlias = Literal["off", "probability", "rank"]
SHADINGS: tuple[Shading, ...] = ("off", "probability", "rank")
BANDS: dict[Shading, tuple[str, ...]] = {
    "probability": ("≥ 50 %", "≥ 10 %", "≥ 1 %", "less"),
    "rank": ("top 1", "top 10", "top 100", "beyond"),
}


class Passage(Struct, eq=False):
    """A text and its prompt; it may grow at its end."""

    prompt: str
    text: str = ""
    title: str = ""  # above it, if there are several
    finished: bool = False
    cut: bool = False  # it could have gone on
    odds: list[TokenOdds] = field(default_factory=list)  # of the tokens of ``text``, if known
    hint: bool = False  # no text of a model, but a word on why there is none
    _ends: array[int] = field(default_factory=lambda: array("q"))  # of the tokens, in ``text``

    @property
    def whole(self) -> str:
        return self.prompt + self.text

    def token_at(self, index: int) -> int | None:
        """Return the number of the token that has a character of ``text``, if it is known."""
        while len(self._ends) < len(self.odds):
            before = self._ends[-1] if self._ends else 0
            self._ends.append(before + self.odds[len(self._ends)].length)
        token = bisect_right(self._ends, index)
        return token if index >= 0 and token < len(self.odds) else None

    def forget_odds(self) -> None:
        self.odds, self._ends = [], array("q")


class _Column(Struct):
    passage: Passage
    lines: Wrapped
    fed: int = 0  # characters of the passage's text
    finished: bool = False

    @classmethod
    def of(cls, passage: Passage, width: int) -> _Column:
        lines = Wrapped(width)
        lines.add(passage.prompt)
        return cls(passage, lines)

    def feed(self) -> tuple[int, int] | None:
        """Lay out what is new; return the range of lines that have changed."""
        text, finished = self.passage.text, self.passage.finished
        if len(text) == self.fed and finished == self.finished:
            return None
        first = self.lines.add(text[self.fed :])
        self.fed = len(text)
        if finished and not self.finished:
            self.finished = True
            first = min(first, self.lines.finish())
        return first, len(self.lines.lines)


class TextView(Widget):
    """Shows passages, and scrolls in them."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "text--prompt",
        "text--text",
        "text--hint",
        "text--title",
        "text--caret",
        "text--bar",
        "text--thumb",
        "text--cursor",
        *(f"text--band-{number}" for number in range(4)),
    }

    DEFAULT_CSS = """
    TextView {
        height: 1fr;

        & > .text--prompt { color: $foreground; text-style: bold; }
        & > .text--text { color: $foreground; }
        & > .text--hint { color: $foreground 70%; }
        & > .text--title { color: $text-primary; }
        & > .text--caret { color: $foreground; }
        & > .text--bar { color: $foreground 20%; }
        & > .text--thumb { color: $primary; }
        & > .text--cursor { text-style: reverse; }
        /* from expected to surprising, as in GLTR */
        & > .text--band-0 { background: $success-muted; color: $text-success; }
        & > .text--band-1 { background: $warning-muted; color: $text-warning; }
        & > .text--band-2 { background: $error-muted; color: $text-error; }
        & > .text--band-3 { background: $secondary-muted; color: $text-secondary; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.passages: list[Passage] = []
        self.top = 0  # the first line shown
        self.follow = False  # the end of a text that grows
        self._scrolled = False
        self.shading: Shading = "off"
        self.cursor: tuple[int, int] | None = None  # passage and token
        self._columns: list[_Column] = []
        self._laid_out: tuple[Size, list[int]] | None = None  # for which size and passages
        self._across = 1  # texts beside each other

    # -- what is shown ---------------------------------------------------------------------------

    def show(self, passages: Sequence[Passage], at_end: bool = False) -> None:
        """Show passages from their beginning, or at their end and follow it."""
        self.passages = list(passages)
        self.cursor = None
        self.follow, self.top, self._scrolled = at_end, 0, False
        self._laid_out = None
        self.update_text()

    def update_text(self) -> None:
        """Show what was added to the passages."""
        if not self.size:
            return
        if self._is_stale():
            self._lay_out()
            self.refresh()
            return
        changed = [column.feed() for column in self._columns]
        if not any(changed):
            return
        before = self.top
        if self.follow:
            self.top = self.last_top
        if before != self.top:
            self.refresh()
            return
        tops = self._tops()
        touched: set[int] = set()
        for number, lines in enumerate(changed):
            if lines:
                begin = tops[number // self._across] + self._heading - self.top
                touched.update(range(max(0, begin + lines[0]), min(self.rows, begin + lines[1])))
        if len(tops) > 1:
            self.refresh()  # a text moves those below it
        elif touched:
            # the scrollbar's rows all change with the length of the text
            whole = self.total > self.rows
            first, last = (0, self.rows) if whole else (min(touched), max(touched) + 1)
            self.refresh(Region(0, first, self.size.width, last - first))

    def cycle_shading(self) -> Shading:
        self.shading = SHADINGS[(SHADINGS.index(self.shading) + 1) % len(SHADINGS)]
        self.cursor = None
        self._keep_in_reach()
        self.refresh()
        return self.shading

    @property
    def shaded(self) -> bool:
        return self.shading != "off"

    @property
    def has_odds(self) -> bool:
        return any(one.odds for one in self.passages)

    @property
    def is_read(self) -> bool:
        """Whether somebody has scrolled to a place of their own."""
        return self._scrolled and self.top < self.last_top

    @property
    def rows(self) -> int:
        """The rows for text; one is the legend's while characters are shaded."""
        return max(0, self.size.height - self.shaded)

    @property
    def total(self) -> int:
        """The lines of all passages."""
        heights = self._heights()
        return sum(heights) + max(0, len(heights) - 1)

    @property
    def last_top(self) -> int:
        return max(0, self.total - self.rows)

    @property
    def _heading(self) -> int:
        return int(len(self.passages) > 1)

    def _is_stale(self) -> bool:
        return self._laid_out != (self.size, [id(one) for one in self.passages])

    def _lay_out(self) -> None:
        room, count = self.size.width - GUTTER, max(1, len(self.passages))
        fits = (room + len(SEPARATOR)) // (NARROWEST + len(SEPARATOR))
        self._across = max(1, min(count, fits))
        width = (room - (self._across - 1) * len(SEPARATOR)) // self._across
        known = {id(one.passage): one for one in self._columns if one.lines.width == max(2, width)}
        first = self._first_character()
        self._columns = [known.get(id(one)) or _Column.of(one, width) for one in self.passages]
        for column in self._columns:
            column.feed()
        self._laid_out = self.size, [id(one) for one in self.passages]
        if self.follow:
            self.top = self.last_top
        elif first is not None and self._columns and not self._heading:
            self.top = self._columns[0].lines.line_at(first)  # it stays when the width changes
        self._keep_in_reach()

    def _first_character(self) -> int | None:
        """Return the index of the first character shown, of a single text."""
        same = len(self._columns) == 1 and [self._columns[0].passage] == self.passages
        starts = self._columns[0].lines.starts if same else array("q")
        return starts[self.top] if 0 < self.top < len(starts) else None

    def _keep_in_reach(self) -> None:
        self.top = max(0, min(self.top, self.last_top))

    def _heights(self) -> list[int]:
        """Return the lines of each row of passages."""
        return [
            self._heading
            + max(len(one.lines.lines) for one in self._columns[first : first + self._across])
            for first in range(0, len(self._columns), self._across)
        ]

    def _tops(self) -> list[int]:
        """Return the line where each row of passages begins."""
        tops, top = [], 0
        for height in self._heights():
            tops.append(top)
            top += height + 1
        return tops

    # -- scrolling -------------------------------------------------------------------------------

    def scroll_lines(self, by: int) -> None:
        self._move_to(self.top + by)

    def scroll_pages(self, by: int) -> None:
        self._move_to(self.top + by * max(1, self.rows - 1))

    def scroll_to_end(self) -> None:
        self._move_to(self.last_top)

    def scroll_to_start(self) -> None:
        self._move_to(0)

    def _move_to(self, top: int) -> None:
        before, self.top = self.top, top
        self._keep_in_reach()
        self.follow, self._scrolled = self.top >= self.last_top, True
        if self.top != before:
            self.refresh()

    def _on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.scroll_lines(-WHEEL_LINES)

    def _on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.scroll_lines(WHEEL_LINES)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.x == self.size.width - 1 and self.rows > 1 and self.total > self.rows:
            event.stop()
            self._move_to(round(event.y / (self.rows - 1) * self.last_top))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The token under the pointer."""
        if self.shaded:
            found = self._token_under(event.x, event.y)
            if found and found != self.cursor:
                self.cursor = found
                self.refresh()

    # -- the cursor ------------------------------------------------------------------------------

    def move_cursor(self, by: int) -> None:
        """Move to another token, at first to that at the beginning of what is shown."""
        number, token = self.cursor or (self._first_with_odds(), None)
        if number is None:
            return
        odds = self.passages[number].odds
        token = 0 if token is None else max(0, min(len(odds) - 1, token + by))
        self.cursor = number, token
        self._show_cursor()
        self.refresh()

    def move_cursor_down(self, by: int) -> None:
        """Move to the token some lines further down."""
        if self.cursor is None:
            self.move_cursor(0)
            return
        number, token = self.cursor
        passage, lines = self.passages[number], self._columns[number].lines
        index = self._index_of(passage, token)
        line = lines.line_at(index)
        goal = max(0, min(len(lines.lines) - 1, line + by))
        index += lines.starts[goal] - lines.starts[line]
        found = passage.token_at(min(index, len(passage.whole) - 1) - len(passage.prompt))
        if found is not None:
            self.cursor = number, found
            self._show_cursor()
            self.refresh()

    @property
    def odds(self) -> TokenOdds | None:
        """Those of the token at the cursor."""
        if self.cursor is None:
            return None
        number, token = self.cursor
        return self.passages[number].odds[token]

    def _first_with_odds(self) -> int | None:
        return next((number for number, one in enumerate(self.passages) if one.odds), None)

    def _index_of(self, passage: Passage, token: int) -> int:
        """Return the index of a token's first character, in the whole text."""
        passage.token_at(len(passage.text))
        return len(passage.prompt) + (passage._ends[token - 1] if token else 0)

    def _show_cursor(self) -> None:
        assert self.cursor is not None
        number, token = self.cursor
        line = self._columns[number].lines.line_at(self._index_of(self.passages[number], token))
        line += self._tops()[number // self._across] + self._heading
        if not self.top <= line < self.top + self.rows:
            self._move_to(line - self.rows // 2)

    def _token_under(self, x: int, y: int) -> tuple[int, int] | None:
        for number, left, line in self._pieces(self.top + y):
            column = self._columns[number]
            if line is None or not left <= x < left + column.lines.width:
                continue
            for index, _, size in cells_of_line(column.lines.lines[line], column.lines.width):
                if left <= x < left + size:
                    at = column.lines.starts[line] + index - len(column.passage.prompt)
                    token = column.passage.token_at(at)
                    return None if token is None else (number, token)
                left += size
        return None

    # -- drawing ---------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """Return a row: the lines of the texts there, the scrollbar or the legend."""
        if self._is_stale():
            self._lay_out()
        width = self.size.width
        if y >= self.rows:
            legend = self._legend() if self.shaded and y == self.rows else []
            return Strip(legend).adjust_cell_length(width, self.rich_style)
        segments: list[Segment] = []
        column = 0
        for number, left, line in self._pieces(self.top + y):
            if left > column:
                gap = SEPARATOR if number % self._across else ""
                segments.append(Segment(gap.rjust(left - column), self._style("bar")))
            found = self._title(number) if line is None else self._line(number, line)
            segments += found
            column = left + Segment.get_line_length(found)
        strip = Strip(segments).adjust_cell_length(width - 1, self.rich_style)
        return Strip([*strip, self._scrollbar(y)])

    def _pieces(self, y: int) -> Iterable[tuple[int, int, int | None]]:
        """Yield passage, column and line of what stands in a line; None for its title."""
        tops = self._tops()
        row = bisect_right(tops, y) - 1
        first = row * self._across
        left = 0
        for number in range(first, min(first + self._across, len(self._columns))):
            lines = self._columns[number].lines
            line = y - tops[row] - self._heading
            if line < 0:
                yield number, left, None
            elif line < len(lines.lines):
                yield number, left, line
            left += lines.width + len(SEPARATOR)

    def _title(self, number: int) -> list[Segment]:
        column = self._columns[number]
        return [Segment(shortened(column.passage.title, column.lines.width), self._style("title"))]

    def _line(self, number: int, line: int) -> list[Segment]:
        column = self._columns[number]
        passage, lines = column.passage, column.lines
        cells = cells_of_line(lines.lines[line], lines.width)
        start = lines.starts[line] - len(passage.prompt)
        runs: list[tuple[str, str]] = []  # style, text
        chosen = self.cursor[1] if self.cursor and self.cursor[0] == number else None
        for index, shown, _ in cells:
            style = self._style_of(passage, start + index, chosen)
            if runs and runs[-1][0] == style:
                runs[-1] = style, runs[-1][1] + shown
            else:
                runs.append((style, shown))
        segments = [Segment(text, self._styles_of(style)) for style, text in runs]
        if line == len(lines.lines) - 1 and not passage.hint:
            if not passage.finished:
                segments.append(Segment(CARET, self._style("caret")))
            elif passage.cut:
                segments.append(Segment(ELLIPSIS, self._style("hint")))
        return segments

    def _style_of(self, passage: Passage, index: int, chosen: int | None) -> str:
        """Return the names of the styles of a character of the text."""
        if passage.hint:
            return "hint"
        if index < 0:
            return "prompt"
        if self.shading == "off":
            return "text"
        token = passage.token_at(index)
        if token is None:
            return "text"
        name = f"band-{band_of(passage.odds[token], self.shading)}"
        return f"{name} cursor" if token == chosen else name

    def _styles_of(self, names: str) -> Style:
        first, *others = names.split()
        style = self._style(first)
        return style + Style(reverse=True) if others else style

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"text--{name}")

    def _scrollbar(self, y: int) -> Segment:
        total, rows = self.total, self.rows
        if total <= rows:
            return Segment(" ", self.rich_style)
        size = max(1, rows * rows // total)
        begin = round((rows - size) * self.top / max(1, self.last_top))
        on = begin <= y < begin + size
        return Segment("┃" if on else "│", self._style("thumb" if on else "bar"))

    def _legend(self) -> list[Segment]:
        """Say what the colours mean, or how likely the token at the cursor was."""
        hint = self._style("hint")
        if self.odds:
            return [Segment(shortened(format_odds(self.odds), self.size.width), hint)]
        if not self.has_odds:
            key = key_in_force(self, "cockpit.sample")
            told = f"probabilities are known of texts that you sample while the app is open ({key})"
            return [Segment(shortened(told, self.size.width), hint)]
        segments = [Segment(f"{self.shading}  ", hint)]
        for number, name in enumerate(BANDS[self.shading]):
            segments += [Segment(f" {name} ", self._style(f"band-{number}")), Segment(" ", hint)]
        return segments

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.refresh()


def band_of(odds: TokenOdds, shading: Shading) -> int:
    """Return which band a token belongs to, 0 for the most likely ones."""
    if shading == "rank":
        return sum(odds.rank > most for most in (1, 10, 100))
    return sum(odds.probability < least for least in (0.5, 0.1, 0.01))


def format_odds(odds: TokenOdds) -> str:
    """Say how likely a token was, and what else could have come."""
    others = " · ".join(f"{_quoted(text)} {_percent(p)}" for text, p in odds.alternatives)
    return f"{_percent(odds.probability)}, rank {odds.rank:,}   of: {others}"


def _quoted(token: str) -> str:
    shown = token.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")
    return straight(shown) if cells_of(shown) else repr(token)


def _percent(probability: float) -> str:
    if probability >= 0.1:
        return f"{probability:.0%}".replace("%", " %")
    return f"{probability:.1%}".replace("%", " %") if probability >= 0.001 else "< 0.1 %"
