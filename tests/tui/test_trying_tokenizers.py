"""A typed text as two tokenizers cut it, on the data screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from data.tokenizers import ByteTokenizer, CharTokenizer
from engine.config.schema import Config
from tests.tui.conftest import Open, Person
from tests.tui.test_data_screen import look, seen
from tui.control.second_tokenizer import parse_second, second_name, tokenized
from tui.corpus.tokenized import draw_tokenized
from tui.inside.layout import Picture, width_of
from tui.screens.data import DataScreen


async def until_second(person: Person, screen: DataScreen) -> None:
    await person.until(lambda: screen._tried._tokenizer, "the second tokenizer")


def words_of(picture: Picture) -> str:
    return "\n".join("".join(text for text, _ in row) for row in picture.rows)


def test_the_same_text_is_more_tokens_where_letters_are_bytes() -> None:
    char = tokenized(CharTokenizer.train("né"), "né→")
    assert (char.tokens, char.unknown, char.size) == (("n", "é"), ("→",), 3)
    by_byte = tokenized(ByteTokenizer(), "né→")
    assert by_byte.tokens == ("n", "<C3>", "<A9>", "<E2>", "<86>", "<92>")
    assert by_byte.unknown == () and by_byte.size == 6
    told = words_of(draw_tokenized([char, by_byte], 100, 20))
    assert "1 unknown character, left out: →" in told
    assert "tokens 2  bytes 3  bytes per token 1.50" in told
    assert "tokens 6  bytes 6  bytes per token 1.00" in told
    assert "78 195 169 226 134 146".replace("78", "110") in told  # their ids


@given(text=st.text(), width=st.integers(1, 130), height=st.integers(1, 40))
def test_it_fits_whatever_is_typed(text: str, width: int, height: int) -> None:
    both = [tokenized(CharTokenizer.train("abc"), text), tokenized(ByteTokenizer(), text)]
    picture = draw_tokenized(both, width, height)
    assert all(width_of(row) <= width for row in picture.rows)


@pytest.mark.parametrize(
    ("typed", "tokenizer", "vocab_size"),
    [("char", "char", 1024), ("bpe 4096", "bpe", 4096), (" bytes ", "bytes", 1024)],
)
def test_a_tokenizer_is_typed_with_its_vocabulary(
    typed: str, tokenizer: str, vocab_size: int
) -> None:
    data = parse_second(typed, Config())
    assert (data.tokenizer, data.vocab_size) == (tokenizer, vocab_size)
    assert parse_second(second_name(data), Config()) == data


@pytest.mark.parametrize("typed", ["bpe many", "bpe 3"])
def test_a_vocabulary_that_cannot_be_is_refused(typed: str) -> None:
    with pytest.raises((InputError, ValueError)):
        parse_second(typed, Config())


async def test_what_is_typed_is_seen_as_tokens_at_once(open_app: Open, small_text: str) -> None:
    first = next(line for line in small_text.splitlines() if line.strip())
    async with open_app(size=(120, 40)) as person:
        screen = await look(person, "4")
        await until_second(person, screen)
        assert f"tokens {len(first)}  bytes {len(first)}" in seen(screen)  # without being asked
        assert "char, of the text" in seen(screen) and "bytes · 256" in seen(screen)
        await person.press("w", *"hello☃")
        assert "tokens 5  bytes 5" in seen(screen) and "tokens 8  bytes 8" in seen(screen)
        assert "1 unknown character, left out: ☃" in seen(screen)
        await person.press("backslash")  # begins an escape sequence
        assert "tokens 9  bytes 9" in seen(screen)
        await person.press("n")
        assert "hello☃↵" in seen(screen)
        await person.press("enter", "1")
        assert "hello" not in seen(screen)
        await person.press("4")
        assert "hello" in seen(screen)


async def test_another_second_tokenizer_is_made_and_the_text_stays(
    open_app: Open, tmp_path: Path
) -> None:
    async with open_app(size=(120, 40)) as person:
        screen = await look(person, "4")
        await until_second(person, screen)
        await person.press("w", *"a b", "enter", "c", *"bpe 300", "enter")
        await until_second(person, screen)
        assert "bpe 300 · " in seen(screen)
        await person.press("t", *"bytes", "enter")  # another first one
        await person.until(lambda: screen.text and screen.text.described)
        await until_second(person, screen)
        assert "bytes, of the text" in seen(screen) and "bpe 300" in seen(screen)
        assert "text a␣b" in seen(screen)


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ("gpt2", "GPT-2's tokenizer is not on this machine yet"),
        ("missing.json", "there is no tokenizer missing.json"),
    ],
)
async def test_a_tokenizer_that_is_not_here_is_a_sentence_and_no_download(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, typed: str, problem: str
) -> None:
    monkeypatch.delenv("GPT_TUI_OFFLINE")
    monkeypatch.setenv("HF_HOME", "/nonexistent")
    monkeypatch.setattr("data.download._Transfer.start", pytest.fail)
    async with open_app(size=(120, 40)) as person:
        screen = await look(person, "4", "c", *typed, "enter")
        await person.until(lambda: problem in seen(screen), problem)
