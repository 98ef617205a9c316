"""Packed texts are read as what is in them; damaged and hostile ones are refused or left out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from data.corpora.corpus import Corpus
from data.corpora.load import load_corpus
from data.errors import InputError
from data.program import install_command

pytestmark = pytest.mark.usefixtures("here")

TEXT = "one fish, two fish,\nred fish, blue fish.\n" * 99
PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}
every_packing = pytest.mark.parametrize("suffix", PACK)


def zipped(**members: bytes) -> bytes:
    """A ZIP archive; two underscores in a name are a slash, one is a dot."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), text)
    return body.getvalue()


def documents(corpus: Corpus) -> list[tuple[str, str]]:
    return [(one.name, "".join(one.pieces())) for one in corpus.documents()]


def problem_with(spec: str) -> str:
    with pytest.raises(InputError) as caught:
        load_corpus(spec)
    return str(caught.value)


@every_packing
@pytest.mark.parametrize("name", ["book.txt.", "book-"])
def test_a_packed_text_is_that_text(here: Path, suffix: str, name: str) -> None:
    (here / f"{name}{suffix}").write_bytes(PACK[suffix](TEXT.encode()))
    (here / "plain").write_text(TEXT)
    corpus = load_corpus(f"{name}{suffix}")
    assert (corpus.text, corpus.told) == (TEXT, ())
    assert corpus.sha256 == load_corpus("plain").sha256


@every_packing
def test_several_packed_one_after_another_are_all_read(here: Path, suffix: str) -> None:
    body = PACK[suffix](TEXT.encode())
    (here / f"a.{suffix}").write_bytes(body + body)
    assert load_corpus(f"a.{suffix}").text == TEXT * 2


@every_packing
def test_the_encoding_in_a_packed_file_is_recognised(here: Path, suffix: str) -> None:
    (here / f"a.{suffix}").write_bytes(PACK[suffix]("It’s “fine”\n".encode("cp1252") * 99))
    corpus = load_corpus(f"a.{suffix}")
    assert corpus.text == "It’s “fine”\n" * 99
    assert corpus.told[0].startswith(f"a.{suffix} is read as cp1252")


@every_packing
def test_a_cut_or_damaged_one_is_told(here: Path, suffix: str) -> None:
    body = PACK[suffix](TEXT.encode())
    (here / f"a.{suffix}").write_bytes(body[:-12])
    told = problem_with(f"a.{suffix}")
    assert told.startswith(f"a.{suffix} is a") and told.endswith("ends too early: get it again")
    middle = len(body) // 2
    (here / f"a.{suffix}").write_bytes(body[:middle] + bytes(40) + body[middle + 40 :])
    assert "get it again" in problem_with(f"a.{suffix}")


@every_packing
def test_a_bomb_is_refused_before_it_fills_the_memory(here: Path, suffix: str) -> None:
    (here / f"a.{suffix}").write_bytes(PACK[suffix](b"a" * (40 << 20)))
    tracemalloc.start()
    told = problem_with(f"a.{suffix}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "which is no text: unpack it yourself if it is meant" in told
    assert peak < 48 << 20


def test_zstandard_without_its_package_is_one_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "a.zst").write_bytes(zstandard.compress(TEXT.encode()))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    assert problem_with("a.zst") == (
        f"a.zst: it is a Zstandard file, which needs another package: {install_command('zstd')}"
    )


def test_a_zip_archive_is_its_files_in_the_order_of_their_names(here: Path) -> None:
    members = {"b_txt": b"two\n", "a__c_txt": b"one\n", "a___hidden": b"x", "x_bin": b"\0\1"}
    (here / "a.zip").write_bytes(zipped(**members))
    corpus = load_corpus("a.zip")
    assert documents(corpus) == [("a.zip/a/c.txt", "one\n"), ("a.zip/b.txt", "two\n")]
    assert documents(corpus) == documents(corpus)  # it can be read again
    assert corpus.name == "a.zip"


def test_an_archive_in_a_folder_is_part_of_it(here: Path) -> None:
    (here / "n").mkdir()
    (here / "n/a.zip").write_bytes(zipped(b_txt=b"two\n"))
    (here / "n/b.txt.gz").write_bytes(gzip.compress(b"three\n"))
    (here / "n/c.zip").write_bytes(b"PK\x03\x04 and nothing more")
    (here / "n/d.gz").write_bytes(gzip.compress(b"x")[:-3])
    corpus = load_corpus("n")
    assert documents(corpus) == [("a.zip/b.txt", "two\n"), ("b.txt.gz", "three\n")]
    assert corpus.told == ("n: left out: 1 damaged archive (c.zip), 1 packed and cut (d.gz)",)


@pytest.mark.parametrize("name", ["../a.txt", "/etc/a.txt", "a/../../b.txt", "..\\a.txt"])
def test_an_archive_that_leads_out_of_itself_is_refused(here: Path, name: str) -> None:
    with zipfile.ZipFile(here / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    told = problem_with("a.zip")
    assert told.startswith("a.zip has a member") and "which leads out of the archive" in told
    assert [one.name for one in here.iterdir()] == ["a.zip"]


def test_links_in_an_archive_are_left_out(here: Path) -> None:
    with zipfile.ZipFile(here / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("b.txt", "two")
    assert documents(load_corpus("a.zip")) == [("a.zip/b.txt", "two")]


def test_an_encrypted_archive_is_refused(here: Path) -> None:
    body = bytearray(zipped(a_txt=b"secret"))
    body[6] |= 1
    body[body.index(b"PK\x01\x02") + 8] |= 1
    (here / "a.zip").write_bytes(bytes(body))
    assert problem_with("a.zip") == "a.zip is encrypted: unpack it with its password"


def test_a_bomb_in_an_archive_is_refused(here: Path) -> None:
    (here / "a.zip").write_bytes(zipped(a_txt=b"a" * (17 << 20), b_txt=b"fine"))
    corpus = load_corpus("a.zip")
    assert documents(corpus) == [("a.zip/b.txt", "fine")]
    assert corpus.told == ("a.zip: left out: 1 packed, and unpack to far too much (a.zip/a.txt)",)


def test_a_damaged_member_is_left_out_and_a_cut_archive_refused(here: Path) -> None:
    body = zipped(a_txt=TEXT.encode(), b_txt=b"fine")
    (here / "a.zip").write_bytes(body[:45] + b"????" + body[49:])
    assert documents(load_corpus("a.zip")) == [("a.zip/b.txt", "fine")]
    (here / "a.zip").write_bytes(body[:-30])
    assert problem_with("a.zip").startswith("a.zip is a ZIP archive that is damaged (")


def test_an_archive_that_changes_is_refused(here: Path) -> None:
    (here / "a.zip").write_bytes(zipped(a_txt=b"one", b_txt=b"two"))
    corpus = load_corpus("a.zip")
    (here / "a.zip").write_bytes(zipped(a_txt=b"other", b_txt=b"two"))
    with pytest.raises(InputError, match=r"a\.zip has changed while it was read: try again"):
        corpus.text  # noqa: B018
