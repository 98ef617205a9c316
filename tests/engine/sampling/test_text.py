"""Texts: they end where they should, are told as they come, and say how they ended."""

from __future__ import annotations

import pytest

from data.errors import InputError
from data.tokenizers import CharTokenizer
from data.tokenizers.byte_level import ByteTokenizer
from engine.config.schema import SampleConfig
from engine.sampling import generate as writing_module
from engine.sampling.frozen import Frozen, freeze
from engine.sampling.generate import Generation, Text, beginning, seeds_from, start_tokens, write
from tests.engine.models import VOCAB, small_model

TOKENIZER = CharTokenizer("\n" + "".join(map(chr, range(40, 40 + VOCAB - 1))))


@pytest.fixture(scope="module")
def frozen() -> Frozen:
    return freeze(small_model(position="rotary"))


def alone(frozen: Frozen, settings: SampleConfig, seed: int) -> Text:
    (text,) = write(frozen, TOKENIZER, settings, [seed])
    return text


def test_a_text_has_as_many_tokens_as_were_asked_for(frozen: Frozen) -> None:
    text = alone(frozen, SampleConfig(max_tokens=33), 1)
    assert (len(text.text), text.tokens, text.stopped_by, text.stop) == (33, 33, "max_tokens", None)
    assert text.seconds > 0


def test_a_text_stops_before_a_stop_string(frozen: Frozen) -> None:
    whole = alone(frozen, SampleConfig(max_tokens=60), 1).text
    stop = whole[20:22]
    text = alone(frozen, SampleConfig(max_tokens=60, stop=stop), 1)
    assert text.text == whole[: whole.find(stop)]
    assert (text.stopped_by, text.stop, text.tokens) == ("stop", stop, whole.find(stop) + 2)


def test_what_only_began_to_be_a_stop_string_is_part_of_the_text(frozen: Frozen) -> None:
    whole = alone(frozen, SampleConfig(max_tokens=30), 1).text
    unfinished = whole[-1] + "→"
    text = alone(frozen, SampleConfig(max_tokens=30, stop=unfinished), 1)
    assert (text.text, text.stopped_by) == (whole, "max_tokens")


@pytest.mark.parametrize("stop", ["", "A|B|C|D"])
@pytest.mark.parametrize("bytes_of_cache", [2**30, 1, 3000])
def test_texts_written_side_by_side_are_those_written_alone(
    monkeypatch: pytest.MonkeyPatch, frozen: Frozen, bytes_of_cache: int, stop: str
) -> None:
    monkeypatch.setattr(writing_module, "CACHE_BYTES", bytes_of_cache)
    settings, seeds = SampleConfig(max_tokens=40, stop=stop), seeds_from(5, 7)
    shown = [""] * len(seeds)

    def show(number: int, piece: str) -> None:
        shown[number] += piece

    texts = write(frozen, TOKENIZER, settings, seeds, show)
    expected = [alone(frozen, settings, seed) for seed in seeds]
    assert [(t.seed, t.text, t.tokens, t.stopped_by, t.stop) for t in texts] == [
        (t.seed, t.text, t.tokens, t.stopped_by, t.stop) for t in expected
    ]
    assert shown == [text.text for text in texts]
    assert any(text.stopped_by == "stop" for text in texts) == bool(stop)


def test_memory_bounds_how_many_are_written_at_a_time(
    monkeypatch: pytest.MonkeyPatch, frozen: Frozen
) -> None:
    sizes = []

    class Spy(Generation):
        def __init__(self, frozen: Frozen, start: list[int], *rest: object) -> None:
            sizes.append(len(rest[-1]))  # type: ignore[arg-type]
            super().__init__(frozen, start, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(writing_module, "Generation", Spy)
    monkeypatch.setattr(writing_module, "CACHE_BYTES", 3 * frozen.cache_bytes(9))
    write(frozen, TOKENIZER, SampleConfig(max_tokens=8), range(8))
    assert sizes == [3, 3, 2]


def test_the_cache_is_as_large_as_it_says() -> None:
    config = small_model(n_kv_head=1, n_head=4).config
    frozen = freeze(small_model(n_kv_head=1, n_head=4))
    numbers = 2 * config.n_layer * config.head_size  # keys and values of one head a layer
    assert frozen.cache_bytes(5) == 5 * numbers * 4
    assert frozen.cache_bytes(500) == config.block_size * numbers * 4


def test_seeds_follow_each_other_and_begin_again_at_the_end() -> None:
    assert seeds_from(3, 3) == [3, 4, 5]
    assert seeds_from(2**31 - 1, 2) == [2**31 - 1, 0]


def test_an_empty_prompt_starts_on_a_new_line() -> None:
    assert start_tokens("", TOKENIZER) == [int(TOKENIZER.encode("\n")[0])]
    assert start_tokens("", CharTokenizer("ab")) == [0]
    assert start_tokens("ab", CharTokenizer("ab")) == [0, 1]
    with pytest.raises(InputError):
        start_tokens("c", CharTokenizer("ab"))


def test_what_an_empty_prompt_begins_with_is_told() -> None:
    assert beginning(TOKENIZER) == "a new line"
    assert beginning(CharTokenizer("ab")) == "a"
    assert beginning(CharTokenizer("a\n", has_end_of_text=True)) == "<|endoftext|>"
    assert beginning(ByteTokenizer(has_end_of_text=True)) == "<|endoftext|>"


def test_a_text_that_is_broken_off_gives_up_what_it_held_back() -> None:
    tokenizer = CharTokenizer("ab")
    text = Text(1, SampleConfig(stop="bb"), tokenizer)
    assert [text.add(token) for token in (0, 1)] == ["a", ""]
    assert text.end() == "b"
    assert text.text == "ab"
