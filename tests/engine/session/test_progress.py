"""How far something is: said often enough, and no oftener."""

from __future__ import annotations

from engine.session.outlet import now_and_then


def test_the_first_line_comes_at_once_and_then_one_a_second() -> None:
    said: list[str] = []
    times = iter([0.0, 0.4, 0.9, 1.1, 1.9, 2.2])
    report = now_and_then(said.append, lambda: next(times))
    for step in range(6):
        report(f"going back: step {step}")
    assert said == [f"going back: step {step}" for step in (0, 3, 5)]


def test_a_line_on_something_else_is_never_dropped() -> None:
    said: list[str] = []
    report = now_and_then(said.append, lambda: 0.0)
    lines = ["reading a: 1 MB", "reading a: 2 MB", "a cannot be cached", "tokenizing a: 1 MB"]
    for line in lines:
        report(line)
    assert said == [lines[0], *lines[2:]]
