"""What commands print: tables, JSON, and runs in words."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from engine.protocol import PRUNED_KEY

if TYPE_CHECKING:
    from engine.runs.summary import RunSummary

NARROWEST = 20  # columns that a wrapped cell gets, however narrow the terminal


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Iterable[int] = (),
    wrap: bool = False,
) -> str:
    """Columns as wide as their widest cell.

    Args:
        header: Names of the columns.
        rows: As many cells each.
        right: Columns that lean to the right.
        wrap: Break the last column into lines that fit the terminal.
    """
    return format_columns([header, *rows], right, wrap)


def format_columns(
    rows: Sequence[Sequence[str]], right: Iterable[int] = (), wrap: bool = False
) -> str:
    """A table without a header."""
    lines = _wrap_last(rows) if wrap else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    to_right = set(right)

    def cell(text: str, column: int) -> str:
        return text.rjust(widths[column]) if column in to_right else text.ljust(widths[column])

    return "\n".join("  ".join(cell(t, i) for i, t in enumerate(line)).rstrip() for line in lines)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _wrap_last(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    others = zip(*(row[:-1] for row in rows), strict=True)
    left = sum(max(map(len, column)) + 2 for column in others)
    room = max(NARROWEST, shutil.get_terminal_size().columns - left)
    lines = []
    for *cells, last in rows:
        first, *more = textwrap.wrap(last, room, break_on_hyphens=False) or [""]
        lines += [[*cells, first], *([*[""] * len(cells), line] for line in more)]
    return lines


def format_json(value: Any) -> str:
    """One line of JSON, in which numbers that are not finite are null."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_facts(run: RunSummary) -> dict[str, Any]:
    """A run as the JSON of ``train`` and ``runs`` names it."""
    facts = dataclasses.asdict(run)
    facts[PRUNED_KEY] = facts.pop("pruned")
    del facts["is_restorable"]  # which the problem says in words
    path, steps = facts.pop("path") or None, facts.pop("step")
    return {"run": path, "steps": steps, **facts, "tokens_per_second": run.tokens_per_second}


def format_threads(threads: int | None) -> str:
    """``1 thread``, ``2 threads``."""
    return "1 thread" if threads == 1 else f"{threads} threads"
