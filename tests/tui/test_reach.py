"""What the timeline says of steps that it cannot give."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tui.control.remap import USUAL
from tui.screens.kept_steps import KeptSteps, Way
from tui.text.notices import fork_command

REACH = KeptSteps(
    lambda step: fork_command(Path("/r/fast-1"), step, 350),
    USUAL.first,
    parent="",
    first=0,
    now=300,
    left=0,
    kept=(100, 150, 1250),
    full=(100, 150),
)
FORK = replace(REACH, parent="fast-1", first=200, kept=(200,), full=(200,))


@pytest.mark.parametrize(
    ("step", "near"),
    [(50, (100,)), (100, (150,)), (120, (100, 150)), (150, (100, 1250)), (2000, (1250,))],
)
def test_the_nearest_weights_lie_before_and_after(step: int, near: tuple[int, ...]) -> None:
    assert REACH.nearest(step) == near


def test_in_a_few_words_where_weights_are() -> None:
    assert REACH.weights(120) == "no weights; kept at 100 and 150"
    assert REACH.weights(1000) == "no weights; kept at 150 and 1,250"
    assert REACH.weights(50) == "no weights; kept at 100"
    assert REACH.weights(300) == "", "those of now are in memory"
    assert replace(REACH, kept=()).weights(50) == "no weights are kept"
    assert FORK.weights(120) == "of fast-1"


@pytest.mark.parametrize("action", ["sample", "pin"])
def test_without_weights_there_are_keys_to_where_they_are(action: str) -> None:
    why = "the weights of step {} are not kept"
    assert REACH.why_not(action, 50) == (why.format(50) + ", but those of step 100 (key .) are")
    assert REACH.why_not(action, 120) == (
        why.format(120) + ", but those of step 100 (key ,) and step 150 (key .) are"
    )
    assert REACH.why_not(action, 2000) == (
        why.format("2,000") + ", but those of step 1,250 (key ,) are"
    )
    assert replace(REACH, kept=()).why_not(action, 50) == (
        why.format(50) + ", nor are others of this run"
    )


@pytest.mark.parametrize("action", ["rewind", "fork", "sample", "pin"])
def test_what_a_fork_inherits_is_its_parents(action: str) -> None:
    assert FORK.why_not(action, 199) == (
        "step 199 is of fast-1, from which this run was forked at step 200: fast-1's own timeline "
        "has it"
    )


def test_where_the_run_is_there_is_nothing_to_go_back_to() -> None:
    assert REACH.why_not("rewind", 300).startswith("the run is at step 300")


def test_the_cursor_goes_as_far_as_the_run_ever_came() -> None:
    back = replace(REACH, left=350)
    assert [back.why_not_at(step) for step in (300, 320, 350)] == ["", "", ""]
    assert back.why_not_at(351) == "the run is at step 300, and has no step 351 yet"


@pytest.mark.parametrize("action", ["rewind", "fork", "sample", "pin"])
def test_what_the_run_has_left_is_taken_up_by_a_command(action: str) -> None:
    back = replace(REACH, left=350)
    assert back.why_not(action, 320).endswith(": gpt-tui fork /r/fast-1 --at 320 continues it")
    at_the_end = "gpt-tui fork /r/fast-1 --at 350 --set train.max_steps=700"
    assert back.why_not(action, 350).endswith(f": {at_the_end} continues it")


@pytest.mark.parametrize(
    ("reach", "step", "start"),
    [(REACH, 99, 0), (REACH, 100, 100), (REACH, 149, 100), (REACH, 299, 150), (FORK, 250, 200)],
)
def test_training_goes_on_from_the_full_checkpoint_before(
    reach: KeptSteps, step: int, start: int
) -> None:
    assert reach.start_of(step) == start


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (Way(200, 200, 0.0), ""),
        (Way(200, 199, 0.4), "step 200 is trained again, about 1 second"),
        (Way(400, 250, 95.0), "steps 251 to 400 are trained again, about 2 minutes"),
        (Way(1400, 1250), "steps 1,251 to 1,400 are trained again"),
    ],
)
def test_what_it_takes_to_go_to_a_step_is_told(way: Way, words: str) -> None:
    assert str(way) == words


@pytest.mark.parametrize(
    ("way", "words"),
    [
        (Way(200, 200, weights_only=True), ""),
        (Way(200, 100), ""),
        (Way(200, 100, weights_only=True), "Of the checkpoint of step 200 only the weights"),
    ],
)
def test_why_a_step_with_a_checkpoint_is_trained_for_again_is_told(way: Way, words: str) -> None:
    assert way.why.startswith(words) and bool(way.why) == bool(words)
