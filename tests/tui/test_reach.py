"""What the timeline says of steps that it cannot give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tui.screens.kept_steps import KeptSteps

REACH = KeptSteps(
    "gpt-tui fork /r/fast-1", parent="", first=0, now=300, left=0, kept=(100, 150, 1250)
)
FORK = replace(REACH, fork="gpt-tui fork child", parent="fast-1", first=200, kept=(200,))


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
    assert back.why_not(action, 350).endswith(": gpt-tui fork /r/fast-1 --at 349 continues it")
    last = replace(REACH, left=301).why_not(action, 301)
    assert last == "step 301 is on the faint line, which the run has left"
