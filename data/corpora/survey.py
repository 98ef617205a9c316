"""Read a corpus once: its size and hash, what is unusual, and which files are no texts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from data.corpora.corpus import Document, Reader
from data.corpora.decoding import Undecodable
from data.errors import NotFound
from data.sources.files import Unusable
from data.sources.meter import Meter
from data.sources.tally import Tally

BLANK = "empty"


@dataclass
class Survey:
    """What is known of documents that were read."""

    characters: int = 0
    size: int = 0
    count: int = 0
    tally: Tally = field(default_factory=Tally)  # of what is unusual
    _first: str = ""  # the hash of the first document
    _all: hashlib._Hash = field(default_factory=hashlib.sha256)
    _is_open: bool = False  # whether the last line is

    @property
    def sha256(self) -> str:
        """Of the text if it is one document, else of the lengths and hashes of all."""
        return self._first if self.count == 1 else self._all.hexdigest()

    def copy(self) -> Survey:
        return Survey(
            *(self.characters, self.size, self.count, Tally()),
            *(self._first, self._all.copy(), self._is_open),
        )

    def add(self, document: Document) -> None:
        """Read a document; one with nothing in it does not count."""
        if (text := document.whole) is not None:
            if text and not text.isspace():
                body = text.encode()
                self._note(len(text), len(body), text[-1] != "\n", hashlib.sha256(body).digest())
            return
        sha = hashlib.sha256()
        characters = size = 0
        is_blank, last = True, ""
        for piece in document.pieces():
            body = piece.encode()
            sha.update(body)
            characters, size = characters + len(piece), size + len(body)
            is_blank = is_blank and (not piece or piece.isspace())
            last = piece[-1:] or last
        if not is_blank:
            self._note(characters, size, last != "\n", sha.digest())

    def _note(self, characters: int, size: int, is_open: bool, digest: bytes) -> None:
        between = int(self._is_open)  # the line end that ``Corpus.pieces`` puts there
        self.characters += between + characters
        self.size += between + size
        self.count += 1
        self._is_open = is_open
        self._first = self._first or digest.hex()
        self._all.update(size.to_bytes(8, "little") + digest)


def survey(
    known: Survey, readers: Sequence[Reader], meter: Meter, skipped: Tally, is_one: bool
) -> tuple[Survey, list[Reader]]:
    """Read more documents; return what is known then, and the readers that have any.

    Args:
        skipped: Receives the files that cannot be used, unless a single one was named.

    Raises:
        InputError: The file that was named cannot be used.
        Cancelled: The meter's watcher returned true.
    """
    usable = []
    for reader in readers:
        try:
            after = _read(reader, known, meter)
        except (NotFound, Unusable) as error:
            if is_one or error.is_shortage:
                raise
            skipped.add(getattr(error, "why", "gone since they were listed"), reader.name)
            continue
        if after.count == known.count:
            skipped.add(BLANK, reader.name)
            continue
        known.tally.merge(after.tally)
        after.tally = known.tally
        known = after
        usable.append(reader)
    return known, usable


def _read(reader: Reader, known: Survey, meter: Meter) -> Survey:
    """Return what is known with one more reader; it may find out its encoding and begin again."""
    while True:
        trial = known.copy()
        try:
            for document in reader.documents(meter, trial.tally):
                trial.add(document)
        except Undecodable as error:
            reader.settle(error.offset, meter)
        else:
            return trial
