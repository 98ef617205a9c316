from __future__ import annotations

import pickle

import pytest

from data.errors import InputError, suggest


def test_several_problems_are_told_together_one_a_line() -> None:
    error = InputError("There is no such file.", "The seed is negative.")
    assert error.problems == ["There is no such file.", "The seed is negative."]
    assert str(error) == "There is no such file.\nThe seed is negative."


def test_an_error_from_another_process_keeps_its_problems_apart() -> None:
    error = pickle.loads(pickle.dumps(InputError("one", "two")))
    assert error.problems == ["one", "two"]


@pytest.mark.parametrize("typed", ["tinny", "Tiny", "TINNY"])
def test_the_name_that_was_meant_is_suggested_in_either_case(typed: str) -> None:
    assert suggest(typed, ("Tiny", "fast")) == "did you mean 'Tiny'?"


def test_without_a_name_that_is_like_it_all_are_named_or_what_is_asked_for() -> None:
    assert suggest("x" * 10**6, ("tiny", "fast")) == "there are tiny, fast"
    assert suggest("zzz", ("tiny",), "a command lists them") == "a command lists them"
