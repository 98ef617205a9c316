"""Where the files of a tokenizer are looked for, and what is told where they are not."""

from __future__ import annotations

import hashlib
import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import tokenizers

from data.download import Watcher
from data.errors import InputError
from data.tokenizers import files
from data.tokenizers.byte_level import letters_of_bytes
from data.tokenizers.files import find_gpt2, read_tokenizer_file
from data.tokenizers.hugging_face import HuggingFaceTokenizer
from tests.data.conftest import Server, send

MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "w"), ("hell", "o")]
VOCABULARY = [*letters_of_bytes().values(), *("".join(pair) for pair in MERGES), "<|endoftext|>"]
ENCODER = json.dumps({name: at for at, name in enumerate(VOCABULARY)}).encode()
BPE = "\n".join(("#version: 0.2", *map(" ".join, MERGES), "")).encode()
TEXT = "hello world, hell\n中<|endoftext|>"


def write_pair(folder: Path, names: tuple[str, str] = ("encoder.json", "vocab.bpe")) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in zip(names, (ENCODER, BPE), strict=True):
        (folder / name).write_bytes(body)
    return folder


def ids_of(saved: dict[str, object], text: str = TEXT) -> list[int]:
    ids: list[int] = HuggingFaceTokenizer("gpt2", saved).encode(text).tolist()
    return ids


@pytest.fixture(autouse=True)
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub-of-nobody"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)


@pytest.mark.parametrize("names", files.PAIRS)
def test_a_vocabulary_and_merges_are_as_hugging_face_reads_them(
    names: tuple[str, str], tmp_path: Path
) -> None:
    folder = write_pair(tmp_path / "gpt2", names)
    from tokenizers import decoders, models, pre_tokenizers

    theirs = tokenizers.Tokenizer(models.BPE.from_file(*(str(folder / name) for name in names)))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    made = HuggingFaceTokenizer("gpt2", read_tokenizer_file(str(folder)))
    ids = made.encode(TEXT).tolist()
    assert ids == theirs.encode(TEXT).ids
    assert made.decode(ids) == TEXT
    assert made.vocab_size == 256 + len(MERGES) + 1


def test_a_file_and_its_folder_are_the_same(tmp_path: Path) -> None:
    saved = read_tokenizer_file(str(write_pair(tmp_path)))
    path = tmp_path / "elsewhere" / "tokenizer.json"
    path.parent.mkdir()
    path.write_text(json.dumps(saved))
    assert read_tokenizer_file(str(path)) == read_tokenizer_file(str(path.parent)) == saved


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"there is no tokenizer .*tok\.json: use char, bytes, bpe, gpt2 or the path of"),
        (b"", r"tok\.json is no tokenizer\.json: it is not a JSON object"),
        (b"[1]", r"tok\.json is no tokenizer\.json: it is not a JSON object"),
        (b"\xff{}", r"tok\.json is no part of a tokenizer: not in UTF-8"),
    ],
)
def test_what_is_no_tokenizer_is_refused(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "tok.json").write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_tokenizer_file(str(tmp_path / "tok.json"))


def test_a_folder_without_one_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"it needs a tokenizer\.json, vocab\.json and"):
        read_tokenizer_file(str(tmp_path))


def test_json_that_is_no_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match=r"this tokenizer\.json cannot be read"):
        HuggingFaceTokenizer("file", {"model": {"type": "nothing"}})


# -- GPT-2's ---------------------------------------------------------------------------------------


def test_gpt2_is_found_in_the_cache_of_hugging_face(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    snapshots = tmp_path / "hub" / "models--openai-community--gpt2" / "snapshots"
    write_pair(snapshots / "607a30d783dfa663caf39e06633721c8d4cfcd7e", ("vocab.json", "merges.txt"))
    assert ids_of(find_gpt2(Watcher()))


def test_gpt2_is_downloaded_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        send(ENCODER if handler.path.endswith("encoder.json") else BPE)(handler)

    server.answer = answer
    monkeypatch.setattr(files, "GPT2_URL", server.url.removesuffix("input.txt"))
    hashes = {"encoder.json": ENCODER, "vocab.bpe": BPE}
    hashes_of = {name: hashlib.sha256(body).hexdigest() for name, body in hashes.items()}
    monkeypatch.setattr(files, "GPT2_HASHES", hashes_of)
    told: list[str] = []
    first = ids_of(find_gpt2(Watcher(told.append)))
    assert "downloading GPT-2's encoder.json…" in told
    assert (server.requests, ids_of(find_gpt2(Watcher()))) == (2, first)


def test_gpt2_with_another_hash_is_refused(
    server: Server, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    server.answer = send(ENCODER)
    monkeypatch.setattr(files, "GPT2_URL", server.url.removesuffix("input.txt"))
    with pytest.raises(InputError, match=r"different hash\): name a tokenizer\.json of it, as in"):
        find_gpt2(Watcher())
    assert not cache.exists()


def test_without_a_network_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    with pytest.raises(InputError, match=r"\(GPT_TUI_OFFLINE is set\): name a tokenizer\.json"):
        find_gpt2(Watcher())
