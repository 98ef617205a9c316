"""A text at an address: cached, resumed; a server that stalls, cuts, redirects and lies."""

from __future__ import annotations

import gzip
import hashlib
import re
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from data import download
from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.sources.web import downloaded, place_of
from tests.data.conftest import Answer, Server, send

BODY = b"one fish, two fish,\nred fish, blue fish.\n" * 9000


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence lasts no longer than a test may."""
    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.3)


def files_in(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.rglob("*") if one.is_file())


def problem_with(url: str, sha256: str = "") -> str:
    with pytest.raises(InputError) as caught:
        downloaded(url, Watcher(), sha256=sha256)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def in_parts(body: bytes, cut: int, etag: str = '"v1"') -> Answer:
    """Answers with `body`, whose first answer ends after `cut` bytes; honours Range."""
    asked: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.headers.get("Range", ""))
        wanted = re.fullmatch(r"bytes=(\d+)-", asked[-1])
        fresh = handler.headers.get("If-Range") == etag
        start = int(wanted[1]) if wanted and fresh else 0
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - start))
        handler.send_header("ETag", etag)
        handler.end_headers()
        handler.wfile.write(body[start:cut] if len(asked) == 1 else body[start:])

    answer.asked = asked  # type: ignore[attr-defined]
    return answer


def redirect(to: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def test_it_is_downloaded_once_and_read_from_the_cache_then(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = send(BODY)
    lines: list[str] = []
    corpus = load_corpus(server.url, watcher=Watcher(lines.append))
    assert (corpus.text, corpus.name, corpus.source) == (BODY.decode(), "input.txt", server.url)
    assert lines[0] == f"downloading {server.url}…"
    assert any(line.startswith("downloading: ") and line.endswith(" MB") for line in lines)
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    assert load_corpus(server.url) == corpus
    assert server.requests == 1


def test_what_is_packed_or_structured_there_is_read_as_such(server: Server) -> None:
    server.answer = send(gzip.compress(b'{"text": "one"}\n{"text": "two"}\n'))
    url = server.url.replace("input.txt", "rows.jsonl.gz?download=1")
    corpus = load_corpus(url)
    assert [corpus.name, corpus.count, corpus.text] == ["rows.jsonl.gz", 2, "one\ntwo"]


def test_offline_it_is_not_asked_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    assert problem_with(server.url) == (
        f"{server.url} is not in the cache, and GPT_TUI_OFFLINE is set: unset that (env -u "
        "GPT_TUI_OFFLINE), or name a file"
    )
    assert server.requests == 0


def test_a_download_that_was_cut_goes_on_where_it_was(server: Server, cache: Path) -> None:
    server.answer = in_parts(BODY, 100_000)
    told = problem_with(server.url)
    assert f"(the connection ended after 100,000 of {len(BODY):,} bytes): try again" in told
    assert files_in(cache) == ["input.txt.part", "input.txt.version"]
    assert downloaded(server.url, Watcher()).read_bytes() == BODY
    assert server.answer.asked == ["", "bytes=100000-"]  # type: ignore[attr-defined]
    assert files_in(cache) == ["input.txt"]


def test_a_text_that_changed_meanwhile_begins_anew(server: Server) -> None:
    server.answer = in_parts(BODY, 1000)
    problem_with(server.url)
    server.answer = in_parts(b"another text\n" * 999, 99_999, etag='"v2"')
    assert downloaded(server.url, Watcher()).read_bytes() == b"another text\n" * 999


def test_a_server_without_versions_begins_anew(server: Server) -> None:
    server.answer = send(BODY, announced=len(BODY) + 9)
    problem_with(server.url)
    server.answer = send(BODY)
    assert downloaded(server.url, Watcher()).read_bytes() == BODY


@pytest.mark.parametrize("when", ["before the headers", "in the body"])
def test_a_server_that_stalls_is_given_up_soon(server: Server, when: str) -> None:
    def stall(handler: BaseHTTPRequestHandler) -> None:
        if when == "in the body":
            send(b"one", announced=1000)(handler)
        server.keep_waiting(handler)

    server.answer = stall
    began = time.monotonic()
    assert "could not be downloaded (timed out)" in problem_with(server.url)
    assert time.monotonic() - began < 2


def test_a_server_that_drips_headers_is_given_up_too(server: Server, tmp_path: Path) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        while not server.closing.wait(0.05):
            handler.wfile.write(b"x")

    server.answer = drip
    with pytest.raises(download.DownloadError, match=r"nothing arrived for 0\.4 seconds"):
        download.fetch_file(server.url, tmp_path / "a", Watcher(), stall_seconds=0.4)


def test_a_hash_that_differs_is_refused_and_nothing_kept(server: Server, cache: Path) -> None:
    server.answer = send(b"<html>Please log in")
    wanted = hashlib.sha256(BODY).hexdigest()
    told = problem_with(server.url, wanted)
    assert "(the 19 bytes received have a different hash)" in told
    assert files_in(cache) == []
    server.answer = send(BODY)
    assert downloaded(server.url, Watcher(), sha256=wanted).read_bytes() == BODY


def test_redirects_are_followed_a_few_times_and_only_to_the_web(server: Server) -> None:
    server.answer = redirect(server.url)
    assert "could not be downloaded" in problem_with(server.url)
    assert server.requests < 10
    server.answer = redirect("ftp://host/text")
    assert "redirects to ftp://host/text, which is not the web" in problem_with(server.url)
    real, moved = send(BODY), redirect("/there.txt")
    server.answer = lambda handler: (real if "there" in handler.path else moved)(handler)
    assert downloaded(server.url, Watcher()).read_bytes() == BODY


def test_more_than_is_allowed_is_refused(server: Server, tmp_path: Path) -> None:
    server.answer = send(BODY)
    with pytest.raises(download.DownloadError, match="the response is longer than 1,000 bytes"):
        download.fetch_file(server.url, tmp_path / "a", Watcher(), max_bytes=1000)


@pytest.mark.parametrize(("status", "words"), [(404, "404 Not Found"), (500, "500 Internal")])
def test_an_error_of_the_server_is_told_and_leaves_nothing(
    server: Server, cache: Path, status: int, words: str
) -> None:
    server.answer = send(b"", status=status)
    assert f"(the server answered {words}" in problem_with(server.url)
    assert files_in(cache) == []


def test_cancelling_keeps_what_has_arrived(server: Server, cache: Path) -> None:
    server.answer = in_parts(BODY, 1000)
    problem_with(server.url)
    with pytest.raises(Cancelled):
        downloaded(server.url, Watcher(cancelled=lambda: True))
    assert "input.txt.part" in files_in(cache)


def test_a_cache_without_room_is_one_sentence(
    server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    server.answer = send(BODY)

    def full(*args: object) -> Iterator[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "_redirects", full)
    assert problem_with(server.url) == (
        f"{server.url} cannot be kept in {place_of(server.url).parent} (No space left on device): "
        "make room, or set GPT_TUI_CACHE to another folder"
    )
    assert "input.txt" not in files_in(cache)


def test_two_programs_do_not_write_the_same_file(server: Server) -> None:
    import fcntl

    server.answer = send(BODY)
    part = place_of(server.url)
    part.parent.mkdir(parents=True)
    with part.with_name("input.txt.part").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert "(another program is downloading it)" in problem_with(server.url)


@pytest.mark.parametrize("url", ["https://", "http:///a.txt", "http://[", "https://host:x/a"])
def test_what_is_no_address_is_told(url: str) -> None:
    assert problem_with(url) == f"{url} is no address: write it as https://host/file.txt"


def test_two_addresses_with_one_file_name_are_two_files() -> None:
    a, b = place_of("https://a.org/x.txt"), place_of("https://b.org/x.txt")
    assert a.name == b.name == "x.txt"
    assert a != b
    assert place_of("https://a.org/..%2f..%2fetc/pass%00wd").parent.parent == a.parent.parent
