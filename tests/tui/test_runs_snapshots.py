"""What the runs screen looks like."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from engine.metrics import MetricStore
from engine.runs.preview import Preview
from engine.runs.records import SampleSettings
from engine.runs.summary import RunSummary
from tests.tui.test_snapshots import PAUSED, Prepare, Snap, StillApp, after, still
from tui.control.run_previews import RunPreviews
from tui.screens.runs import RunsScreen

__all__ = ["still"]  # the fixture that holds all clocks

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
BEGUN = 1_790_000_000.0


def summary(name: str, place: int, **facts: object) -> RunSummary:
    common: dict[str, object] = {
        "state": "finished",
        "preset": "tiny",
        "parameters": 99_800,
        "step": 2000,
        "total_steps": 2000,
        "tokens": 768_000,
        "train_loss": 1.8,
        "val_loss": 2.0 + place / 50,
        "best_val_loss": 1.98 + place / 50,
        "best_step": 1750,
        "train_seconds": 61.5 * place,
        "device": "cpu",
        "precision": "fp32",
        "threads": 2,
        "corpus": "tinyshakespeare",
        "created": BEGUN - 5000 * place,
        "sparkline": tuple(1.8 + 2.4 * math.exp(-i / (3 + place)) for i in range(64)),
    }
    return RunSummary(f"/home/you/runs/{name}", name, **common | facts)  # type: ignore[arg-type]


RUNS = [
    summary("fast-3", 0, state="training", live=True, step=1250, preset="fast"),
    summary(
        "fast-2-fork-1",
        1,
        preset="fast",
        tags=("lr-sweep", "good"),
        note="half the learning rate after the plateau at step 900: better from there on",
        parent="fast-2",
        parent_step=900,
    ),
    summary("fast-2", 2, preset="fast", tags=("baseline",)),
    summary(
        "a-run-with-quite-a-long-name", 3, state="interrupted", step=123_456, total_steps=600_000
    ),
    RunSummary(
        "/home/you/runs/broken",
        "broken",
        "damaged",
        created=BEGUN - 20_000,
        problem="/home/you/runs/broken/run.db is not a readable run database: file is not one",
    ),
    summary("lecture-1", 5, state="failed", best_val_loss=None, best_step=None, sparkline=()),
    *(summary(f"sweep-{number}", number) for number in range(6, 60)),
]


class StillCatalogue:
    """Has read these runs, and reads no more."""

    def __init__(self, _: Path) -> None:
        pass

    def read(self) -> list[RunSummary]:
        return RUNS

    def sizes(self) -> dict[str, int]:
        return {run.path: 9_700_000 + 1000 * place for place, run in enumerate(RUNS)}


def still_preview(_: RunPreviews, run: RunSummary) -> Preview:
    """What was read of each run."""
    metrics = MetricStore()
    curve = [one for one in run.sparkline if one is not None] or [4.2]
    metrics.extend("train_loss", range(0, 30 * len(curve), 30), curve)
    metrics.extend("val_loss", range(250, 2000, 250), [2.6, 2.3, 2.2, 2.1, 2.05, 2.0, 2.0])
    text = f"\nROMEO:\n{run.name} is the east, and Juliet is the sun.\nArise, fair sun."
    settings: SampleSettings = {"prompt": ""}
    return Preview(
        metrics,
        {"id": 1, "branch": 0, "step": 1750, "val_loss": 2.0, "settings": settings, "text": text},
    )


@pytest.fixture(autouse=True)
def still_runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """These runs, in this time zone."""
    monkeypatch.setattr("tui.screens.runs.REFRESH_SECONDS", 3600)
    monkeypatch.setattr("engine.runs.catalogue.Catalogue", StillCatalogue)
    monkeypatch.setattr(RunPreviews, "known", lambda view, run: still_preview(view, run))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def runs_after(*keys: str) -> Prepare:
    """The runs screen, and some keys."""

    async def prepare(pilot: Pilot[int]) -> None:
        screen = pilot.app.screen
        assert isinstance(screen, RunsScreen)
        while not screen.view.sizes:
            await pilot.pause()
        for key in keys:
            await pilot.press(key)

    return after("r", then=prepare)


@pytest.mark.parametrize("size", SIZES)
def test_runs(snap_compare: Snap, size: str) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES[size], run_before=runs_after("down", "space", "up")
    )


@pytest.mark.parametrize("size", SIZES)
def test_tags_that_cannot_be(snap_compare: Snap, size: str) -> None:
    keys = ("down", "t", "space", "n", "o", "exclamation_mark", "enter")
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES[size], run_before=runs_after(*keys))


def test_a_filter_and_a_damaged_run(snap_compare: Snap) -> None:
    keys = ("slash", *"state:damaged")
    keys = tuple("colon" if key == ":" else key for key in keys)
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=runs_after(*keys)
    )


def test_the_help(snap_compare: Snap) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=runs_after("question_mark")
    )
