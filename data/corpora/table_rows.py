"""Rows of comma- and tab-separated values, one at a time."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from data.corpora.fields import TEXT_NAMES
from data.corpora.json_rows import BROKEN, MOST_ROW, lines

DELIMITERS = ",;\t|"
FIRST_ROWS = 100  # by which it is found out whether the first one has names
LONGER = 3  # times as long as its name a text is
NUMBER = re.compile(r"[-+]?\d[\d.,:/ TZ%+-]*(e[-+]?\d+)?", re.IGNORECASE)  # or a time
SENTENCE_END = re.compile(r"[.!?…。！？।؟][\"'”’»)]*$")


def delimiter_of(head: str, is_tabs: bool) -> str:
    """Return what separates the columns, by the first line."""
    if is_tabs:
        return "\t"
    first = next((line for line in head.split("\n") if line.strip()), "")
    return max(DELIMITERS, key=first.count)


def has_names(head: str, delimiter: str, asked: str) -> bool:
    """Return whether the first row names the columns, and is no row of texts itself.

    Args:
        head: The beginning of the text.
        asked: The setting ``data.field``: a name, or where there are none a column by its number.
    """
    rows = [one for one in itertools.islice(_rows(iter((head,)), delimiter), FIRST_ROWS) if one]
    if not rows:
        return True
    first, others = rows[0], [one for one in rows[1:] if len(one) == len(rows[0])]
    is_like_names = sum(map(_like_a_name, first, zip(*others, strict=True))) >= 0
    if asked in first:
        return is_like_names or not asked.isdecimal()
    return is_like_names and not (asked.isdecimal() and 1 <= int(asked) <= len(first))


def _like_a_name(cell: str, column: Sequence[str]) -> int:
    """Return how much speaks for the name of a column, or (below 0) for one of its values."""
    cell, below = cell.strip(), [value for one in column if (value := one.strip())]
    if not cell or not below:
        return 0
    if cell in below:
        return -2
    if cell.lower() in TEXT_NAMES:
        return 3
    if all(map(NUMBER.fullmatch, below)):
        return -2 if NUMBER.fullmatch(cell) else 2
    most = len(below) // 2
    if SENTENCE_END.search(cell) and sum(map(bool, map(SENTENCE_END.search, below))) > most:
        return -1
    if median(map(len, below)) >= LONGER * len(cell):
        return 1
    return -1 if " " in cell and sum(" " in one for one in below) > most else 0


def table_rows(pieces: Iterator[str], delimiter: str, is_named: bool = True) -> Iterator[Any]:
    """Yield rows by the names of their columns; ``BROKEN`` for one of another number of columns.

    Args:
        is_named: Whether the first row has the names; without, they are ``1``, ``2`` and so on.
    """
    header: list[str] = []
    for row in _rows(pieces, delimiter):
        if not header and row:
            header = row if is_named else [str(number) for number in range(1, len(row) + 1)]
            if is_named:
                continue
        yield dict(zip(header, row, strict=True)) if row and len(row) == len(header) else BROKEN


def _rows(pieces: Iterator[str], delimiter: str) -> Iterator[list[str]]:
    """Yield the cells of each row; none for one that cannot be read."""
    csv.field_size_limit(MOST_ROW)
    rows = csv.reader((f"{line}\n" for line in lines(pieces)), delimiter=delimiter)
    while True:
        try:
            if row := next(rows):
                yield row
        except StopIteration:
            return
        except csv.Error:
            yield []
