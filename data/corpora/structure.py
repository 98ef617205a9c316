"""Whether a text consists of rows, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from data.corpora.fields import TEXT_NAMES
from data.corpora.json_rows import (
    BROKEN,
    first_of_array,
    json_array,
    json_lines,
    json_object,
    parsed,
)
from data.corpora.normalize import MARK
from data.corpora.table_rows import delimiter_of, has_names, table_rows

LINES_OF_JSON = ("jsonl", "ndjson")
TABLES = ("csv", "tsv")
TURNS = re.compile(r'"(chat_)?messages"\s*:\s*\[\s*(\{|$)')  # as chat programs export them
TREE = re.compile(r'"mapping"\s*:\s*\{\s*"[^"]*"\s*:\s*\{')  # of turns, as ChatGPT does
OBJECTS = re.compile(r'\s*\[\s*\{\s*"')  # an array of them begins
WITH_NAMES = "with names in its first line"
WITHOUT_NAMES = "without names in its first line"
Rows = Callable[[Iterator[str]], Iterator[Any]]


def rows_in(head: str, name: str, structure: str, asked: str) -> tuple[str, Rows] | None:
    """Return what a text is that consists of rows, and what yields them; None for other texts.

    Args:
        head: Its beginning.
        name: Of the file. What its suffix says is believed sooner.
        structure: What ``structure_of`` says of it.
        asked: The setting ``data.field``; empty guesses.
    """
    head, suffix = head.removeprefix(MARK), name.lower().rpartition(".")[2]
    if structure == "JSON lines" or (suffix in LINES_OF_JSON and _has_json_line(head)):
        return "JSON lines", json_lines
    first = first_of_array(head)
    if isinstance(first, Mapping) or (suffix == "json" and isinstance(first, str)):
        return "a JSON array", json_array
    if first is BROKEN and OBJECTS.match(head) and (suffix == "json" or is_chat(head)):
        return "a JSON array", json_array  # its first element is long, or broken
    if structure == "JSON" and head.lstrip().startswith("{") and is_chat(head):
        return "the JSON of a chat", json_object
    is_list = suffix in TABLES and _names_text(head)
    if is_list or (structure in ("CSV", "tab-separated values") and (suffix in TABLES or asked)):
        delimiter = delimiter_of(head, suffix == "tsv" or structure == "tab-separated values")
        is_named = has_names(head, delimiter, asked)
        called = f"{structure or 'CSV'} {WITH_NAMES if is_named else WITHOUT_NAMES}"
        return called, lambda pieces: table_rows(pieces, delimiter, is_named)
    return None


def is_chat(head: str) -> bool:
    """Return whether a JSON text is of a chat program, by its beginning."""
    if TURNS.search(head):
        return True
    return bool(TREE.search(head)) and '"parts"' in head


def _has_json_line(head: str) -> bool:
    whole = head.split("\n")[:-1] or [head]
    return any(isinstance(parsed(line), Mapping | str) for line in whole if line) or _is_cut(head)


def _is_cut(head: str) -> bool:
    """Return whether it is the beginning of one long line, which may be an object."""
    return "\n" not in head and head.lstrip().startswith("{") and parsed(head) is BROKEN


def _names_text(head: str) -> bool:
    """Return whether the first line is the name of a single column of texts."""
    return head.partition("\n")[0].strip().strip('"').lower() in TEXT_NAMES
