"""Documents of one text that something stands between, such as ``<|endoftext|>``."""

from __future__ import annotations

from collections.abc import Iterator

from data.corpora.corpus import Document, Reader
from data.sources.meter import Meter
from data.sources.tally import Tally


class Separated:
    """What stands between the separators in the documents of another reader."""

    def __init__(self, inner: Reader, separator: str) -> None:
        self.name, self._inner, self._separator = inner.name, inner, separator

    @property
    def size(self) -> int:
        return self._inner.size

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        number = 0
        for document in self._inner.documents(meter, tally):
            for text in self._split(document.pieces()):
                number += 1
                yield Document.of(f"{document.name}:{number}", text)

    def settle(self, offset: int, meter: Meter) -> None:
        self._inner.settle(offset, meter)

    def _split(self, pieces: Iterator[str]) -> Iterator[str]:
        held = ""
        for piece in pieces:
            *whole, held = (held + piece).split(self._separator)
            yield from (text for one in whole if (text := one.strip("\n")))
        if text := held.strip("\n"):
            yield text
