"""Which windows of the text each step and each evaluation see.

Randomness is counted, not carried: the windows of a step are a pure function of the seed and the
step's number. There is no generator state to save, so resume, rewind and replay see the same
batches by construction.

Shapes: B windows (the batch), T tokens each (the context, `block_size`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.errors import InputError

Tokens = NDArray[Any]  # (n,) of any integer type; a memory map will do
Offsets = NDArray[np.int64]

# Names this use of the seed, so that no other Philox stream of the same seed repeats it.
TRAIN_STREAM = 0x7472_6169_6E00  # "train"


@dataclass(frozen=True, eq=False)
class Split:
    """The tokens to learn from, and those to be judged on; both are views of one array."""

    train: Tokens
    val: Tokens


def split_tokens(tokens: Tokens, val_fraction: float = 0.1) -> Split:
    """Returns the last `val_fraction` of the tokens as validation, cut where nanoGPT cuts.

    Raises:
        ValueError: The fraction is not between 0 and 1.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction must lie between 0 and 1, not {val_fraction}")
    cut = int((1 - val_fraction) * len(tokens))
    return Split(train=tokens[:cut], val=tokens[cut:])


def check_long_enough(split: Split, block_size: int) -> None:
    """Checks that each split holds one window: T tokens and the one after.

    Raises:
        InputError: One does not; the message says how much there is, and the ways out.
    """
    needed, shortest = block_size + 1, min(len(split.train), len(split.val))
    if shortest >= needed:
        return
    shorter = f", or set model.block_size to {shortest - 1} or less" if shortest > 1 else ""
    raise InputError(
        f"The text is too short: it gives {len(split.train):,} characters for training and "
        f"{len(split.val):,} for validation, and a model.block_size of {block_size} needs "
        f"{needed:,} in each. Use a longer text{shorter}."
    )


def train_offsets(
    n_tokens: int, block_size: int, batch_size: int, *, seed: int, step: int
) -> Offsets:
    """Returns where the windows of one step start: uniform, with replacement, as in nanoGPT.

    For gradient accumulation draw the whole step at once, `batch_size` being micro-batch times
    accumulation, and give micro-step k the k-th of the equal consecutive slices. So k slices of
    B/k windows are the same windows as one batch of B.

    Args:
        n_tokens: The length of the training split.
        block_size: T, the tokens in a window.
        batch_size: B, the windows of the whole step.
        seed: The run's seed.
        step: The number of the step, from 0.

    Returns:
        (B,) offsets, each with T + 1 tokens from it on. A smaller batch of the same step is the
        beginning of a larger one.
    """
    starts = n_tokens - block_size
    if starts < 1:
        raise ValueError(f"{n_tokens} tokens hold no window of {block_size} and the one after")
    # The step is the counter's highest word and drawing advances the lowest: steps never overlap.
    philox = np.random.Philox(
        key=np.array([seed % 2**64, TRAIN_STREAM], dtype=np.uint64),
        counter=np.array([0, 0, 0, step], dtype=np.uint64),
    )
    # Raw bits, because numpy keeps those the same for ever, and the methods of Generator not.
    # The remainder favours low offsets by less than one part in 2^64 / starts.
    raw = np.asarray(philox.random_raw(batch_size), dtype=np.uint64)  # (B,)
    return (raw % np.uint64(starts)).astype(np.int64)  # (B,)


def validation_windows(n_tokens: int, block_size: int) -> Offsets:
    """Returns the offsets of the windows that lie side by side over the whole split.

    Each has T + 1 tokens, the last one being both the target that ends it and the input that
    begins the next, so every token but the first is predicted once. What is left over at the end
    and is shorter than a window (fewer than T targets) is dropped.
    """
    return np.arange(0, n_tokens - block_size, block_size, dtype=np.int64)


def evenly_spaced(offsets: Offsets, count: int) -> Offsets:
    """Returns `count` of the offsets, spread evenly and always the same; all if there are fewer.

    Raises:
        ValueError: `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, not {count}")
    if count >= len(offsets):
        return offsets
    # The middle of each of `count` equal stretches.
    chosen: Offsets = offsets[(2 * np.arange(count) + 1) * len(offsets) // (2 * count)]
    return chosen


def take_windows(
    tokens: Tokens, offsets: Offsets, block_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the inputs x and the targets y, which are x one token later.

    Returns:
        x and y, both (B, T), contiguous and of the integer type that an embedding wants.
    """
    inputs = offsets[:, None] + np.arange(block_size)  # (B, T)
    x = tokens[inputs].astype(np.int64)  # (B, T)
    y = tokens[inputs + 1].astype(np.int64)  # (B, T)
    return x, y
