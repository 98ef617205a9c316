"""Files of tokens as nanoGPT writes them, read as they are; and what is told where they cannot."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpora.describe import describe
from data.download import Watcher
from data.errors import InputError
from data.paths import cache_folder
from data.prepared.prepare import tokens_of
from data.prepared.token_file import (
    HEADER,
    is_token_file,
    meta_of,
    read_token_file,
    validation_beside,
)
from data.tokenizers import CharTokenizer
from data.tokenizers.kinds import make_tokenizer
from engine.config.schema import DataConfig
from tests.data.tokenizers.test_end_of_text import KINDS
from tests.data.tokenizers.test_files import write_pair

SILENT = Watcher()
TEXT = "To be, or not to be: é中😀\n" * 40
LETTERS = CharTokenizer.train(TEXT)


def write(path: Path, ids: list[int], before: bytes = b"") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(before + np.array(ids, "<u2").tobytes())
    return str(path)


@pytest.fixture
def of_letters(tmp_path: Path) -> str:
    """As the script of nanoGPT's ``shakespeare_char`` leaves it."""
    letters = sorted(set(TEXT))
    ids = {letter: id for id, letter in enumerate(letters)}
    meta = {"vocab_size": len(letters), "itos": dict(enumerate(letters)), "stoi": ids}
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(meta))
    cut = int(0.9 * len(TEXT))
    write(tmp_path / "val.bin", [ids[one] for one in TEXT[cut:]])
    return write(tmp_path / "train.bin", [ids[one] for one in TEXT[:cut]])


@pytest.fixture
def gpt2() -> None:
    """A small tokenizer in the place of GPT-2's."""
    write_pair(cache_folder() / "tokenizers/gpt2")


def test_characters_are_what_meta_says(of_letters: str) -> None:
    corpus = read_token_file(of_letters, "char", SILENT)
    written = TEXT[: int(0.9 * len(TEXT))]
    assert corpus.text == written
    assert (corpus.characters, corpus.size) == (len(written), len(written.encode()))
    tokenizer = make_tokenizer(DataConfig(), corpus, SILENT)
    assert isinstance(tokenizer, CharTokenizer) and tokenizer.characters == LETTERS.characters
    made = tokens_of(corpus, tokenizer, SILENT)
    assert made.tokens.tolist() == LETTERS.encode(written).tolist()
    assert describe(corpus, SILENT).distinct == set(written)


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize("header", [b"", HEADER.ljust(1024, b"\1")], ids=["nanoGPT", "llm.c"])
def test_without_meta_the_tokens_are_those_of_gpt2(tmp_path: Path, header: bytes) -> None:
    theirs = KINDS["gpt2"]
    ends = theirs.end_of_text
    assert ends is not None
    documents = ["hello world", "hell\nno 中", "hello hello"]
    ids = [id for one in documents for id in [*theirs.encode(one).tolist(), ends]]
    corpus = read_token_file(write(tmp_path / "some.bin", ids, header), "char", SILENT)
    assert corpus.count == 3
    assert ["".join(one.pieces()) for one in corpus.documents()] == documents
    tokenizer = make_tokenizer(DataConfig(), corpus, SILENT)
    assert (tokenizer.kind, tokenizer.end_of_text) == ("gpt2", ends)
    made = tokens_of(corpus, tokenizer, SILENT)
    assert made.tokens.tolist() == ids
    lengths = [len(theirs.encode(one)) + 1 for one in documents]
    assert made.starts.tolist() == [0, lengths[0], lengths[0] + lengths[1]]


@pytest.mark.usefixtures("gpt2")
@given(cuts=st.sets(st.integers(1, 11)), last=st.booleans())
def test_a_text_is_parted_at_its_ends_wherever_they_are(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], last: bool
) -> None:
    end = KINDS["gpt2"].end_of_text
    assert end is not None
    ids = [end if place in cuts else 104 for place in range(12)] + [end] * last
    path = write(tmp_path_factory.mktemp("a") / "some.bin", ids)
    corpus = read_token_file(path, "gpt2", SILENT)
    texts = [list(one.pieces()) for one in corpus.documents()]
    assert len(texts) == max(1, sum(one == end for one in ids)) + (ids[-1] != end and end in ids)
    assert sum(len("".join(one)) for one in texts) == ids.count(104)


def test_what_our_own_command_writes_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "meta.pkl").write_bytes(meta_of(LETTERS))
    path = write(tmp_path / "train.bin", LETTERS.encode(TEXT).tolist())
    assert read_token_file(path, "char", SILENT).text == TEXT
    assert meta_of(KINDS["bpe"]) == meta_of(KINDS["bytes"]) == b""


def test_the_validation_file_is_the_one_beside(of_letters: str, tmp_path: Path) -> None:
    assert validation_beside(of_letters) == str(tmp_path / "val.bin")
    assert validation_beside(str(tmp_path / "val.bin")) == ""
    (tmp_path / "val.bin").unlink()
    assert validation_beside(of_letters) == ""


ANY_BYTES = random.Random(1).randbytes(4096)


@pytest.mark.parametrize("body", [b"plain text\n" * 9, b"\0\1\2", b"\x1f\x8b\0\0", ANY_BYTES])
def test_other_files_of_that_name_are_no_tokens(tmp_path: Path, body: bytes) -> None:
    path = tmp_path / "some.bin"
    path.write_bytes(body)
    assert not is_token_file(str(path)) and not is_token_file(str(tmp_path / "missing.bin"))
    os.mkfifo(tmp_path / "pipe.bin")
    assert not is_token_file(str(tmp_path / "pipe.bin"))


def test_tokens_beyond_those_of_gpt2_are_known_by_what_says_what_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "some.bin", [0, 60_000])
    assert not is_token_file(path) and not is_token_file(path, "gpt2")
    assert is_token_file(path, "of-mine.json")
    (tmp_path / "tokenizer.json").touch()
    assert is_token_file(path)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    ("meta", "problem"),
    [
        (pickle.dumps(Evil()), r"meta\.pkl is not read \(it names posix\.mkdir\): delete it"),
        (b"\x80\x04nonsense", r"meta\.pkl is not read \(.*\): delete it"),
        (b"", r"meta\.pkl is not read \(Ran out of input\)"),
        (pickle.dumps({"itos": {0: "ab"}}), "what the tokens of .*some.bin mean is not known: no"),
        (pickle.dumps([1, 2]), "what the tokens of .*some.bin mean is not known: no meta"),
    ],
    ids=["code", "nonsense", "empty", "no characters", "a list"],
)
def test_a_hostile_or_useless_meta_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, meta: bytes, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPT_TUI_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "nowhere"))
    (tmp_path / "meta.pkl").write_bytes(meta)
    path = write(tmp_path / "some.bin", [0, 1, 2] * 9)
    with pytest.raises(InputError, match=problem):
        read_token_file(path, "char", SILENT)
    assert not (tmp_path / "evil").exists()


@pytest.mark.usefixtures("gpt2")
@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("char", "has the token 40,000, and gpt2 has 262 tokens: name the tokenizer that made"),
        ("bytes", "has the token 40,000, and bytes has 256 tokens"),
        ("bpe", "holds tokens already: name the tokenizer that made them, as in --set data.tok"),
        ("no.json", "there is no tokenizer no.json"),
    ],
)
def test_tokens_of_another_tokenizer_are_refused(tmp_path: Path, kind: str, problem: str) -> None:
    path = write(tmp_path / "some.bin", [5, 40_000])
    with pytest.raises(InputError, match=problem):
        read_token_file(path, kind, SILENT)


def test_a_file_that_changes_meanwhile_is_refused(of_letters: str) -> None:
    corpus = read_token_file(of_letters, "char", SILENT)
    with Path(of_letters).open("ab") as file:
        file.write(b"\1\0")
    with pytest.raises(InputError, match="has changed while it was read"):
        tokens_of(corpus, make_tokenizer(DataConfig(), corpus, SILENT), SILENT)
