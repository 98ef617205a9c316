"""Datasets of the Hugging Face hub, as a server of our own has them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from data import download
from data.corpora.load import load_corpus
from data.download import NotHere, Watcher
from data.errors import Cancelled, InputError
from data.sources.hub import files_here, parsed, remove, tables_of
from data.specs import anchored, called, is_hub, is_path
from engine.config.schema import DataConfig
from engine.runs.text import read_text
from tests.data.conftest import Server, send

HF = "https://huggingface.co"
STORIES = ["Once there was a cat.", "A dog ran home.", "The sun was warm.", "It rained all day."]


def table(*texts: str) -> bytes:
    body = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "id": range(len(texts))}), body)
    return body.getvalue()


class Hub:
    """Answers as the hub does; notes what was asked for, and with which token."""

    def __init__(self) -> None:
        self.files = {
            "/api/datasets/me/tales/parquet/default/train/0.parquet": table(*STORIES[:2]),
            "/api/datasets/me/tales/parquet/default/train/1.parquet": table(STORIES[2]),
            "/api/datasets/me/tales/parquet/default/test/0.parquet": table(STORIES[3]),
        }
        self.listings: dict[str, Any] = {
            "me/tales": {"default": {"train": self._urls("train"), "test": self._urls("test")}},
            "me/many": {"en": {"validation": [], "test": []}, "de": {"partial-train": []}},
            "me/none": {},
        }
        self.asked: list[tuple[str, str]] = []
        self.refusal: tuple[int, str] | None = None

    def _urls(self, split: str) -> list[str]:
        return [f"{HF}{path}" for path in self.files if f"/{split}/" in path]

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        self.asked.append((path, handler.headers.get("Authorization", "")))
        if self.refusal:
            status, code = self.refusal
            handler.send_response(status)
            handler.send_header("X-Error-Code", code)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        elif path in self.files:
            send(self.files[path])(handler)
        elif (name := path.removeprefix("/api/datasets/")[: -len("/parquet")]) in self.listings:
            send(json.dumps(self.listings[name]).encode())(handler)
        else:
            send(b"", status=401)(handler)


@pytest.fixture
def hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("HF_ENDPOINT", server.url.removesuffix("input.txt"))
    monkeypatch.setenv("HF_TOKEN", "")
    monkeypatch.setattr(download, "SILENCE_SECONDS", 0.3)
    hub = server.answer = Hub()
    return hub


def problem_with(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_corpus(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_name_is_parsed() -> None:
    whole = parsed("hf:me/tales/en:test#3")
    assert (whole.dataset, whole.subset, whole.split, whole.files) == ("me/tales", "en", "test", 3)
    assert parsed("hf:squad").dataset == "squad" and parsed("hf:a/b:c").split == "c"
    for spec in ("hf:", "hf:a/b/c/d", "hf:a b", "hf:../x", "hf:a/b#0", "hf:a/b:"):
        with pytest.raises(InputError, match="is no name of a dataset: write it as hf:OWNER/NAME"):
            parsed(spec)


def test_a_name_is_no_path() -> None:
    spec = "hf:me/tales:test#1"
    assert is_hub(spec) and not is_path(spec) and not is_hub("./hf:me")
    assert anchored(spec, ()) == called(spec) == spec
    assert called([spec, "a.txt"]) == f"{spec} and 1 more"


def test_its_rows_are_documents_and_it_is_downloaded_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = load_corpus("hf:me/tales")
    assert [one.whole for one in corpus.documents()] == STORIES[:3]
    assert (corpus.name, corpus.source, corpus.count) == ("hf:me/tales", "hf:me/tales", 3)
    assert len(hub.asked) == 3
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    assert load_corpus("hf:me/tales").sha256 == corpus.sha256
    names = [one.path.name for one in files_here("hf:me/tales")]
    assert names == ["00000.parquet", "00001.parquet"]
    assert load_corpus("hf:me/tales#1").count == 2
    assert "is not in the cache, and GPT_TUI_OFFLINE is set" in problem_with("hf:me/tales:test")
    with pytest.raises(InputError, match="not in the cache"):
        files_here("hf:me/tales:test")
    assert len(hub.asked) == 3
    assert remove("hf:me/tales") > 1000
    with pytest.raises(InputError, match="there is nothing to remove"):
        remove("hf:me/tales")


def test_another_split_and_the_first_files(hub: Hub) -> None:
    assert load_corpus("hf:me/tales:test").text.strip() == STORIES[3]
    assert load_corpus("hf:me/tales#1").count == 2
    assert "/api/datasets/me/tales/parquet/default/train/1.parquet" not in dict(hub.asked)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ("hf:me/many", "has several subsets (en, de): name one, as in hf:me/many/en"),
        ("hf:me/many/en", "several splits (validation, test): name one, as in hf:me/many/en:valid"),
        ("hf:me/many/fr", "has no subset 'fr': there are en, de"),
        ("hf:me/tales:tests", "has no split 'tests': did you mean 'test'?"),
        ("hf:me/none", "has no tables of me/none: download its files from http"),
        ("hf:me/nothing", "has no dataset me/nothing, or it is private: check its name"),
    ],
)
def test_what_a_name_lacks_is_said(hub: Hub, cache: Path, spec: str, problem: str) -> None:
    assert problem in problem_with(spec)
    assert not cache.exists() or not list(cache.rglob("*.parquet"))


def test_the_part_that_the_hub_has_of_a_large_split_is_that_split(hub: Hub) -> None:
    hub.listings["me/many"]["de"]["partial-train"] = hub._urls("train")
    assert load_corpus("hf:me/many/de").count == 3


@pytest.mark.parametrize(
    ("refusal", "problem"),
    [
        ((401, "GatedRepo"), "for those who accept its conditions: accept them at http"),
        ((403, ""), "and set HF_TOKEN to a token of yours"),
        ((401, "RepoNotFound"), "or set HF_TOKEN to a token that may read it"),
        ((404, ""), "has no dataset me/tales, or it is private"),
        ((503, ""), "could not be downloaded (the server answered 503 Service Unavailable)"),
    ],
)
def test_a_refusal_is_a_sentence(hub: Hub, refusal: tuple[int, str], problem: str) -> None:
    hub.refusal = refusal
    assert problem in problem_with("hf:me/tales")
    hub.refusal = None
    assert load_corpus("hf:me/tales").count == 3


def test_without_a_network_it_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    problem = problem_with("hf:me/tales")
    assert "could not be downloaded (Name or service not known): try again" in problem


def test_a_token_is_told_to_the_hub_alone(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, other_server: Server
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    first = "/api/datasets/me/tales/parquet/default/test/0.parquet"
    elsewhere: list[str | None] = []

    def at_another_place(handler: BaseHTTPRequestHandler) -> None:
        elsewhere.append(handler.headers.get("Authorization"))
        send(hub.files[first])(handler)

    other_server.answer = at_another_place
    usual = hub.__call__

    def redirecting(handler: BaseHTTPRequestHandler) -> None:
        if handler.path == first:
            _redirect(handler, "/resolve/0.parquet")
        elif handler.path == "/resolve/0.parquet":
            hub.asked.append((handler.path, handler.headers.get("Authorization", "")))
            _redirect(handler, other_server.url)
        else:
            usual(handler)

    monkeypatch.setattr(Hub, "__call__", lambda self, handler: redirecting(handler))
    assert load_corpus("hf:me/tales:test").count == 1
    assert [token for _, token in hub.asked] == ["Bearer hf_mine"] * 2
    assert elsewhere == [None]


def test_it_is_not_downloaded_unasked_and_can_be_cancelled(hub: Hub) -> None:
    with pytest.raises(NotHere):
        tables_of("hf:me/tales", Watcher(may_download=False))
    with pytest.raises(Cancelled):
        tables_of("hf:me/tales", Watcher(cancelled=lambda: len(hub.asked) > 1))
    assert load_corpus("hf:me/tales").count == 3


def test_a_listing_that_is_none_is_no_dataset(hub: Hub) -> None:
    hub.listings["me/tales"] = ["what"]
    assert "the hub has no tables of me/tales" in problem_with("hf:me/tales")


@pytest.fixture
def other_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def _redirect(handler: BaseHTTPRequestHandler, to: str) -> None:
    handler.send_response(302)
    handler.send_header("Location", to)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


# -- streamed --------------------------------------------------------------------------------------

STREAM = "hf-stream:me/tales"


def test_of_a_streamed_one_a_single_file_is_here_while_it_is_read(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once: list[int] = []
    usual = hub.__call__

    def counting(handler: BaseHTTPRequestHandler) -> None:
        at_once.append(len(list(cache.rglob("*.parquet"))))
        usual(handler)

    monkeypatch.setattr(Hub, "__call__", lambda self, handler: counting(handler))
    corpus = load_corpus(STREAM)
    assert corpus.name == corpus.source == STREAM
    assert [one.whole for one in corpus.documents()] == STORIES[:3]
    assert len(hub.asked) == 1 + 2 * 2  # the list, and each file twice
    assert set(at_once) == {0}
    assert [one.name for one in cache.rglob("*") if one.is_file()] == ["parquet.json"]
    assert load_corpus("hf:me/tales").sha256 == corpus.sha256


def test_files_that_are_here_are_not_streamed(hub: Hub) -> None:
    kept = load_corpus("hf:me/tales")
    asked = len(hub.asked)
    assert load_corpus(STREAM).sha256 == kept.sha256
    assert len(hub.asked) == asked


@pytest.mark.parametrize(("kind", "times"), [("bytes", 2), ("char", 3)])
def test_its_tokens_are_made_once(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, kind: str, times: int
) -> None:
    data = DataConfig(corpus=STREAM, tokenizer=kind)
    first = read_text(data, Watcher())
    assert len(hub.asked) == 1 + 2 * times
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    again = read_text(data, Watcher(may_download=False))
    assert again[0] == first[0]
    assert again[2].train.tolist() == first[2].train.tolist()
    problem = problem_with(STREAM)
    assert "hf-stream:me/tales is not in the cache, and GPT_TUI_OFFLINE is set" in problem


def test_a_streamed_file_that_changes_between_two_readings_is_refused(hub: Hub) -> None:
    corpus = load_corpus(f"{STREAM}:test")
    path = "/api/datasets/me/tales/parquet/default/test/0.parquet"
    hub.files[path] = table(*STORIES)
    with pytest.raises(InputError, match="has changed while it was read: try again"):
        list(corpus.documents())


def test_what_a_streamed_one_lacks_is_said_and_nothing_is_left(hub: Hub, cache: Path) -> None:
    assert "as in hf-stream:me/many/en" in problem_with("hf-stream:me/many")
    with pytest.raises(NotHere):
        tables_of(STREAM, Watcher(may_download=False))
    with pytest.raises(Cancelled):
        load_corpus(STREAM, watcher=Watcher(cancelled=lambda: len(hub.asked) > 1))
    hub.files[next(iter(hub.files))] = b"PAR1 and no more"
    assert "left out: 1 damaged tables" in load_corpus(STREAM).told[0]  # as of one that is kept
    hub.refusal = (403, "")
    assert "accept them at http" in problem_with(STREAM)
    assert not list(cache.rglob("*.parquet")) and not list(cache.rglob("streamed-*"))
