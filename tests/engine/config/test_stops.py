"""Stop strings: how they are written, and that none of them is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import InputError
from engine.config.escapes import parse_stops
from engine.config.schema import Config, SampleConfig
from engine.sampling.generate import StopScan


@pytest.mark.parametrize(
    ("written", "stops"),
    [
        ("", ()),
        ("END", ("END",)),
        (r"\n\n", ("\n\n",)),
        (r"ROMEO:|\n\n|\t", ("ROMEO:", "\n\n", "\t")),
        (r"a\|b|\\", ("a|b", "\\")),
        (" ", (" ",)),
    ],
)
def test_how_stop_strings_are_written(written: str, stops: tuple[str, ...]) -> None:
    assert parse_stops(written) == stops
    assert SampleConfig(stop=written).stops == stops


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        (
            "a||b",
            r"sample.stop has no text on one side of a bar: remove the bar, or write \| to "
            "stop at a bar",
        ),
        (
            "a|",
            r"sample.stop has no text on one side of a bar: remove the bar, or write \| to "
            "stop at a bar",
        ),
        (
            r"\q",
            r"sample.stop has a backslash before 'q': \n is a new line, \t a tab, \| a bar and "
            r"\\ a backslash",
        ),
        (
            "a\\",
            r"sample.stop ends in a single backslash: \n is a new line, \t a tab, \| a bar and "
            r"\\ a backslash",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_rest(written: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        Config().replace({"sample.stop": written, "sample.top_p": 0})
    assert list(caught.value.problems) == [
        "sample.top_p must be above 0, at most 1, not 0",
        sentence,
    ]


LETTERS = st.text("ab\n", max_size=12)


@given(text=LETTERS, stops=st.lists(LETTERS.filter(bool), max_size=3), data=st.data())
def test_a_text_ends_before_the_stop_string_that_is_whole_first_however_it_comes(
    text: str, stops: list[str], data: st.DataObject
) -> None:
    scan, shown, rest = StopScan(stops), "", text
    while rest and scan.found is None:
        size = data.draw(st.integers(1, len(rest)))
        shown += scan.feed(rest[:size])
        assert not any(stop in shown for stop in stops)
        rest = rest[size:]
    whole = [(text.find(stop) + len(stop), text.find(stop)) for stop in stops if stop in text]
    if scan.found is None:
        assert not whole
        assert shown + scan.rest() == text
    else:
        end, start = min(whole)
        assert (shown, scan.found) == (text[:start], text[start:end])


def test_only_what_may_become_a_stop_string_is_held_back() -> None:
    scan = StopScan(["\n\n"])
    assert [scan.feed(letter) for letter in "a\nb\n\n"] == ["a", "", "\nb", "", ""]
    assert (scan.found, scan.rest()) == ("\n\n", "")
