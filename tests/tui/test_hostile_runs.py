"""Runs whose files are not what they should be: rows with a problem, beside a run in training."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from engine.config.schema import Config
from engine.states import DAMAGED
from engine.sweeps.grid import Trial
from engine.sweeps.queue import Queue
from tests.engine.run_folders import write_run
from tests.faults.hostile_files import (
    HOSTILE_SQL,
    INSTEAD,
    JSON_VALUES,
    InCell,
    Instead,
    Spoil,
    Sql,
)
from tests.tui.conftest import Open
from tui.screens.compare import CompareScreen
from tui.screens.queue import QueueScreen
from tui.screens.runs import RunsScreen
from tui.widgets.run_details import RunDetails

FILES = ("run.db", "config.toml", "notes.toml", "lock", "checkpoints")
FACTS = ("step", "total_steps", "state", "sparkline", "best_val_loss", "train_seconds", "preset")
SPOILS: list[Spoil] = [
    *(Instead(file, kind) for file in FILES for kind in INSTEAD),
    *(Sql("run.db", statement) for statement in HOSTILE_SQL),
    *(
        InCell("run.db", "meta", "value", 1, (fact,), written)
        for fact in FACTS
        for written in JSON_VALUES[::4]
    ),
]


@pytest.fixture
def hostile(runs_dir: Path) -> list[str]:
    """The names of as many runs, and of one that is as it should be."""
    good = write_run(runs_dir, "good", 1.9e9, steps=20)
    names = []
    for number, spoil in enumerate(SPOILS):
        run = Path(shutil.copytree(good, runs_dir / f"bad-{number}"))
        spoil.spoil(run)
        names.append(run.name)
    return [*names, good.name]


async def test_the_app_shows_each_as_a_row_and_goes_on_training(
    open_app: Open, hostile: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.runs.REFRESH_SECONDS", 0.5)  # more than once meanwhile
    async with open_app(size=(120, 40)) as person:
        await person.start()
        await person.press("r")
        screen = person.app.screen
        assert isinstance(screen, RunsScreen)
        await person.until(lambda: screen.view.runs and screen.view.sizes, "the runs")
        shown = {run.name: run for run in screen.table.runs}
        assert shown["good"].state != DAMAGED
        missing = [name for name in hostile if name not in shown]
        # with nothing left that says so, a folder is no run
        assert len(missing) < 12, [SPOILS[int(name[4:])] for name in missing]
        assert all(one.problem for one in shown.values() if one.state == DAMAGED)
        for _ in range(len(shown)):
            await person.press("down")
            assert screen.query_one(RunDetails).render().plain.strip()
        await person.press("space", "up", "space", "up", "space", "c")
        await person.until(
            lambda: person.shows(CompareScreen) or person.told(),
            "an answer",
        )
        await person.press("escape")
        step = person.status.step
        await person.until(lambda: person.status.step > step, "training goes on")


SHOWN_TOGETHER = 4


async def test_runs_that_are_damaged_are_compared_or_refused(
    open_app: Open, runs_dir: Path
) -> None:
    """Each beside a good one, as far as the list lets them be marked."""
    good = write_run(runs_dir, "good", 1.9e9, steps=20)
    paths = [good]
    for number, spoil in enumerate(SPOILS[::9]):
        run = Path(shutil.copytree(good, runs_dir / f"bad-{number}"))
        spoil.spoil(run)
        paths.append(run)
    async with open_app(size=(120, 40)) as person:
        for begin in range(0, len(paths), SHOWN_TOGETHER):
            person.app.push_screen(CompareScreen([good, *paths[begin : begin + SHOWN_TOGETHER]]))
            await person.pilot.pause(0)
            await person.press("tab", "s", "down", "escape")
            await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")


async def test_the_queue_shows_entries_that_are_damaged(
    open_app: Open, runs_dir: Path, config: Config
) -> None:
    queue = Queue(runs_dir)
    queue.add([Trial({"model.n_layer": n}, config) for n in range(1, 10)], "s", "")
    cells = {"settings": JSON_VALUES[::3], "changes": JSON_VALUES[::3], "run": ["\x1b[31m", "/"]}
    with closing(sqlite3.connect(queue.path)) as db:
        for column, values in cells.items():
            for row, value in enumerate(values, start=1):
                db.execute(f"UPDATE entries SET {column} = ? WHERE id = ?", (value, row % 9 + 1))
        db.commit()
    async with open_app(size=(120, 40)) as person:
        await person.press("Q")
        await person.until(
            lambda: person.shows(QueueScreen) or len(person.app._notifications), "an answer"
        )
        await person.press("down", "down", "escape")
        await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")
