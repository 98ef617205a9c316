"""Bytes from a terminal that are no UTF-8, or no text at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
