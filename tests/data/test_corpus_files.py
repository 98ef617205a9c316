"""A text file of the person's own: what is read, and what each bad file is told."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from data.corpus import load_corpus
from data.errors import InputError


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
    assert problem_with("").startswith("The empty path is a folder: give one text file")


def test_a_file_that_may_not_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "poem.txt").write_text("a poem")

    def refuse(path: Path) -> bytes:  # taking the permission away would not stop root
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
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
    (here / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    assert problem_with("picture.png") == (
        "picture.png is not a text file: it has a NUL byte at offset 8. "
        "Give a plain text file in UTF-8."
    )


def test_latin1_names_the_first_byte_that_does_not_fit(here: Path) -> None:
    (here / "my poem.txt").write_bytes("façade".encode("latin1"))
    assert problem_with("my poem.txt") == (
        "my poem.txt is not UTF-8: byte 0xe7 at offset 2 is invalid. "
        "Convert it, for example: iconv -f latin1 -t utf-8 'my poem.txt' > utf8.txt"
    )


def test_the_offset_counts_the_bytes_of_the_file_with_mark_and_line_ends(here: Path) -> None:
    (here / "poem.txt").write_bytes(b"\xef\xbb\xbf\xc3\xa9\r\n\xff")
    assert "byte 0xff at offset 7 " in problem_with("poem.txt")


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")]
)
def test_utf16_is_recognised(here: Path, encoding: str, mark: bytes) -> None:
    (here / "poem.txt").write_bytes(mark + "a poem".encode(encoding))
    message = problem_with("poem.txt")
    assert message.startswith("poem.txt is in UTF-16")
    assert message.endswith("Convert it: iconv -f utf-16 -t utf-8 poem.txt > utf8.txt")


@pytest.mark.parametrize("spec", ["a\0b", "x" * 300, "~no-such-user-here/poem.txt"])
def test_an_impossible_path_is_an_input_error_too(spec: str) -> None:
    assert problem_with(spec).endswith("check the path or give another file.")
