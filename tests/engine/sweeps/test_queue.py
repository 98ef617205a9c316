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
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from data.errors import InputError
from engine.config.schema import config_from_dict
from engine.config.setting import Value
from engine.protocol import Open, PruningRule, Start
from engine.runs.folder import RunLock, create_run
from engine.runs.transfer import rename_run
from engine.session.session import Session
from engine.sweeps.grid import Trial
from engine.sweeps.leaderboard import leaderboard
from engine.sweeps.median_rule import MedianRule
from engine.sweeps.queue import Entry, EntryState, Queue
from tests.engine.conftest import MakeConfig, Rig
from tests.faults.hostile_files import Instead

RATE = "optim.learning_rate"

# A program that takes what it can get and tells; it never gives back.
TAKER = """
import sys
from pathlib import Path
from engine.sweeps.queue import Queue
queue, held = Queue(Path(sys.argv[1])), []
while (taken := queue.take()) is not None:
    held.append(taken)
print(*(entry.id for entry, _ in held), flush=True)
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
            wishes.append(Trial(changes, make_config().replace(changes)))
        return queue.add(wishes, "gpt-tui sweep …", sweep, rule)

    return call


Add = Callable[..., str]


def taken_from(queue: Queue, sweep: str | None = None) -> tuple[Entry, Start | Open]:
    taken = queue.take(sweep)
    assert taken is not None
    return taken


def take_and_end(queue: Queue, state: EntryState, sweep: str | None = None) -> Path:
    """Take an entry, create its run, and end it; return the run."""
    entry, command = taken_from(queue, sweep)
    run = make_run(command)
    queue.end(entry.id, state)
    return run


def states(queue: Queue) -> list[str]:
    return [str(one.state) for one in queue.entries()]


def make_run(command: Start | Open) -> Path:
    """What the engine does first."""
    assert isinstance(command, Start)
    return create_run(config_from_dict(command.config), Path(command.runs_dir), command.name)


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


def test_a_file_of_text_is_found_from_any_folder(
    queue: Queue, make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    queue.add([Trial({}, make_config(data__corpus="a.txt"))], "")
    queue.add([Trial({}, make_config(data__corpus="python-docs"))], "")
    corpora = [one.value("data.corpus") for one in queue.entries()]
    assert corpora == [str(tmp_path / "a.txt"), "python-docs"]


def test_names_of_sweeps_are_fit_and_used_once(add: Add) -> None:
    add(1e-2, sweep="mine")
    with pytest.raises(InputError, match=r"already a sweep 'mine'.*--resume mine"):
        add(1e-2, sweep="mine")
    with pytest.raises(InputError, match="cannot name a sweep"):
        add(1e-2, sweep="../up")


def test_adding_is_all_or_nothing(queue: Queue, make_config: MakeConfig) -> None:
    wish = Trial({}, make_config())
    unwritable = Trial({RATE: object()}, make_config())  # type: ignore[dict-item]
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
    assert taken_from(queue)[0].id == 3
    queue.clear()
    assert [one.id for one in queue.entries()] == [3, 2]
    assert len(queue.entries(cleared=True)) == len(queue.entries("sweep-1")) == 3
    queue.retry(1)
    assert [one.id for one in queue.entries()] == [1, 3, 2]


def test_what_makes_no_sense_is_refused_with_a_reason(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2)
    taken, _ = taken_from(queue)
    with pytest.raises(InputError, match="is running: only interrupted and waiting entries"):
        queue.cancel(taken.id)
    with pytest.raises(InputError, match="only waiting entries can be moved"):
        queue.move(taken.id, 1)
    with pytest.raises(InputError, match="only failed and cancelled entries"):
        queue.retry(2)
    with pytest.raises(InputError, match="no entry 7"):
        queue.cancel(7)
    queue.end(taken.id, EntryState.DONE)
    with pytest.raises(InputError, match="entry 1 is done"):
        queue.cancel(taken.id)


# ---- taking --------------------------------------------------------------------------------------


def test_runs_are_named_after_their_sweep_and_taken_in_order(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, sweep="lr")
    (queue.runs_dir / "lr-2").mkdir(parents=True)  # somebody's folder: its name is taken
    (first, one), (second, two) = taken_from(queue), taken_from(queue)
    assert isinstance(one, Start) and isinstance(two, Start)
    assert (one.name, two.name) == (first.run, second.run) == ("lr-1", "lr-3")
    assert one.config["optim"]["learning_rate"] == 1e-2
    assert queue.take() is None
    assert states(queue) == ["running", "running"]
    queue.end(first.id, EntryState.DONE)
    queue.end(second.id, EntryState.FAILED, "the text is too short")
    assert states(queue) == ["done", "failed"]
    assert queue.entries()[1].problem == "the text is too short"


def test_a_sweep_can_be_worked_off_by_itself(queue: Queue, add: Add) -> None:
    add(1e-2, sweep="one")
    add(2e-2, sweep="two")
    assert taken_from(queue, "two")[0].sweep == "two"
    assert queue.take("two") is None


def test_what_was_interrupted_goes_on_before_new_runs_begin(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, 3e-2)
    take_and_end(queue, EntryState.DONE)
    run = take_and_end(queue, EntryState.INTERRUPTED)
    queue.move(3, -5)
    assert states(queue) == ["done", "interrupted", "waiting"]
    entry, command = taken_from(queue)
    assert (entry.id, command) == (2, Open(str(run), running=True))


def test_what_was_interrupted_before_it_began_waits_as_before(queue: Queue, add: Add) -> None:
    add(1e-2)
    entry, _ = taken_from(queue)
    queue.end(entry.id, EntryState.INTERRUPTED)
    assert states(queue) == ["waiting"]
    assert isinstance(taken_from(queue)[1], Start)


def test_a_failed_entry_that_is_tried_again_goes_on_with_its_run(queue: Queue, add: Add) -> None:
    add(1e-2)
    run = take_and_end(queue, EntryState.FAILED)
    assert queue.take() is None
    queue.retry(1)
    assert taken_from(queue)[1] == Open(str(run), running=True)


def test_a_run_of_that_name_with_other_settings_is_somebody_elses(
    queue: Queue, add: Add, make_config: MakeConfig
) -> None:
    add(1e-2, sweep="lr")
    entry, _ = taken_from(queue)
    queue.end(entry.id, EntryState.INTERRUPTED)
    create_run(make_config(train__seed=5), queue.runs_dir, "lr-1")
    again, command = taken_from(queue)
    assert isinstance(command, Start)
    assert again.run == command.name == "lr-2"


def test_a_run_that_was_renamed_goes_on_under_its_new_name(queue: Queue, add: Add) -> None:
    add(1e-2)
    run = rename_run(take_and_end(queue, EntryState.INTERRUPTED), "better-name")
    (place,) = leaderboard(queue, queue.entries())
    assert place.run and place.run.name == "better-name"
    entry, command = taken_from(queue)
    assert (entry.run, command) == ("better-name", Open(str(run), running=True))


def test_a_run_that_was_deleted_begins_again(queue: Queue, add: Add) -> None:
    add(1e-2)
    shutil.rmtree(take_and_end(queue, EntryState.INTERRUPTED))
    entry, command = taken_from(queue)
    assert isinstance(command, Start)
    assert command.config == entry.settings


def test_a_run_that_is_trained_by_hand_is_left_alone(queue: Queue, add: Add) -> None:
    add(1e-2)
    lock = RunLock(take_and_end(queue, EntryState.INTERRUPTED))
    assert queue.take() is None
    lock.release()
    assert queue.take() is not None


def test_a_run_that_was_finished_by_hand_is_done(queue: Queue, add: Add, rig: Rig) -> None:
    add(1e-2)
    session = rig.open(take_and_end(queue, EntryState.INTERRUPTED))
    while session.advance():
        pass
    session.close(save=True)
    assert queue.take() is None
    assert states(queue) == ["done"]
    (place,) = leaderboard(queue, queue.entries())
    assert (place.rank, place.run and place.run.step) == (1, 20)


def test_no_entry_is_taken_twice_however_many_take(queue: Queue, add: Add) -> None:
    add(*(0.01 + i / 1000 for i in range(24)))

    programs = [Queue(queue.runs_dir) for _ in range(4)]  # which keep what they take

    def take_all(program: Queue) -> list[Entry]:
        return [taken[0] for taken in iter(program.take, None) if taken]

    with ThreadPoolExecutor(4) as pool:
        taken = [one for some in pool.map(take_all, programs) for one in some]
    assert sorted(one.id for one in taken) == list(range(1, 25))
    assert len({one.run for one in taken}) == 24


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
    assert sorted(one[0].id for one in freed if one) == sorted(shares[0])
    programs[1].communicate(timeout=10)


# ---- what can happen to the file -----------------------------------------------------------------


def test_a_change_that_is_cut_off_never_was(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2)
    script = (
        "import os, sys; from pathlib import Path; from engine.sweeps.queue import Queue\n"
        "with Queue(Path(sys.argv[1]))._open(write=True) as db:\n"
        "    db.execute('UPDATE entries SET state = \"done\" WHERE id = 1')\n"
        "    db.execute('DELETE FROM entries WHERE id = 2')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(queue.runs_dir)], timeout=60)
    assert done.returncode == -9
    assert states(queue) == ["waiting", "waiting"]


def test_a_damaged_queue_is_told_and_costs_no_run(queue: Queue, add: Add) -> None:
    add(1e-2)
    queue.path.write_bytes(b"not a database" * 1000)
    with pytest.raises(InputError, match=r"cannot be used .*moved away, the runs are not affected"):
        queue.entries()
    with pytest.raises(InputError, match="cannot be used"):
        add(2e-2)


@pytest.mark.parametrize("file", ["1.training", "1.training/lock"])
@pytest.mark.parametrize("kind", ["folder", "pipe", "link to the root", "noise"])
def test_an_entry_that_cannot_be_locked_costs_no_other(
    queue: Queue, add: Add, file: str, kind: str
) -> None:
    add(1e-2, 2e-2)
    Instead(file, kind).spoil(queue.path.parent)
    is_usable = (file, kind) in [("1.training", "folder"), ("1.training/lock", "noise")]
    assert [taken_from(queue)[0].id for _ in range(1 + is_usable)] == [1, 2][not is_usable :]
    if not is_usable:
        with pytest.raises(InputError, match=r"entry 1 cannot be trained .*: remove it: rm -r /"):
            queue.take()


def test_an_entry_that_another_program_holds_is_passed_over(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2)
    folder = queue.path.with_name("1.training")
    folder.mkdir()
    held = RunLock(folder)
    assert taken_from(queue)[0].id == 2
    assert queue.take() is None
    held.release()
    assert taken_from(queue)[0].id == 1


def test_an_entry_that_is_damaged_can_be_cleared_and_moves_no_other(queue: Queue, add: Add) -> None:
    add(1e-2, 2e-2, 3e-2, 4e-2)
    with closing(sqlite3.connect(queue.path)) as db, db:
        db.execute("UPDATE entries SET settings = '[' WHERE id = 2")
        db.execute("UPDATE entries SET position = x'00', cleared = 'x' WHERE id = 4")
    assert states(queue) == ["waiting", "failed", "waiting", "waiting"]
    queue.move(3, -1)
    assert [one.id for one in queue.entries()] == [3, 2, 1, 4]
    queue.clear()
    add(5e-2)
    assert [one.id for one in queue.entries()] == [3, 1, 4, 5]


def test_the_queue_of_another_version_is_left_alone(queue: Queue, add: Add) -> None:
    add(1e-2)
    db = sqlite3.connect(queue.path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="was written by another gpt-tui"):
        queue.take()


def test_a_folder_that_cannot_be_written_is_told(queue: Queue, add: Add) -> None:
    queue.runs_dir.mkdir()
    queue.path.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be used"):
        add(1e-2)


def test_settings_are_kept_as_in_config_toml(
    queue: Queue, add: Add, make_config: MakeConfig
) -> None:
    add(1e-2)
    db = sqlite3.connect(queue.path)
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
    queue.add([Trial(rate, wish.replace(rate)) for rate in rates], "gpt-tui sweep …", "")

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
    queue.add([Trial(rate, wish.replace(rate)) for rate in rates], "gpt-tui sweep …", "")
    first = begin(queue, rig)
    meta = first.files.database.meta()
    impossible = meta["runtime"] | {"resolved": meta["runtime"]["resolved"] | {"threads": 77}}
    first.files.database.set_meta(
        runtime=impossible, hardware=meta["hardware"] | {"cpu": "another one"}
    )
    first.close(save=True)
    assert begin(queue, rig).trainer.runtime.threads == 1


def test_a_run_is_compared_with_those_of_its_sweep_that_are_done(queue: Queue, add: Add) -> None:
    add(9e-2, sweep="other", rule=MedianRule())
    take_and_end(queue, EntryState.DONE)
    add(1e-2, 2e-2, 3e-2, 4e-2, sweep="lr", rule=MedianRule(2, 7))
    done = take_and_end(queue, EntryState.DONE, "lr")
    take_and_end(queue, EntryState.FAILED, "lr")
    make_run(taken_from(queue, "lr")[1])  # in training
    rule = PruningRule(2, 7, (str(done),))
    last, command = taken_from(queue, "lr")
    assert command.pruning_rule == rule
    run = make_run(command)
    queue.end(last.id, EntryState.INTERRUPTED)
    renamed = rename_run(done, "best")
    rule = replace(rule, rivals=(str(renamed),))
    assert taken_from(queue, "lr")[1] == Open(str(run), running=True, pruning_rule=rule)


def test_runs_without_a_sweep_have_no_rule(queue: Queue, add: Add) -> None:
    add(1e-2, sweep=None, rule=MedianRule())
    assert taken_from(queue)[1].pruning_rule is None


def begin(queue: Queue, rig: Rig) -> Session:
    """A session of the run whose turn it is, which then counts as trained."""
    entry, command = taken_from(queue)
    assert isinstance(command, Start)
    session = rig.start(command)
    queue.end(entry.id, EntryState.DONE)
    return session
