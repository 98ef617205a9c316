"""A text file of the person's own: what is read, and what each bad file is told."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpora import decoding
from data.corpora.convert import convert
from data.corpora.corpus import Options
from data.corpora.load import load_corpus
from data.corpora.normalize import normalized
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.prepared.prepare import tokens_of
from data.sources import files, meter
from data.sources.tally import Tally
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


@pytest.mark.parametrize(
    ("body", "text", "told"),
    [
        (b"one\r\ntwo\r\n", "one\ntwo\n", "2 Windows line ends (\\r\\n) became \\n"),
        (b"one\rtwo", "one\ntwo", "1 lone carriage return (\\r) became \\n"),
        (
            "one\r\ntwo\u2028\x85".encode(),
            "one\ntwo\n\n",
            "1 Windows line end (\\r\\n) and 2 line ends of Unicode (U+0085, U+2028, U+2029) "
            "became \\n",
        ),
        (
            "\ufeffa\ufeffb".encode(),
            "ab",
            "1 byte order mark (U+FEFF) inside the text dropped",
        ),
    ],
)
def test_line_ends_and_marks_are_made_uniform_and_that_is_told(
    here: Path, body: bytes, text: str, told: str
) -> None:
    (here / "a.txt").write_bytes(body)
    corpus = load_corpus("a.txt")
    assert (corpus.text, corpus.told) == (text, (f"a.txt: {told}",))


def test_letters_in_two_parts_are_told_and_joined_when_asked(here: Path) -> None:
    (here / "a.txt").write_bytes("cafe\u0301 café ﬁn".encode())
    plain = load_corpus("a.txt")
    assert (plain.text, plain.told) == (
        "cafe\u0301 café ﬁn",
        (
            "a.txt has letters in two parts (e and U+0301), learned as they are: "
            "--set data.normalize=nfc joins them",
        ),
    )
    joined = load_corpus("a.txt", Options(normalize="nfc"))
    assert (joined.text, joined.told) == ("café café ﬁn", ())
    assert load_corpus("a.txt", Options(normalize="nfkc")).text == "café café fin"


@given(
    text=st.text("ae\u0301\u0327한\u1100\u1161\u11a8か\u3099中ﬁ\u09c7\u09be \n"),
    size=st.integers(1, 5),
    form=st.sampled_from(["nfc", "nfkc"]),
)
def test_a_text_in_pieces_is_normalized_as_unicodedata_does_it(
    text: str, size: int, form: Literal["nfc", "nfkc"]
) -> None:
    pieces = (text[at : at + size] for at in range(0, len(text), size))
    whole = unicodedata.normalize("NFC" if form == "nfc" else "NFKC", text)
    assert "".join(normalized(pieces, form, "a", Tally())) == whole


@pytest.mark.parametrize(
    "text", ["one\rtwo\r\n", "\ufeffa\ufeffb", "a,b\u2028c\n"], ids=["return", "mark", "unicode"]
)
def test_what_earlier_versions_read_is_found_again_by_its_hash(here: Path, text: str) -> None:
    (here / "a.txt").write_bytes(text.encode())
    before = load_corpus("a.txt", Options(as_before=True))
    as_it_was = text.removeprefix("\ufeff").replace("\r\n", "\n")
    assert (before.text, before.told) == (as_it_was, ())
    assert before.sha256 == hashlib.sha256(as_it_was.encode()).hexdigest()


def test_a_known_name_wins_over_a_file_which_is_still_reached_by_its_path(here: Path) -> None:
    (here / "python-docs").write_text("my own text")
    assert load_corpus("python-docs").source == "built-in"
    assert load_corpus("./python-docs").text == "my own text"


def test_a_missing_file() -> None:
    assert problem_with("notes/poem.txt") == (
        "The file notes/poem.txt does not exist. "
        "Check the path, or use a text of the catalogue, such as tinyshakespeare or python-docs "
        "(gpt-tui data list)."
    )


def test_a_missing_file_of_a_name_that_is_nearly_there(here: Path) -> None:
    (here / "my").mkdir()
    (here / "my/poems.txt").write_text("a poem")
    for spec in ("my/poem.txt", f"{here}/my/peoms.txt"):
        meant = spec.replace("poem.txt", "poems.txt").replace("peoms", "poems")
        assert problem_with(spec) == f"The file {spec} does not exist. Did you mean {meant}?"


def test_a_path_through_a_file_is_a_missing_file(here: Path) -> None:
    (here / "poem.txt").write_text("a poem")
    assert problem_with("poem.txt/more").startswith("The file poem.txt/more does not exist.")


@pytest.mark.parametrize("spec", ["tinyshakspeare", "TinyShakespeare", "tiny-shakespeare"])
def test_a_name_that_is_nearly_known(spec: str) -> None:
    assert problem_with(spec) == (
        f"There is no corpus or file named {spec}. Did you mean tinyshakespeare?"
    )


def test_no_path_at_all() -> None:
    assert problem_with("") == "'' cannot be used (it is empty): name a file or a folder"


def test_a_file_that_may_not_be_read(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "poem.txt").write_text("a poem")

    def refuse(*path: object, **options: object) -> int:  # root may read whatever the mode is
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("data.sources.files.open_regular", refuse)
    assert problem_with("poem.txt") == (
        "No permission to read poem.txt: grant it (chmod u+r poem.txt) or give another file."
    )


def test_a_pipe_is_refused_and_not_waited_for(here: Path) -> None:
    os.mkfifo(here / "pipe")
    assert problem_with("pipe") == "pipe is a pipe: save its text to a file first."


@pytest.mark.parametrize("body", [b"", b"\xef\xbb\xbf", b" \r\n\n"])
def test_a_file_without_text(here: Path, body: bytes) -> None:
    (here / "poem.txt").write_bytes(body)
    assert problem_with("poem.txt") == (
        "poem.txt is empty: give a text of at least a few thousand characters."
    )


def test_a_binary_file_names_the_first_nul_byte(here: Path) -> None:
    (here / "weights").write_bytes(b"\x07\0\0\1")
    assert problem_with("weights") == (
        "weights is not a text file: it has a NUL byte at offset 1. Give a text file."
    )


def test_another_encoding_is_recognised_and_told(here: Path) -> None:
    (here / "my poem.txt").write_bytes("façade".encode("latin1"))
    corpus = load_corpus("my poem.txt")
    assert (corpus.text, corpus.told) == (
        "façade",
        (
            "my poem.txt is read as cp1252 (Western European, Windows); data.encoding names "
            "another encoding",
        ),
    )
    assert corpus.sha256 == hashlib.sha256("façade".encode()).hexdigest()


def test_the_encoding_can_be_named(here: Path) -> None:
    (here / "a.txt").write_bytes("façade".encode("mac-roman"))
    corpus = load_corpus("a.txt", Options(encoding="mac-roman"))
    assert (corpus.text, corpus.told) == ("façade", ())
    with pytest.raises(InputError, match="there is no encoding 'klingon': name one, as in --set"):
        load_corpus("a.txt", Options(encoding="klingon"))
    with pytest.raises(InputError) as caught:
        load_corpus("a.txt", Options(encoding="utf-8"))
    assert str(caught.value) == (
        "a.txt is not in utf-8, which data.encoding names (byte 0x8d at offset 2): name another, "
        "or have it recognised with --set data.encoding=auto"
    )


@pytest.mark.parametrize("piece", [1, 3, 1 << 20])
def test_the_offset_counts_the_bytes_of_the_file_with_mark_and_line_ends(
    here: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", piece)
    (here / "poem.txt").write_bytes(b"\xef\xbb\xbf\xc3\xa9\r\n" * 30 + b"\xff")
    assert "byte 0xff at offset 210 is invalid" in problem_with("poem.txt")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_utf16_is_read_as_what_it_is(
    here: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, piece: int
) -> None:
    monkeypatch.setattr(files, "PIECE_BYTES", max(piece, 4))
    (here / "poem.txt").write_bytes("a poem\r\n".encode(encoding))
    assert load_corpus("poem.txt").text == "a poem\n"


def test_a_letter_that_is_cut_at_the_end_does_not_make_it_another_encoding(here: Path) -> None:
    (here / "poem.txt").write_bytes("Zwölf €".encode()[:-1])
    assert problem_with("poem.txt").startswith(
        "poem.txt is UTF-8, but cut inside its last letter, at offset 7: save it again"
    )
    (here / "poem.txt").write_bytes(b"a caf\xe9")
    assert load_corpus("poem.txt").text == "a café"


@given(text=st.text("a\r\n\ufeffé€😀"), size=st.integers(1, 7))
def test_pieces_are_the_text_whatever_their_size(text: str, size: int) -> None:
    text = f"x{text}"
    body = text.encode()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "PIECE_BYTES", size)
        path = Path(folder, "a.txt")
        path.write_bytes(body)
        corpus = load_corpus(str(path))
        plain = text.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
        assert corpus.text == plain
    assert (corpus.characters, corpus.size) == (len(plain), len(plain.encode()))
    assert corpus.sha256 == hashlib.sha256(plain.encode()).hexdigest()


def test_an_accent_that_has_no_letter_of_its_own_is_fine(here: Path) -> None:
    (here / "a.txt").write_text("Моско\u0301в", encoding="utf-8")
    assert load_corpus("a.txt").told == ()


def test_reading_is_reported_and_cancelled_between_two_pieces(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "a.txt").write_bytes(b"0123456789" * 10)
    monkeypatch.setattr(files, "PIECE_BYTES", 10)
    monkeypatch.setattr(meter, "REPORT_SECONDS", 0)
    lines: list[str] = []
    load_corpus("a.txt", watcher=Watcher(lines.append))
    assert lines == ["reading a.txt: 0 of 0 MB"] * 11
    lines.clear()
    with pytest.raises(Cancelled):
        load_corpus("a.txt", watcher=Watcher(lines.append, lambda: len(lines) == 3))
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
    tokens = tokens_of(corpus, tokenizer, Watcher()).tokens
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(tokens) == corpus.characters
    assert peak < size / 4


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
    assert decoding.new_name(spec) == new


@pytest.mark.parametrize(
    "body",
    [
        b"".join(b"a%cb " % byte for byte in range(0x80, 0x100)) * 9,
        "naïve café".encode("cp1252") * 9000 + b"\x81 and more\n" * 9,
    ],
    ids=["unclear", "not throughout"],
)
def test_the_encoding_that_a_refusal_names_reads_the_text(here: Path, body: bytes) -> None:
    (here / "a.txt").write_bytes(body)
    told = problem_with("a.txt")
    named = re.search("--set data.encoding=(.+)", told)
    assert named
    assert load_corpus("a.txt", Options(encoding=named[1])).characters == len(body) - body.count(
        b"\r\n"
    )


def test_utf16_that_is_cut_is_mended_by_the_command_that_is_told(here: Path) -> None:
    (here / "a.txt").write_bytes("a poem".encode("utf-16")[:-1])
    assert problem_with("a.txt").endswith(
        "cut inside its last letter: save it again, or leave that letter out: "
        "gpt-tui convert a.txt a.utf8.txt"
    )
    assert convert("a.txt", "b.txt", "", Watcher()).characters == 5
    assert (here / "b.txt").read_text() == "a poe"
