"""Several documents: the end of each is a token, and where each begins is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.corpora.corpus import Corpus, Document
from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import Cancelled
from data.prepared import encode, store
from data.prepared import prepare as preparing
from data.prepared.prepare import prepare, tokens_of
from data.sources.meter import Meter
from data.sources.tally import Tally
from data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer

NOBODY = Watcher()
TEXTS = ["one\n", "zwei é", "three " * 40, "4"]
BYTES = ByteTokenizer(has_end_of_text=True)


class Several:
    """Documents in memory, in pieces of some characters."""

    size, name = 0, "several"

    def __init__(self, texts: list[str], piece: int = 50) -> None:
        self._texts, self._piece = texts, piece

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        for number, text in enumerate(self._texts):
            yield Document(str(number), lambda text=text: self._pieces(text, meter))  # type: ignore[misc]

    def _pieces(self, text: str, meter: Meter) -> Iterator[str]:
        for at in range(0, len(text), self._piece):
            meter.tick()
            yield text[at : at + self._piece]

    def settle(self, offset: int, meter: Meter) -> None:
        raise NotImplementedError


def corpus_of(texts: list[str], piece: int = 50) -> Corpus:
    whole = "".join(texts)
    count = sum(not one.isspace() and bool(one) for one in texts)
    name = f"{hash(whole)}"
    return Corpus(name, len(whole), len(whole), count, name, "", (Several(texts, piece),))


def expected(texts: list[str], tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    ids, starts = list[int](), list[int]()
    for one in texts:
        if one.strip():
            starts.append(len(ids))
            assert tokenizer.end_of_text is not None
            ids += [*tokenizer.encode(one).tolist(), tokenizer.end_of_text]
    return ids, starts


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    st.lists(st.text("ab \né中"), min_size=1, max_size=8).filter(lambda t: any(map(str.strip, t))),
    st.integers(1, 9),
    st.sampled_from([1, 5, 1 << 20]),
)
def test_each_document_is_followed_by_its_end(
    monkeypatch: pytest.MonkeyPatch, texts: list[str], piece: int, together: int
) -> None:
    monkeypatch.setattr(encode, "TOGETHER", together)
    made = tokens_of(corpus_of(texts, piece), BYTES, NOBODY)
    ids, starts = expected(texts, BYTES)
    assert made.tokens.tolist() == ids
    assert made.starts.tolist() == starts


@pytest.mark.parametrize("many", [2, 1 << 14])
def test_short_documents_are_encoded_together(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(encode, "MOST_TOGETHER", many)
    tokenizer = CharTokenizer.train("".join(TEXTS), has_end_of_text=True)
    made = prepare(corpus_of(TEXTS), tokenizer, NOBODY)
    assert made.documents == 4
    assert (made.load().tolist(), made.starts().tolist()) == expected(TEXTS, tokenizer)


@pytest.mark.parametrize("reads", range(1, 8))
def test_an_interrupted_preparation_goes_on_in_the_middle_of_a_document(
    monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    monkeypatch.setattr(preparing, "NOTE_SECONDS", -1.0)  # after every part
    monkeypatch.setattr(encode, "TOGETHER", 1)
    left = reads

    def cancelled() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    with pytest.raises(Cancelled):
        prepare(corpus_of(TEXTS), BYTES, Watcher(cancelled=cancelled))
    assert list(store.unfinished())
    made = prepare(corpus_of(TEXTS, 35), BYTES, NOBODY)
    assert (made.load().tolist(), made.starts().tolist()) == expected(TEXTS, BYTES)


def test_damaged_places_of_documents_are_made_again() -> None:
    made = prepare(corpus_of(TEXTS), BYTES, NOBODY)
    for places in ([], [0, 5, 3, 9], [1, 5, 7, 9], [0, 5, 7, made.tokens]):
        np.array(places, "<i8").tofile(made.folder / "documents.bin")
        assert store.find(made.corpus_sha256, made.fingerprint) is None
        made = prepare(corpus_of(TEXTS), BYTES, NOBODY)
        assert made.starts().tolist() == expected(TEXTS, BYTES)[1]


def test_without_a_place_to_keep_them_they_are_the_same(cache: Path) -> None:
    cache.write_text("a file is in its place")
    made = tokens_of(corpus_of(TEXTS), BYTES, NOBODY)
    assert (made.tokens.tolist(), made.starts.tolist()) == expected(TEXTS, BYTES)


def test_one_document_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    made = prepare(load_corpus(str(tmp_path / "a.txt")), ByteTokenizer(), NOBODY)
    assert made.load().tobytes() == b"one\n\ntwo"
    assert (made.documents, made.starts().tolist()) == (0, [])
    assert not (made.folder / "documents.bin").exists()
