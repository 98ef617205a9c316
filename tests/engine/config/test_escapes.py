"""Text of several lines, written on one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config.escapes import escape, unescape
from engine.config.schema import SETTINGS, Config


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ROMEO:\nI am", r"ROMEO:\nI am"),
        ("a\tb", r"a\tb"),
        ("\\n", r"\\n"),
        ("", ""),
    ],
)
def test_how_it_is_written(text: str, written: str) -> None:
    assert escape(text) == written
    assert unescape(written, "it") == text


@given(st.text("\\nt\n\tab", max_size=12))
def test_what_is_written_is_one_line_and_reads_back(text: str) -> None:
    assert "\n" not in escape(text)
    assert unescape(escape(text), "it") == text


def test_a_real_line_break_is_one_too() -> None:
    assert unescape("a\nb", "it") == "a\nb"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (r"\q", r"it has a backslash before 'q': \n is a new line, \t a tab and \\ a backslash"),
        ("a\\", r"it ends in a single backslash: \n is a new line, \t a tab and \\ a backslash"),
    ],
)
def test_any_other_backslash_is_refused(written: str, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:
        unescape(written, "it")
    assert str(caught.value) == sentence


def test_only_what_is_typed_is_read_so() -> None:
    prompt = SETTINGS["sample.prompt"]
    assert prompt.parse(r"a\nb") == "a\nb"
    assert prompt.format("a\nb") == r"a\nb"
    assert Config().replace({"sample.prompt": r"a\nb"}).sample.prompt == r"a\nb"  # as in a file
