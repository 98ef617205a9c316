"""Part the tokens of a text into those for training and those for validation.

Shapes: n tokens, D documents.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data.batches import Offsets, Split, Tokens, split_tokens
from data.errors import InputError, reason_of
from data.prepared.prepare import MOST_IN_MEMORY, Tokenized

CLOSE_ENOUGH = (
    2.0  # times more or less than the share that whole documents may be, if not asked for
)


class Wanted(Protocol):
    """The settings of the validation text."""

    @property
    def val_share(self) -> float: ...
    @property
    def val_split(self) -> str: ...
    @property
    def val_seed(self) -> int: ...


def split_of(made: Tokenized, wanted: Wanted) -> Split:
    """Part the tokens of a text.

    Where documents are kept apart, the last ones are for validation, unless they are far from the
    share that is wanted, as of a book and a note; the end of the text is then.

    Raises:
        InputError: There are too few documents for what is wanted, or no room.
    """
    tokens, starts, how = made.tokens, made.starts, wanted.val_split
    if how == "tail" or (how == "auto" and len(starts) < 2):
        return _with_starts(split_tokens(tokens, wanted.val_share), starts)
    if len(starts) < 2:
        raise InputError(
            f"data.val_split {how} needs several documents that are kept apart, and this text has "
            f"one: set data.val_split to tail"
        )
    if how == "random":
        return _drawn(made, wanted.val_share, wanted.val_seed)
    target = wanted.val_share * len(tokens)
    near = int(np.searchsorted(starts, len(tokens) - target))  # the nearest is this or before it
    nearest = min(
        range(max(1, near - 1), min(near + 1, len(starts))),
        key=lambda at: abs(len(tokens) - int(starts[at]) - target),
        default=len(starts) - 1,
    )
    cut = int(starts[nearest])
    ratio = (len(tokens) - cut) / target
    if how == "auto" and not 1 / CLOSE_ENOUGH <= ratio <= CLOSE_ENOUGH:
        return _with_starts(split_tokens(tokens, wanted.val_share), starts)
    return _with_starts(Split(train=tokens[:cut], val=tokens[cut:]), starts)


def _with_starts(split: Split, starts: Offsets) -> Split:
    """Note where documents begin, (D,); the first of the validation may be the end of one."""
    if not len(starts):
        return split
    cut = len(split.train)
    first = int(np.searchsorted(starts, cut))
    of_val = np.append(0, starts[first + (starts[first : first + 1] == cut).sum() :] - cut)
    return replace(split, train_starts=starts[:first], val_starts=of_val)


def drawn_documents(sizes: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Draw documents, (D,), for about a share of all tokens; at least one, and never all.

    Args:
        sizes: The tokens of each document, (D,).
    """
    philox = np.random.Philox(key=np.array([seed % 2**64, 0], dtype=np.uint64))
    # Raw bits, because NumPy guarantees them for all versions
    order = np.argsort(np.asarray(philox.random_raw(len(sizes))), kind="stable")  # (D,)
    before = np.cumsum(sizes[order]) - sizes[order]  # tokens of those drawn sooner
    count = int(np.count_nonzero(before + sizes[order] / 2 <= share * sizes.sum()))
    drawn = np.zeros(len(sizes), dtype=bool)
    drawn[order[: min(max(count, 1), len(sizes) - 1)]] = True
    return drawn


def _drawn(made: Tokenized, share: float, seed: int) -> Split:
    tokens, starts = made.tokens, made.starts
    sizes = np.diff(starts, append=len(tokens))  # (D,)
    drawn = drawn_documents(sizes, share, seed)
    cut = int(sizes[~drawn].sum())
    order = np.concatenate([np.flatnonzero(~drawn), np.flatnonzero(drawn)])  # (D,)
    arranged = _arranged(made, order)
    new_starts = np.cumsum(sizes[order]) - sizes[order]
    return _with_starts(Split(train=arranged[:cut], val=arranged[cut:]), new_starts)


def _arranged(made: Tokenized, order: NDArray[np.int64]) -> Tokens:
    """Return the tokens with documents in another order, (n,), beside the prepared ones."""
    tokens, size = made.tokens, made.tokens.nbytes
    if made.folder is None or size <= MOST_IN_MEMORY:
        out = np.empty_like(tokens, subok=False)
        _copy(made, order, out)
        return out
    path = made.folder / f"documents-{hashlib.sha256(order.tobytes()).hexdigest()[:12]}.bin"
    try:
        if not (path.is_file() and path.stat().st_size == size):
            _write(made, order, path)
        return np.memmap(path, tokens.dtype, "c", shape=tokens.shape)
    except OSError as error:
        raise InputError(
            f"the documents cannot be kept in another order in {made.folder} "
            f"({reason_of(error)}): make room, or set data.val_split to documents"
        ) from None


def _write(made: Tokenized, order: NDArray[np.int64], path: Path) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        out = np.memmap(part, made.tokens.dtype, "w+", shape=made.tokens.shape)
        _copy(made, order, out)
        out.flush()
        os.replace(part, path)
    finally:
        with suppress(OSError):
            part.unlink()


def _copy(made: Tokenized, order: NDArray[np.int64], out: Tokens) -> None:
    """Copy documents one after another; neighbours that stay together at once."""
    starts = np.append(made.starts, len(made.tokens))
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    done = 0
    for first, last in zip(
        order[np.append(0, breaks)].tolist(),
        order[np.append(breaks, len(order)) - 1].tolist(),
        strict=True,
    ):
        begin, end = int(starts[first]), int(starts[last + 1])
        out[done : done + end - begin] = made.tokens[begin:end]
        done += end - begin
