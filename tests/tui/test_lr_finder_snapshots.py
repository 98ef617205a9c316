"""What the learning-rate finder looks like, over a recorded curve."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from textual.pilot import Pilot

from engine.metrics import MetricStore
from engine.protocol import Event, LearningRateFinderPrepared, LearningRateFound, Status
from tests.tui.test_snapshots import Prepare, Snap, StillApp, still
from tui.screens.lr_finder import LRFinderScreen

__all__ = ["still"]  # a fixture

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
MACHINE = {"device": "cpu", "precision": "fp32", "threads": 1}
PREPARED = LearningRateFinderPrepared("measuring what is fastest here (2 of 4)", request_id=1)
BEGUN = LearningRateFinderPrepared("", MACHINE, request_id=1)
WHY = (
    "by this rate the loss had made 60% of its fall; it was lowest at 0.046, which a whole "
    "training would hardly bear"
)
SUGGESTED = LearningRateFound(
    WHY,
    {"optim.learning_rate": 0.0043, "optim.muon_lr": 0.0086, "optim.min_lr": 0.00043},
    request_id=1,
)
NOTHING = LearningRateFound(
    "no suggestion: the loss went up without having fallen by 5%: start the test from a lower "
    "rate than 1e-6, or let it take more steps",
    request_id=1,
)


@pytest.fixture(autouse=True)
def no_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.screens.lr_finder.TICK_SECONDS", 3600)


def losses(steps: int, most: float) -> MetricStore:
    """A curve that falls by so much, and runs away at the end."""
    store, noise = MetricStore(), np.random.default_rng(0)
    for step in range(steps):
        fall = most / (1 + np.exp(-0.15 * (step - 58)))
        up = max(0, step - 85) ** 2 * 0.03
        store.append("train_loss", step, 4.17 - fall + up + noise.normal(0, 0.06))
    return store


def screen(events: Sequence[Event], steps: int, most: float = 1.6) -> Prepare:
    """The screen, once it has heard some events."""

    async def show(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, StillApp)
        app.control.engine.lr_finder.metrics = losses(steps, most)
        test = LRFinderScreen(app.control, app.control.draft.base, 1)
        await app.push_screen(test)
        for event in events:
            test.hear(event)
        await pilot.pause()

    return show


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_suggestion(snap_compare: Snap, size: str) -> None:
    app, prepare = StillApp(Status()), screen([BEGUN, SUGGESTED], 100)
    assert snap_compare(app, terminal_size=SIZES[size], run_before=prepare)


@pytest.mark.parametrize("size", SIZES)
def test_picture_of_a_test_under_way(snap_compare: Snap, size: str) -> None:
    app, prepare = StillApp(Status()), screen([PREPARED, BEGUN], 60)
    assert snap_compare(app, terminal_size=SIZES[size], run_before=prepare)


def test_picture_of_getting_ready(snap_compare: Snap) -> None:
    app, prepare = StillApp(Status()), screen([PREPARED], 0)
    assert snap_compare(app, terminal_size=SIZES["80x24"], run_before=prepare)


def test_picture_of_no_suggestion(snap_compare: Snap) -> None:
    app, prepare = StillApp(Status()), screen([BEGUN, NOTHING], 100, most=0.0)
    assert snap_compare(app, terminal_size=SIZES["80x24"], run_before=prepare)
