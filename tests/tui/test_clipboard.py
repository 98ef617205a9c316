"""A text is copied to the clipboard of the machine that one sits at, whatever is in between."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from tui.terminal.clipboard import MOST_BYTES, copy


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TMUX", raising=False)
    monkeypatch.delenv("STY", raising=False)


def copied(text: str) -> str:
    written: list[str] = []
    assert copy(text, written.append)
    return "".join(written)


def test_a_text_is_sent_as_osc_52() -> None:
    sent = re.fullmatch(r"\x1b\]52;c;([\w+/=]*)\x07", copied("ü\x1b]0;title\x07"))
    assert sent
    assert base64.b64decode(sent[1]).decode() == "ü\x1b]0;title\x07"


def test_gnu_screen_passes_it_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STY", "1.pts")
    pieces = re.findall(r"\x1bP(.{1,500}?)\x1b\\", copied("long " * 400), re.DOTALL)
    assert base64.b64decode("".join(pieces)[7:-1]).decode() == "long " * 400


@pytest.mark.parametrize("works", [True, False])
def test_tmux_is_given_it_by_its_own_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    tmux = tmp_path / "tmux"
    tmux.write_text(
        f'#!/bin/sh\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/body\nexit {int(not works)}\n'
    )
    tmux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("TMUX", "/tmp/socket,1,0")
    assert bool(copied("text")) is not works  # else as without tmux
    assert (tmp_path / "words").read_text() == "load-buffer -w -\n"
    assert (tmp_path / "body").read_text() == "text"


def test_too_much_is_refused() -> None:
    assert not copy("x" * (MOST_BYTES + 1), lambda text: None)
