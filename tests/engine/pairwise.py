"""A small covering set: every two values of any two factors appear together at least once."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Row = dict[str, Any]
Pair = tuple[tuple[str, Any], tuple[str, Any]]  # (factor, value) twice, in the order of factors

CANDIDATES = 60  # random rows, of which the one that covers most is taken
PATIENCE = 600  # random rows before a pair is held to be impossible


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
        candidates = list(_candidates(factors, pair, is_possible, chance))
        if not candidates:
            impossible.add(pair)
            del missing[pair]
            continue
        best = max(candidates, key=lambda row: sum(p in missing for p in _pairs_in(row)))
        rows.append(best)
        for covered in _pairs_in(best):
            missing.pop(covered, None)
    return rows, impossible


def _candidates(
    factors: Mapping[str, Sequence[Any]],
    pair: Pair,
    is_possible: Callable[[Row], bool],
    chance: random.Random,
) -> Iterator[Row]:
    """Possible rows that hold a pair."""
    found = 0
    for _ in range(PATIENCE):
        row = {name: chance.choice(values) for name, values in factors.items()} | dict(pair)
        if is_possible(row):
            yield row
            found += 1
        if found == CANDIDATES:
            return


def _pairs_of(factors: Mapping[str, Sequence[Any]]) -> Iterator[Pair]:
    for one, other in combinations(factors, 2):
        yield from (((one, a), (other, b)) for a in factors[one] for b in factors[other])


def _pairs_in(row: Row) -> Iterator[Pair]:
    return combinations(row.items(), 2)
