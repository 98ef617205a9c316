"""What the terminal is told of the cells: the same picture, without those it shows already."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from tests.tui.test_terminal_styles import COLUMNS, ROWS, shown_by
from tui.terminal.shown import Changes, ShownCells

CONSOLE = Console(width=COLUMNS, height=ROWS, color_system="truecolor", force_terminal=True)
NO_WRAPPING = "\x1b[?7l"
# few, so that most of what is painted is shown already
STYLES = [Style.parse(one) for one in ("red", "red on #121212", "bold", "underline", "on blue")]
LETTERS = st.sampled_from(["a", "b", " ", " ", "é", "⠒", "漢", "e\u0301", "\U0001f600"])
SEGMENTS = st.builds(
    lambda letters, style: Segment("".join(letters), style),
    st.lists(LETTERS, min_size=1, max_size=5),
    st.sampled_from(STYLES),
)


@st.composite
def rows(draw: st.DrawFn) -> dict[int, Strip]:
    """Return a row in pieces that begin at some columns and fill it."""
    cuts = sorted(draw(st.sets(st.integers(1, COLUMNS - 1), max_size=3)) | {0, COLUMNS})
    return {
        first: Strip(draw(st.lists(SEGMENTS, max_size=3))).adjust_cell_length(end - first)
        for first, end in pairwise(cuts)
    }


@st.composite
def updates(draw: st.DrawFn) -> LayoutUpdate | ChopsUpdate:
    """Return an update of the whole screen, or of some columns of some of its rows."""
    lines = [draw(rows()) for _ in range(ROWS)]
    if draw(st.booleans()):
        return LayoutUpdate([list(line.values()) for line in lines], Region(0, 0, COLUMNS, ROWS))
    changed = sorted(draw(st.sets(st.integers(0, ROWS - 1), min_size=1)))
    firsts = [draw(st.integers(0, COLUMNS - 1)) for _ in changed]
    spans = [
        (y, x, draw(st.integers(x + 1, COLUMNS))) for y, x in zip(changed, firsts, strict=True)
    ]
    ends = [[*list(line)[1:], COLUMNS] for line in lines]
    return ChopsUpdate(lines, spans, ends)


@settings(max_examples=100)
@given(st.lists(updates(), min_size=1, max_size=5))
def test_the_picture_is_that_of_the_updates(painted: list[LayoutUpdate | ChopsUpdate]) -> None:
    textuals, ours = pyte.Screen(COLUMNS, ROWS), pyte.Screen(COLUMNS, ROWS)
    for screen in (textuals, ours):
        pyte.Stream(screen).feed(NO_WRAPPING)  # as Textual has it
    shown = ShownCells()
    for update in painted:
        whole = update.render_segments(CONSOLE)
        changes = Changes(update, shown).render_segments(CONSOLE)
        pyte.Stream(textuals).feed(whole)
        pyte.Stream(ours).feed(changes)
        assert shown_by(ours) == shown_by(textuals)
        assert Changes(update, shown).render_segments(CONSOLE) == ""


def layout(*lines: str) -> LayoutUpdate:
    strips: list[Iterable[Strip]] = [[Strip([Segment(line, STYLES[1])])] for line in lines]
    return LayoutUpdate(strips, Region(0, 0, len(lines[0]), len(lines)))


def test_only_the_cells_that_differ_are_written() -> None:
    shown = ShownCells()
    Changes(layout("step 119 of 2,000", "loss 2.10"), shown).render_segments(CONSOLE)
    changes = Changes(layout("step 120 of 2,000", "loss 2.10"), shown).render_segments(CONSOLE)
    assert changes == "\x1b[1;7H\x1b[31;48;2;18;18;18m20\x1b[0m"


def test_a_small_gap_is_written_again_because_passing_over_it_takes_as_much() -> None:
    shown = ShownCells()
    Changes(layout("a.b." + "." * 20 + "c"), shown).render_segments(CONSOLE)
    changes = Changes(layout("A.B." + "." * 20 + "C"), shown).render_segments(CONSOLE)
    assert changes.count("H") == 2
    assert "A.B" in changes


def test_what_is_forgotten_is_written_again() -> None:
    shown = ShownCells()
    first = Changes(layout("loss 2.10"), shown).render_segments(CONSOLE)
    shown.forget()
    assert Changes(layout("loss 2.10"), shown).render_segments(CONSOLE) == first
