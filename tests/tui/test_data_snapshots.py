"""What the views of the data screen look like, with a text that is always the same."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from data.batches import split_tokens
from data.corpora.corpus import Corpus, MemoryText
from data.download import Watcher
from data.prepared.store import Prepared
from data.prepared.texts import KnownText
from data.tokenizers import CharTokenizer
from engine.config.schema import Config
from tests.tui.test_snapshots import PAUSED, Prepare, Snap, StillApp, still
from tui.control.text_look import TextLook, counted, described
from tui.screens.data import DataScreen

__all__ = ["still"]  # a fixture

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
VERSES = (
    "KING RICHARD:\nDown, down I come; like glistering Phaethon,\nWanting the manage.\n\n" * 200
)


def verses() -> TextLook:
    text = VERSES
    reader = MemoryText("richard.txt", text)
    corpus = Corpus("richard.txt", len(text), len(text), 1, "", "richard.txt", (reader,))
    tokenizer = CharTokenizer.train(text)
    split = split_tokens(tokenizer.encode(text))
    read = counted(TextLook(corpus, tokenizer, split.train, split.val), Watcher())
    return described(read, Config(), Watcher())


def known() -> list[KnownText]:
    """Texts as on a machine on which one is not here and one has tokens."""
    tokens = Prepared("notes", "", 90_000, "bpe", "", 31_000, "<u2", "", 0)
    return [
        KnownText("tinyshakespeare", "Shakespeare's plays", "public domain", 1_115_394, True, ()),
        KnownText("enwik8", "100 MB of Wikipedia", "CC BY-SA 3.0", 36_445_475, False, ()),
        KnownText("counting", "toy task: numbers", "CC0-1.0", 0, True, ()),
        KnownText("notes", "", "", 0, False, (tokens,)),
    ]


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The screen has read its text."""

    def take(screen: DataScreen) -> None:
        screen.text, screen._doing = verses(), ""

    monkeypatch.setattr(DataScreen, "_read", take)
    monkeypatch.setattr(Prepared, "size", 62_000)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", "12345", ids=["text", "tokens", "batch", "try", "texts"])
def test_view(snap_compare: Snap, monkeypatch: pytest.MonkeyPatch, keys: str, size: str) -> None:
    monkeypatch.setattr("tui.screens.data_texts.known_texts", known)
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES[size], run_before=show(keys))


def test_light(snap_compare: Snap) -> None:
    prepare = show("2", "right", theme="textual-light")
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=prepare)


def show(*keys: str, theme: str = "") -> Prepare:
    async def prepare(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, StillApp)
        if theme:
            app.theme = theme
        app.push_screen(DataScreen(app.control))
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()

    return prepare
