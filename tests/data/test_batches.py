from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batches import (
    Split,
    check_long_enough,
    epoch_offsets,
    evenly_spaced,
    split_tokens,
    take_examples,
    train_offsets,
    validation_windows,
)
from data.errors import InputError

N, T, B = 1000, 16, 12
FIRST_EPOCH = [25, 17, 9, 33, 57, 89, 65, 1, 41, 49, 81, 73]


def draw(*, n: int = N, size: int = B, seed: int = 1337, step: int = 0) -> list[int]:
    return [int(start) for start in train_offsets(n, T, size, seed=seed, step=step)]


# ---- split ---------------------------------------------------------------------------------------


def test_the_split_is_nanogpts() -> None:
    split = split_tokens(np.zeros(1_115_394, dtype=np.uint16))
    assert (len(split.train), len(split.val)) == (1_003_854, 111_540)


@given(st.integers(0, 500), st.floats(0.01, 0.99))
def test_the_two_splits_are_the_text_cut_once_and_not_copied(n: int, fraction: float) -> None:
    tokens = np.arange(n)
    split = split_tokens(tokens, fraction)
    assert np.concatenate([split.train, split.val]).tolist() == tokens.tolist()
    assert split.train.base is tokens
    assert split.val.base is tokens


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_that_leaves_a_split_empty_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_tokens(np.arange(10), fraction)


def test_a_split_of_exactly_one_window_is_long_enough() -> None:
    check_long_enough(split_tokens(np.arange(650)), block_size=64)


def test_a_text_that_is_too_short_is_told_the_counts_and_the_ways_out() -> None:
    with pytest.raises(InputError) as caught:
        check_long_enough(split_tokens(np.arange(640)), block_size=64)
    assert str(caught.value) == (
        "The text is too short: it gives 576 tokens for training and 64 for validation, and a "
        "model.block_size of 64 needs 65 in each. "
        "Use a longer text, or set model.block_size to 63 or less."
    )


def test_the_block_size_it_proposes_does_fit_and_none_is_proposed_where_none_does() -> None:
    check_long_enough(split_tokens(np.arange(640)), block_size=63)
    with pytest.raises(InputError) as caught:
        check_long_enough(split_tokens(np.arange(10)), block_size=1)
    assert str(caught.value).endswith("needs 2 in each. Use a longer text.")


def test_a_validation_text_that_is_too_short_is_not_taken_for_the_text() -> None:
    split = Split(train=np.arange(640), val=np.arange(28))
    with pytest.raises(InputError) as caught:
        check_long_enough(split, block_size=32, is_one_text=False)
    assert str(caught.value) == (
        "The validation text is too short: it gives 28 tokens, and a model.block_size of 32 needs "
        "33. Use a longer one, or set model.block_size to 27 or less."
    )


# ---- epochs --------------------------------------------------------------------------------------


def epoch(n_tokens: int, block_size: int, batch_size: int, number: int, seed: int = 1) -> list[int]:
    """The windows of an epoch, in their order."""
    windows = (n_tokens - 1) // block_size
    first, after = number * windows, (number + 1) * windows
    steps = range(first // batch_size, -(-after // batch_size))
    every = [
        offset
        for step in steps
        for offset in epoch_offsets(n_tokens, block_size, batch_size, seed=seed, step=step)
    ]
    begin = first - first // batch_size * batch_size
    return [int(one) for one in every[begin : begin + windows]]


@settings(deadline=None)
@given(
    n_tokens=st.integers(9, 120),
    block_size=st.integers(1, 8),
    batch_size=st.integers(2, 7),
    number=st.integers(0, 2),
)
def test_an_epoch_has_each_window_once(
    n_tokens: int, block_size: int, batch_size: int, number: int
) -> None:
    offsets = sorted(epoch(n_tokens, block_size, batch_size, number))
    windows = (n_tokens - 1) // block_size
    assert offsets == [offsets[0] + at * block_size for at in range(windows)]
    assert offsets[0] >= 0 and offsets[-1] + block_size + 1 <= n_tokens


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    orders = [epoch(1000, 8, 5, number, seed) for number in (0, 1) for seed in (1, 2)]
    assert all(one != sorted(one) for one in orders)
    assert len({tuple(one) for one in orders}) == 4
    # far from the order of the text: neighbours are as far apart as by chance, a third of it
    steps = np.abs(np.diff(orders[0]))
    assert 250 < steps.mean() < 420


def test_epochs_do_not_change_with_the_version() -> None:
    assert epoch(100, 8, 5, 0, seed=7) == FIRST_EPOCH


def test_a_text_shorter_than_a_window_has_no_epoch() -> None:
    with pytest.raises(ValueError, match="too few"):
        epoch_offsets(8, 8, 1, seed=0, step=0)


# ---- training ------------------------------------------------------------------------------------


def test_the_windows_of_a_step_depend_on_nothing_but_seed_and_step() -> None:
    before = draw(step=7)
    draw(step=8)
    np.random.default_rng(0).random(100)
    assert draw(step=7) == before


def test_the_windows_are_the_same_on_every_machine_and_for_ever() -> None:
    # Written down once. If this fails, checkpoints no longer resume on the batches they left.
    assert draw(size=5, seed=1337, step=0) == [728, 210, 856, 76, 608]
    assert draw(size=5, seed=1337, step=1000) == [168, 878, 356, 812, 735]


def test_other_steps_and_other_seeds_see_other_windows() -> None:
    draws = {tuple(draw(step=step, seed=seed)) for step in range(20) for seed in (-1, 0, 1, 2**63)}
    assert len(draws) == 80


def test_one_step_does_not_run_on_into_the_next() -> None:
    long = draw(size=4096, step=0)
    later = draw(size=4, step=1)
    assert all(long[k : k + 4] != later for k in range(4092))


@given(n=st.integers(T + 1, 10**12), seed=st.integers(0, 2**32), step=st.integers(0, 2**40))
def test_every_window_lies_within_the_split(n: int, seed: int, step: int) -> None:
    offsets = train_offsets(n, T, 64, seed=seed, step=step)
    assert offsets.dtype == np.int64
    assert offsets.min() >= 0
    assert offsets.max() + T + 1 <= n


def test_every_start_is_reached_and_equally_often() -> None:
    starts, draws = 50, 100_000
    counts = np.bincount(draw(n=T + starts, size=draws), minlength=starts)
    expected = draws / starts
    assert len(counts) == starts
    # Chi-square with 49 degrees of freedom: above 99.6 once in 40,000 seeds, and the seed is fixed.
    assert ((counts - expected) ** 2 / expected).sum() < 99.6


def test_the_first_windows_of_many_steps_are_uniform_too() -> None:
    firsts = [draw(n=T + 50, size=1, step=step)[0] for step in range(5000)]
    counts = np.bincount(firsts, minlength=50)
    assert ((counts - 100) ** 2 / 100).sum() < 99.6


@pytest.mark.parametrize("accumulation", [2, 3, 4, 12])
def test_accumulated_slices_see_the_same_windows_as_one_batch(accumulation: int) -> None:
    tokens = np.arange(N)
    offsets = train_offsets(N, T, B, seed=1, step=5)
    whole_x, whole_y = take_examples(tokens, offsets, T)
    parts = [take_examples(tokens, part, T) for part in np.split(offsets, accumulation)]
    assert np.array_equal(np.concatenate([x for x, _ in parts]), whole_x)
    assert np.array_equal(np.concatenate([y for _, y in parts]), whole_y)


def test_a_smaller_batch_is_the_beginning_of_a_larger_one() -> None:
    assert draw(size=5) == draw(size=12)[:5]


def test_a_split_without_a_window_is_refused() -> None:
    with pytest.raises(ValueError, match="16 tokens are too few"):
        draw(n=T)


# ---- validation ----------------------------------------------------------------------------------


@given(n=st.integers(0, 400), block_size=st.integers(1, 50))
def test_validation_predicts_each_token_once_from_the_second_to_the_last_whole_window(
    n: int, block_size: int
) -> None:
    tokens = np.arange(n)
    _, targets = take_examples(tokens, validation_windows(n, block_size), block_size)
    whole_windows = max(0, n - 1) // block_size
    assert targets.ravel().tolist() == list(range(1, 1 + whole_windows * block_size))


def test_tiny_shakespeares_validation_split_has_1742_windows_of_64() -> None:
    assert len(validation_windows(111_540, 64)) == 1742


@given(n=st.integers(1, 300), count=st.integers(1, 300))
def test_a_subset_is_distinct_ordered_and_even(n: int, count: int) -> None:
    offsets = np.arange(n) * 64
    chosen = evenly_spaced(offsets, count)
    assert len(chosen) == min(n, count)
    assert set(chosen) <= set(offsets)
    places = np.concatenate([[-1], chosen // 64, [n]])
    gaps = np.diff(places)
    assert gaps.min() >= 1
    assert gaps.max() <= n // min(n, count) + 1


def test_an_empty_subset_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        evenly_spaced(np.arange(4), 0)


# ---- windows -------------------------------------------------------------------------------------


def test_targets_are_the_inputs_one_token_later() -> None:
    tokens = np.array([10, 11, 12, 13, 14, 15], dtype=np.uint16)
    x, y = take_examples(tokens, np.array([0, 2]), 3)
    assert x.tolist() == [[10, 11, 12], [12, 13, 14]]
    assert y.tolist() == [[11, 12, 13], [13, 14, 15]]


def test_windows_are_contiguous_and_of_the_type_an_embedding_wants() -> None:
    for part in take_examples(np.arange(N, dtype=np.uint16), np.array([0, 2]), T):
        assert part.dtype == np.int64
        assert part.flags.c_contiguous
