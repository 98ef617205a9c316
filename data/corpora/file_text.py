"""A file as documents: what kind of file it is, and its encoding, are found out as it is read."""

from __future__ import annotations

from collections.abc import Iterator

from data.corpora.corpus import Document, Options
from data.corpora.decoding import Undecodable, decode, misfit, new_name, settled
from data.corpora.encoding import UTF8, Encoding, look_around, marked
from data.corpora.file_kinds import kind_of, structure_of, way_out
from data.corpora.normalize import as_before, normalized
from data.program import named
from data.sources.files import Unusable
from data.sources.meter import Meter
from data.sources.source import Source
from data.sources.tally import Tally

READ_AS = "read as "
AS_IT_STANDS = "learned as it stands: "


class FileText:
    """The text of one file.

    Args:
        source: Its bytes.
    """

    def __init__(self, source: Source, options: Options) -> None:
        self.source, self.name, self._options = source, source.name, options
        asked = options.encoding
        self._is_asked = asked != "auto" and not options.as_before
        self.encoding = Encoding(asked, asked) if self._is_asked else UTF8

    @property
    def size(self) -> int:
        return self.source.size

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        yield Document(self.name, lambda: self._pieces(meter, tally))

    def settle(self, offset: int, meter: Meter) -> None:
        """Find the encoding, after a byte did not fit the one that was tried.

        Raises:
            Unusable: It is no text, damaged, or in no encoding that is recognised.
        """
        window = look_around(self.source.chunks(meter), offset)
        if self.encoding != UTF8 or self._is_asked:
            raise misfit(window, self.source.spec, self.encoding, self._is_asked)
        self.encoding = settled(window, self.source.spec)

    def _pieces(self, meter: Meter, tally: Tally) -> Iterator[str]:
        pieces = decode(self._chunks_of_text(meter), self.encoding)
        if self.encoding != UTF8 and not self._is_asked:
            tally.add(f"{READ_AS}{self.encoding.described}", self.name)
        if self._options.as_before:
            return as_before(pieces)
        seen = self._looked_at(pieces, tally)
        return normalized(seen, self._options.normalize, self.name, tally)

    def _looked_at(self, pieces: Iterator[str], tally: Tally) -> Iterator[str]:
        is_first = True
        for piece in pieces:
            if is_first and (structure := structure_of(piece, self.source.inner_name)):
                tally.add(f"{AS_IT_STANDS}{structure}", self.name)
            is_first = is_first and not piece
            yield piece

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
