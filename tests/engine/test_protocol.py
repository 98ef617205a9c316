"""Commands and events."""

from __future__ import annotations

from typing import Any

import pytest

from engine.protocol import (
    Command,
    Event,
    Pause,
    Refused,
    Status,
)

KINDS = [*Command.__subclasses__(), *Event.__subclasses__()]


@pytest.mark.parametrize("kind", [*KINDS, Status], ids=lambda kind: kind.__name__)
def test_what_is_said_cannot_be_changed(kind: type[Any]) -> None:
    names = kind.__annotations__ if kind is Status else kind.__struct_fields__
    message = kind(**dict.fromkeys(names))
    for name in names:
        with pytest.raises(AttributeError):
            setattr(message, name, 1)


def test_a_refusal_names_the_command_and_carries_its_request() -> None:
    assert Pause(request_id=7).refused("why") == Refused("Pause", "why", request_id=7)


def test_time_left_is_that_of_the_steps_left_at_the_present_speed() -> None:
    status = Status(step=10, total_steps=30, tokens_per_step=100, tokens_per_second=50.0)
    assert status.seconds_left == 40.0
    assert Status(total_steps=30, tokens_per_step=100).seconds_left is None


def test_time_left_counts_steps_as_they_are_now_and_not_as_they_were() -> None:
    status = Status(
        step=1000, total_steps=2000, tokens=1000 * 12, tokens_per_step=240, tokens_per_second=480.0
    )
    assert status.seconds_left == 1000 * 240 / 480
