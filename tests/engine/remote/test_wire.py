"""Every command and event comes through a line of JSON as it was."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import Mark
from engine.protocol import (
    Command,
    Evaluated,
    Event,
    RunOpened,
    State,
    StateChanged,
    Status,
    TokenOdds,
)
from engine.protocol import SampleText as Text
from engine.remote.wire import (
    EVENTS,
    Hello,
    Marks,
    Rows,
    Update,
    encode,
    from_client,
    from_engine,
    rows_from_bytes,
    rows_to_bytes,
)

COMMANDS = Command.__subclasses__()


def example(kind: type[Any]) -> Any:
    """A message with a value in every field that must have one."""
    names: dict[str, Any] = {
        "int": 3, "str": "a\u2028b\n", "float": 0.5, "bool": True, "State": State.PAUSED,
        "dict[str, Any]": {"optim.learning_rate": 0.1, "deep": {"list": [1, None]}},
        "dict[str, list[Any]]": {"a": [1, "2"]}, "list[str]": ["a"],
        "tuple[int, ...]": (1, 2), "tuple[str, ...]": ("a",), "Any": {(0, 1): (1.5, "a")},
    }  # fmt: skip
    needed = [one for one in msgspec.structs.fields(kind) if one.required]
    told = {one.name: kind.__annotations__[one.name] for one in needed}
    return kind(**{name: names[hint] for name, hint in told.items()}, request_id=7)


@pytest.mark.parametrize("kind", COMMANDS, ids=lambda kind: kind.__name__)
def test_a_command_arrives_as_it_was_sent(kind: type[Command]) -> None:
    line = encode(example(kind))
    assert line.count(b"\n") == 1
    assert from_client(line) == example(kind)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_arrives_as_it_was_told(kind: type[Event]) -> None:
    assert from_engine(encode(example(kind))) == example(kind)


def test_what_a_text_and_a_status_consist_of_arrives_in_its_own_types() -> None:
    odds = TokenOdds(1, 0.25, 2, (("a", 0.5), ("b", 0.25)))
    assert from_engine(encode(Text(1, "a", (odds,)))) == Text(1, "a", (odds,))
    status = Status(State.RUNNING, step=7, train_loss=None, best_val_loss=1.5)
    told = from_engine(encode(Update(status)))
    assert isinstance(told, Update) and told.status == status


def test_numbers_that_json_lacks_arrive() -> None:
    told = from_engine(encode(Evaluated(1, math.nan, "whole split", best=False)))
    assert isinstance(told, Evaluated) and math.isnan(told.val_loss)
    marks = Marks([Mark(1, "a")], [Mark(2, "b", "best", 1.5)], [], {"ln V": 4.2})
    update = from_engine(encode(Update(Status(), [], marks)))
    assert isinstance(update, Update) and update.marks
    assert math.isnan(update.marks.marks[0].value)
    assert update.marks.events == marks.events


def test_a_path_that_is_not_utf8_arrives() -> None:
    opened = RunOpened("/runs/\udce9", {"a": 1.5}, {}, "", "", 1, 2, 3, 0, request_id=7)
    assert from_engine(encode(opened)) == opened
    assert encode(opened).count(b"\n") == 1


@given(st.lists(st.integers(0, 50), unique=True, max_size=20).map(sorted), st.integers(0, 2**40))
def test_a_curve_arrives_and_without_gaps_in_half_the_bytes(gaps: list[int], first: int) -> None:
    steps = np.array(gaps, np.int64) + first
    values = np.linspace(-1, 1, len(steps))
    sent = rows_to_bytes(steps, values)
    got = rows_from_bytes(*sent)
    assert np.array_equal(got[0], steps) and np.array_equal(got[1], values)
    assert len(rows_to_bytes(np.arange(first, first + 99), np.zeros(99))[0]) == 8
    for told in ((b"", b"12345678"), (b"1" * 16, b"1" * 8), (b"1", b"1")):
        with pytest.raises(ValueError):
            rows_from_bytes(*told)


def test_rows_are_bytes_in_base64() -> None:
    rows = Rows("train_loss", 2, b"\0\xff", b"\1")
    assert json.loads(encode(Update(Status(), [rows])))["rows"][0]["steps"] == "AP8="
    told = from_engine(encode(Update(Status(), [rows])))
    assert isinstance(told, Update) and told.rows == [rows]


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"null\n", b"[]\n", b"{}\n", b"\xff\n", b'{"type": "Nothing"}\n',
        b'{"type": ["Pause"]}\n', b'{"type": "Pin"}\n', b'{"type": "Pin", "step": "x"}\n',
        b"[" * 5000 + b"\n", b'{"type": "StateChanged", "state": "running"}\n',
        b'{"type":"Adjust","changes":' + b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"}\n",
    ],
)  # fmt: skip
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError) as told:
        from_client(line)
    assert "\n" not in str(told.value)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(line: bytes) -> None:
    for read in (from_client, from_engine):
        try:
            read(line)
        except ValueError:
            continue


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(
        ["type", "marks", "status", "rows", "events", "bests", "step", "val_loss", "array", "map",
         "Lens", "tuple", "set"]), inner),
))  # fmt: skip
def test_no_json_does_more_than_be_refused(told: Any) -> None:
    body = json.dumps(told).encode(errors="replace")
    inspected = {"view": "", "step": 1, "ids": [], "tokens": [], "left_out": 0, "found": told}
    for name in ("Update", "Evaluated", "Hello", "Welcome", "Inspected"):
        line = json.dumps(inspected | {"type": name, "marks": told, "val_loss": told}).encode()
        for one in (body, line):
            try:
                from_engine(one)
            except ValueError:
                continue


def test_a_greeting_is_a_message_too() -> None:
    hello = Hello(1, "me", "watch")
    assert from_client(encode(hello)) == hello
    assert from_engine(encode(StateChanged(State.PAUSED, 3))) == StateChanged(State.PAUSED, 3)
