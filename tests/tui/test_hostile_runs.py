"""Runs whose files are not what they should be: rows with a problem, beside a run in training."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from engine.config.schema import Config
from engine.states import DAMAGED
from engine.sweeps.grid import Trial
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import Queue
from tests.engine.run_folders import write_run
from tests.faults.hostile_files import (
    CELLS,
    HOSTILE_SQL,
    INSTEAD,
    JSON_VALUES,
    Cell,
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
QUEUE = ".queue/queue.db"
NAMES = ("position", "number", "settings", "changes", "command_line", "state", "run", "rule")
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
    of_metrics = [Sql("run.db", one) for one in HOSTILE_SQL if "metric" in one]
    for number, spoil in enumerate([*of_metrics, *SPOILS[::9]]):
        run = Path(shutil.copytree(good, runs_dir / f"bad-{number}"))
        spoil.spoil(run)
        paths.append(run)
    async with open_app(size=(120, 40)) as person:
        for begin in range(0, len(paths), SHOWN_TOGETHER):
            screen = CompareScreen([good, *paths[begin : begin + SHOWN_TOGETHER]])
            person.app.push_screen(screen)
            await person.until(partial(getattr, screen, "runs"), "the good run")
            await person.press("m", "v", ",", "x", "y", "x", "z", "m", "tab", "s", "down", "escape")
            await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")


async def test_the_queue_shows_entries_that_are_damaged(
    open_app: Open, runs_dir: Path, config: Config
) -> None:
    queue = Queue(runs_dir)
    cells = {"settings": JSON_VALUES[::5], "changes": JSON_VALUES[::5], "rule": JSON_VALUES[::9]}
    spoils: list[Spoil] = [
        *(Cell(QUEUE, "entries", name, 0, value) for name in NAMES for value in CELLS[::4]),
        *(InCell(QUEUE, "entries", name, 0, (), one) for name in cells for one in cells[name]),
    ]
    trial = Trial({"model.n_layer": 2}, config)
    queue.add([trial] * (len(spoils) + 1), "gpt-tui sweep", "", MedianRule())
    for row, spoil in enumerate(spoils):
        replace(spoil, row=row).spoil(runs_dir)  # type: ignore[arg-type]
    async with open_app(size=(120, 40)) as person:
        await person.press("Q")
        await person.until(lambda: person.shows(QueueScreen), "the queue")
        screen = person.app.screen
        assert isinstance(screen, QueueScreen)
        await person.until(lambda: screen.places, "the entries")
        whole = [one.entry.id for one in screen.places if not one.entry.is_damaged]
        assert len(spoils) + 1 in whole
        await person.press("l", "x", "K", "J", "t", "end", "x", "K", "J", "t", "H", "H", "l")
        assert [one.entry.id for one in screen.places if not one.entry.is_damaged] == whole
        await person.press("escape")
        await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")
