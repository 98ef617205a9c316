"""What the queue and its dialog look like, with runs that were written down beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.config.presets import preset_config
from engine.config.schema import config_from_dict
from engine.protocol import Status
from engine.runs.database import RunDatabase
from engine.runs.folder import create_run
from engine.sweeps.grid import grid, parse_axes, plan
from engine.sweeps.queue import EntryState, Queue
from tests.tui.test_snapshots import PAUSED, Snap, StillApp, after, still
from tui.app import GptTuiApp

__all__ = ["still"]  # the fixture that holds all clocks

SIZES = {"80x24": (80, 24), "120x40": (120, 40), "200x50": (200, 50)}
AXES = ("optim.learning_rate=3e-4..1e-2 log x4", "model.n_layer=2,4")
WHY = (
    "stopped at step 500 of 2,000 by the median stopping rule: best validation loss 2.4113, median "
    "of 3 other runs by then 2.2870"
)
LOSSES = (2.113, 2.087, 1.962, 1.931, 1.944)


@pytest.fixture
def queue(runs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    """A sweep of eight: four are trained, one was interrupted, one cannot be, two wait."""
    monkeypatch.setattr("tui.screens.queue.REFRESH_SECONDS", 3600)
    base = preset_config("nanogpt-cpu")
    axes, _ = parse_axes(AXES)
    queue = Queue(runs_dir)
    queue.add(plan(base, grid(axes)).trials, "gpt-tui sweep …", "depth")
    for loss in LOSSES:
        taken = queue.take()
        assert taken is not None
        trained = 2000 if loss != LOSSES[-1] else 850
        write_down(runs_dir, taken[0].run, loss, trained)
        queue.end(taken[0].id, EntryState.DONE if trained == 2000 else EntryState.INTERRUPTED)
    with queue._open(write=True) as db:
        db.execute(
            "UPDATE entries SET state = 'failed', run = 'depth-6', problem = ? WHERE id = 6",
            ("memory ran out: lower train.batch_size, and open the run again",),
        )
    return queue


def write_down(runs_dir: Path, name: str, loss: float, step: int) -> None:
    """A run as it is left behind."""
    entry = next(one for one in Queue(runs_dir).entries() if one.run == name)
    run = create_run(config_from_dict(entry.settings), runs_dir, name)
    database = RunDatabase(run / "run.db")
    database.set_meta(
        created=1.0,
        summary={
            "state": "finished" if step == 2000 else "stopped",
            "step": step,
            "total_steps": 2000,
            "best_val_loss": loss,
            "best_step": step,
            "train_seconds": step * 0.043,
        },
    )
    database.close()


def app_on(queue: Queue, status: Status) -> StillApp:
    app = StillApp(status)
    app.control.queue.queue = queue
    return app


@pytest.mark.parametrize("size", SIZES)
def test_the_queue(snap_compare: Snap, queue: Queue, size: str) -> None:
    assert snap_compare(
        app_on(queue, PAUSED), terminal_size=SIZES[size], run_before=after("Q", "down")
    )


def test_the_best_first_with_what_failed_under_the_cursor(snap_compare: Snap, queue: Queue) -> None:
    keys = ("Q", "l", "down")  # the cursor stays on its run, which is the last with a loss
    assert snap_compare(
        app_on(queue, PAUSED), terminal_size=SIZES["80x24"], run_before=after(*keys)
    )


async def type_values(pilot: Pilot[int]) -> None:
    app = pilot.app
    assert isinstance(app, GptTuiApp)
    app.control.draft.edit("train.seed", 5)
    await pilot.press("a")
    await pilot.pause()
    app.screen.query_one(Input).value = "optim.learning_rate=1e-5..1e-2 log x8"


@pytest.mark.parametrize("size", ["80x24", "120x40"])
def test_adding_a_sweep(snap_compare: Snap, size: str) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES[size], run_before=after(then=type_values)
    )


async def tick(pilot: Pilot[int]) -> None:
    await type_values(pilot)
    await pilot.press("tab", "space")


@pytest.mark.parametrize("size", SIZES)
def test_a_sweep_whose_worse_runs_are_stopped(snap_compare: Snap, size: str) -> None:
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES[size], run_before=after(then=tick))


@pytest.mark.parametrize("size", SIZES)
def test_a_run_that_was_stopped_early_under_the_cursor(
    snap_compare: Snap, queue: Queue, size: str
) -> None:
    database = RunDatabase(queue.runs_dir / "depth-2/run.db")
    summary = database.meta()["summary"]
    database.set_meta(summary=summary | {"step": 500, "best_step": 500, "outdone": WHY})
    database.close()
    assert snap_compare(
        app_on(queue, PAUSED), terminal_size=SIZES[size], run_before=after("Q", "down")
    )


def test_an_empty_queue(snap_compare: Snap) -> None:
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=after("Q"))
