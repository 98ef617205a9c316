"""Files of other kinds, too large, or with content that no parser should be trusted with."""

from __future__ import annotations

import errno
import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from msgspec import Meta

from data.reading import convert, open_regular, parse_json, parse_toml, read_regular


def a_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(b"content")
    path.symlink_to(target)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


NOT_FILES = {
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
    "link": a_link,
    "socket": a_socket,
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_only_regular_files_are_opened_and_the_error_names_the_kind(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "file"
    NOT_FILES[kind](path)  # type: ignore[operator]
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
        with pytest.raises(OSError, match=f"it is a {kind}") as caught:
            open_regular(path, flags)
        assert caught.value.strerror


def test_a_device_is_refused_also_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="it is a link"):
        read_regular(path, 10)
    with pytest.raises(OSError, match="it is a device"):
        read_regular(path, 10, follow=True)


def test_a_link_is_followed_where_that_is_asked_for(tmp_path: Path) -> None:
    a_link(tmp_path / "file")
    assert read_regular(tmp_path / "file", 10, follow=True) == b"content"


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2048))
    assert len(read_regular(path, 2048)) == 2048
    with pytest.raises(OSError, match="it is larger than 1 kB") as caught:
        read_regular(path, 2047)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("name", ["x" * 256, "a\0b"])
def test_a_path_that_cannot_exist_is_an_oserror(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError):
        read_regular(tmp_path / name, 10)


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b'"\\ud800"', b"\xff", b"", b'{"a"', b"\0"],
)
def test_what_is_not_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_json(body)


@pytest.mark.parametrize(
    "body",
    [
        b"a = " + b"[" * 100_000,
        b"a = " + b"{a = " * 20_000,
        b"[" + b".".join([b"a"] * 20_000) + b"]",
        b".".join([b"a"] * 20_000) + b" = 1",
        b"a = " + b"1" * 10_000,
        b'a = "\\ud800"',
        b"\xff",
    ],
)
def test_what_is_not_toml_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):
        parse_toml(body)


def test_toml_may_begin_with_a_byte_order_mark() -> None:
    assert parse_toml("\ufeffa = 'é'\r\n".encode()) == {"a": "é"}


@dataclass(frozen=True)
class Row:
    step: Annotated[int, Meta(ge=0, le=10**9)]
    seconds: Annotated[float, Meta(ge=0, le=1e12)] = 0.0
    names: tuple[str, ...] = ()
    loss: float | None = None


def test_values_are_converted_to_a_dataclass_and_unknown_keys_left_out() -> None:
    values = {"step": 3, "seconds": 2, "names": ["a"], "loss": math.inf, "new": [1]}
    assert convert(values, Row, "row") == Row(3, 2.0, ("a",), math.inf)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "row: object missing required field step"),
        ({"step": "3"}, "row.step: expected int, got str"),
        ({"step": True}, "row.step: expected int, got bool"),
        ({"step": 10**30}, "row.step: expected int <= 1000000000"),
        ({"step": -1}, "row.step: expected int >= 0"),
        ({"step": 1, "seconds": math.nan}, "row.seconds: expected float >= 0.0"),
        ({"step": 1, "seconds": 1e300}, "row.seconds: expected float <= 1000000000000.0"),
        ({"step": 1, "names": ["a", 1]}, "row.names[1]: expected str, got int"),
        ([], "row: expected object, got array"),
        (None, "row: expected object, got null"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(values: object, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        convert(values, Row, "row")
    assert str(caught.value) == told
