"""Filter and sort runs, in the app and for the commands alike."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

from data.errors import InputError
from engine.runs.summary import RunSummary

SORTS: dict[str, Callable[[RunSummary], Any]] = {
    "created": lambda run: run.created,
    "name": lambda run: _natural(run.name),
    "state": lambda run: run.state,
    "preset": lambda run: run.preset,
    "parameters": lambda run: run.parameters,
    "best": lambda run: run.best_val_loss,
    "step": lambda run: run.step,
    "time": lambda run: run.train_seconds,
    "data": lambda run: run.corpus,
    "tags": lambda run: " ".join(run.tags) or None,
}
"""What runs can be sorted by; a run without it comes last."""

FIELDS: dict[str, Callable[[RunSummary], str]] = {
    "name": lambda run: run.name,
    "state": lambda run: f"{run.state} live" if run.live else run.state,
    "preset": lambda run: run.preset,
    "data": lambda run: run.corpus,
    "tag": lambda run: " ".join(run.tags),
    "note": lambda run: run.note,
    "parent": lambda run: run.parent,
}
"""What runs can be filtered by, as ``field:word``."""


def sort_runs(runs: Iterable[RunSummary], by: str, descending: bool = False) -> list[RunSummary]:
    """Sort runs.

    Args:
        descending: The largest first; those without a value stay last.

    Raises:
        InputError: There is no such order.
    """
    if by not in SORTS:
        near = difflib.get_close_matches(by, SORTS, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SORTS)}"
        raise InputError(f"runs cannot be sorted by {by!r}: {hint}")
    return sort_by(runs, SORTS[by], descending)


def sort_by(
    runs: Iterable[RunSummary], value: Callable[[RunSummary], Any], descending: bool = False
) -> list[RunSummary]:
    """Sort runs by a function, as ``sort_runs``."""
    in_order = sorted(runs, key=lambda run: (run.created, run.name))
    known = [run for run in in_order if _is_known(value(run))]
    unknown = [run for run in in_order if not _is_known(value(run))]
    return sorted(known, key=value, reverse=descending) + unknown


def matches(run: RunSummary, text: str) -> bool:
    """Return whether a run matches every word of a filter, ignoring case.

    A word is looked for in all of ``FIELDS``, ``field:word`` in one of them, and ``-word`` must not
    be there.
    """
    return all(_has(run, word) for word in text.lower().split())


def _has(run: RunSummary, word: str) -> bool:
    if len(word) > 1 and word.startswith("-"):
        return not _has(run, word[1:])
    field, colon, rest = word.partition(":")
    if colon and field in FIELDS:
        return rest in FIELDS[field](run).lower()
    return any(word in of(run).lower() for of in FIELDS.values())


def _is_known(value: Any) -> bool:
    return value is not None and value == value  # NaN is not itself


def _natural(name: str) -> list[tuple[int, Any]]:
    """So that ``run-9`` comes before ``run-10``."""
    parts = re.split(r"(\d+)", name.lower())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]
