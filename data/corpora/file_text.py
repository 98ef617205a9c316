"""A file as documents: what kind of file it is, and its encoding, are found out as it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from data.corpora.corpus import Document, Options
from data.corpora.decoding import Undecodable, decode, misfit, new_name, settled
from data.corpora.encoding import UTF8, Encoding, look_around, marked
from data.corpora.file_kinds import kind_of, structure_of, way_out
from data.corpora.normalize import as_before, normalized, without_mark
from data.corpora.rows_text import RowsText
from data.corpora.structure import rows_in
from data.program import named
from data.sources.files import Unusable
from data.sources.meter import Meter
from data.sources.source import Source
from data.sources.tally import Tally

READ_AS = "read as "
AS_IT_STANDS = "learned as it stands: "
HEAD_CHARACTERS = 1 << 20  # by which it is found out what a text consists of
Rows = Callable[[Iterator[str]], Iterator[Any]]


class FileText:
    """The text of one file: one document, or the rows of a table.

    Args:
        source: Its bytes.
    """

    def __init__(self, source: Source, options: Options) -> None:
        self.source, self.name, self._options = source, source.name, options
        asked = options.encoding
        self._is_asked = asked != "auto" and not options.as_before
        self.encoding = Encoding(asked, asked) if self._is_asked else UTF8
        self._is_known = False  # whether it was read once, with the encoding that it has
        self._rows: Rows | None = None
        self._rows_text: RowsText | None = None

    @property
    def size(self) -> int:
        return self.source.size

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        pieces = self._decoded(meter, tally)
        if not (self._options.as_before or self._is_known):
            pieces = self._looked_at(pieces, tally)
        if self._rows and self._rows_text:
            yield from self._rows_text.documents(self._rows(without_mark(pieces)), tally)
        else:
            begun = [pieces]  # for the first time that it is read
            yield Document(
                self.name,
                lambda: self._plain(begun.pop() if begun else self._decoded(meter, Tally()), tally),
            )
        self._is_known = True

    def _plain(self, pieces: Iterator[str], tally: Tally) -> Iterator[str]:
        if self._options.as_before:
            return as_before(pieces)
        return normalized(pieces, self._options.normalize, self.name, tally)

    def settle(self, offset: int, meter: Meter) -> None:
        """Find the encoding, after a byte did not fit the one that was tried.

        Raises:
            Unusable: It is no text, damaged, or in no encoding that is recognised.
        """
        spec, chunks = self.source.spec, partial(self.source.chunks, meter)
        window = look_around(chunks(), offset)
        if self.encoding != UTF8 or self._is_asked:
            raise misfit(window, spec, chunks, self.encoding, self._is_asked)
        self.encoding = settled(window, spec, chunks)

    def _looked_at(self, pieces: Iterator[str], tally: Tally) -> Iterator[str]:
        """Find out what the text consists of, by its beginning; return all pieces."""
        held, size = list[str](), 0
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= HEAD_CHARACTERS:
                break
        head = "".join(held)
        name = self.source.inner_name
        structure = structure_of(head, name)
        if found := rows_in(head, name, structure, self._options.field):
            called, self._rows = found
            self._rows_text = self._rows_text or RowsText(
                self.name, self.source.spec, called, self._options
            )
        elif structure:
            tally.add(f"{AS_IT_STANDS}{structure}", self.name)
        return _after([head], pieces)

    def _decoded(self, meter: Meter, tally: Tally) -> Iterator[str]:
        if self.encoding != UTF8 and not self._is_asked:
            tally.add(f"{READ_AS}{self.encoding.described}", self.name)
        return decode(self._chunks_of_text(meter), self.encoding)

    def _chunks_of_text(self, meter: Meter) -> Iterator[bytes]:
        """Yield its bytes, if the first ones are not those of something else than text.

        Raises:
            Undecodable: A byte order mark names another encoding than UTF-8.
        """
        spec, is_first = self.source.spec, True
        for chunk in self.source.chunks(meter):
            if is_first:
                if kind := kind_of(chunk):
                    what = f"{named(spec)} is {kind.called}, no plain text"
                    raise Unusable(f"{what}: {way_out(kind, spec, new_name(spec))}", "binary")
                if self.encoding == UTF8 and marked(chunk):
                    raise Undecodable(0)
            is_first = False
            yield chunk


def _after(head: list[str], pieces: Iterator[str]) -> Iterator[str]:
    """Yield the head, which is not kept then, and the rest."""
    yield head.pop()
    yield from pieces
