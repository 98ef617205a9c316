"""Tables and JSON for the commands."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from data.errors import on_one_line
from data.paths import is_unicode
from engine.states import PRUNED_KEY
from tui.terminal.visible import visible

if TYPE_CHECKING:
    from rich.text import Text

    from engine.runs.summary import RunSummary

SEPARATOR = " · "  # between items on a line
NARROWEST = 20  # columns that a wrapped cell gets, however narrow the terminal


def format_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Iterable[int] = (),
    wrap: bool = False,
    least: Iterable[int] = (),
) -> str:
    """Format a table with a header; the options are those of `format_columns`.

    Args:
        least: Indices of columns that are left out, one after the other, until the table fits the
            terminal.
    """
    table, kept = [header, *rows], list(range(len(header)))
    for index in least if sys.stdout.isatty() else ():
        shown = format_columns([[row[one] for one in kept] for row in table])
        if max(map(_width, shown.splitlines())) <= shutil.get_terminal_size().columns:
            break
        kept.remove(index)
    to_right = set(right)
    cells = [[row[one] for one in kept] for row in table]
    return format_columns(cells, [at for at, one in enumerate(kept) if one in to_right], wrap)


def format_columns(
    rows: Sequence[Sequence[str]], right: Iterable[int] = (), wrap: bool = False
) -> str:
    """Align columns, each as wide as its widest cell.

    Args:
        right: Indices of the right-aligned columns.
        wrap: Break the last column into lines that fit the terminal.
    """
    rows = [[on_one_line(cell) for cell in row] for row in rows]
    lines = _wrap_last(rows) if wrap else rows
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    to_right = set(right)

    def cell(text: str, column: int) -> str:
        gap = " " * (widths[column] - _width(text))
        return gap + text if column in to_right else text + gap

    return "\n".join("  ".join(cell(t, i) for i, t in enumerate(line)).rstrip() for line in lines)


def _width(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # not for every command

    return cell_len(visible(text))


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(on_one_line, line))} |" for line in lines)


def _wrap_last(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    others = zip(*(row[:-1] for row in rows), strict=True)
    left = sum(max(map(_width, column)) + 2 for column in others)
    room = max(NARROWEST, shutil.get_terminal_size().columns - left)
    lines = []
    for *cells, last in rows:
        first, *more = textwrap.wrap(last, room, break_on_hyphens=False) or [""]
        lines += [[*cells, first], *([*[""] * len(cells), line] for line in more)]
    return lines


def format_json(value: Any) -> str:
    """Format as one line of JSON, with null for numbers that are not finite.

    Bytes of a path that are not UTF-8 are escaped, as Python's ``json`` reads them.
    """
    text = json.dumps(_finite(value), allow_nan=False, ensure_ascii=False)
    return text if is_unicode(text) else json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def run_facts(run: RunSummary) -> dict[str, Any]:
    """Return a run under the JSON keys of ``train`` and ``runs``."""
    facts = dict(vars(run))
    facts[PRUNED_KEY] = facts.pop("pruned")
    del facts["is_restorable"]  # the problem says it
    del facts["config"], facts["bytes_per_token"]  # a run has a file of it
    path, steps = facts.pop("path") or None, facts.pop("step")
    return {
        "run": path,
        "steps": steps,
        **facts,
        "tokenizer": run.config.data.tokenizer if run.config else None,
        "val_bits_per_byte": run.val_bits_per_byte,
        "tokens_per_second": run.tokens_per_second,
    }


def format_threads(threads: int | None, processes: int = 1, sharded: bool = False) -> str:
    """``1 thread``, ``2 threads``, ``4 processes of 1 thread``, ``…, sharded``."""
    each = "1 thread" if threads == 1 else f"{threads} threads"
    if processes == 1:
        return each
    return f"{processes} processes of {each}{', sharded' if sharded else ''}"


def fit_items(items: Sequence[Text], width: int, separator: str = SEPARATOR) -> Text:
    """Join as many items as fit, the most important first; truncate the first one if need be."""
    from rich.text import Text  # not for every command

    line = Text(no_wrap=True)
    for item in items:
        gap = Text(separator if line else "", "dim")
        if line and line.cell_len + gap.cell_len + item.cell_len > width:
            break
        line.append_text(gap).append_text(item)
    line.truncate(width, overflow="ellipsis")
    return line
