"""Prepared texts: made once, found again, interrupted, damaged, without room."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.corpora.corpus import Corpus, Document, MemoryText
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.prepared import prepare as preparing
from data.prepared import store
from data.prepared.prepare import prepare, tokens_of
from data.sources.meter import Meter
from data.sources.tally import Tally
from data.tokenizers import ByteTokenizer, CharTokenizer

TEXT = "To be, or not to be: that is the question.\n" * 200
NOBODY = Watcher()
Usage = namedtuple("Usage", "total used free")


def corpus_of(text: str = TEXT, piece: int = 100, reads: list[str] | None = None) -> Corpus:
    """A text that comes in pieces; `reads` is told of each that is read."""

    class InPieces(MemoryText):
        def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
            yield Document("play", lambda: pieces(meter.watcher))

    def pieces(watcher: Watcher) -> Iterator[str]:
        for at in range(0, len(text), piece):
            if watcher.cancelled():
                raise Cancelled
            if reads is not None:
                reads.append(text[at : at + piece])
            yield text[at : at + piece]

    sha256, size = hashlib.sha256(text.encode()).hexdigest(), len(text.encode())
    return Corpus("play", len(text), size, 1, sha256, "here", (InPieces("play", text),))


def tokenizer_of(text: str = TEXT) -> CharTokenizer:
    return CharTokenizer.train(text)


def test_tokens_are_those_of_the_tokenizer() -> None:
    tokenizer = tokenizer_of()
    tokens = tokens_of(corpus_of(), tokenizer, NOBODY).tokens
    assert isinstance(tokens, np.memmap)
    assert tokens.tolist() == tokenizer.encode(TEXT).tolist()
    assert tokenizer.decode(tokens) == TEXT


@pytest.mark.parametrize(
    ("size", "dtype"), [(256, "u1"), (257, "<u2"), (0x10000, "<u2"), (0x10001, "<u4")]
)
def test_ids_are_as_wide_as_they_must_be(size: int, dtype: str) -> None:
    tokenizer = CharTokenizer(chr(code) for code in range(0x10FFF, 0x10FFF + size))
    text = tokenizer.characters[-1] + tokenizer.characters[0]
    tokens = tokens_of(corpus_of(text), tokenizer, NOBODY).tokens
    assert tokens.dtype == dtype
    assert tokens.tolist() == [size - 1, 0]


def test_sixteen_bits_are_what_nanogpt_reads() -> None:
    text = "".join(chr(code) for code in range(1000, 2000))
    made = prepare(corpus_of(text), tokenizer_of(text), NOBODY)
    assert np.fromfile(made.folder / "tokens.bin", np.uint16).tolist() == list(range(1000))


def test_a_text_is_prepared_once() -> None:
    reads: list[str] = []
    corpus = corpus_of(reads=reads)
    first = prepare(corpus, tokenizer_of(), NOBODY)
    assert "".join(reads) == TEXT
    reads.clear()
    assert prepare(corpus, tokenizer_of(), NOBODY) == first
    assert not reads
    assert store.entries() == [first]
    assert first.size == sum(one.stat().st_size for one in first.folder.iterdir())
    assert sorted(one.name for one in first.folder.parent.iterdir()) == [first.folder.name]


def test_another_text_or_tokenizer_is_prepared_apart() -> None:
    made = [
        prepare(corpus_of(text), tokenizer_of(known), NOBODY)
        for text, known in ((TEXT, TEXT), (TEXT[1:], TEXT), (TEXT, TEXT + "xyz"))
    ]
    assert len({one.folder for one in made}) == 3
    assert {one.folder for one in store.entries()} == {one.folder for one in made}


# -- interruptions ---------------------------------------------------------------------------------


def test_an_interrupted_preparation_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "NOTE_SECONDS", -1.0)  # after every piece
    encoded: list[str] = []

    class Counting(CharTokenizer):
        def encode(self, text: str, *, drop_unknown: bool = False):  # type: ignore[no-untyped-def]
            encoded.append(text)
            return super().encode(text, drop_unknown=drop_unknown)

    tokenizer = Counting.train(TEXT)
    with pytest.raises(Cancelled):
        prepare(corpus_of(), tokenizer, Watcher(cancelled=lambda: len(encoded) >= 30))
    assert len(list(store.unfinished())) == 1
    assert not store.entries()
    made = prepare(corpus_of(piece=70), tokenizer, NOBODY)  # however the pieces are cut then
    assert "".join(encoded) == TEXT
    assert made.load().tolist() == tokenizer.encode(TEXT).tolist()
    assert made.sha256 == hashlib.sha256((made.folder / "tokens.bin").read_bytes()).hexdigest()
    assert not list(store.unfinished())


@pytest.mark.parametrize("note", ["", "{", "[1]", '{"characters": 100, "tokens": 999999}'])
def test_a_damaged_note_of_the_progress_begins_anew(
    note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparing, "NOTE_SECONDS", -1.0)
    seen: list[str] = []
    with pytest.raises(Cancelled):
        prepare(corpus_of(reads=seen), tokenizer_of(), Watcher(cancelled=lambda: len(seen) > 9))
    (folder,) = store.unfinished()
    (folder / "progress.json").write_text(note)
    assert prepare(corpus_of(), tokenizer_of(), NOBODY).load().tolist() == (
        tokenizer_of().encode(TEXT).tolist()
    )


def test_what_cannot_be_encoded_is_told() -> None:
    with pytest.raises(InputError, match="no 'x'"):
        prepare(corpus_of(TEXT + "x"), tokenizer_of(), NOBODY)
    assert not store.entries()


def test_two_programs_prepare_it_once() -> None:
    tokenizer, corpus = tokenizer_of(), corpus_of()
    folder = store.folder_of(corpus.sha256, tokenizer.fingerprint)
    folder.parent.mkdir(parents=True)
    told: list[str] = []
    waits = threading.Event()

    def report(line: str) -> None:
        told.append(line)
        waits.set()

    with folder.with_name(f"{folder.name}.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        made: list[store.Prepared] = []
        thread = threading.Thread(
            target=lambda: made.append(prepare(corpus, tokenizer, Watcher(report)))
        )
        thread.start()
        assert waits.wait(10)
        assert told == ["another program prepares play: waiting for it"]
        assert not folder.exists()
    thread.join(10)
    assert made[0].tokens == len(TEXT)


def test_waiting_for_another_program_can_be_cancelled() -> None:
    tokenizer, corpus = tokenizer_of(), corpus_of()
    folder = store.folder_of(corpus.sha256, tokenizer.fingerprint)
    folder.parent.mkdir(parents=True)
    with folder.with_name(f"{folder.name}.lock").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Cancelled):
            prepare(corpus, tokenizer, Watcher(cancelled=lambda: True))


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece", [7, 100_000])
def test_the_hash_is_that_of_the_file(piece: int) -> None:
    """Of bytes it is the text's, which is known; the tokens are not hashed again."""
    for has_ends in (False, True):
        made = prepare(corpus_of(TEXT + "é", piece), ByteTokenizer(has_ends), NOBODY)
        assert made.sha256 == store.hash_of(made.folder / store.TOKENS_FILE)
    known = replace(corpus_of(), sha256="a" * 64)
    assert prepare(known, ByteTokenizer(), NOBODY).sha256 == "a" * 64


def test_a_text_of_several_parts_has_another_hash_than_its_bytes() -> None:
    corpus = corpus_of()
    for known in (replace(corpus, count=2), replace(corpus, size=3, sha256="a" * 64)):
        made = prepare(known, ByteTokenizer(), NOBODY)
        assert made.sha256 == store.hash_of(made.folder / store.TOKENS_FILE)


def test_tokens_that_were_changed_are_made_again() -> None:
    made = prepare(corpus_of(), tokenizer_of(), NOBODY)
    with (made.folder / "tokens.bin").open("r+b") as file:
        file.write(b"\0\1\2")
    told: list[str] = []
    again = prepare(corpus_of(), tokenizer_of(), Watcher(told.append))
    assert told[0] == "the prepared tokens of play are damaged: making them again"
    assert again.sha256 == made.sha256
    assert again.load().tolist() == tokenizer_of().encode(TEXT).tolist()


@pytest.mark.parametrize("about", ["", "{}", "[]", '{"format": 2}', "typed"])
def test_a_damaged_description_makes_them_again(about: str) -> None:
    made = prepare(corpus_of(), tokenizer_of(), NOBODY)
    if about == "typed":
        about = (made.folder / "about.json").read_text().replace('"u1"', '"bytes"')
    (made.folder / "about.json").write_text(about)
    assert prepare(corpus_of(), tokenizer_of(), NOBODY).sha256 == made.sha256


def test_tokens_that_were_only_touched_are_kept() -> None:
    made = prepare(corpus_of(), tokenizer_of(), NOBODY)
    os.utime(made.folder / "tokens.bin", ns=(1, 1))
    reads: list[str] = []
    again = prepare(corpus_of(reads=reads), tokenizer_of(), NOBODY)
    assert not reads
    assert again.written == 1
    assert json.loads((made.folder / "about.json").read_text())["written"] == 1


def test_a_run_keeps_tokens_that_are_removed_meanwhile() -> None:
    made = prepare(corpus_of(), tokenizer_of(), NOBODY)
    tokens = made.load()
    store.remove(made)
    assert not made.folder.exists()
    assert tokenizer_of().decode(tokens) == TEXT


# -- no place --------------------------------------------------------------------------------------


def test_without_room_it_says_how_much_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 5 * 10**6))
    monkeypatch.setattr(preparing, "MOST_IN_MEMORY", 0)
    with pytest.raises(InputError) as caught:
        tokens_of(corpus_of(TEXT * 100), tokenizer_of(), NOBODY)
    told = str(caught.value)
    assert told.startswith("the tokens of play need up to 1 MB in ")
    assert told.endswith("5 MB are free: make room, or set GPT_TUI_CACHE to a folder that has more")
    assert not store.entries() and not list(store.unfinished())


def test_a_disk_that_fills_up_leaves_nothing_half_made(monkeypatch: pytest.MonkeyPatch) -> None:
    written = 0

    class Full(CharTokenizer):
        def encode(self, text: str, *, drop_unknown: bool = False):  # type: ignore[no-untyped-def]
            nonlocal written
            written += len(text)
            if written > 500:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().encode(text, drop_unknown=drop_unknown)

    with pytest.raises(preparing.CannotWrite, match="make room"):
        prepare(corpus_of(), Full.train(TEXT), NOBODY)
    assert not list(store.unfinished())


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.write_text("a file is in its place")
    tokens = tokens_of(corpus_of(), tokenizer_of(), NOBODY).tokens
    assert tokens.tolist() == tokenizer_of().encode(TEXT).tolist()


def test_a_large_text_needs_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "MOST_IN_MEMORY", 1000)
    cache.write_text("a file is in its place")
    with pytest.raises(InputError, match="or set GPT_TUI_CACHE to a folder that can be written"):
        tokens_of(corpus_of(), tokenizer_of(), NOBODY)
