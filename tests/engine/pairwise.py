"""A small covering set: every two values of any two factors appear together at least once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Row = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]  # (factor, value) twice, in the order of factors

CANDIDATES = 50  # random rows, of which the possible one that covers most is taken
PATIENCE = 200  # random rows before a pair is held to be impossible


def all_pairs(
    factors: Mapping[str, Sequence[Any]], is_possible: Callable[[Row], bool], seed: int = 0
) -> tuple[list[Row], set[Pair]]:
    """Rows that are possible and cover all pairs that can be; greedy, and always the same.

    Args:
        factors: The values each factor can have.
        is_possible: Whether a whole row can be.
        seed: Of the candidates.

    Returns:
        The rows, and the pairs that no possible row was found for.
    """
    chance = random.Random(seed)
    missing = dict.fromkeys(_pairs_of(factors))  # a set that keeps its order
    rows: list[Row] = []
    impossible: set[Pair] = set()
    while missing:
        pair = next(iter(missing))
        best = _best(factors, pair, missing, is_possible, chance)
        if best is None:
            impossible.add(pair)
            del missing[pair]
            continue
        rows.append(best)
        for covered in _pairs_in(best):
            missing.pop(covered, None)
    return rows, impossible


def _best(
    factors: Mapping[str, Sequence[Any]],
    pair: Pair,
    missing: Mapping[Pair, None],
    is_possible: Callable[[Row], bool],
    chance: random.Random,
) -> Row | None:
    """Return a possible row that holds a pair, and of those tried the one that covers most."""
    for _ in range(PATIENCE // CANDIDATES):
        rows = [
            {name: chance.choice(values) for name, values in factors.items()} | dict(pair)
            for _ in range(CANDIDATES)
        ]
        rows.sort(key=lambda row: sum(p in missing for p in _pairs_in(row)), reverse=True)
        for row in rows:  # to see whether one is possible takes longest, so the best come first
            if is_possible(row):
                return row
    return None


def _pairs_of(factors: Mapping[str, Sequence[Any]]) -> Iterator[Pair]:
    for one, other in combinations(factors, 2):
        yield from (((one, a), (other, b)) for a in factors[one] for b in factors[other])


def _pairs_in(row: Row) -> Iterator[Pair]:
    return combinations(row.items(), 2)
