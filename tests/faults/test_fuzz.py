"""Whatever a file of a run holds, each use of the run ends with a result or with a sentence.

The same 2,000 cases each time; ``make fuzz`` draws 100,000 others.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from data.errors import InputError
from engine.config.schema import Config, config_from_dict
from engine.metrics import MetricStore
from engine.protocol import Adjust, Evaluate, Rewind
from engine.runs.catalogue import Catalogue
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.curves import ghost_of_parent
from engine.runs.fields import SORTS
from engine.runs.selection import matches, sort_runs
from engine.runs.timeline import read_abandoned, read_moments, read_samples
from engine.session.session import Session
from engine.session.viewer import Viewer
from engine.session.worker import open_or_restore
from engine.sweeps.grid import Trial
from engine.sweeps.leaderboard import leaderboard
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import EntryState, Queue
from tests.engine.conftest import SILENT, SMALL, Rig
from tests.faults.hostile_files import (
    HOSTILE_SQL,
    Spoil,
    Sql,
    cases_of_database,
    cases_of_files,
    cases_of_header,
    cases_of_json,
    cases_of_toml,
    remove,
)
from tui.cli import main

CASES = int(os.environ.get("GPT_TUI_FUZZ", 2000))
SECONDS = 5.0  # of this thread, for one use of a run
HANGS = 60.0  # seconds by the clock, on a busy machine
RUN, FORK = "run", "run-fork-1"
QUEUE = "../.queue/queue.db"


Use: TypeAlias = Callable[["World"], None]
Spoils: TypeAlias = st.SearchStrategy[Spoil]
Uses: TypeAlias = st.SearchStrategy[Use]


@dataclass
class World:
    """A folder of runs that is the same before each case."""

    template: Path
    runs_dir: Path

    def place(self, argument: str) -> str:
        """Replace RUN and RUNS by paths."""
        head, slash, rest = argument.partition("/")
        return {"RUN": str(self.run), "RUNS": str(self.runs_dir)}.get(head, head) + slash + rest

    @cached_property
    def cases(self) -> dict[str, tuple[Spoils, Uses]]:
        """Kinds of files: what may be wrong with them, and what uses them."""
        run = self.template / RUN
        newest = list_checkpoints(run)[-1].relative_to(run).as_posix()
        sql: list[Spoil] = [Sql("run.db", one) for one in HOSTILE_SQL]
        kinds: dict[str, tuple[list[Spoil], list[Use]]] = {
            "files": (cases_of_files(run), 4 * LOOKS + USES),
            "database": (cases_of_database(run, "run.db") + 5 * sql, 8 * LOOKS + USES),
            "config": (cases_of_toml(run, "config.toml"), 4 * LOOKS + USES),
            "notes": (cases_of_toml(run, "notes.toml"), LOOKS),
            "state": (cases_of_json(run, f"{newest}/state.json"), USES),
            "manifest": (cases_of_json(run, f"{newest}/manifest.json"), 2 * LOOKS + USES),
            "weights": (cases_of_header(run, f"{newest}/model.safetensors"), USES[:6]),
            "optimizer": (cases_of_header(run, f"{newest}/optimizer.safetensors"), USES[:6]),
            "queue": (cases_of_database(run, QUEUE), OF_QUEUE),
        }
        # made once, as Hypothesis takes the hash of all elements of a new one
        return {kind: (st.sampled_from(a), st.sampled_from(b)) for kind, (a, b) in kinds.items()}

    @property
    def run(self) -> Path:
        return self.runs_dir / RUN

    def make_anew(self) -> None:
        """Put back what differs from the template."""
        self.runs_dir.mkdir(exist_ok=True)
        _put_back(str(self.template), str(self.runs_dir))


def _put_back(template: str, place: str, shared: bool = False) -> None:
    """Make a folder as its template.

    Args:
        shared: Whether its files are links to those of the template: checkpoints, which never
            change and are many, so that a case leaves most of them in place.
    """
    with os.scandir(place) as entries:
        there = {one.name: one for one in entries}
    with os.scandir(template) as entries:
        wanted = list(entries)
    for one in wanted:
        path, found = os.path.join(place, one.name), there.pop(one.name, None)
        if one.is_dir():
            if not (found and found.is_dir(follow_symlinks=False)):
                remove(Path(path))
                os.mkdir(path)
            _put_back(one.path, path, shared or one.name == "checkpoints")
        elif not (shared and found and found.inode() == one.inode()):
            remove(Path(path))
            (os.link if shared else shutil.copyfile)(one.path, path)
    for left in there.values():
        remove(Path(left.path))


def _interrupt(number: int, frame: object) -> None:
    raise AssertionError("it hangs")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, small_text_file: Path) -> Iterator[World]:
    """A run that was adjusted, sampled, rewound and forked, its notes, and a queue."""
    folder = tmp_path_factory.mktemp("fuzz")
    rig, threads = Rig(folder / "template"), torch.get_num_threads()
    torch.set_num_threads(1)
    changed = {"data.corpus": str(small_text_file), "checkpoint.interval": 4, "eval.interval": 4}
    config = Config().replace(SMALL | changed)
    session = rig.new(config)
    rig.to_step(session, 6)
    session.handle(Adjust({"optim.learning_rate": 0.005}))
    session.handle(Evaluate())
    rig.to_step(session, 12)
    session.handle(Rewind(8))
    rig.to_step(session, 12)
    path = rig.close(session).rename(rig.runs_dir / RUN)
    alarm = signal.signal(signal.SIGALRM, _interrupt)
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.setenv("GPT_TUI_RUNS", str(rig.runs_dir))
        for arguments in (
            ["fork", RUN, "--set", "train.max_steps=30"],
            ["runs", "tag", RUN, "first", "second"],
            ["runs", "note", RUN, "a note"],
        ):
            assert main(arguments) == 0, arguments
        assert path.is_dir() and (rig.runs_dir / FORK).is_dir()
        trial = Trial({"optim.learning_rate": 0.01}, config)
        queue = Queue(rig.runs_dir)
        queue.add([trial] * 3, "gpt-tui sweep", "", MedianRule())
        patch.setenv("GPT_TUI_RUNS", str(folder / "runs"))
        patch.setenv("GPT_TUI_OFFLINE", "1")
        yield World(rig.runs_dir, folder / "runs")
    torch.set_num_threads(threads)
    signal.signal(signal.SIGALRM, alarm)


# -- uses of a run ---------------------------------------------------------------------------------


def command(*arguments: str, codes: tuple[int, ...] = (0, 2)) -> Use:
    """A command line; RUN stands for the run, RUNS for its folder."""

    def call(world: World) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([world.place(one) for one in arguments])
        assert code in codes, (code, err.getvalue()[-2000:])
        assert "Traceback" not in err.getvalue()
        if code == 2:
            assert err.getvalue().strip()

    return call


def listed(world: World) -> None:
    """The other run is listed, whatever this one is."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["runs", "--runs-dir", str(world.runs_dir)]) == 0
        assert main(["runs", "--runs-dir", str(world.runs_dir), "--json"]) == 0
    assert out.getvalue().count(FORK) >= 2


def on_the_screen(world: World) -> None:
    """What the runs screen reads and does."""
    catalogue = Catalogue(world.runs_dir)
    for _ in range(2):  # the second time with their settings
        runs = catalogue.read()
    catalogue.sizes()
    assert FORK in [run.name for run in runs]
    for by in SORTS:
        sort_runs(runs, by)
    assert all(matches(run, f"name:{run.name}".lower()) for run in runs)


def on_the_timeline(world: World) -> None:
    for branch in (0, 1):
        read_moments(world.run, branch)
        read_abandoned(world.run, branch)
        read_samples(world.run, branch)
    ghost_of_parent(world.run)
    ghost_of_parent(world.runs_dir / FORK)


def watched(world: World) -> None:
    viewer = Viewer(world.run, MetricStore(), lambda event: None)
    viewer.open(running=False)
    viewer.advance()


def trained(world: World) -> None:
    files = open_or_restore(world.run, SILENT)
    try:
        session = Session(files, MetricStore(), lambda event: None, lambda message: None)
        session.open(running=True)
        for _ in range(6):
            session.advance()
        session.close(save=True)
    finally:
        files.close()


def queued(world: World) -> None:
    """The entries that are not damaged are trained, and others are added behind them."""
    queue = Queue(world.runs_dir)
    entries = queue.entries(cleared=True)
    leaderboard(queue, entries)
    assert len(entries) == 3 and sum(not entry.is_damaged for entry in entries) >= 2
    queue.add([Trial({}, config_from_dict(entries[-1].settings or entries[0].settings))], "")
    taken = []
    while one := queue.take():
        taken.append(one[0].id)
        queue.end(one[0].id, EntryState.FAILED, "tried")
    assert len(taken) >= 2
    queue.clear()
    assert all(entry.is_pending for entry in queue.entries())


def exported(world: World) -> None:
    command("runs", "export", "RUN", "-o", str(world.runs_dir / "table.csv"))(world)


LOOKS: list[Use] = [
    listed,
    on_the_screen,
    on_the_timeline,
    watched,
    command("runs", "show", "RUN"),
    command("runs", "show", "RUN", "--json"),
    command("runs", "diff", "RUN", FORK),
    exported,
    command("runs", "tag", "RUN", "third"),
]
USES: list[Use] = [
    trained,
    command("sample", "RUN", "--max-tokens", "2"),
    command("sample", "RUN", "--max-tokens", "2", "--checkpoint", "latest"),
    command("model", "--run", "RUN"),
    command("verify", "RUN", codes=(0, 1, 2)),
    command("verify", "RUN", "--repair", codes=(0, 1, 2)),
    command("fork", "RUN"),
    command("runs", "copy", "RUN", "RUNS/copy"),
    command("runs", "rename", "RUN", "renamed"),
    command("runs", "rm", "RUN"),
]
OF_QUEUE = [
    *(3 * [queued]),
    command("queue", "--runs-dir", "RUNS"),
    command("queue", "--json", "--runs-dir", "RUNS"),
    command("queue", "retry", "1", "--runs-dir", "RUNS"),
    command("queue", "cancel", "1", "--runs-dir", "RUNS"),
    command("queue", "first", "3", "--runs-dir", "RUNS"),
    command("sweep", "--leaderboard", "--runs-dir", "RUNS"),
    command("sweep", "--leaderboard", "--json", "--runs-dir", "RUNS"),
]


OFTEN = {  # of 20 cases; the quick uses come oftener
    "files": 4,
    "database": 7,
    "config": 1,
    "notes": 1,
    "state": 2,
    "manifest": 1,
    "weights": 1,
    "optimizer": 1,
    "queue": 2,
}


def used(world: World, spoil: Spoil, use: Use) -> None:
    world.make_anew()
    spoil.spoil(world.run)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    begin = time.thread_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            use(world)
    except (InputError, OSError) as error:
        assert isinstance(error, InputError), f"{type(error)}: {error}"
        assert str(error).strip()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert time.thread_time() - begin < SECONDS


@pytest.mark.parametrize("kind", OFTEN)
def test_whatever_a_file_holds_each_use_ends_with_a_result_or_a_sentence(
    world: World, kind: str
) -> None:
    spoils, uses = world.cases[kind]

    @given(spoils, uses)
    @settings(
        max_examples=CASES * OFTEN[kind] // sum(OFTEN.values()),
        deadline=None,
        derandomize="GPT_TUI_FUZZ" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # a case is as small as it gets
    )
    def each(spoil: Spoil, use: Use) -> None:
        used(world, spoil, use)

    each()
