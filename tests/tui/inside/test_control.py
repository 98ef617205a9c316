"""What the screen of a model's inside asks for, and which answers it keeps."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from engine.protocol import Command, Inspect, Inspected
from tui.control.inside import Inside

TOKENS = tuple("KING: so")


class Engine:
    """Takes questions, which a test answers when it wants to."""

    def __init__(self) -> None:
        self.questions: dict[int, Inspect] = {}
        self.inside = Inside(self.send)

    def send(self, command: Command) -> int:
        assert isinstance(command, Inspect)
        number = len(self.questions) + 1
        self.questions[number] = command
        return number

    @property
    def open(self) -> list[str]:
        """The views that are asked for and not answered."""
        return sorted(self.inside.main.asked.values())

    def answer(self, view: str, step: int, share: float = 1.0) -> None:
        """Answer the newest question for a view."""
        number = max(one for one, name in self.inside.main.asked.items() if name == view)
        options = self.questions[number].options
        asked = {name: options.get(name, 0) for name in ("query", "key")}
        found = SimpleNamespace(**asked)
        ids = tuple(range(len(TOKENS)))
        event = Inspected(view, step, ids, TOKENS, 0, found, share, request_id=number)
        assert self.inside.take(event)

    def step_of(self, view: str) -> int | None:
        answer = self.inside.main.answers.get(view)
        return answer.step if answer else None


@pytest.fixture
def engine() -> Engine:
    return Engine()


def test_what_was_measured_while_training_went_on_is_measured_again(engine: Engine) -> None:
    engine.inside.show("layers")
    engine.answer("layers", 700)
    engine.inside.follow()  # the map of step 700 is still being measured
    engine.answer("layers", 800)
    engine.answer("worth", 700)
    assert engine.step_of("worth") == 700  # the screen tells the step
    assert engine.open == ["worth"]
    engine.answer("worth", 805)
    assert engine.open == []  # newer than what is shown is new enough


def test_a_whole_answer_stays_until_the_next_is_whole(engine: Engine) -> None:
    engine.inside.show("layers")
    engine.answer("layers", 700)
    engine.answer("worth", 700, share=0.5)
    assert engine.step_of("worth") == 700  # as far as it is known, at first
    engine.answer("worth", 700)
    engine.inside.follow()
    engine.answer("layers", 800)
    engine.answer("worth", 800, share=0.5)
    assert engine.step_of("worth") == 700
    engine.answer("worth", 800)
    assert engine.step_of("worth") == 800


def test_what_arrives_late_is_asked_for_again_when_its_view_is_shown(engine: Engine) -> None:
    engine.inside.show("layers")
    engine.answer("layers", 50)
    engine.inside.show("surprise")
    for view in ("surprise", "positions", "moments"):
        engine.answer(view, 450)
    engine.answer("worth", 50)
    engine.inside.show("layers")
    engine.inside.follow()
    engine.answer("layers", 460)
    assert "worth" in engine.open


def test_after_going_back_nothing_of_later_steps_is_shown(engine: Engine) -> None:
    engine.inside.show("layers")
    engine.answer("layers", 700)
    engine.answer("worth", 700)
    engine.inside.follow()
    engine.answer("layers", 300)
    assert engine.step_of("worth") is None and engine.open == ["worth"]


@pytest.mark.parametrize("change", ["follow", "moment", "text"])
def test_a_head_step_by_step_is_computed_again(engine: Engine, change: str) -> None:
    engine.inside.ask()
    engine.answer("attention", 10)
    engine.answer("heads", 10)
    engine.inside.in_steps = True
    engine.inside.ask_for("steps")
    engine.answer("steps", 10)
    if change == "follow":
        engine.inside.follow()
    elif change == "moment":
        engine.inside.go_to(5)
    else:
        engine.inside.look_at("KING: so")
    assert "steps" in engine.open
    engine.answer("attention", 20)  # the cursor is at the end of the text now
    engine.answer("steps", 20)
    while "steps" in engine.open:
        engine.answer("steps", 20)
    assert engine.inside.main.answers["steps"].found.query == engine.inside.position == 7


@pytest.mark.parametrize("text", [None, "KING: so"])
def test_the_text_is_whole_again_after_the_last_token_is_taken_back(
    engine: Engine, text: str | None
) -> None:
    inside = engine.inside
    inside.show("prediction")
    inside.look_at(text)
    engine.answer("prediction", 10)
    inside.move(-4)
    inside.take_token(2, inside.position)
    engine.answer("prediction", 10)
    inside.take_token(3, len(TOKENS) - 1)
    assert inside.text == "KING" and inside.typed == [2, 3]
    inside.take_token_back()
    inside.take_token_back()
    assert (inside.text, inside.position, inside.at_end) == (text, 3, False)
