"""Recognise, by their first bytes, files that are no plain text or that hold more than a text."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import dataclass

from data.paths import quoted_path

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
TAR_SUFFIXES = (".tar", ".tgz", ".tbz2", ".txz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
ROWS = 50  # of a table that are looked at
MOST_BYTES = 1 << 16  # of a text that are looked at


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        called: With its article, as in "it is a gzip file".
        unpack: A program that reads it from a pipe and writes what is packed in it.
        way_out: What else to do.
    """

    called: str
    unpack: str = ""
    way_out: str = "give a plain text file"


DOCUMENT = "save its text as a plain text file in UTF-8, and give that one"
TABLE = "write its column of texts to a plain text file, and give that one"
ZIP = Kind("a ZIP archive")
MAGIC = (  # patterns, none of which a text begins with
    (rb"\x1f\x8b", Kind("a gzip file", "gzip -dc")),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", Kind("a bzip2 file", "bzip2 -dc")),
    (rb"\xfd7zXZ\0", Kind("an xz file", "xz -dc")),
    (rb"\x28\xb5\x2f\xfd", Kind("a Zstandard file", "zstd -dc")),
    (rb"\x04\x22\x4d\x18", Kind("an LZ4 file", "lz4 -dc")),
    (rb"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", way_out="unpack it, and give its text")),
    (rb"Rar!\x1a\x07", Kind("a RAR archive", way_out="unpack it, and give its text")),
    (rb"PK\x03\x04", ZIP),
    (rb"%PDF-", Kind("a PDF document", way_out=DOCUMENT)),
    (rb"\{\\rtf", Kind("an RTF document", way_out=DOCUMENT)),
    (re.escape(OLE), Kind("an old Office document (.doc, .xls)", way_out=DOCUMENT)),
    (rb"PAR1[^ -~]", Kind("a Parquet file", way_out=TABLE)),
    (rb"ARROW1\0", Kind("an Arrow file", way_out=TABLE)),
    (rb"Obj\x01", Kind("an Avro file", way_out=TABLE)),
    (rb"SQLite format 3\0", Kind("an SQLite database", way_out=TABLE)),
    (rb"\x89HDF\r\n\x1a\n", Kind("an HDF5 file", way_out=TABLE)),
    (rb"\x93NUMPY", Kind("a NumPy array")),
    (rb"\x89PNG\r\n\x1a\n", Kind("a PNG image")),
    (rb"\xff\xd8\xff", Kind("a JPEG image")),
    (rb"GIF8[79]a", Kind("a GIF image")),
    (rb"II\*\0", Kind("a TIFF image")),
    (rb"MM\0\*", Kind("a TIFF image")),
    (rb"OggS\0", Kind("an Ogg recording")),
    (rb"ID3[\x02-\x04]", Kind("an MP3 recording")),
    (rb"fLaC\0", Kind("a FLAC recording")),
    (rb"\x7fELF", Kind("a program")),
    (rb"\xcf\xfa\xed\xfe", Kind("a program")),
)
ANY_MAGIC = b"|".join(magic for magic, _ in MAGIC)
IN_ZIP = (  # a name that its list begins with, or nearly so
    (b"mimetypeapplication/epub+zip", Kind("an EPUB book", way_out=DOCUMENT)),
    (b"mimetypeapplication/vnd.oasis", Kind("an OpenDocument file", way_out=DOCUMENT)),
    (b"word/", Kind("a Word document (.docx)", way_out=DOCUMENT)),
    (b"xl/", Kind("an Excel workbook (.xlsx)", way_out=TABLE)),
    (b"ppt/", Kind("a PowerPoint file (.pptx)", way_out=DOCUMENT)),
    (b"[Content_Types].xml", Kind("an Office document", way_out=DOCUMENT)),
    (b"/data.pkl", Kind("a file of PyTorch")),
)


def kind_of(head: bytes) -> Kind | None:
    """Return what a file is if that is not a plain text; None if it may be one."""
    if head[257:262] == b"ustar":
        return Kind("a tar archive")
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"WAVE", b"AVI "):
        return Kind("a WebP image" if head[8:12] == b"WEBP" else "a recording or a film (RIFF)")
    if head[:3] == b"\0\0\0" and head[4:8] == b"ftyp":
        return Kind("a recording or a film (MP4)")
    if not re.match(ANY_MAGIC, head):
        return None
    found = next((kind for magic, kind in MAGIC if re.match(magic, head)), None)
    if found and head.startswith(b"PK"):
        return next((kind for name, kind in IN_ZIP if name in head), found)
    return found


def way_out(kind: Kind, spec: str, new: str) -> str:
    """Return what to do with such a file; a command works as it is typed.

    Args:
        spec: The file, as it was named.
        new: The name of a file that does not exist.
    """
    name, folder = quoted_path(spec), quoted_path(new.removesuffix(".txt"))
    if kind == ZIP:
        python = f"{quoted_path(sys.executable)} -m zipfile -e"
        unzip = f"unzip -d {folder} {name}"
        return f"unpack it: {unzip if shutil.which('unzip') else f'{python} {name} {folder}'}"
    if kind.called == "a tar archive" or (kind.unpack and spec.lower().endswith(TAR_SUFFIXES)):
        return f"unpack it: mkdir {folder} && tar -xf {name} -C {folder}"
    if not kind.unpack:
        return kind.way_out
    program = kind.unpack.split()[0]
    if not shutil.which(program):
        return f"unpack it with {program}"  # which is not installed here
    return f"unpack it: {kind.unpack} < {name} > {quoted_path(new)}"


def structure_of(head: str, name: str) -> str:
    """Return what a text consists of besides language, as in "it consists of …"; else empty.

    Args:
        head: Its beginning.
        name: Of the file. What its suffix says is believed sooner.
    """
    suffix = name.lower().rpartition(".")[2]
    head = head[:MOST_BYTES]
    start = head.lstrip()[:200].lower()
    if start.startswith(("<!doctype html", "<html")):
        return "HTML"
    if start.startswith("<?xml"):
        return "XML"
    lines = [line for line in head.splitlines() if line.strip()]
    if len(lines) > 1 and len(head) == MOST_BYTES:
        lines.pop()  # it may be cut
    lines = lines[:ROWS]
    if start[:1] in ("{", "["):
        if all(_is_json(line) for line in lines) and (len(lines) > 1 or suffix != "json"):
            return "JSON lines"
        if suffix in ("json", "ipynb") or _is_json(head):
            return "JSON"
    for mark, called in (("\t", "tab-separated values"), (",", "CSV"), (";", "CSV")):
        told = suffix == ("tsv" if mark == "\t" else "csv")
        if _is_table(lines, mark, least_rows=2 if told else 10, least_columns=2 if told else 3):
            return called
    return ""


def _is_json(text: str) -> bool:
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(text), dict | list)
    return False


def _is_table(lines: list[str], mark: str, least_rows: int, least_columns: int) -> bool:
    """Return whether all lines have as many columns; quoted ones may go over several lines."""
    if not lines or mark not in lines[0]:
        return False
    rows: list[list[str]] = []
    try:
        rows += csv.reader(lines, delimiter=mark, strict=True)
    except csv.Error as error:
        if "unexpected end" not in str(error):  # as where the last quoted one is cut
            return False
    columns = {len(row) for row in rows[:-1]}  # the last may be cut
    return len(rows) >= least_rows and len(columns) == 1 and min(columns) >= least_columns
