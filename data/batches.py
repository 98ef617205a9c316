"""Choose the windows of tokens for each training step and each evaluation.

The windows of a step are a pure function of the seed and the step number. There is no generator
state to save, so that resuming, rewinding and replaying give the same batches by construction.

Shapes: B windows (the batch size) of T tokens (the context length, `block_size`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from data.errors import InputError

Tokens = NDArray[Any]  # (n,) of any integer type; may be a memory map
Offsets = NDArray[np.int64]  # positions at which windows start

# The second half of the Philox key, so that other streams of the same seed are independent.
TRAIN_STREAM = 0x7472_6169_6E00  # "train"
EPOCH_STREAM = 0x6570_6F63_6800  # "epoch"
FEISTEL_ROUNDS = 4  # enough for a pseudorandom permutation (Luby & Rackoff 1988)


def no_starts() -> Offsets:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Split:
    """The tokens for training and for validation: views of one array, or of two texts.

    Attributes:
        train_starts, val_starts: Where documents begin in each, from 0; empty if they are not kept
            apart.
    """

    train: Tokens
    val: Tokens
    train_starts: Offsets = field(default_factory=no_starts)
    val_starts: Offsets = field(default_factory=no_starts)

    @property
    def longest_context(self) -> int:
        """The most tokens of a window that both have, and the target after it; 0 if none has."""
        return max(0, min(len(self.train), len(self.val)) - 1)


def split_tokens(tokens: Tokens, val_share: float = 0.1) -> Split:
    """Split off the last `val_share` of the tokens for validation, as nanoGPT does.

    Raises:
        ValueError: The share is not between 0 and 1.
    """
    if not 0 < val_share < 1:
        raise ValueError(f"val_share must lie between 0 and 1, not {val_share}")
    cut = int((1 - val_share) * len(tokens))
    return Split(train=tokens[:cut], val=tokens[cut:])


def check_long_enough(split: Split, block_size: int, is_one_text: bool = True) -> None:
    """Check that each split has at least one window: T tokens and the target after the last.

    Args:
        is_one_text: Whether the validation split is a part of the text.

    Raises:
        InputError: One is too short.
    """
    needed, longest = block_size + 1, split.longest_context
    if block_size <= longest:
        return
    shorter = f", or set model.block_size to {longest} or less" if longest else ""
    if not is_one_text and len(split.train) >= needed:
        raise InputError(
            f"The validation text is too short: it gives {len(split.val):,} tokens, and a "
            f"model.block_size of {block_size} needs {needed:,}. Use a longer one{shorter}."
        )
    raise InputError(
        f"The text is too short: it gives {len(split.train):,} tokens for training and "
        f"{len(split.val):,} for validation, and a model.block_size of {block_size} needs "
        f"{needed:,} in each. Use a longer text{shorter}."
    )


def train_offsets(
    n_tokens: int, block_size: int, batch_size: int, *, seed: int, step: int
) -> Offsets:
    """Draw the windows of a step: uniformly and with replacement, as in nanoGPT.

    With gradient accumulation, draw the whole step at once and give each micro-step a consecutive
    slice, so that the windows do not depend on the micro-batch size.

    Args:
        n_tokens: Length of the training split.
        block_size: T, the tokens in a window.
        batch_size: B, the windows of the whole step.
        seed: The run's seed.
        step: The number of the step, from 0.

    Returns:
        (B,) offsets, each followed by at least T + 1 tokens. A smaller batch of the same step is a
        prefix of a larger one.
    """
    starts = n_tokens - block_size
    if starts < 1:
        raise ValueError(f"{n_tokens} tokens are too few for a window of {block_size} + 1")
    raw = random_numbers(batch_size, seed=seed, step=step)  # (B,)
    # The modulo's bias towards low offsets is below starts / 2^64.
    return (raw % np.uint64(starts)).astype(np.int64)  # (B,)


def random_numbers(count: int, *, seed: int, step: int) -> NDArray[np.uint64]:
    """Return the random numbers of a step, (count,); fewer of the same step are a prefix."""
    # The step is the highest word of the counter and drawing advances the lowest: no overlap.
    philox = np.random.Philox(
        key=np.array([seed % 2**64, TRAIN_STREAM], dtype=np.uint64),
        counter=np.array([0, 0, 0, step], dtype=np.uint64),
    )
    # Raw bits, because NumPy guarantees them for all versions, unlike the methods of Generator.
    return np.asarray(philox.random_raw(count), dtype=np.uint64)


def epoch_offsets(
    n_tokens: int, block_size: int, batch_size: int, *, seed: int, step: int
) -> Offsets:
    """Choose the windows of a step without replacement: each once in an epoch, in random order.

    The windows of an epoch lie side by side; where the first one begins is random, so that the
    borders differ between epochs. The position is `step` times `batch_size`: a run whose batch size
    changes goes on at another place.

    Args and returns: As `train_offsets`.
    """
    windows = (n_tokens - 1) // block_size
    if windows < 1:
        raise ValueError(f"{n_tokens} tokens are too few for a window of {block_size} + 1")
    spare = n_tokens - windows * block_size  # places where the first window may begin
    places, firsts = epoch_places(windows, batch_size, seed=seed, step=step)  # (B,) each
    return places * block_size + (firsts % np.uint64(spare)).astype(np.int64)


def epoch_places(
    windows: int, batch_size: int, *, seed: int, step: int
) -> tuple[Offsets, NDArray[np.uint64]]:
    """Choose which of some windows a step takes, each once in an epoch, in random order.

    Returns:
        Their numbers, and a random number of the epoch of each, (B,) each.
    """
    positions = step * batch_size + np.arange(batch_size, dtype=np.int64)  # (B,)
    places = np.empty(batch_size, dtype=np.int64)
    firsts = np.empty(batch_size, dtype=np.uint64)
    for epoch in np.unique(positions // windows).tolist():
        philox = np.random.Philox(
            key=np.array([seed % 2**64, EPOCH_STREAM], dtype=np.uint64),
            counter=np.array([0, 0, 0, epoch], dtype=np.uint64),
        )
        first, *keys = np.asarray(philox.random_raw(1 + FEISTEL_ROUNDS), dtype=np.uint64)
        here = positions // windows == epoch
        places[here] = _permuted(positions[here] % windows, windows, keys)
        firsts[here] = first
    return places, firsts


def _permuted(positions: Offsets, count: int, keys: Sequence[np.uint64]) -> Offsets:
    """Return where a pseudorandom permutation of 0 … `count` - 1 takes some positions.

    It is a Feistel network, applied again where the result is beyond the end, so that nothing has
    to be kept of a text of any length.
    """
    half = max(1, (max(count - 1, 1).bit_length() + 1) // 2)  # bits
    mask, shift = np.uint64(2**half - 1), np.uint64(half)
    values = positions.astype(np.uint64)
    todo = np.ones(len(values), dtype=bool)
    while todo.any():
        left, right = values[todo] >> shift, values[todo] & mask
        for key in keys:
            left, right = right, left ^ (_mixed(right ^ key) & mask)
        values[todo] = (left << shift) | right
        todo = values >= count
    return values.astype(np.int64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each value (the finaliser of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def validation_windows(n_tokens: int, block_size: int) -> Offsets:
    """Return the offsets of consecutive windows that cover the whole split.

    The last of a window's T + 1 tokens is its last target and the first input of the next window,
    so that every token but the first is predicted exactly once. An incomplete window at the end is
    dropped.
    """
    return np.arange(0, n_tokens - block_size, block_size, dtype=np.int64)


def evenly_spaced(offsets: Offsets, count: int) -> Offsets:
    """Return `count` evenly spaced offsets; all of them if there are fewer.

    Raises:
        ValueError: `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    return offsets if count >= len(offsets) else offsets[even_places(len(offsets), count)]


def even_places(total: int, count: int) -> Offsets:
    """Return `count` evenly spaced numbers below `total`, (count,); all if there are fewer."""
    if count >= total:
        return np.arange(total, dtype=np.int64)
    # the middle of each of `count` equal parts
    return (2 * np.arange(count, dtype=np.int64) + 1) * total // (2 * count)


def take_windows(tokens: Tokens, offsets: Offsets, length: int) -> NDArray[np.int64]:
    """Gather the windows of `length` tokens that start at `offsets`: (B,) -> (B, length)."""
    if not len(offsets):  # of a text that may be shorter than a window
        return np.empty((0, length), dtype=np.int64)
    return sliding_window_view(tokens, length)[offsets].astype(np.int64)


def take_examples(
    tokens: Tokens, offsets: Offsets, block_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Gather the inputs x and the targets y, which are x shifted by one token.

    Returns:
        x and y, (B, T) each, contiguous, in the integer type that `nn.Embedding` needs.
    """
    windows = take_windows(tokens, offsets, block_size + 1)  # (B, T + 1)
    return windows[:, :-1].copy(), windows[:, 1:].copy()
