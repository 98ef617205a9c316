"""Rows as documents: the text of one field, and what is told of the rest."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from data.corpora.conversations import text_of
from data.corpora.corpus import Document, Options
from data.corpora.fields import choose_field
from data.corpora.json_rows import BROKEN, Damaged
from data.corpora.normalize import normal_text
from data.program import named
from data.sources.files import Unusable
from data.sources.tally import Tally

FIRST_ROWS = 100  # by which the field is chosen
BROKEN_ROWS = "broken rows"
WITHOUT_TEXT = "rows without text"
OF_FIELD = "of which the field "
EXPORTED = "an export of "
EXPORTS = {"mapping": ("ChatGPT", Mapping), "chat_messages": ("Claude", list)}  # by their field


class RowsText:
    """Documents of the rows of one file.

    Args:
        name: Of the file.
        spec: The file, as it is named in messages.
        called: What it is, such as "JSON lines".
    """

    def __init__(self, name: str, spec: str, called: str, options: Options) -> None:
        self._name, self._spec, self._called, self._options = name, spec, called, options
        self._field: str | None = None  # empty if rows are texts themselves

    def documents(self, rows: Iterator[Any], tally: Tally) -> Iterator[Document]:
        """Yield a document for each row that has text.

        Raises:
            Unusable: There is no such field, no row with text, or the file is damaged.
        """
        sound = self._sound(rows)
        first = list(itertools.islice(sound, FIRST_ROWS))
        if self._field is None:
            self._field = self._chosen(first)
        if self._field:
            tally.add(self._what(self._field, first), self._name)
        count = 0
        for number, row in enumerate(itertools.chain(first, sound), start=1):
            name = f"{self._name}:{number}"
            if text := self._text_of(row, name, tally):
                count += 1
                yield Document.of(name, text)
        if not count:
            left_out = f" ({told})" if (told := left_out_rows(tally).described()) else ""
            raise Unusable(
                f"{named(self._spec)} is {self._called} without any text{left_out}: give one that "
                "has texts",
                "without any text",
            )

    def _what(self, field: str, rows: list[Any]) -> str:
        """Return what is learned of the file."""
        who, kind = EXPORTS.get(field, ("", type(None)))
        if any(isinstance(one.get(field), kind) for one in rows if isinstance(one, Mapping)):
            return f"{EXPORTED}{who}, of which what the person and the model say"
        return f"{self._called}, {OF_FIELD}{field!r}"

    def _sound(self, rows: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from rows
        except Damaged as error:
            raise Unusable(
                f"{named(self._spec)} is no valid JSON ({error}): write it again, or give each "
                "row a line of its own",
                "damaged JSON",
            ) from None

    def _chosen(self, rows: list[Any]) -> str:
        tables = [row for row in rows if isinstance(row, Mapping)]
        if not tables and any(isinstance(row, str) for row in rows):
            return ""
        return choose_field(tables, self._options.field, self._spec, self._called)

    def _text_of(self, row: Any, name: str, tally: Tally) -> str:
        """Return the text of a row; empty if it has none."""
        if type(row) is dict:  # the usual case, in the shortest way
            text = row.get(self._field)
            if type(text) is str and text > "!" and text.isascii() and "\r" not in text:
                return text
        if self._field and isinstance(row, Mapping):
            value = row.get(self._field)
            if isinstance(value, int | float):
                row = str(value)
            elif value is not None:
                row = BROKEN if (text := text_of(row, self._field)) is None else text
            else:
                row = ""
        elif isinstance(row, Mapping):
            row = BROKEN
        if row is None:
            row = ""
        if not isinstance(row, str) or not _is_unicode(row):
            tally.add(BROKEN_ROWS, name)
            return ""
        text = normal_text(row, self._options.normalize, name, tally)
        if not text or text.isspace():
            tally.add(WITHOUT_TEXT, name)
            return ""
        return text


def left_out_rows(tally: Tally) -> Tally:
    """Return what a tally has of rows that are left out."""
    counts = {one: tally.counts[one] for one in (BROKEN_ROWS, WITHOUT_TEXT) if one in tally.counts}
    return Tally(Counter(counts), tally.first)


def _is_unicode(text: str) -> bool:
    """Return whether it has no half of a surrogate pair, which JSON can have as an escape."""
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
