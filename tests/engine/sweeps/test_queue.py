"""The queue: nothing is lost, nothing is taken twice, and what was interrupted goes on."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from data.errors import InputError
from engine.config.schema import config_from_dict
from engine.config.setting import Value
from engine.protocol import Open, PruningRule, Start
from engine.runs.folder import RunLock, create_run
from engine.runs.transfer import rename_run
from engine.session.session import Session
from engine.sweeps.leaderboard import leaderboard
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import Queue, Taken
from engine.sweeps.queue_entry import EntryState, RunRequest, varying
from tests.engine.conftest import MakeConfig, Rig

RATE = "optim.learning_rate"

# A program that takes what it can get and tells; it never gives back.
TAKER = """
import sys
from pathlib import Path
from engine.sweeps.queue import Queue
queue, held = Queue(Path(sys.argv[1])), []
while (taken := queue.take()) is not None:
    held.append(taken)
print(*(taken.entry.id for taken in held), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def queue(runs_dir: Path) -> Queue:
    return Queue(runs_dir)


@pytest.fixture
def add(queue: Queue, make_config: MakeConfig) -> Callable[..., str]:
    """Queues runs with these learning rates."""

    def call(*rates: float, sweep: str | None = "", rule: MedianRule | None = None) -> str:
        wishes = []
        for rate in rates:
            changes: dict[str, Value] = {RATE: rate}
            wishes.append(RunRequest(make_config().replace(changes), changes))
        return queue.add(wishes, "gpt-tui sweep …", sweep, rule)

    return call


Add = Callable[..., str]


def taken_from(queue: Queue, sweep: str | None = None) -> Taken:
    taken = queue.take(sweep)
    assert taken is not None
    return taken


def states(queue: Queue) -> list[str]:
    return [one.state_name for one in queue.entries()]


def make_run(taken: Taken) -> Path:
    """What the engine does first."""
    assert isinstance(taken.command, Start)
    config = config_from_dict(taken.command.config)
    return create_run(config, Path(taken.command.runs_dir), taken.command.name)


# ---- what is in it -------------------------------------------------------------------------------


def test_looking_makes_nothing(queue: Queue, runs_dir: Path) -> None:
    assert queue.entries() == [] == queue.sweeps()
    assert not runs_dir.exists()


def test_what_is_added_is_there_for_another_program(queue: Queue, add: Add) -> None:
    assert add(1e-2, 2e-2) == "sweep-1"
    assert add(3e-2) == "sweep-2"
    add(4e-2, sweep=None)
    entries = Queue(queue.runs_dir).entries()
    assert [(one.sweep, one.value(RATE), one.state) for one in entries] == [
        ("sweep-1", 1e-2, "waiting"),
        ("sweep-1", 2e-2, "waiting"),
        ("sweep-2", 3e-2, "waiting"),
        ("", 4e-2, "waiting"),
    ]
    assert queue.sweeps() == ["sweep-1", "sweep-2"]
    assert varying(entries) == [RATE]


def test_a_file_of_text_is_found_from_any_folder(
    queue: Queue, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    queue.add([RunRequest(make_config(data__corpus="a.txt"), {})], "")
    queue.add([RunRequest(make_config(data__corpus="python-docs"), {})], "")
    corpora = [one.value("data.corpus") for one in queue.entries()]
    assert corpora == [str(tmp_path / "a.txt"), "python-docs"]


def test_names_of_sweeps_are_fit_and_used_once(add: Add) -> None:
    add(1e-2, sweep="mine")
    with pytest.raises(InputError, match=r"already a sweep 'mine'.*--resume mine"):
        add(1e-2, sweep="mine")
    with pytest.raises(InputError, match="cannot name a sweep"):
        add(1e-2, sweep="../up")


def test_adding_is_all_or_nothing(queue: Queue, make_config: MakeConfig) -> None:
    wish = RunRequest(make_config(), {})
    unwritable = RunRequest(make_config(), {RATE: object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        queue.add([wish, unwritable], "")
    assert queue.entries() == []


def test_entries_can_be_cancelled_tried_again_moved_and_cleared(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, 3e-2)
    queue.move(3, -5)
    assert [one.id for one in queue.entries()] == [3, 1, 2]
    queue.move(3, 1)
    assert [one.id for one in queue.entries()] == [1, 3, 2]
    queue.cancel(1)
    assert states(queue) == ["cancelled", "waiting", "waiting"]
    assert taken_from(queue).entry.id == 3
    assert queue.clear() == 1
    assert [one.id for one in queue.entries()] == [3, 2]
    assert len(queue.entries(cleared=True)) == len(queue.entries("sweep-1")) == 3
    queue.retry(1)
    assert [one.id for one in queue.entries()] == [1, 3, 2]


def test_what_makes_no_sense_is_refused_with_a_reason(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2)
    taken = taken_from(queue)
    with pytest.raises(InputError, match="is being trained"):
        queue.cancel(taken.entry.id)
    with pytest.raises(InputError, match="only waiting entries can be moved"):
        queue.move(taken.entry.id, 1)
    with pytest.raises(InputError, match="only failed and cancelled entries"):
        queue.retry(2)
    with pytest.raises(InputError, match="no entry 7"):
        queue.cancel(7)
    taken.finish()
    with pytest.raises(InputError, match="is done already"):
        queue.cancel(taken.entry.id)


# ---- taking --------------------------------------------------------------------------------------


def test_runs_are_named_after_their_sweep_and_taken_in_order(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, sweep="lr")
    (queue.runs_dir / "lr-2").mkdir(parents=True)  # somebody's folder: its name is taken
    first, second = taken_from(queue), taken_from(queue)
    assert isinstance(first.command, Start) and isinstance(second.command, Start)
    assert (first.command.name, second.command.name) == ("lr-1", "lr-3")
    assert first.command.config["optim"]["learning_rate"] == 1e-2
    assert queue.take() is None
    assert states(queue) == ["running", "running"]
    first.finish()
    second.fail("the text is too short")
    assert states(queue) == ["done", "failed"]
    assert queue.entries()[1].problem == "the text is too short"


def test_a_sweep_can_be_worked_off_by_itself(queue: Queue, add: Add) -> None:
    add(1e-2, sweep="one")
    add(2e-2, sweep="two")
    taken = taken_from(queue, "two")
    assert taken.entry.sweep == "two"
    assert queue.take("two") is None


def test_what_is_released_goes_on_before_new_runs_begin(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, 3e-2)
    taken_from(queue).finish()
    taken = taken_from(queue)
    run = make_run(taken)
    taken.release()
    queue.move(3, -5)
    assert states(queue) == ["done", "interrupted", "waiting"]
    again = taken_from(queue)
    assert again.entry.id == 2
    assert again.command == Open(str(run), running=True)


def test_what_is_released_before_it_began_waits_as_before(queue: Queue, add: Add) -> None:
    add(1e-2)
    taken_from(queue).release()
    assert states(queue) == ["waiting"]
    assert isinstance(taken_from(queue).command, Start)


def test_a_failed_entry_that_is_tried_again_goes_on_with_its_run(queue: Queue, add: Add) -> None:
    add(1e-2)
    taken = taken_from(queue)
    run = make_run(taken)
    taken.fail("memory ran out")
    assert queue.take() is None
    queue.retry(1)
    assert taken_from(queue).command == Open(str(run), running=True)
    assert queue.entries()[0].problem == ""


def test_a_run_of_that_name_with_other_settings_is_somebody_elses(
    queue: Queue, add: Add, make_config: MakeConfig
) -> None:
    add(1e-2, sweep="lr")
    taken = taken_from(queue)
    taken.release()
    create_run(make_config(train__seed=5), queue.runs_dir, "lr-1")
    again = taken_from(queue)
    assert isinstance(again.command, Start)
    assert again.command.name == "lr-2"


def test_a_run_that_was_renamed_goes_on_under_its_new_name(queue: Queue, add: Add) -> None:
    add(1e-2)
    taken = taken_from(queue)
    run = rename_run(make_run(taken), "better-name")
    taken.release()
    again = taken_from(queue)
    assert again.command == Open(str(run), running=True)
    assert again.entry.run == "better-name"
    (place,) = leaderboard([taken.entry], queue.runs_dir)  # as somebody knew it before
    assert place.run and place.run.name == "better-name"


def test_a_run_that_was_deleted_begins_again(queue: Queue, add: Add) -> None:
    add(1e-2)
    taken = taken_from(queue)
    run = make_run(taken)
    taken.release()
    shutil.rmtree(run)
    again = taken_from(queue)
    assert isinstance(again.command, Start)
    assert again.command.config == taken.entry.settings


def test_a_run_that_is_trained_by_hand_is_left_alone(queue: Queue, add: Add) -> None:
    add(1e-2)
    taken = taken_from(queue)
    run = make_run(taken)
    taken.release()
    lock = RunLock(run)
    assert queue.take() is None
    lock.release()
    assert queue.take() is not None


def test_a_run_that_was_finished_by_hand_is_done(
    queue: Queue, add: Add, rig: Rig, make_config: MakeConfig
) -> None:
    add(1e-2)
    taken = taken_from(queue)
    run = make_run(taken)
    taken.release()
    session = rig.open(run)
    while session.advance():
        pass
    session.close(save=True)
    assert queue.take() is None
    assert states(queue) == ["done"]
    (place,) = leaderboard(queue.entries(), queue.runs_dir)
    assert (place.rank, place.run and place.run.step) == (1, 20)


def test_no_entry_is_taken_twice_however_many_take(queue: Queue, add: Add) -> None:
    add(*(0.01 + i / 1000 for i in range(24)))

    def take_all(_: int) -> list[Taken]:
        mine = Queue(queue.runs_dir)
        return list(iter(mine.take, None))

    with ThreadPoolExecutor(4) as pool:
        taken = [one for some in pool.map(take_all, range(4)) for one in some]
    assert sorted(one.entry.id for one in taken) == list(range(1, 25))
    assert len({one.entry.run for one in taken}) == 24


def test_two_programs_share_the_entries_and_a_killed_one_leaves_its_share(
    queue: Queue, add: Add
) -> None:
    add(*(0.01 + i / 1000 for i in range(12)))
    command = [sys.executable, "-c", TAKER, str(queue.runs_dir)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    programs = [subprocess.Popen(command, env=os.environ, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    shares = [[int(word) for word in one.stdout.readline().split()] for one in programs]
    assert sorted(shares[0] + shares[1]) == list(range(1, 13))
    assert queue.take() is None
    programs[0].kill()
    programs[0].wait(10)
    freed = list(iter(queue.take, None))
    assert sorted(one.entry.id for one in freed if one) == sorted(shares[0])
    programs[1].communicate(timeout=10)


# ---- what can happen to the file -----------------------------------------------------------------


def test_a_change_that_is_cut_off_never_was(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2)
    script = (
        "import os, sys; from pathlib import Path; from engine.sweeps.queue_file import *\n"
        "file = QueueFile(Path(sys.argv[1]))\n"
        "with file.change() as db:\n"
        "    set_values(db, 1, state='done')\n"
        "    db.execute('DELETE FROM entries WHERE id = 2')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(queue.runs_dir)], timeout=60)
    assert done.returncode == -9
    assert states(queue) == ["waiting", "waiting"]


def test_a_damaged_queue_is_told_and_costs_no_run(queue: Queue, add: Add) -> None:
    add(1e-2)
    queue.file.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(InputError, match=r"cannot be used .*moved away, the runs are not affected"):
        queue.entries()
    with pytest.raises(InputError, match="cannot be used"):
        add(2e-2)


def test_the_queue_of_a_newer_program_is_left_alone(queue: Queue, add: Add) -> None:
    add(1e-2)
    db = sqlite3.connect(queue.file.path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="was written by a newer gpt-tui"):
        queue.take()


def test_the_queue_of_an_older_program_is_read_as_it_is_and_changed_as_ours(
    queue: Queue, add: Add
) -> None:
    add(1e-2)
    db = sqlite3.connect(queue.file.path)
    db.execute("ALTER TABLE entries DROP COLUMN rule")
    db.execute("PRAGMA user_version = 1")
    db.close()
    before = queue.file.path.read_bytes()
    assert [(one.value(RATE), one.rule) for one in queue.entries()] == [(1e-2, None)]
    assert queue.file.path.read_bytes() == before
    add(2e-2, sweep="new", rule=MedianRule())
    assert [one.rule for one in queue.entries()] == [None, MedianRule()]
    assert taken_from(queue).command.pruning_rule is None


def test_a_folder_that_cannot_be_written_is_told(queue: Queue, add: Add) -> None:
    queue.runs_dir.mkdir()
    queue.file.folder.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be used"):
        add(1e-2)


def test_settings_are_kept_as_in_config_toml(
    queue: Queue, add: Add, make_config: MakeConfig
) -> None:
    add(1e-2)
    db = sqlite3.connect(queue.file.path)
    (kept,) = db.execute("SELECT settings FROM entries").fetchone()
    db.close()
    assert json.loads(kept) == make_config().replace({RATE: 1e-2}).to_dict()
    assert queue.entries()[0].state is EntryState.WAITING


# ---- siblings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_runs_of_a_sweep_are_computed_alike_whatever_is_measured(
    queue: Queue, rig: Rig, make_config: MakeConfig, precision: str
) -> None:
    wish = make_config(system__precision="auto", system__micro_batch_size=0)
    rates = [{RATE: rate} for rate in (1e-3, 1e-2)]
    queue.add([RunRequest(wish.replace(rate), rate) for rate in rates], "gpt-tui sweep …", "")

    first = begin(queue, rig)
    assert first.files.database.meta().get("like") is None
    known = first.files.database.meta()["runtime"]
    resolved = known["resolved"] | {"precision": precision}  # as if that had been the faster one
    first.files.database.set_meta(runtime=known | {"resolved": resolved})
    first.close(save=True)

    second = begin(queue, rig)
    assert second.trainer.runtime.precision == precision
    assert second.files.database.meta()["runtime"]["asked"]["precision"] == "auto"


def test_what_was_measured_on_another_machine_says_nothing(
    queue: Queue, rig: Rig, make_config: MakeConfig
) -> None:
    wish = make_config(system__precision="auto", system__micro_batch_size=0)
    rates = [{RATE: rate} for rate in (1e-3, 1e-2)]
    queue.add([RunRequest(wish.replace(rate), rate) for rate in rates], "gpt-tui sweep …", "")
    first = begin(queue, rig)
    meta = first.files.database.meta()
    impossible = meta["runtime"] | {"resolved": meta["runtime"]["resolved"] | {"threads": 77}}
    first.files.database.set_meta(
        runtime=impossible, hardware=meta["hardware"] | {"cpu": "another one"}
    )
    first.close(save=True)
    assert begin(queue, rig).trainer.runtime.threads == 1


def test_a_run_is_held_to_those_of_its_sweep_that_are_trained(queue: Queue, add: Add) -> None:
    add(9e-2, sweep="other", rule=MedianRule())
    make_run(other := taken_from(queue))
    other.finish()
    add(1e-2, 2e-2, 3e-2, 4e-2, sweep="lr", rule=MedianRule(2, 7))
    done, failed, running = (taken_from(queue, "lr") for _ in range(3))
    runs = [make_run(one) for one in (done, failed, running)]
    done.finish()
    failed.fail("no memory")
    rule = PruningRule(2, 7, (str(runs[0]),))
    last = taken_from(queue, "lr")
    assert last.command.pruning_rule == rule
    run = make_run(last)
    last.release()
    renamed = rename_run(runs[0], "best")
    again = taken_from(queue, "lr").command
    assert again == Open(str(run), running=True, pruning_rule=replace(rule, rivals=(str(renamed),)))


def test_runs_of_their_own_are_held_to_nobody(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, sweep=None, rule=MedianRule())
    taken_from(queue).finish()
    assert taken_from(queue).command.pruning_rule is None


def begin(queue: Queue, rig: Rig) -> Session:
    """A session of the run whose turn it is, which then counts as trained."""
    taken = queue.take()
    assert taken is not None
    assert isinstance(taken.command, Start)
    session = rig.start(taken.command)
    taken.finish()
    return session
