"""The data screen with the real engine: what it shows is what the run reads and learns."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.batches import take_windows, train_offsets
from data.corpora.corpus import Corpus
from data.download import Watcher
from data.tokenizers import CharTokenizer
from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.runs.text import read_text
from tests.tui.conftest import PATIENCE, Open, Person
from tui.control.text_look import TextLook
from tui.corpus.facts import Facts, draw_facts, judged
from tui.screens.data import DataScreen
from tui.screens.data_views import BatchView, TextView, TokensView
from tui.screens.jobs import Job, Jobs
from tui.widgets.picture_view import PictureView


async def look(person: Person, *keys: str) -> DataScreen:
    """Open the screen, wait until all is read, and press keys."""
    await person.press("D")
    await person.until(lambda: person.shows(DataScreen), "the screen")
    screen = person.app.screen
    assert isinstance(screen, DataScreen)
    await until_read(person, screen)
    await person.press(*keys)
    return screen


async def until_read(person: Person, screen: DataScreen) -> None:
    await person.until(
        lambda: screen._problem or (screen.text and screen.text.described), "what is in the text"
    )


def seen(screen: DataScreen) -> str:
    rows = screen.query_one(PictureView).picture.rows
    return "\n".join("".join(text for text, _ in row) for row in rows)


def text_of(screen: DataScreen) -> TextLook:
    assert screen.text is not None
    return screen.text


async def test_before_a_run_it_shows_the_text_of_the_next_one(
    open_app: Open, small_text: str, config: Config
) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        told = seen(screen)
        assert "next run" in told and f"{len(small_text):,} characters" in told
        assert f"{len(set(small_text))} (char)" in told
        assert small_text.splitlines()[0][:40] in told
        tokens = len(text_of(screen).train)
        train = config.train
        epochs = train.max_steps * train.batch_size * config.model.block_size / tokens
        assert text_of(screen).facts(screen.config).epochs == pytest.approx(epochs)
        assert "The run sees the text" in told
        await person.press("escape")
        assert person.app.screen is person.cockpit


async def test_pages_go_through_all_of_the_text_and_back(open_app: Open, small_text: str) -> None:
    async with open_app(size=(80, 24)) as person:
        screen = await look(person)
        view = screen.view
        assert isinstance(view, TextView)
        read = ""
        for _ in range(10_000):
            at = view.at
            await person.press("pagedown")
            if view.at == at:
                break
            read += "".join(text_of(screen).read(at, view.at))
            if len(read) > 3000:
                break
        assert read == small_text[: len(read)] and len(read) > 1000
        await person.press("end")
        assert view._after == text_of(screen).total
        await person.press("down")
        assert view._after == text_of(screen).total
        await person.press("home", "up")
        assert view.at == 0


async def test_a_long_search_leaves_the_keys_their_turn(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.control.text_look.SEARCHED_AT_ONCE", 50)
    monkeypatch.setattr("tui.control.text_look.REPORT_SECONDS", 3600.0)
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        told: list[str] = []
        assert text_of(screen).search("no such words", 0, Watcher(told.append)) is None
        assert told == ["searching: 0%"]

        said: list[str] = []
        screen.jobs = Jobs(screen, said.append)
        begun, go_on, over = threading.Event(), threading.Event(), threading.Event()

        def work(job: Job) -> None:
            begun.set()
            go_on.wait(PATIENCE)
            for number in range(999):
                job.watcher.report(f"line {number}")
            over.set()

        screen.jobs.begin("long", work, lambda error: None)
        await person.until(begun.is_set, "the thread")
        go_on.set()
        assert over.wait(PATIENCE)  # the screen is busy so long
        await person.until(lambda: said and not said[-1], "the end")
        assert len(said) == 2 and said[0].startswith("line 998")


async def test_words_are_searched_for_and_found_again(open_app: Open, small_text: str) -> None:
    words = small_text[len(small_text) // 2 :].split()[1]
    async with open_app(size=(80, 24)) as person:
        screen = await look(person, "slash", *words.upper(), "enter")
        view = screen.view
        assert isinstance(view, TextView)
        await person.until(lambda: view.match, "a match")
        first = view.match
        assert first.start == small_text.lower().index(words.lower())
        assert "".join(text_of(screen).read(first.start, first.stop)).lower() == words.lower()
        await person.press("n")
        again = small_text.lower().find(words.lower(), first.start + 1)
        expected = again if again >= 0 else first.start
        await person.until(lambda: view.match.start == expected, "the next one")
        await person.press("slash", *"zzqqzz", "enter")
        await person.until(lambda: "'zzqqzz' is not in the text" in person.told(), "that it is not")


async def test_tokens_are_told_apart_and_the_one_at_the_cursor_is_named(
    open_app: Open, small_text: str
) -> None:
    async with open_app({"data.tokenizer": "bytes"}, size=(120, 40)) as person:
        screen = await look(person, "2", "right", "right", "right")
        view = screen.view
        assert isinstance(view, TokensView) and view.cursor == 3
        byte = small_text.encode()[3]
        assert f"id {byte}" in seen(screen) and f"bytes {byte:02X}" in seen(screen)
        count = small_text.encode().count(bytes((byte,)))
        assert f"occurs {count:,} time" in seen(screen)
        rows = screen.picture.picture.rows
        styles = [style for row in rows for _, style in row if style.startswith("apart")]
        assert styles[:3] == ["apart 0", "apart 1", "apart 0"] and "cursor" in styles[3]
        assert "length of tokens in bytes" in seen(screen) and "100.00%" in seen(screen)


async def test_a_batch_is_the_one_that_the_trainer_takes(open_app: Open, config: Config) -> None:
    async with open_app(size=(120, 40)) as person:
        step = await person.start_and_pause()
        screen = await look(person, "3")
        assert screen.run_path == person.run and f"step {step:,}, the present one" in seen(screen)
        view = screen.view
        assert isinstance(view, BatchView)
        await person.press("down", "right")
        assert (view.shown_step, view.row) == (step + 1, 1)
        _, _, split = read_text(config.data, Watcher())
        T, B = config.model.block_size, config.train.batch_size
        seed = config.train.seed
        offsets = train_offsets(len(split.train), T, B, seed=seed, step=step + 1)
        ((offset, tokens),) = text_of(screen).windows(screen.config, step + 1, range(1, 2))
        (ids,) = take_windows(split.train, offsets[1:2], T + 1)
        assert offset == offsets[1]
        assert tokens == [text_of(screen).tokenizer.token_text(int(one)) for one in ids]
        assert f"row 2 of {B} · from token {offset:,}" in seen(screen)
        inputs, targets = (
            next(line for line in seen(screen).splitlines() if line.startswith(f" {label}"))
            for label in ("input", "target")
        )
        assert inputs[9 : 8 + T] == targets[8 : 7 + T]  # each target is the input after
        await person.press("n")
        assert view.shown_step == person.status.step


async def test_another_text_is_looked_at_and_taken_for_the_next_run(
    open_app: Open, tmp_path: Path
) -> None:
    other = tmp_path / ("a long name of a folder " * 5) / "other.txt"
    other.parent.mkdir()
    other.write_text("green eggs and ham\n" * 200)
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        await person.press("o", *str(other), "enter")
        await person.until(lambda: screen.wanted, "that it is looked at")
        await until_read(person, screen)
        assert "green eggs and ham" in seen(screen) and "enter takes it for the" in seen(screen)
        assert person.app.control.draft.next_value("data.corpus") != str(other)
        await person.press("t", *"bytes", "enter")
        await until_read(person, screen)
        assert "256 (bytes)" in seen(screen)
        await person.press("enter")
        assert person.app.screen is person.cockpit
        draft = person.app.control.draft
        assert draft.next_value("data.corpus") == str(other)
        assert draft.next_value("data.tokenizer") == "bytes"
        screen = await look(person, "t", *"bpe 300", "enter")  # as a second one is typed, too
        await until_read(person, screen)
        assert "(bpe)" in seen(screen) and "bpe, 300" in seen(screen)


@pytest.mark.parametrize(
    "made", [None, b"", b"\x00\x01\xff\xfe\x7f" * 900], ids=["missing", "empty", "binary"]
)
async def test_a_text_that_cannot_be_read_is_a_sentence(
    open_app: Open, tmp_path: Path, made: bytes | None
) -> None:
    path = tmp_path / "bad.bin"
    if made is not None:
        path.write_bytes(made)
    async with open_app(size=(120, 40)) as person:
        screen = await look(person)
        await person.press("o", *str(path), "enter")
        await person.until(lambda: screen._problem, "what is wrong")
        assert "bad.bin" in seen(screen) and "o names another text" in seen(screen)
        assert "it cannot be read" in screen.why_not("take", ()) and "takes it" not in seen(screen)
        await person.press("3", "pagedown", "escape")  # back to its own text
        await until_read(person, screen)
        assert screen.wanted is None and not screen._problem
        await person.press("escape")
        assert person.app.screen is person.cockpit


@pytest.mark.parametrize("preset", ["fast", "nanogpt", "gpt-from-scratch"])
async def test_a_recipe_is_no_cause_for_alarm(preset: str) -> None:
    told = judged(of_preset(preset_config(preset)))
    assert [style for _, style in told] == ["dim", "dim"]


@pytest.mark.parametrize("max_steps", [20_000, 600_000])
async def test_far_out_is_told_as_such(max_steps: int) -> None:
    config = preset_config("nanogpt").replace({"train.max_steps": max_steps})
    ((_, usual), (sentence, style)) = judged(of_preset(config))
    assert (usual, style) == ("dim", "bad") and "it will learn it by heart" in sentence
    assert judged(of_preset(preset_config("gpt2")))[1][1] == "bad"  # a recipe for another text


def of_preset(config: Config) -> Facts:
    """What is known of tiny shakespeare and a run on it."""
    corpus = Corpus("tinyshakespeare", 1_115_394, 1_115_394, 1, "", "cache", ())
    tokens = np.zeros(1_003_854, np.uint8)
    letters = CharTokenizer("".join(map(chr, range(33, 98))))
    return TextLook(corpus, letters, tokens, tokens[:111_540]).facts(config)


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "name": "text.txt",
        "source": "text.txt",
        "characters": 1000,
        "tokenizer": "char",
        "vocab_size": 65,
        "train": 900_000,
        "val": 100_000,
        "token_bytes": 1_000_000,
        "parameters": 45_000,
        "steps": 1000,
        "windows": 10,
        "block_size": 90,
    } | changes
    return Facts(**{"per_epoch": usual["train"], **usual})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "20 tokens a parameter, where Chinchilla"),
        ({"parameters": 450_001}, "a large model for the text"),
        ({"parameters": 4_499}, "a small model for the text. A larger one"),
        ({"steps": 100}, "sees about 0.1 of the text"),
        ({"steps": 3_000}, "sees the text 3 times: nearly as good as that much new text"),
        ({"steps": 51_000}, "sees the text 51 times, and the model is too small to learn it by"),
        ({"steps": 51_000, "parameters": 450_000}, "lowest before the end"),
        ({"steps": 500_000, "parameters": 450_000}, "it will learn it by heart"),
        (
            {"train": 900, "parameters": 450_000},
            "The model has 500 parameters for each token: far too large a model for",
        ),
        ({"train": 900, "val": 80}, "a longer text, or set model.block_size to 79 or less."),
        ({"train": 1, "val": 0}, "as many to validate. Take a longer text."),
    ],
)
def test_what_does_not_suit_the_text_is_said(changes: dict[str, Any], words: str) -> None:
    told = " ".join(sentence for sentence, _ in judged(facts(**changes)))
    assert words in told
    assert words in " ".join(
        " ".join(
            "".join(text for text, _ in row) for row in draw_facts(facts(**changes), 80).rows
        ).split()
    )
