"""Rows of comma- and tab-separated values, one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from data.corpora.json_rows import BROKEN, MOST_ROW, lines

DELIMITERS = ",;\t|"


def delimiter_of(head: str, is_tabs: bool) -> str:
    """Return what separates the columns, by the first line."""
    if is_tabs:
        return "\t"
    first = next((line for line in head.split("\n") if line.strip()), "")
    return max(DELIMITERS, key=first.count)


def table_rows(pieces: Iterator[str], delimiter: str) -> Iterator[Any]:
    """Yield the rows below the first one, by the names in that; ``BROKEN`` for one that differs."""
    csv.field_size_limit(MOST_ROW)
    rows = csv.reader((f"{line}\n" for line in lines(pieces)), delimiter=delimiter)
    header: list[str] = []
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            yield BROKEN
            continue
        if not row:
            continue
        if not header:
            header = row
        else:
            yield dict(zip(header, row, strict=True)) if len(row) == len(header) else BROKEN
