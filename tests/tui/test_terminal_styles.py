"""What the terminal is told of styles: the same picture, in fewer bytes."""

from __future__ import annotations

from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from tui.terminal.styles import without_repetition

COLUMNS, ROWS = 12, 4
SHOWN_ON_BLANKS = ("bg", "underscore", "strikethrough", "reverse", "blink")
COLORS = st.one_of(
    st.none(),
    st.integers(0, 255).map(Color.from_ansi),
    st.tuples(*[st.integers(0, 255)] * 3).map(lambda one: Color.from_rgb(*one)),
    st.sampled_from([Color.parse("default"), Color.parse("bright_red"), Color.parse("blue")]),
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["bold", "dim", "italic", "underline", "reverse", "strike", "blink"]),
    st.just(True),
    max_size=2,
)
STYLES = st.builds(
    lambda front, behind, attributes: Style(color=front, bgcolor=behind, **attributes),
    COLORS, COLORS, ATTRIBUTES,
)  # fmt: skip
PLACES = st.builds("\x1b[{};{}H".format, st.integers(1, ROWS), st.integers(1, COLUMNS))
TEXTS = st.text("ab ", max_size=6) | st.just("   ")


def cells(written: str) -> list[list[Any]]:
    """Return what an emulated terminal shows of each cell."""
    screen = pyte.Screen(COLUMNS, ROWS)
    pyte.Stream(screen).feed(written)
    return shown_by(screen)


def shown_by(screen: pyte.Screen) -> list[list[Any]]:
    """Return what can be seen of each cell."""
    rows = []
    for row in range(ROWS):
        seen = [screen.buffer[row][column] for column in range(COLUMNS)]
        rows.append(
            [
                one if one.data != " " else [getattr(one, name) for name in SHOWN_ON_BLANKS]
                for one in seen
            ]
        )
    return rows


def rendered(pieces: list[tuple[str, Style, str]]) -> str:
    """Return what Textual writes: each piece with its whole style, which it then takes back."""
    return "".join(place + style.render(text) for place, style, text in pieces)


@settings(max_examples=300)
@given(st.lists(st.tuples(PLACES | st.just(""), STYLES, TEXTS), max_size=12))
def test_the_picture_stays(pieces: list[tuple[str, Style, str]]) -> None:
    written = rendered(pieces)
    shorter = without_repetition(written)
    assert cells(shorter) == cells(written)
    assert len(shorter) <= len(written)
    # what follows has the terminal's own style, as before
    assert cells(f"{shorter}\x1b[HZ") == cells(f"{written}\x1b[HZ")


def test_a_style_is_told_once() -> None:
    red = Style.parse("red on #121212")
    written = rendered([("", red, "a"), ("", red, "b"), ("", Style(bgcolor=red.bgcolor), "  ")])
    assert without_repetition(written) == "\x1b[31;48;2;18;18;18mab  \x1b[0m"


def test_what_ends_is_told() -> None:
    bold, plain = Style.parse("bold red"), Style.parse("red")
    written = rendered([("", bold, "a"), ("", plain, "b")])
    assert without_repetition(written) == "\x1b[1;31ma\x1b[0;31mb\x1b[0m"


def test_underlined_blanks_are_drawn_as_such() -> None:
    written = rendered([("", Style.parse("red"), "a"), ("", Style.parse("blue underline"), "  ")])
    assert cells(without_repetition(written)) == cells(written)
    assert "4" in without_repetition(written)


@pytest.mark.parametrize("sequence", ["\x1b]22;default\x07", "\x1b[?2026h", "\x1b[6n", "\x1b[2J"])
def test_other_sequences_are_not_touched(sequence: str) -> None:
    assert without_repetition(sequence) == sequence


def test_a_row_of_a_chart_is_a_third_as_long() -> None:
    dots = [Segment("⠒" if i % 7 else " ", Style.parse("#3c6687 on #121212")) for i in range(80)]
    console = Console(width=80, color_system="truecolor", force_terminal=True)
    with console.capture() as capture:
        console.print(Segments(dots), end="")
    written = capture.get()
    assert len(without_repetition(written).encode()) < len(written.encode()) / 3
