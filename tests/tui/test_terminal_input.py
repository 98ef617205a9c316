"""Bytes from a terminal that are no UTF-8, or no text at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual._xterm_parser import XTermParser

from tui.terminal.input import TerminalDecoder


def decoded(*chunks: bytes) -> str:
    decoder = TerminalDecoder()
    return "".join(decoder.decode(chunk) for chunk in chunks) + decoder.decode(b"", final=True)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "caf\ufffd"),
        (b"\xff", "\ufffd"),
        (b"\x1b[M \xa0!", ""),
        (b"a\x1b[M#\xf0\xf1b", "ab"),
        (b"\x1b[<0;160;1M", "\x1b[<0;160;1M"),  # SGR reports are left to Textual
        (b"\x1b[A", "\x1b[A"),
    ],
)
def test_what_is_sent_is_replaced_or_dropped(sent: bytes, text: str) -> None:
    assert decoded(sent) == text
    # a report that is cut after its CSI M (before it, an escape key is waited for by nobody)
    head = sent.find(b"\x1b[M") + 3 if b"\x1b[M" in sent else 0
    assert decoded(sent[:head], *(sent[n : n + 1] for n in range(head, len(sent)))) == text


@pytest.mark.parametrize(
    ("answer", "color"),
    [
        (b"\x1b]11;rgb:fdfd/f6f6/e3e3\x1b\\", (0xFD, 0xF6, 0xE3)),
        (b"\x1b]11;rgb:00/2b/36\x07", (0, 0x2B, 0x36)),
        (b"\x1b]11;rgba:ffff/ffff/ffff/8000\x07", (255, 255, 255)),
        (b"\x1b]11;unknown\x07", None),
    ],
)
def test_the_answer_about_the_background_is_no_key(
    answer: bytes, color: tuple[int, int, int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, int]] = []
    monkeypatch.setattr(
        TerminalDecoder, "on_background", staticmethod(lambda *levels: told.append(levels))
    )
    for cut in range(2, len(answer)):  # after ESC alone, an escape key is waited for by nobody
        assert decoded(b"a" + answer[:cut], answer[cut:] + b"b") == "ab"
    assert set(told) == ({color} if color else set())


@given(st.text().filter(lambda text: "\x1b" not in text), st.integers(1, 5))
def test_text_passes_unchanged_wherever_it_is_cut(text: str, size: int) -> None:
    sent = text.encode()
    assert decoded(*(sent[n : n + size] for n in range(0, len(sent), size))) == text


@given(st.lists(st.binary()))
def test_no_bytes_are_refused(chunks: list[bytes]) -> None:
    decoded(*chunks)


@pytest.mark.parametrize(
    ("pasted", "text"),
    [
        (b"A\x1b[31mB", "A\u241b[31mB"),
        (b"\x1a\x03\x00\x7f", "\u241a\u2403\u2400\u2421"),
        ("\x9b31m".encode(), "\ufffd31m"),
        ("a\tb\r\nc\n שלום\u200f".encode(), "a\tb\r\nc\n שלום\u200f"),
        (b"\x1b[M !!\x1b]11;rgb:00/00/00\x07", "\u241b[M !!\u241b]11;rgb:00/00/00\u2407"),
        (b"\x1b[200~", "\u241b[200~"),
        (b"\x1b", "\u241b"),
        (b"\x1b[20", "\u241b[20"),
        (b"caf\xc3", "caf\ufffd"),
        (b"", ""),
    ],
)
def test_a_paste_is_only_text(pasted: bytes, text: str) -> None:
    sent = b"a\x1b[200~" + pasted + b"\x1b[201~b"
    for size in (1, 2, 3, 5, 7, len(sent)):
        chunks = [sent[n : n + size] for n in range(0, len(sent), size)]
        assert decoded(*chunks) == f"a\x1b[200~{text}\x1b[201~b"


@given(
    st.binary() | st.lists(st.sampled_from([b"\x1b", b"[", b"[20", b"A", b"\x1a"])).map(b"".join),
    st.integers(1, 9),
)
def test_textual_takes_any_bytes_of_a_paste_for_one_paste(pasted: bytes, size: int) -> None:
    pasted = pasted.replace(b"\x1b[201~", b"")
    sent = b"a\x1b[200~" + pasted + b"\x1b[201~b\x1b[A"
    decoder, parser = TerminalDecoder(), XTermParser()
    told = [
        event
        for n in range(0, len(sent), size)
        if (text := decoder.decode(sent[n : n + size]))
        for event in parser.feed(text)
    ]
    assert [type(one) for one in told] == [events.Key, events.Paste, events.Key, events.Key]
    assert [one.key for one in told if isinstance(one, events.Key)] == ["a", "b", "up"]


def test_the_end_of_a_paste_is_no_escape_key_if_it_is_cut() -> None:
    decoder = TerminalDecoder()
    assert decoder.decode(b"\x1b[200~a\x1b") == "\x1b[200~a"
    assert decoder.decode(b"[201~") == "\x1b[201~"


def test_an_escape_key_is_not_held_back() -> None:
    assert TerminalDecoder().decode(b"\x1b") == "\x1b"
