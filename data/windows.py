"""The windows of a split of the text: those of each step and evaluation, and their tokens.

Windows reach across documents, or each is of one document: then it begins with the token before the
document, which ended the one before it, and ends with the token that ends it. What is left of the
window is filled up with `NO_TARGET`, which is neither read nor learned.

Shapes: n tokens, D documents, W windows of a split, B of a step, T tokens each (`block_size`).
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from data.batches import (
    Offsets,
    Split,
    Tokens,
    epoch_offsets,
    epoch_places,
    random_numbers,
    take_windows,
    train_offsets,
    validation_windows,
)

NO_TARGET = -1


class Windows:
    """Windows that reach across documents.

    Args:
        order: The setting ``data.order``.
    """

    may_be_short = False

    def __init__(self, tokens: Tokens, block_size: int, order: str = "random") -> None:
        self.tokens, self.block_size, self.order = tokens, block_size, order

    @property
    def per_epoch(self) -> int:
        """Tokens that a run trains on until it has seen all of the split once."""
        return len(self.tokens)

    def of_step(self, batch_size: int, *, seed: int, step: int) -> Offsets:
        """Choose the windows of a step, (B,); see ``train_offsets`` and ``epoch_offsets``."""
        choose = epoch_offsets if self.order == "epochs" else train_offsets
        return choose(len(self.tokens), self.block_size, batch_size, seed=seed, step=step)

    def to_validate(self) -> Offsets:
        """Return the windows in which each token is predicted once, (W,)."""
        return validation_windows(len(self.tokens), self.block_size)

    def take(self, offsets: Offsets) -> NDArray[np.int64]:
        """Gather windows, each with the target after its last token: (B,) -> (B, T + 1)."""
        return take_windows(self.tokens, offsets, self.block_size + 1)

    def targets(self, offsets: Offsets) -> int:
        """Return how many tokens are predicted in some windows, (B,)."""
        return len(offsets) * self.block_size


class DocumentWindows(Windows):
    """Windows of one document each.

    A document of more than T targets has as few windows as cover it; for training they overlap, so
    that none is short, and for validation the last one is.

    Args:
        starts: Where each document begins, (D,), from 0.
    """

    may_be_short = True

    def __init__(
        self, tokens: Tokens, starts: Offsets, block_size: int, order: str = "random"
    ) -> None:
        super().__init__(tokens, block_size, order)
        self._begins = np.maximum(starts - 1, 0)  # (D,) with the end of the one before
        self._ends = np.append(starts[1:], len(tokens))  # (D,)
        self._targets = self._ends - self._begins - 1  # (D,)
        self._counts = -(-self._targets // block_size)  # (D,) windows of each
        self._until = np.cumsum(self._counts)  # (D,) windows of all up to each

    @property
    def count(self) -> int:
        """W"""
        return int(self._until[-1])

    @property
    def per_epoch(self) -> int:
        return self.count * self.block_size

    def of_step(self, batch_size: int, *, seed: int, step: int) -> Offsets:
        """Choose the windows of a step, (B,): at random, or each of them once an epoch.

        Both give each document as many windows; at random those of a long one begin anywhere.
        """
        if self.order == "epochs":
            places, _ = epoch_places(self.count, batch_size, seed=seed, step=step)
            documents, numbers = self._of(places)
            others = np.maximum(self._counts[documents] - 1, 1)
            shifts: Offsets = numbers * self._spare(documents) // others
            return self._begin(documents, shifts)
        raw = random_numbers(batch_size, seed=seed, step=step)  # (B,)
        documents, _ = self._of((raw % np.uint64(self.count)).astype(np.int64))
        places = (self._spare(documents) + 1).astype(np.uint64)  # that it may begin at
        return self._begin(documents, raw // np.uint64(self.count) % places)

    def to_validate(self) -> Offsets:
        documents, numbers = self._of(np.arange(self.count, dtype=np.int64))
        return self._begin(documents, numbers * self.block_size)

    def take(self, offsets: Offsets) -> NDArray[np.int64]:
        places = offsets[:, None] + np.arange(self.block_size + 1)  # (B, T + 1)
        windows: NDArray[np.int64] = np.asarray(
            self.tokens[np.minimum(places, len(self.tokens) - 1)], dtype=np.int64
        )
        windows[places >= self._ends_after(offsets)[:, None]] = NO_TARGET
        return windows

    def targets(self, offsets: Offsets) -> int:
        found = np.minimum(self._ends_after(offsets) - offsets - 1, self.block_size)  # (B,)
        return int(found.sum())

    def _of(self, windows: Offsets) -> tuple[Offsets, Offsets]:
        """Return the documents of windows, and their numbers in these, (B,) each."""
        documents = np.searchsorted(self._until, windows, side="right")
        return documents, windows - self._until[documents] + self._counts[documents]

    def _begin(self, documents: Offsets, shifts: NDArray[Any]) -> Offsets:
        """Return the places so far from the beginnings of documents, (B,) each."""
        return np.asarray(self._begins[documents] + shifts.astype(np.int64), dtype=np.int64)

    def _spare(self, documents: Offsets) -> Offsets:
        """Return how far from the beginning of its document a whole window may begin, (B,)."""
        return np.asarray(np.maximum(self._targets[documents] - self.block_size, 0))

    def _ends_after(self, offsets: Offsets) -> NDArray[Any]:
        return self._ends[np.searchsorted(self._begins, offsets, side="right") - 1]


class Wanted(Protocol):
    """The settings of windows."""

    @property
    def order(self) -> str: ...
    @property
    def within_documents(self) -> bool: ...


def windows_of(split: Split, wanted: Wanted, block_size: int) -> tuple[Windows, Windows]:
    """Return the windows for training and for validation.

    Where documents are not kept apart, they reach across them.
    """

    def of(tokens: Tokens, starts: Offsets) -> Windows:
        if wanted.within_documents and len(starts):
            return DocumentWindows(tokens, starts, block_size, wanted.order)
        return Windows(tokens, block_size, wanted.order)

    return of(split.train, split.train_starts), of(split.val, split.val_starts)
