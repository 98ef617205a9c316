"""A text whose files have not changed is not read again; one that may have changed is."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import InputError
from data.paths import cache_folder
from data.prepared import known, store
from engine.config.schema import DataConfig
from engine.runs import text as texts
from engine.runs.text import read_text, told_of_texts

SILENT = Watcher()
TEXT = "the quick brown fox jumps over the lazy dog\n" * 100


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now counts as old."""
    monkeypatch.setattr(known, "RECENT_NS", -(10**9))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that were read."""
    found: list[str] = []

    def load(spec: str, *rest: object) -> object:
        found.append(spec)
        return load_corpus(spec, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(texts, "load_corpus", load)
    yield found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fox.txt"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize("kind", ["char", "bytes", "bpe"])
def test_it_is_read_once_and_is_the_same_the_second_time(
    file: Path, reads: list[str], kind: str
) -> None:
    data = DataConfig(corpus=str(file), tokenizer=kind, vocab_size=300)
    first, again = read_text(data, SILENT), read_text(data, SILENT)
    assert reads == [str(file)]
    assert first[0] == again[0]
    assert first[1].fingerprint == again[1].fingerprint
    for one, other in ((first[2].train, again[2].train), (first[2].val, again[2].val)):
        assert one.tolist() == other.tolist()


def test_other_settings_and_files_are_other_texts(file: Path, reads: list[str]) -> None:
    data = DataConfig(corpus=str(file))
    other = file.with_name("other.txt")
    other.write_text(TEXT + "again\n")
    for one in (data, replace(data, normalize="nfc"), replace(data, corpus=str(other)),
                replace(data, tokenizer="bytes"), replace(data, val=str(other))):  # fmt: skip
        reads.clear()
        read_text(one, SILENT)
        assert reads
        reads.clear()
        read_text(one, SILENT)
        assert not reads
    _, _, split = read_text(replace(data, val_share=0.5), SILENT)  # how it is parted is no matter
    assert not reads and len(split.val) == len(TEXT) // 2


def _rewritten(path: Path) -> None:
    """As long, and as old to all that ask for its time of modification."""
    before = path.stat()
    path.write_text(TEXT.replace("fox", "cat"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def _replaced(path: Path) -> None:
    other = path.with_name("new")
    other.write_text(TEXT.replace("fox", "cat"))
    os.replace(other, path)


@pytest.mark.parametrize("change", [_rewritten, _replaced])
def test_a_file_that_changed_is_read_again(file: Path, reads: list[str], change: object) -> None:
    data = DataConfig(corpus=str(file))
    before, _, _ = read_text(data, SILENT)
    change(file)  # type: ignore[operator]
    after, _, _ = read_text(data, SILENT)
    assert len(reads) == 2 and after.sha256 != before.sha256


def test_a_folder_that_has_another_file_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text(TEXT)
    data = DataConfig(corpus=str(folder))
    read_text(data, SILENT)
    assert read_text(data, SILENT)[0].count == 1
    (folder / "b.txt").write_text("one more\n" * 50)
    assert read_text(data, SILENT)[0].count == 2
    (folder / ".gitignore").write_text("b.txt\n")
    assert read_text(data, SILENT)[0].count == 1
    assert len(reads) == 3


def test_what_was_changed_just_now_is_not_noted(
    file: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known, "RECENT_NS", 10**9)
    for _ in range(2):
        read_text(DataConfig(corpus=str(file)), SILENT)
    assert len(reads) == 2


@pytest.mark.parametrize("lost", ["tokens", "note", "damaged note", "cache"])
def test_without_the_note_or_the_tokens_it_is_read_again(
    file: Path, reads: list[str], lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataConfig(corpus=str(file))
    read_text(data, SILENT)
    (note,) = (cache_folder() / "known").glob("*.json")
    if lost == "tokens":
        store.remove_of(["fox.txt"])
    elif lost == "note":
        assert known.forget() > 0
    elif lost == "damaged note":
        note.write_text(json.dumps(json.loads(note.read_text()) | {"tokenizer": {"kind": 3}}))
    else:
        monkeypatch.setenv("GPT_TUI_CACHE", str(file))  # no folder
    assert len(read_text(data, SILENT)[2].train) == int(0.9 * len(TEXT))
    assert len(reads) == 2


def test_a_file_that_is_gone_is_missed(file: Path, reads: list[str]) -> None:
    data = DataConfig(corpus=str(file))
    read_text(data, SILENT)
    file.unlink()
    with pytest.raises(InputError, match=r"fox\.txt does not exist"):
        read_text(data, SILENT)


def test_what_is_told_of_a_split_is_told_each_time_and_found_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataConfig(corpus=str(file))
    corpus, tokenizer, split = read_text(data, SILENT)
    first = told_of_texts(corpus, tokenizer, split, data)
    assert any("also stands in the training text" in one for one in first)
    monkeypatch.setattr(known, "told_of", pytest.fail)
    assert told_of_texts(corpus, tokenizer, split, data) == first
