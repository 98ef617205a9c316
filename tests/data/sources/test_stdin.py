"""Standard input as a text: spooled to a private file, and read as often as need be."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.sources import stdin

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    stdin._spool.cache_clear()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    stdin._spool.cache_clear()


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of standard input."""
    source, target = os.pipe()
    with os.fdopen(source) as file:
        monkeypatch.setattr(sys, "stdin", file)
        yield target


def test_it_is_read_once_into_a_file_of_the_users_alone(given: int, tmp_path: Path) -> None:
    os.write(given, b"a poem\r\n")
    os.close(given)
    corpus = load_corpus("-")
    assert (corpus.text, corpus.name, corpus.source) == ("a poem\n", "standard input", "-")
    assert corpus.text == "a poem\n"
    assert load_corpus("-") == corpus
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_it_may_be_packed(given: int) -> None:
    os.write(given, gzip.compress(b"a poem"))
    os.close(given)
    assert load_corpus("-").text == "a poem"


def test_waiting_for_it_can_be_cancelled(given: int, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        load_corpus("-", watcher=Watcher(cancelled=lambda: True))
    os.close(given)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_an_empty_text(given: int) -> None:
    os.close(given)
    with pytest.raises(InputError, match="standard input is empty"):
        load_corpus("-")


def test_a_terminal_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal, other = os.openpty()
    with os.fdopen(other) as file:
        monkeypatch.setattr(sys, "stdin", file)
        with pytest.raises(InputError, match="standard input is the terminal: send a text to it"):
            load_corpus("-")
    os.close(terminal)


def test_the_file_is_gone_when_the_program_ends(tmp_path: Path) -> None:
    script = "from data.corpora.load import load_corpus; print(load_corpus('-').text)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        input="a poem",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "a poem\n"
    assert list(tmp_path.iterdir()) == []
