"""Packed and structured files are known by what is in them, whatever their names."""

from __future__ import annotations

import gzip
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from data.corpora.file_kinds import kind_of, structure_of
from data.corpora.load import load_corpus
from data.errors import InputError

pytestmark = pytest.mark.usefixtures("here")

TEXT = "one fish, two fish,\nred fish, blue fish.\n" * 9


def zipped(*names: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), TEXT)  # of 1980: the same each time
    return body.getvalue()


def in_tar() -> bytes:
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w") as archive:
        member = tarfile.TarInfo("book.txt")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT.encode()))
    return body.getvalue()


@pytest.mark.parametrize("name", ["book.tar", "book.tar.gz", "-book", "it's\nhere.tar"])
def test_the_command_that_unpacks_an_archive_gives_its_texts(here: Path, name: str) -> None:
    body = gzip.compress(in_tar()) if name.endswith(".gz") else in_tar()
    (here / name).write_bytes(body)
    with pytest.raises(InputError) as caught:
        load_corpus(f"./{name}")
    what, _, command = str(caught.value).partition(": unpack it: ")
    assert what.endswith("is a tar archive, no plain text")
    before = set(here.rglob("*"))
    subprocess.run(["bash", "-c", command], check=True, capture_output=True)
    texts = [path for path in set(here.rglob("*")) - before if path.is_file()]
    assert [path.read_text() for path in texts] == [TEXT]
    assert (here / name).read_bytes() == body


@pytest.mark.parametrize(
    ("head", "called"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF document"),
        (b"{\\rtf1\\ansi", "an RTF document"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a PNG image"),
        (b"GIF89a\1\0", "a GIF image"),
        (b"\x28\xb5\x2f\xfd\x04", "a Zstandard file"),
        (zipped("[Content_Types].xml", "word/document.xml"), "a Word document (.docx)"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook (.xlsx)"),
        (zipped("archive/data.pkl"), "a file of PyTorch"),
    ],
)
def test_other_files_are_called_what_they_are(head: bytes, called: str) -> None:
    kind = kind_of(head)
    assert kind and kind.called == called


@pytest.mark.parametrize("text", ["BZh, said he", "GIF8 is a word", "PAR1 too", "ID3", "RIFF raff"])
def test_a_text_that_begins_like_one_is_a_text(text: str) -> None:
    assert kind_of(text.encode()) is None


@pytest.mark.parametrize(
    ("text", "name", "called"),
    [
        ('{"text": "a, b"}\n' * 5, "book.txt", "JSON lines"),
        ('{"text": "a"}\n', "one.jsonl", "JSON lines"),
        ('[\n {"text": "a"},\n {"text": "b"}\n]\n', "book.txt", "JSON"),
        ("id,text,who\n" + '1,"a, b",me\n' * 20, "book.txt", "CSV"),
        ("id;text\n1;abc\n", "book.csv", "CSV"),
        ("id\ttext\n1\tabc\n", "book.tsv", "tab-separated values"),
        ("<!DOCTYPE html>\n<html>", "book.txt", "HTML"),
        ("<?xml version='1.0'?>\n<a/>", "book.txt", "XML"),
        (TEXT, "book.txt", ""),
        (TEXT, "book.csv", ""),
        ("{ a brace begins\na play }\n" * 20, "book.txt", ""),
        ("[Enter HAMLET]\nHAMLET: to be, or not\n" * 20, "book.txt", ""),
        ("", "book.csv", ""),
    ],
)
def test_a_structured_text_is_told_from_a_plain_one(text: str, name: str, called: str) -> None:
    assert structure_of(text, name) == called


def test_a_table_without_its_suffix_is_learned_as_it_stands_and_that_is_told(here: Path) -> None:
    body = "id,text,who\n" + '1,"a, b",me\n' * 20
    (here / "book.txt").write_text(body)
    corpus = load_corpus("book.txt")
    assert corpus.text == body
    assert corpus.note == ""  # it replaces no other text
    (told,) = corpus.told
    assert told.startswith("book.txt is CSV, learned as it stands")
