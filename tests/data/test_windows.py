"""Windows of one document each: none crosses an end, and none of the text is left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.batches import (
    Split,
    epoch_offsets,
    take_windows,
    train_offsets,
    validation_windows,
)
from data.prepared.prepare import Tokenized
from data.prepared.split import split_of
from data.windows import NO_TARGET, DocumentWindows, windows_of

END = 255
sizes = st.lists(st.integers(1, 30), min_size=1, max_size=12).filter(lambda found: sum(found) > 1)
orders = st.sampled_from(["random", "epochs"])
T = st.integers(1, 12)


@dataclass(frozen=True)
class How:
    order: str = "random"
    within_documents: bool = True
    val_share: float = 0.3
    val_split: str = "auto"
    val_seed: int = 1


def documents(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens that tell where they are, and the end after each document; and where these begin."""
    tokens = np.arange(sum(lengths)) % END
    ends = np.cumsum(lengths)
    tokens[ends - 1] = END
    return tokens.astype(np.uint8), ends - lengths


def windows(lengths: list[int], block_size: int, order: str = "random") -> DocumentWindows:
    tokens, starts = documents(lengths)
    return DocumentWindows(tokens, starts, block_size, order)


@given(sizes, T, orders, st.integers(0, 50))
def test_no_window_reaches_across_the_end_of_a_document(
    lengths: list[int], block_size: int, order: str, step: int
) -> None:
    made = windows(lengths, block_size, order)
    for offsets in (made.of_step(8, seed=3, step=step), made.to_validate()):
        for offset, window in zip(offsets.tolist(), made.take(offsets).tolist(), strict=True):
            real = [one for one in window if one != NO_TARGET]
            assert window == real + [NO_TARGET] * (block_size + 1 - len(real))
            assert real == made.tokens[offset : offset + len(real)].tolist()
            assert len(real) > 1 and END not in real[1:-1]  # the first ended the one before
            assert len(real) == block_size + 1 or real[-1] == END  # no shorter than need be


@given(sizes, T)
def test_validation_predicts_each_token_but_the_first_once(
    lengths: list[int], block_size: int
) -> None:
    made = windows(lengths, block_size)
    offsets = made.to_validate()
    real = (made.take(offsets)[:, 1:] != NO_TARGET).sum(axis=1)
    targets = [at + 1 + one for at, n in zip(offsets, real, strict=True) for one in range(n)]
    assert sorted(targets) == list(range(1, sum(lengths)))
    assert made.targets(offsets) == len(targets)


@given(sizes, T, st.integers(1, 5))
def test_an_epoch_has_every_window_once_and_learns_every_token(
    lengths: list[int], block_size: int, batch_size: int
) -> None:
    made = windows(lengths, block_size, "epochs")
    steps = made.count  # which is a number of whole epochs of any batch size
    offsets = [made.of_step(batch_size, seed=1, step=step) for step in range(steps)]
    seen = Counter(np.concatenate(offsets).tolist())
    assert set(seen.values()) == {batch_size}
    assert len(seen) == made.count == made.per_epoch // block_size
    real = {at: made.targets(np.array([at])) for at in seen}
    learned = {at + 1 + one for at, count in real.items() for one in range(count)}
    assert learned == set(range(1, sum(lengths)))


def test_at_random_short_and_long_documents_have_windows_by_their_length() -> None:
    made = windows([10, 5, 40, 9], 9)
    drawn = Counter(made.of_step(60_000, seed=1, step=0).tolist())
    long = {at: count for at, count in drawn.items() if 14 <= at < 54}
    assert set(drawn) - set(long) == {0, 9, 54}
    assert len(long) == 32  # each place at which a whole window begins
    assert [drawn[at] / 60_000 for at in (0, 9, 54)] == pytest.approx([1 / 8] * 3, rel=0.1)
    assert sum(long.values()) / 60_000 == pytest.approx(5 / 8, rel=0.1)
    assert max(long.values()) < 1.3 * min(long.values())


def test_a_smaller_batch_is_a_prefix_and_steps_differ() -> None:
    made = windows([7, 30, 12] * 9, 8)
    assert made.of_step(4, seed=1, step=5).tolist() == made.of_step(9, seed=1, step=5)[:4].tolist()
    assert made.of_step(9, seed=1, step=5).tolist() != made.of_step(9, seed=1, step=6).tolist()
    assert made.of_step(9, seed=1, step=5).tolist() != made.of_step(9, seed=2, step=5).tolist()


@pytest.mark.parametrize("val_split", ["tail", "documents", "random"])
def test_each_split_knows_where_its_documents_begin(val_split: str) -> None:
    tokens, starts = documents([40, 30, 18, 7, 5] * 4)
    split = split_of(Tokenized(tokens, starts), How(val_split=val_split))
    for part, begins in ((split.train, split.train_starts), (split.val, split.val_starts)):
        whole = np.flatnonzero(part == END) + 1  # an end is followed by a document, or nothing
        assert begins.tolist() == [0, *whole[whole < len(part)].tolist()]


def test_without_the_setting_or_documents_windows_are_those_of_ever() -> None:
    tokens, starts = documents([40, 30, 18])
    apart, together = Split(tokens, tokens, starts, starts), Split(tokens, tokens)
    for split, how in ((apart, How(within_documents=False)), (together, How())):
        made, _ = windows_of(split, how, 8)
        offsets = made.of_step(5, seed=1, step=2)
        assert offsets.tolist() == train_offsets(88, 8, 5, seed=1, step=2).tolist()
        assert made.take(offsets).tolist() == take_windows(tokens, offsets, 9).tolist()
        assert made.to_validate().tolist() == validation_windows(88, 8).tolist()
        assert made.per_epoch == 88 and made.targets(offsets) == 40
    made, _ = windows_of(together, How("epochs"), 8)
    assert (
        made.of_step(5, seed=1, step=2).tolist() == epoch_offsets(88, 8, 5, seed=1, step=2).tolist()
    )
