"""What the timeline looks like, over a recorded run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.runs import timeline
from engine.runs.records import StoredSample
from engine.runs.timeline import Moment
from tests.tui.test_snapshots import PAUSED, SIZES, TEXT, Snap, StillApp, after, still

__all__ = ["still"]  # a fixture

SAMPLE = StoredSample(id=1, branch=0, step=0, val_loss=None, settings={}, text=TEXT)
MOMENTS = [
    Moment(step, 1.97 + 2.2 * 0.4 ** (step / 250), kept, (SAMPLE,))
    for step, kept in ((250, "light"), (500, "light"), (750, "light"), (1000, "full"), (1250, ""))
]


@pytest.fixture(autouse=True)
def moments(monkeypatch: pytest.MonkeyPatch) -> None:
    def recorded(run: Path, branch: int) -> list[Moment]:
        return MOMENTS

    monkeypatch.setattr(timeline, "read_moments", recorded)
    monkeypatch.setattr("tui.screens.timeline.REFRESH_SECONDS", 3600)


@pytest.mark.parametrize("size", [*SIZES, "200x50"])
def test_the_timeline_at_a_moment(snap_compare: Snap, size: str) -> None:
    sizes = {**SIZES, "200x50": (200, 50)}
    app = StillApp(PAUSED)
    assert snap_compare(app, terminal_size=sizes[size], run_before=moved("left", "left"))


def test_typing_a_step_and_being_between_two_moments(snap_compare: Snap) -> None:
    keys = moved("g", *"613", "enter", "g", *"4")
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=keys)


def test_forking_from_a_moment(snap_compare: Snap) -> None:
    keys = moved("left", "f")
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=keys)


def moved(*keys: str) -> Callable[..., object]:
    """The timeline, and some keys once its moments are there."""

    async def press(pilot: object) -> None:
        from textual.pilot import Pilot

        assert isinstance(pilot, Pilot)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        await pilot.pause()

    return after("b", then=press)
