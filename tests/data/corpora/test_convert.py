"""The command in a refusal, or in what is told of a text, gives a text to train on."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from data.corpora.convert import convert
from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.sources import files

pytestmark = pytest.mark.usefixtures("here")

QUOTED = "It’s “fine”\n" * 99
DAMAGED = QUOTED.encode() + b"\xff!"
NAMES = ["book.txt", "utf8.txt", "-n.txt", "it's here", "two\nlines.txt", "book", "é.txt"]


def hint_for(name: str) -> str:
    """The command that is printed for a file, as it is typed."""
    with pytest.raises(InputError) as caught:
        load_corpus(name)
    told = str(caught.value)
    return told[told.index("gpt-tui convert ") :]


def carry_out(command: str) -> Path:
    """Carry out a command as a shell splits it; return the file it writes."""
    words = subprocess.run(["bash", "-c", f"printf '%s\\0' {command}"], capture_output=True)
    _, _, spec, new = words.stdout.decode().split("\0")[:-1]
    assert not spec.startswith("-") and not new.startswith("-")
    convert(spec, new, "", Watcher())
    return Path(new)


@pytest.mark.parametrize("name", NAMES)
def test_the_old_file_stays_whatever_its_name(here: Path, name: str) -> None:
    (here / name).write_bytes(DAMAGED)
    mended = f"{QUOTED}\ufffd!".encode()
    assert carry_out(hint_for(name)).read_bytes() == mended
    assert (here / name).read_bytes() == DAMAGED
    again = carry_out(hint_for(name))  # another new name
    assert again.read_bytes() == mended
    assert len(list(here.iterdir())) == 3


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("ça va\n".encode("utf-16"), "ça va\n"),
        ("a poem\r\n".encode("utf-16-le"), "a poem\n"),
        ("学而时习之，不亦说乎？\n".encode("gbk"), "学而时习之，不亦说乎？\n"),
        ("été\nété".encode()[:-1], "été\nét"),
        (QUOTED.encode() + b"\xff!", QUOTED + "\ufffd!"),
        (b"one\rtwo\r\nthree\r", "one\ntwo\nthree\n"),
        ("\ufeffa\ufeffb".encode(), "ab"),
        ("e\u0301te\u0301".encode(), "été"),
    ],
)
@pytest.mark.parametrize("piece", [1, 2, 1 << 20])
def test_what_is_wrong_or_unusual_is_mended(
    here: Path, monkeypatch: pytest.MonkeyPatch, body: bytes, text: str, piece: int
) -> None:
    (here / "a.txt").write_bytes(body)
    monkeypatch.setattr(files, "PIECE_BYTES", piece)
    convert("a.txt", "b.txt", "", Watcher())
    assert (here / "b.txt").read_bytes().decode() == text
    corpus = load_corpus("b.txt")
    assert (corpus.text, corpus.told) == (text, ())


def test_a_file_that_is_there_is_not_overwritten(here: Path) -> None:
    (here / "a.txt").write_bytes(b"caf\xe9 au lait")
    (here / "b.txt").write_text("mine")
    with pytest.raises(InputError, match=r"b\.txt is there already, and is not overwritten"):
        convert("a.txt", "b.txt", "", Watcher())
    assert (here / "b.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("codec", "words"),
    [
        ("utf-8", "is not in utf-8: what is near offset 3 is no letter"),
        ("klingon", "there is no encoding 'klingon'"),
        ("hex", "there is no encoding 'hex'"),
    ],
)
def test_an_encoding_that_does_not_fit_leaves_no_file(here: Path, codec: str, words: str) -> None:
    (here / "a.txt").write_bytes(b"caf\xe9 au lait")
    with pytest.raises(InputError, match=words):
        convert("a.txt", "b.txt", codec, Watcher())
    assert not (here / "b.txt").exists()


def test_an_encoding_can_be_named(here: Path) -> None:
    (here / "a.txt").write_bytes("façade".encode("mac-roman"))
    assert convert("a.txt", "b.txt", "mac-roman", Watcher()).characters == 6
    assert (here / "b.txt").read_text() == "façade"


def test_it_can_be_cancelled(here: Path) -> None:
    (here / "a.txt").write_text("a" * 99)
    with pytest.raises(Cancelled):
        convert("a.txt", "b.txt", "", Watcher(cancelled=lambda: True))
    assert not (here / "b.txt").exists()


def test_the_hint_is_one_line(here: Path) -> None:
    (here / "two\nlines").write_bytes(DAMAGED)
    assert "\n" not in hint_for("two\nlines")
    assert shlex.split(hint_for("two\nlines"))[:2] == ["gpt-tui", "convert"]
