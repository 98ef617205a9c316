"""What should be told of a validation text: that it repeats the training text, or is unlike it.

Everything is measured on tokens, in bounded memory and time however long the texts are.

Shapes: n tokens, W windows of L tokens.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.batches import Split, Tokens, even_places, evenly_spaced
from data.tokenizers import Tokenizer

WINDOW_CHARACTERS = 64
SHORTEST_WINDOW = 8  # tokens
MOST_WINDOWS = 4096  # of the validation text that are looked for
MOST_TOKENS = 1 << 25  # of the training text that are looked through; more in even parts
MOST_COUNTED = 1 << 28  # of a longer training text nobody says what it has not
AT_ONCE = 512  # of these
BLOCK = 1 << 20  # tokens at a time
FILTER_BITS = 16
REPEATED = 0.1  # shares that are told
UNLIKE = 0.2
FEWEST_TOKENS = 1000  # of which a distribution says anything
SHOWN = 5  # characters
MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2^64


@dataclass(frozen=True)
class Likeness:
    """How a validation text compares with the training text.

    Attributes:
        repeated: The share of its windows that the training text has, too; at least.
        window: Their tokens.
        unlike: The total variation distance of the two distributions of tokens, from 0 to 1.
        unseen: Of characters, the ids that the training text has not.
    """

    repeated: float
    window: int
    unlike: float
    unseen: tuple[int, ...]


def compare(split: Split, tokenizer: Tokenizer) -> Likeness:
    """Compare the two texts of a split."""
    size, window = tokenizer.vocab_size, _window(split.val, tokenizer)
    train, val = _counts(split.train, size), _counts(split.val, size)
    unlike = 0.5 * float(np.abs(train / max(train.sum(), 1) - val / max(val.sum(), 1)).sum())
    unseen: tuple[int, ...] = ()
    if tokenizer.kind == "char":
        unseen = tuple(_never_in(split.train, np.flatnonzero((val > 0) & (train == 0))))
    return Likeness(repeated_share(split.train, split.val, window), window, unlike, unseen)


def told_of(split: Split, tokenizer: Tokenizer) -> Iterator[str]:
    """Yield what a person should know of a validation text, in sentences."""
    found = compare(split, tokenizer)
    if found.repeated >= REPEATED:
        yield (
            f"{found.repeated:.0%} of the validation text also stands in the training text, word "
            f"for word: its loss says less about new text (--val names another)"
        )
    if tokenizer.kind not in ("char", "bytes"):
        return  # most tokens are rare: two texts always differ in them
    unseen = [one for one in found.unseen if one != tokenizer.end_of_text]
    if unseen:
        shown = ", ".join(repr(tokenizer.token_text(one)) for one in unseen[:SHOWN])
        more = f" and {len(unseen) - SHOWN:,} more" if len(unseen) > SHOWN else ""
        yield (
            f"the validation text has {shown}{more}, which the training text has not: the model "
            f"cannot learn to expect that"
        )
    if found.unlike >= UNLIKE and min(len(split.train), len(split.val)) >= FEWEST_TOKENS:
        yield (
            f"the validation text is unlike the training text: {found.unlike:.0%} of its "
            f"characters are others than there"
        )


def repeated_share(train: Tokens, val: Tokens, window: int) -> float:
    """Return the share of windows of `val` that are somewhere in `train`, too.

    At most `MOST_WINDOWS` of `val` are looked for, in at most `MOST_TOKENS` of `train`.
    """
    if min(len(train), len(val)) < window:
        return 0.0
    starts = even_places(len(val) - window + 1, MOST_WINDOWS)  # (W,)
    wanted = np.zeros(len(starts), dtype=np.uint64)  # (W,)
    for begin in range(0, len(starts), AT_ONCE):  # each has the memory around it mapped, too
        some = starts[begin : begin + AT_ONCE]
        places = some[:, None] + np.arange(window)  # (w, L)
        wanted[begin : begin + AT_ONCE] = _hashes_of(np.asarray(val[places]), window)
        _release(val)
    distinct, numbers = np.unique(wanted, return_inverse=True)
    # most of the windows of the training text fall through this, which is much faster
    is_near = np.zeros(1 << FILTER_BITS, dtype=bool)
    is_near[_top(distinct)] = True
    found = np.zeros(len(distinct), dtype=bool)
    for begin in _blocks(len(train)):
        part = train[begin : begin + BLOCK + window - 1]
        if len(part) < window:
            continue
        hashes = _rolling(part, window)
        hashes = hashes[is_near[_top(hashes)]]
        at = np.minimum(np.searchsorted(distinct, hashes), len(distinct) - 1)
        found[at[distinct[at] == hashes]] = True
    _release(train)
    return float(found[numbers].mean())


def _window(val: Tokens, tokenizer: Tokenizer) -> int:
    """Return how many tokens are about `WINDOW_CHARACTERS`."""
    some = val[: BLOCK // 16]
    characters = len(tokenizer.decode(some)) or 1
    return max(SHORTEST_WINDOW, round(WINDOW_CHARACTERS * len(some) / characters))


def _blocks(length: int) -> list[int]:
    """Return where the blocks begin that are looked at, evenly spaced if they are too many."""
    starts = np.arange(0, length, BLOCK, dtype=np.int64)
    return [int(one) for one in evenly_spaced(starts, MOST_TOKENS // BLOCK)]


def _counts(tokens: Tokens, vocab_size: int) -> NDArray[np.int64]:
    counts = np.zeros(vocab_size, dtype=np.int64)
    for begin in _blocks(len(tokens)):
        counts += np.bincount(tokens[begin : begin + BLOCK], minlength=vocab_size)
    _release(tokens)
    return counts


def _release(tokens: Tokens) -> None:
    """Have the memory of a mapped file count as free, until it is read again."""
    whole: Any = tokens
    while isinstance(whole, np.ndarray):
        whole = whole.base
    if isinstance(whole, mmap.mmap):
        with suppress(AttributeError, OSError, ValueError):  # not every system can
            whole.madvise(mmap.MADV_DONTNEED)


def _never_in(tokens: Tokens, candidates: NDArray[Any]) -> list[int]:
    """Return which ids do not occur, of those that the parts looked at before have not."""
    if len(tokens) > MOST_COUNTED and len(candidates):
        return []  # it would take too long to be sure
    for begin in range(0, len(tokens), BLOCK):
        if not len(candidates):
            break
        counts = np.bincount(tokens[begin : begin + BLOCK], minlength=int(candidates.max()) + 1)
        candidates = candidates[counts[candidates] == 0]
    return [int(one) for one in candidates]


# -- hashes of windows: sum of token[k] * m^k modulo 2^64, mixed -----------------------------------


def _hashes_of(windows: NDArray[Any], length: int) -> NDArray[np.uint64]:
    """Hash windows: (W, L) -> (W,)."""
    powers = _powers(MULTIPLIER, length)  # (L,)
    sums: NDArray[np.uint64] = (_scattered(windows) * powers).sum(axis=1, dtype=np.uint64)
    return sums


def _rolling(tokens: Tokens, length: int) -> NDArray[np.uint64]:
    """Hash all windows: (n,) -> (n - L + 1,)."""
    count = len(tokens)
    sums = np.zeros(count + 1, dtype=np.uint64)
    np.cumsum(_scattered(tokens) * _powers(MULTIPLIER, count), out=sums[1:])
    # the first token of each window has the power of its place: taken back by the inverse
    back = _powers(pow(MULTIPLIER, -1, 1 << 64), count - length + 1)
    return (sums[length:] - sums[: count - length + 1]) * back


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    powers = np.full(count, base % (1 << 64), dtype=np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, out=powers)


def _scattered(tokens: NDArray[Any]) -> NDArray[np.uint64]:
    """Spread ids over all 64 bits, so that few windows have the same sum."""
    values = np.asarray(tokens).astype(np.uint64) + np.uint64(1)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _top(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (hashes >> np.uint64(64 - FILTER_BITS)).astype(np.int64)
