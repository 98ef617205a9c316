"""Lines of a growing text hold all of it, never move, and are as wide as in a terminal."""

from __future__ import annotations

import time
import unicodedata

import pyte
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.terminal.cells import cells_of, shortened, straight
from tui.text.wrapping import Wrapped, cells_of_line

UNUSUAL = st.sampled_from(
    [
        *"a b\n\t-日本語한글　",
        "e\u0301",  # combining
        "\u0301",
        "שלום",
        "مرحبا",
        "\u200f",
        "👩\u200d👧",
        "👍🏽",
        "🇩🇪",
        "❤\ufe0f",
        "नमस्ते",
        "\u1161",  # a Hangul vowel that joins
        "\x1b[31m",
        "\x9b",
        "\r",
        "\xad",
        "\ufeff",
        "\ud800",
        "\U0001fae8",  # newer than some terminals
        "\u0378",  # not assigned
        "word",
        "unquestionably-long-word-without-end",
    ]
)
TEXTS = st.one_of(
    st.lists(UNUSUAL, max_size=60).map("".join),
    st.text(st.characters(), max_size=200),
)
WIDTHS = st.integers(2, 60)


def lines_of(text: str, width: int) -> list[str]:
    wrapped = Wrapped(width)
    wrapped.add(text)
    wrapped.finish()
    return ["".join(shown for _, shown, _ in cells_of_line(one, width)) for one in wrapped.lines]


def column_after(line: str, width: int) -> int:
    """Where the cursor of a terminal is after a line."""
    screen = pyte.Screen(width + 4, 3)
    stream = pyte.Stream(screen)
    for letter in line:  # pyte drops what follows a mark that it does not know as combining
        stream.feed(letter)
    assert screen.cursor.y == 0
    return int(screen.cursor.x)


@given(TEXTS, WIDTHS)
@example("\t\u0301", 2)
@example("\u200d\u0301a", 3)
@settings(max_examples=150, deadline=None)
def test_a_terminal_has_as_many_columns_for_a_line_as_we_have(text: str, width: int) -> None:
    wrapped = Wrapped(width)
    wrapped.add(text)
    wrapped.finish()
    for line in wrapped.lines:
        cells = cells_of_line(line, width)
        shown = "".join(one for _, one, _ in cells)
        columns = sum(size for _, _, size in cells)
        assert columns == cell_len(shown) == column_after(shown, width) <= width
        for one in shown:
            assert unicodedata.category(one) not in ("Cc", "Cf", "Cs") or one in ARABIC_SIGNS


ARABIC_SIGNS = [
    sign
    for sign in map(chr, range(0x600, 0x20000))
    if unicodedata.category(sign) == "Cf" and cell_len(sign) == 1
]


@given(TEXTS, WIDTHS, st.data())
@settings(max_examples=100, deadline=None)
def test_lines_hold_the_whole_text_and_never_move(
    text: str, width: int, data: st.DataObject
) -> None:
    whole, grown = Wrapped(width), Wrapped(width)
    whole.add(text)
    whole.finish()
    begin, before = 0, [""]
    while begin < len(text):
        end = data.draw(st.integers(begin + 1, len(text)))
        grown.add(text[begin:end])
        begin = end
        assert grown.length + grown.held == begin
        assert grown.lines[: len(before) - 1] == before[:-1]
        assert grown.lines[len(before) - 1].startswith(before[-1])
        before = list(grown.lines)
    grown.finish()
    assert (grown.lines, grown.starts) == (whole.lines, whole.starts)
    ends = [*whole.starts[1:], len(text)]
    for start, end, line in zip(whole.starts, ends, whole.lines, strict=True):
        assert text[start:end] in (line, line + "\n")
        assert start == end or whole.starts[whole.line_at(start)] == start


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("to be or not to be", 9, ["to be or ", "not to be"]),
        ("a\n\nb", 9, ["a", "", "b"]),
        ("aaaa bbbbbbbbbbbbbb", 10, ["aaaa ", "bbbbbbbbbb", "bbbb"]),  # longer than a line
        ("a   b", 3, ["a  ", "b"]),  # blanks hang over the edge
        ("日本語です", 5, ["日本", "語で", "す"]),
        ("a\tb", 8, ["a   b"]),
        ("e\u0301\u0301\u0301\u0301\u0301\u0301x", 8, ["e\u0301\u0301\u0301\u0301x"]),
        ("\u0301x", 8, ["◌\u0301x"]),
        ("🇩🇪 👍🏽 👩\u200d👧 ❤\ufe0f", 20, ["DE 👍 👩👧 ❤"]),
        ("\x1b[2J\x9b\r\u202e!", 20, ["␛[2J�␍�!"]),
    ],
)
def test_how_a_text_is_broken_into_lines(text: str, width: int, lines: list[str]) -> None:
    assert lines_of(text, width) == lines


def test_a_word_near_the_edge_waits_until_it_is_known_where_it_goes() -> None:
    wrapped = Wrapped(20)
    wrapped.add("what will move wai")
    assert (wrapped.lines, wrapped.held) == (["what will move "], 3)
    wrapped.add("t")
    wrapped.add("ing")
    assert (wrapped.lines, wrapped.held) == (["what will move ", "waiting"], 0)
    wrapped.add(" he")
    wrapped.finish()
    assert wrapped.lines[-1] == "waiting he"


@pytest.mark.parametrize(
    "kind", ["word " * 20_000, "x" * 100_000, " " * 100_000, "\u0301" * 100_000, "日本" * 50_000]
)
def test_adding_takes_time_for_what_is_added_alone(kind: str) -> None:
    wrapped, begun = Wrapped(80), time.process_time()
    for begin in range(0, len(kind), 50):
        wrapped.add(kind[begin : begin + 50])
    assert time.process_time() - begun < 2  # some 0.1 s; quadratic it would be minutes
    assert sum(map(len, wrapped.lines)) + wrapped.held == len(kind)


@given(st.text(max_size=30), st.integers(0, 20))
@settings(max_examples=100, deadline=None)
def test_what_is_cut_ends_in_an_ellipsis(text: str, width: int) -> None:
    short = shortened(text, width)
    assert cell_len(short) <= width
    assert short == straight(text) if cells_of(text) <= width else short.endswith("…"[:width])
