from __future__ import annotations

import pickle

from data.errors import InputError


def test_several_problems_are_told_together_one_a_line() -> None:
    error = InputError("There is no such file.", "The seed is negative.")
    assert error.problems == ["There is no such file.", "The seed is negative."]
    assert str(error) == "There is no such file.\nThe seed is negative."


def test_an_error_from_another_process_keeps_its_problems_apart() -> None:
    error = pickle.loads(pickle.dumps(InputError("one", "two")))
    assert error.problems == ["one", "two"]
