"""How far something is: said often enough, and no oftener."""

from __future__ import annotations

from engine.session.outlet import now_and_then


def test_the_first_line_comes_at_once_and_then_one_a_second() -> None:
    said: list[str] = []
    times = iter([0.0, 0.4, 0.9, 1.1, 1.9, 2.2])
    report = now_and_then(said.append, lambda: next(times))
    for step in range(6):
        report(f"step {step}")
    assert said == ["step 0", "step 3", "step 5"]
