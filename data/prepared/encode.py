"""Encode a text in parts: its documents with the end of each, or all of it run together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.corpora.corpus import SHORT
from data.download import Watcher
from data.sources.meter import Meter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.corpora.corpus import Corpus, GivenTokens
    from data.tokenizers import Tokenizer

TOGETHER = 1 << 20  # characters of short documents that are encoded at a time
MOST_TOGETHER = 1 << 14  # such documents


@dataclass(frozen=True)
class Place:
    """A place in a text at which its tokens can be parted.

    Attributes:
        documents: How many are before it, those with nothing in them included.
        inside: Characters between the last of these and it; of a text that was given as tokens,
            all tokens before it.
    """

    documents: int = 0
    inside: int = 0


@dataclass(frozen=True)
class Part:
    """Some of the tokens of a text.

    Attributes:
        ids: (n,)
        ends: How many of them are before the end of each document that ends here, and with it.
        characters: That were encoded.
        place: Behind them.
    """

    ids: NDArray[Any]
    ends: list[int]
    characters: int
    place: Place


def encoded(corpus: Corpus, tokenizer: Tokenizer, begin: Place, watcher: Watcher) -> Iterator[Part]:
    """Encode a text from a place on, at which an earlier part ended.

    Raises:
        InputError: It cannot be read or encoded.
        Cancelled: `watcher.cancelled` returned true.
    """
    if corpus.given and corpus.given.tokenizer.fingerprint == tokenizer.fingerprint:
        yield from _given(corpus, corpus.given, begin.inside, watcher)
        return
    end = tokenizer.end_of_text
    chunks: list[str | None] = []  # None: the end of a document
    held = 0  # characters in them
    for number, text in enumerate(_texts(corpus, tokenizer, watcher)):
        if number < begin.documents:
            continue
        if isinstance(text, str):  # a short document
            if text and not text.isspace():
                new = text[begin.inside :] if number == begin.documents else text
                chunks += (new, None)
                held += len(new)
                if held >= TOGETHER or len(chunks) >= 2 * MOST_TOGETHER:
                    yield _part(tokenizer, chunks, held, Place(number + 1))
                    chunks, held = [], 0
            continue
        skip, inside = (begin.inside if number == begin.documents else 0), 0
        for chunk in tokenizer.chunks(text):
            new = chunk[max(0, skip - inside) :]
            inside += len(chunk)
            if not new:
                continue
            chunks.append(new)
            held += len(new)
            if end is None or held >= TOGETHER:
                yield _part(tokenizer, chunks, held, Place(number, inside))
                chunks, held = [], 0
        if end is not None and inside:
            chunks.append(None)
            if len(chunks) >= MOST_TOGETHER:
                yield _part(tokenizer, chunks, held, Place(number + 1))
                chunks, held = [], 0
    if chunks:
        yield _part(tokenizer, chunks, held, Place(number + 1))


def _given(corpus: Corpus, given: GivenTokens, start: int, watcher: Watcher) -> Iterator[Part]:
    """Yield the tokens of a text that was given as tokens; of these are the characters inside."""
    end, place = given.tokenizer.end_of_text, start
    per_token = corpus.characters / given.count
    meter = Meter("tokenizing", corpus.name, 2 * given.count, watcher)
    for ids in given.ids(start, meter):
        ends = [] if end is None else ((ids == end).nonzero()[0] + 1).tolist()
        place += len(ids)
        yield Part(ids, ends, round(len(ids) * per_token), Place(0, place))


def _texts(corpus: Corpus, tokenizer: Tokenizer, watcher: Watcher) -> Iterator[Iterator[str] | str]:
    """Yield the texts that are encoded by themselves, short ones as they are, others in pieces."""
    if tokenizer.end_of_text is None:
        yield corpus.pieces("tokenizing", watcher)
        return
    for document in corpus.documents("tokenizing", watcher):
        text = document.whole
        is_short = text is not None and len(text) < SHORT
        yield text if text is not None and is_short else _unless_blank(document.pieces())


def _unless_blank(pieces: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of a text, none if it is but white space: it is no document then."""
    held, left = [], iter(pieces)
    for piece in left:
        held.append(piece)
        if piece and not piece.isspace():
            yield from held
            yield from left


def _part(tokenizer: Tokenizer, chunks: list[str | None], characters: int, place: Place) -> Part:
    import numpy as np

    ids, counts = tokenizer.encode_together([one for one in chunks if one is not None])
    end, left, before, done = tokenizer.end_of_text, iter(counts), list[int](), 0
    for chunk in chunks:
        if chunk is None:
            before.append(done)  # ids before the end of a document
        else:
            done += next(left)
    if not before or end is None:
        return Part(ids, [], characters, place)
    wide = ids.astype(np.promote_types(ids.dtype, np.min_scalar_type(end)), copy=False)
    ends = [at + number for number, at in enumerate(before, start=1)]
    return Part(np.insert(wide, before, end), ends, characters, place)
