"""A validation text that repeats the training text, or is unlike it, is told."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import Split
from data.prepared import likeness
from data.prepared.likeness import compare, repeated_share, told_of
from data.tokenizers import ByteTokenizer, CharTokenizer

LETTERS = "abcdefghij klmnop\n"


def text(length: int, seed: int, letters: str = LETTERS) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def split_of(train: str, val: str) -> tuple[Split, CharTokenizer]:
    tokenizer = CharTokenizer.train(train + val)
    return Split(tokenizer.encode(train), tokenizer.encode(val)), tokenizer


def told(train: str, val: str) -> list[str]:
    return list(told_of(*split_of(train, val)))


def test_of_two_texts_alike_nothing_is_told() -> None:
    assert told(text(50_000, 1), text(5_000, 2)) == []


def test_how_much_is_repeated_is_told() -> None:
    train = text(50_000, 1)
    split, tokenizer = split_of(train, train[7_000:9_000] + text(2_000, 2))
    assert compare(split, tokenizer).repeated == pytest.approx(0.5, abs=0.02)
    (only,) = told_of(split, tokenizer)
    assert only.startswith("49% of the validation text also stands in the training text")
    assert told(train, train[:500])[0].startswith("100% of the validation text")


def test_characters_that_were_never_trained_on_are_named() -> None:
    (only,) = told(text(50_000, 1), text(5_000, 2) + "é中")
    assert only.startswith("the validation text has 'é', '中', which the training text has not")
    (only,) = told(text(50_000, 1), text(5_000, 2) + "ABCDEFG")
    assert "'E' and 2 more, which" in only


def test_a_text_unlike_it_is_told() -> None:
    other = text(50_000, 1) + text(100, 4, "XYZ")
    sentences = told(other, text(5_000, 2) + text(3_000, 3, "XYZ"))
    assert sentences == [
        "the validation text is unlike the training text: 37% of its characters are others than "
        "there"
    ]
    assert told(other, text(300, 3, "XYZ")) == []  # too short to say so


@given(st.text("ab", max_size=60), st.text("ab", max_size=60), st.integers(1, 12))
def test_the_share_is_that_of_a_plain_search(train: str, val: str, window: int) -> None:
    windows = [val[at : at + window] for at in range(len(val) - window + 1)]
    plain = sum(one in train for one in windows) / max(len(windows), 1)
    a, b = (np.frombuffer(one.encode(), np.uint8) for one in (train, val))
    assert repeated_share(a, b, window) == pytest.approx(plain)


@given(st.integers(0, 300), st.sampled_from([7, 64]))
def test_a_window_across_two_blocks_is_found(at: int, block: int) -> None:
    tokens = np.frombuffer(text(400, 1).encode(), np.uint8)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(likeness, "BLOCK", block)
        assert repeated_share(tokens, tokens[at : at + 40], 20) == 1


def test_it_takes_a_moment_however_long_the_texts_are() -> None:
    tokens = np.random.default_rng(1).integers(0, 256, 200_000_000 // 8, dtype=np.uint8)
    began = time.process_time()
    compare(Split(tokens, tokens[: len(tokens) // 10]), ByteTokenizer())
    assert time.process_time() - began < 8
