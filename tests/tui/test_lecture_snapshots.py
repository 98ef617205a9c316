"""What the lecture looks like, with some models trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.protocol import Status
from engine.runs.catalogue import Catalogue
from engine.runs.summary import RunSummary
from tests.tui.test_lecture import a_run
from tests.tui.test_snapshots import SIZES, Snap, StillApp, still
from tui.screens.lecture import LectureScreen

__all__ = ["still"]  # a fixture


@pytest.fixture(autouse=True)
def some_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [a_run("bigram-1", 2.487), a_run("self-attention-1", 2.431)]

    def read(self: Catalogue) -> list[RunSummary]:
        return runs

    monkeypatch.setattr(Catalogue, "read", read)
    monkeypatch.setattr("tui.screens.lecture.REFRESH_SECONDS", 3600)


@pytest.mark.parametrize(
    ("size", "keys"),
    [("80x24", ()), ("120x40", ()), ("120x40", ("2",)), ("200x50", ())],
    ids=["80x24", "120x40", "120x40-code", "200x50"],
)
def test_the_lecture(snap_compare: Snap, size: str, keys: tuple[str, ...]) -> None:
    async def prepare(pilot: Pilot[int]) -> None:
        await pilot.pause()
        await pilot.app.push_screen(LectureScreen(pilot.app.control))  # type: ignore[attr-defined]
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()

    sizes = {**SIZES, "200x50": (200, 50)}
    app = StillApp(Status())
    assert app.control.launch.runs_dir == Path("/home/you/runs")
    assert snap_compare(app, terminal_size=sizes[size], run_before=prepare)
