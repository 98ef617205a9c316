"""What is said survives the journey to another process."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from engine.protocol import (
    Adjust,
    Command,
    Event,
    Message,
    Pause,
    PruningRule,
    Refused,
    State,
    StateChanged,
    Status,
    from_dict,
)

EXAMPLES: dict[str, Any] = {
    "str": "text ☃ \n",
    "int": 7,
    "float": 1.25,
    "bool": True,
    "State": State.PAUSED,
    "str | None": None,
    "int | None": 3,
    "dict[str, Any]": {"optim.learning_rate": 0.1, "nested": {"list": [1, None, "x"]}},
    "dict[str, list[Any]]": {"model.dropout": [0.0, 0.2]},
    "list[str]": ["plateau", "spike"],
    "PruningRule | None": PruningRule(3, 0, ("/runs/one", "/runs/two")),
}
KINDS = [*Command.__subclasses__(), *Event.__subclasses__()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_message_comes_back_from_json_as_it_was(kind: type[Message]) -> None:
    fields = {field.name: EXAMPLES[str(field.type)] for field in dataclasses.fields(kind)}
    message = kind(**fields)
    again = from_dict(json.loads(json.dumps(message.to_dict())))
    assert again == message
    assert type(again) is kind


def test_a_state_comes_back_as_a_state() -> None:
    again = from_dict(json.loads(json.dumps(StateChanged(State.RUNNING, 3).to_dict())))
    assert isinstance(again, StateChanged)
    assert again.state is State.RUNNING


@pytest.mark.parametrize("kind", [*KINDS, Status], ids=lambda kind: kind.__name__)
def test_what_is_said_cannot_be_changed(kind: type[Any]) -> None:
    fields = {field.name: None for field in dataclasses.fields(kind)}
    message = kind(**fields)
    for name in fields:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(message, name, 1)


@pytest.mark.parametrize(
    "values",
    [{}, {"type": "Nonsense"}, {"type": "Message"}, {"type": "Adjust"}, {"type": "Pause", "a": 1}],
)
def test_what_is_no_message_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"no such message|not a"):
        from_dict(values)


def test_commands_carry_what_they_were_given() -> None:
    command = Adjust({"a.b": 1}, request_id=3)
    assert command.to_dict() == {"type": "Adjust", "request_id": 3, "changes": {"a.b": 1}}


def test_a_refusal_names_the_command_and_carries_its_request() -> None:
    assert Pause(request_id=7).refused("why") == Refused("Pause", "why", request_id=7)
    adjust = Adjust({"a.b": 1}, request_id=8)
    assert adjust.refused("why") == Refused("Adjust", "why", {"a.b": 1}, request_id=8)


def test_time_left_is_that_of_the_steps_left_at_the_present_speed() -> None:
    status = Status(step=10, total_steps=30, tokens_per_step=100, tokens_per_second=50.0)
    assert status.seconds_left == 40.0
    assert Status(total_steps=30, tokens_per_step=100).seconds_left is None


def test_time_left_counts_steps_as_they_are_now_and_not_as_they_were() -> None:
    status = Status(
        step=1000, total_steps=2000, tokens=1000 * 12, tokens_per_step=240, tokens_per_second=480.0
    )
    assert status.seconds_left == 1000 * 240 / 480
