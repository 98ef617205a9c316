"""A text file of the person's own: what is read, and what each bad file is told."""

from __future__ import annotations

import hashlib
import os
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import text_file
from data.corpus import load_corpus
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.prepared.prepare import tokens_of
from data.tokenizers import CharTokenizer


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, so that the messages show short names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def problem_with(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_corpus(spec)
    return str(caught.value)


def test_a_file_is_named_after_itself_and_says_where_it_is(here: Path) -> None:
    (here / "poem.txt").write_text("Zwölf Boxkämpfer\n", encoding="utf-8")
    corpus = load_corpus("poem.txt")
    assert (corpus.name, corpus.text) == ("poem.txt", "Zwölf Boxkämpfer\n")
    assert (corpus.source, corpus.note) == (str(here / "poem.txt"), "")
    assert corpus.sha256 == hashlib.sha256("Zwölf Boxkämpfer\n".encode()).hexdigest()


def test_a_tilde_is_the_home_folder(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    (here / "poem.txt").write_text("a poem")
    assert load_corpus("~/poem.txt").source == str(here / "poem.txt")


def test_one_text_has_one_hash_whatever_its_line_ends_and_byte_order_mark(here: Path) -> None:
    (here / "unix.txt").write_bytes(b"one\ntwo\n")
    (here / "dos.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    unix, dos = load_corpus("unix.txt"), load_corpus("dos.txt")
    assert dos.text == "one\ntwo\n"
    assert dos.sha256 == unix.sha256


def test_only_the_first_byte_order_mark_is_dropped(here: Path) -> None:
    (here / "a.txt").write_bytes(b"\xef\xbb\xbfa\xef\xbb\xbfb")
    assert load_corpus("a.txt").text == "a\ufeffb"


def test_a_known_name_wins_over_a_file_which_is_still_reached_by_its_path(here: Path) -> None:
    (here / "python-docs").write_text("my own text")
    assert load_corpus("python-docs").source == "built-in"
    assert load_corpus("./python-docs").text == "my own text"


def test_a_missing_file() -> None:
    assert problem_with("notes/poem.txt") == (
        "The file notes/poem.txt does not exist. "
        "Check the path, or use tinyshakespeare or python-docs."
    )


def test_a_path_through_a_file_is_a_missing_file(here: Path) -> None:
    (here / "poem.txt").write_text("a poem")
    assert problem_with("poem.txt/more").startswith("The file poem.txt/more does not exist.")


@pytest.mark.parametrize("spec", ["tinyshakspeare", "TinyShakespeare", "tiny-shakespeare"])
def test_a_name_that_is_nearly_known(spec: str) -> None:
    assert problem_with(spec) == (
        f"There is no corpus or file named {spec}. Did you mean tinyshakespeare?"
    )


def test_a_folder(here: Path) -> None:
    (here / "my texts").mkdir()
    assert problem_with("my texts") == (
        "my texts is a folder: give one text file (cat 'my texts'/*.txt > all.txt joins several)."
    )


def test_no_path_at_all() -> None:
    assert problem_with("") == "'' cannot be used (it is empty): name a file or a folder"


def test_a_file_that_may_not_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "poem.txt").write_text("a poem")

    def refuse(*path: object, **options: object) -> int:  # root may read whatever the mode is
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("data.text_file.open_regular", refuse)
    assert problem_with("poem.txt") == (
        "No permission to read poem.txt: grant it (chmod u+r poem.txt) or give another file."
    )


def test_a_pipe_is_refused_and_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "pipe")
    assert problem_with("pipe") == "pipe is a pipe or a device: save its text to a file first."


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b" \r\n\n"])
def test_a_file_without_text(here: Path, body: bytes) -> None:
    (here / "poem.txt").write_bytes(body)
    assert problem_with("poem.txt") == (
        "poem.txt is empty: give a text of at least a few thousand characters."
    )


def test_a_binary_file_names_the_first_nul_byte(here: Path) -> None:
    (here / "weights").write_bytes(b"\x07\0\0\1")
    assert problem_with("weights") == (
        "weights is not a text file: it has a NUL byte at offset 1. "
        "Give a plain text file in UTF-8."
    )


def test_another_encoding_is_named_with_the_first_byte_that_does_not_fit(here: Path) -> None:
    (here / "my poem.txt").write_bytes("façade".encode("latin1"))
    assert problem_with("my poem.txt") == (
        "my poem.txt is in cp1252 (Western European, Windows), not UTF-8 (byte 0xe7 at offset 2): "
        "gpt-tui convert 'my poem.txt' 'my poem.utf8.txt'"
    )


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
def test_the_offset_counts_the_bytes_of_the_file_with_mark_and_line_ends(
    here: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(text_file, "PIECE_BYTES", piece)
    (here / "poem.txt").write_bytes(b"\xef\xbb\xbf\xc3\xa9\r\n\xff")
    assert "byte 0xff at offset 7)" in problem_with("poem.txt")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_recognised(here: Path, encoding: str) -> None:
    (here / "poem.txt").write_bytes("a poem".encode(encoding))
    mark = "" if encoding == "utf-16" else " without a byte order mark"
    assert problem_with("poem.txt").startswith(f"poem.txt is in UTF-16{mark}, not UTF-8")


def test_a_letter_that_is_cut_at_the_end_does_not_make_it_another_encoding(here: Path) -> None:
    (here / "poem.txt").write_bytes("Zwölf €".encode()[:-1])
    assert problem_with("poem.txt").startswith(
        "poem.txt is UTF-8, but cut inside its last letter, at offset 7: save it again"
    )
    (here / "poem.txt").write_bytes(b"a caf\xe9")
    assert problem_with("poem.txt").startswith("poem.txt is in cp1252")


@given(text=st.text("a\r\n\ufeffé€😀"), size=st.integers(1, 7))
def test_pieces_are_the_text_whatever_their_size(text: str, size: int) -> None:
    text = f"x{text}"
    body = text.encode()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_file, "PIECE_BYTES", size)
        path = Path(folder, "a.txt")
        path.write_bytes(body)
        corpus = load_corpus(str(path))
        assert corpus.text == text.replace("\r\n", "\n")
    assert corpus.characters == len(text.replace("\r\n", "\n"))
    assert corpus.sha256 == hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("one\rtwo\r\n", "a.txt has 1 lone carriage return (\\r), learned as they are."),
        ("a\ufeffb\ufeffc", "a.txt has 2 byte order marks (U+FEFF), learned as they are."),
        ("cafe\u0301", "a.txt has letters in two parts (e and U+0301), learned as they are."),
    ],
)
def test_odd_characters_are_told_and_stay(here: Path, text: str, told: str) -> None:
    (here / "a.txt").write_bytes(text.encode())
    corpus = load_corpus("a.txt")
    assert corpus.text == text.replace("\r\n", "\n")  # runs know their text by its hash
    (sentence,) = corpus.told
    assert sentence.startswith(told)
    assert sentence.endswith("gpt-tui convert a.txt a.utf8.txt")


def test_an_accent_that_has_no_letter_of_its_own_is_fine(here: Path) -> None:
    (here / "a.txt").write_text("Моско\u0301в", encoding="utf-8")
    assert load_corpus("a.txt").told == ()


def test_reading_is_reported_and_cancelled_between_two_pieces(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "a.txt").write_bytes(b"0123456789" * 10)
    monkeypatch.setattr(text_file, "PIECE_BYTES", 10)
    monkeypatch.setattr(text_file, "REPORT_SECONDS", 0)
    lines: list[str] = []
    load_corpus("a.txt", Watcher(lines.append))
    assert lines == ["reading a.txt: 0 of 0 MB"] * 11
    lines.clear()
    with pytest.raises(Cancelled):
        load_corpus("a.txt", Watcher(lines.append, lambda: len(lines) == 3))
    assert len(lines) == 3


def test_a_text_that_changes_while_it_is_read_is_refused(here: Path) -> None:
    (here / "a.txt").write_text("a poem")
    corpus = load_corpus("a.txt")
    (here / "a.txt").write_text("another poem")
    with pytest.raises(InputError, match=r"a\.txt has changed while it was read: try again"):
        list(corpus.pieces())


def test_a_large_text_is_never_in_memory_as_a_whole(here: Path) -> None:
    size = 32 << 20
    with (here / "a.txt").open("wb") as file:
        for _ in range(size >> 20):
            file.write("It’s “fine”\n".encode() * (1 << 16))
    tracemalloc.start()
    corpus = load_corpus("a.txt")
    tokenizer = CharTokenizer.train(corpus.pieces())
    tokens = tokens_of(corpus, tokenizer, Watcher())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tokens) == corpus.characters
    assert peak < 16 * text_file.PIECE_BYTES


@pytest.mark.parametrize("spec", ["a\0b", "x" * 300, "~no-such-user-here/poem.txt"])
def test_an_impossible_path_is_an_input_error_too(spec: str) -> None:
    assert "cannot be used (" in problem_with(spec)


@pytest.mark.parametrize(
    ("spec", "new"),
    [
        ("./~a.txt", "./~a.utf8.txt"),
        ("~a.csv", "./~a.utf8.txt"),
        ("no-such-folder/~a.csv", "./~a.utf8.txt"),
        ("./-a.csv", "./-a.txt"),
        ("a.txt.gz", "a.utf8.txt"),
    ],
)
def test_the_name_for_a_new_version_of_a_text_can_be_typed(here: Path, spec: str, new: str) -> None:
    for name in ("~a.txt", "a.txt"):
        (here / name).touch()
    assert text_file.new_name(spec) == new
