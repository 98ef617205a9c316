"""A run that another program trains, watched: all it does is seen, and nothing of it is changed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypeVar

import pytest

from data.errors import InputError
from engine.metrics import MetricStore
from engine.protocol import (
    Adjust,
    Adjusted,
    Advised,
    Evaluated,
    Event,
    Open,
    Pause,
    Refused,
    Resume,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    SampleFinished,
    SampleText,
    State,
    StateChanged,
    Warned,
)
from engine.runs.database import RunDatabase, Unreadable
from engine.session.session import Session
from engine.session.viewer import Viewer
from engine.session.worker import EngineLoop
from tests.engine.conftest import MakeConfig, Rig

E = TypeVar("E", bound=Event)


class Watcher:
    """Someone who watches."""

    def __init__(self, path: Path) -> None:
        self.events: list[Event] = []
        self.metrics = MetricStore()
        self.viewing = Viewer(path, self.metrics, self.events.append)
        self.viewing.open(running=False)

    def said(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    def steps(self, name: str = "train_loss") -> list[int]:
        steps: list[int] = self.metrics.column(name).snapshot()[0].tolist()
        return steps


def write_down(session: Session) -> None:
    session.outlet.flush()


def test_what_the_other_program_does_is_seen_and_no_byte_is_written(
    rig: Rig, make_config: MakeConfig
) -> None:
    small = {"model__n_layer": 1, "train__batch_size": 1}
    session = rig.new(make_config(**small, eval__interval=200, train__max_steps=5000))
    rig.to_step(session, 7)
    session.handle(Adjust({"optim.learning_rate": 5e-3}))
    rig.to_step(session, 8)
    write_down(session)
    watcher, known = Watcher(session.files.path), len(session.files.database.samples())
    opened = watcher.events[0]
    assert isinstance(opened, RunOpened)
    assert (opened.step, opened.total_steps) == (8, 5000)
    assert opened.config["optim"]["learning_rate"] == 5e-3
    status = watcher.viewing.status
    assert status.state is State.RUNNING
    assert watcher.steps() == list(range(1, 9))
    rig.to_step(session, 1100)  # past the first packed stretch
    session.handle(Adjust({"optim.learning_rate": 4e-3}))
    rig.to_step(session, 1101)
    session.handle(Pause())
    rig.rest(session)
    files = {
        path: path.read_bytes()
        for path in session.files.path.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")  # SQLite's note of who reads
    }
    assert watcher.viewing.advance() is False
    assert {p: p.read_bytes() for p in files} == files
    step = session.trainer.step
    assert watcher.viewing.status.step == step
    assert watcher.viewing.status.state is State.PAUSED
    assert watcher.steps() == list(range(1, step + 1))
    losses = session.recorder.metrics.column("train_loss").snapshot()[1]
    assert watcher.metrics.column("train_loss").snapshot()[1].tolist() == losses.tolist()
    assert [event.step for event in watcher.said(Evaluated)] == list(range(200, step + 1, 200))
    (adjusted,) = watcher.said(Adjusted)
    assert adjusted.changes == {"optim.learning_rate": [5e-3, 4e-3]}
    texts = [one["text"] for one in session.files.database.samples()]
    assert "".join(event.text for event in watcher.said(SampleText)) == "".join(texts[known:])
    assert len(watcher.said(SampleFinished)) == len(texts) - known


def test_advice_is_seen_here_and_acted_on_there(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=5000))
    rig.to_step(session, 3)
    write_down(session)
    watcher = Watcher(session.files.path)
    session._advisor.tell_non_finite(4, "gradient")
    write_down(session)
    watcher.viewing.advance()
    (told,) = rig.said(Advised)
    assert told.message in [event.message for event in watcher.said(Warned)]


def test_a_look_after_a_look_shows_nothing_twice(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=5000))
    rig.to_step(session, 3)
    write_down(session)
    watcher = Watcher(session.files.path)
    for step in (4, 9, 30):
        rig.to_step(session, step)
        write_down(session)
        watcher.viewing.advance()
        watcher.viewing.advance()
        assert watcher.steps() == list(range(1, step + 1))


def test_going_back_over_there_is_going_back_here(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(train__max_steps=5000))
    rig.to_step(session, 20)
    write_down(session)
    watcher = Watcher(session.files.path)
    session.handle(Rewind(12))
    rig.rest(session)
    session.handle(Resume())
    rig.to_step(session, 15)
    write_down(session)
    watcher.viewing.advance()
    assert watcher.steps() == list(range(1, 16))
    (rewound,) = watcher.said(Rewound)
    assert (rewound.step, rewound.left_at, rewound.branch) == (12, 20, 1)
    assert [ghost.last_step for ghost in watcher.metrics.ghosts("train_loss")] == [20]


def test_the_settings_are_those_in_force_where_the_run_went_back_to(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=5000))
    for step, rate in ((5, 4e-3), (15, 5e-3)):
        rig.to_step(session, step)
        session.handle(Adjust({"optim.learning_rate": rate, "sample.temperature": 100 * rate}))
    rig.to_step(session, 20)
    write_down(session)
    watcher = Watcher(session.files.path)
    session.handle(Rewind(12))
    rig.rest(session)
    there = session.trainer.config.to_dict()
    session.handle(Adjust({"optim.learning_rate": 1e-3}))
    rig.rest(session)
    write_down(session)
    watcher.viewing.advance()
    (rewound,) = watcher.said(Rewound)
    assert isinstance(rewound, Rewound)
    assert rewound.config["optim"] == there["optim"]
    assert rewound.config["sample"] == there["sample"]
    assert there["optim"]["learning_rate"] == 4e-3
    opened = Watcher(session.files.path).events[0]  # somebody who looks only now
    assert isinstance(opened, RunOpened)
    assert opened.config["optim"]["learning_rate"] == 1e-3
    assert opened.config["sample"]["temperature"] == 0.4


@pytest.mark.parametrize("command", [Pause(), Adjust({"optim.beta1": 0.8}), Sample(), Rewind(1)])
def test_what_would_change_the_run_is_refused(
    rig: Rig, make_config: MakeConfig, command: Pause | Adjust | Sample | Rewind
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    write_down(session)
    watcher = Watcher(session.files.path)
    watcher.viewing.handle(command)
    refused = watcher.events[-1]
    assert isinstance(refused, Refused) and refused.command == type(command).__name__
    assert "another program trains this run" in refused.message


def test_when_the_other_program_is_gone_the_run_can_be_taken_over(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    write_down(session)
    watcher = Watcher(session.files.path)
    rig.crash(session)
    watcher.viewing.advance()
    assert watcher.viewing.status.state is State.STOPPED
    warned = watcher.events[-1]
    assert (
        isinstance(warned, Warned)
        and "has ended: it can be opened and continued here" in warned.message
    )


@pytest.mark.parametrize("moved", [False, True])
def test_a_folder_that_is_gone_is_told_and_nothing_that_does_not_help_is_advised(
    rig: Rig, make_config: MakeConfig, moved: bool
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    write_down(session)
    path = session.files.path
    watcher = Watcher(path)
    path.rename(path.with_name("elsewhere")) if moved else shutil.rmtree(path)
    for _ in range(2):
        watcher.viewing.advance()
    (told,) = watcher.said(Warned)[1:]
    assert told.message == (
        f"the run's folder {path} is gone, as it was moved or deleted: open the run where it is "
        f"now, or another one"
    )
    assert watcher.viewing.status.state is State.STOPPED
    watcher.viewing.handle(Sample())
    assert watcher.said(Refused)[-1].message == told.message
    assert watcher.steps() == [1, 2, 3], "what was read is still shown"
    with pytest.raises(Unreadable, match="is gone, as it was moved or deleted: gpt-tui runs lists"):
        RunDatabase(path / "run.db", read_only=True)


def test_the_loop_watches_what_is_taken_only_if_it_is_asked_to(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    write_down(session)
    path = str(session.files.path)
    events: list[Event] = []
    loop = EngineLoop(events.append)
    loop.send(Open(path))
    loop.send(Open(path, running=False, watch=True))
    loop.send(Pause())
    loop.end()
    loop.run()
    refused = [event for event in events if isinstance(event, Refused)]
    assert [event.command for event in refused] == ["Open", "Pause"]
    assert "is being trained by another program" in refused[0].message
    assert any(isinstance(event, RunOpened) for event in events)
    assert isinstance(events[-1], StateChanged)


def test_a_run_that_is_just_being_made_is_not_there_yet(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(), running=False)
    session.files.database.set_meta(summary={})
    with pytest.raises(InputError, match="try again in a moment"):
        Viewer(_without_runtime(session), MetricStore(), lambda event: None)


def _without_runtime(session: Session) -> Path:
    import sqlite3

    with sqlite3.connect(session.files.path / "run.db") as raw:
        raw.execute("DELETE FROM meta WHERE key = 'runtime'")
    return session.files.path


def test_a_run_that_the_other_program_finished_stays_finished(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=6))
    rig.to_step(session, 3)
    write_down(session)
    watcher = Watcher(session.files.path)
    rig.rest(session)
    rig.close(session)
    watcher.viewing.advance()
    assert watcher.viewing.status.state is State.FINISHED
    warned = watcher.events[-1]
    assert isinstance(warned, Warned) and "the run is finished" in warned.message
