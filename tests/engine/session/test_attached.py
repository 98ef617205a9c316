"""A run that is trained elsewhere, controlled from here: as if it were trained here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from engine.protocol import (
    Adjust,
    Adjusted,
    Evaluate,
    Evaluated,
    Inspect,
    Inspected,
    Open,
    Pause,
    Refused,
    Resume,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    SampleFinished,
    SampleStarted,
    SampleText,
    Save,
    Saved,
    State,
    StateChanged,
    Step,
    Stop,
    Warned,
)
from engine.remote import server
from engine.remote.address import read_address
from engine.remote.client import Connection, Unreachable
from engine.remote.packing import pack
from engine.runs.database import RunDatabase
from engine.runs.folder import DATABASE_FILE, is_locked
from engine.session.attached import Attached
from engine.session.session import Session
from tests.cli.conftest import until
from tests.engine.conftest import MakeConfig, assert_same_bits, weights
from tests.engine.session.test_worker import Talk

Serve = Callable[..., tuple[Talk, Talk, Path]]


pytestmark = pytest.mark.usefixtures("sockets")


@pytest.fixture
def serve(runs_dir: Path, make_config: MakeConfig) -> Iterator[Serve]:
    """An engine that serves a run, and another one that is attached to it."""
    both: list[Talk] = []

    def start(**changes: Any) -> tuple[Talk, Talk, Path]:
        trains, looks = Talk(runs_dir, serves=True), Talk(runs_dir)
        both.extend((trains, looks))
        run = Path(trains.start(make_config, **{"train__max_steps": 10**6, **changes}).path)
        opened = looks.ask(Open(str(run), watch=True, request_id=1), RunOpened)
        assert opened.attached and not opened.watching and opened.request_id == 1
        return trains, looks, run

    yield start
    for one in reversed(both):
        assert one.engine.join(30)


def test_each_command_is_answered_as_if_it_were_trained_here(serve: Serve) -> None:
    trains, looks, _ = serve()
    assert looks.state(Pause(request_id=2), State.PAUSED).request_id == 2
    assert trains.engine.status.state is State.PAUSED
    step = trains.engine.status.step
    assert looks.engine.status.step == step  # the status comes before the event
    assert looks.ask(Step(request_id=3), StateChanged, lambda e: e.request_id == 3).step == step + 1
    adjusted = looks.ask(Adjust({"optim.beta1": 0.8}, request_id=4), Adjusted)
    assert adjusted.changes == {"optim.beta1": [0.9, 0.8]}
    assert looks.ask(Evaluate(whole=True), Evaluated).measured == "whole split"
    saved = looks.ask(Save(), Saved)
    assert Path(saved.path).is_dir()
    started = looks.ask(Sample({"max_tokens": 5}), SampleStarted, lambda e: not e.automatic)
    looks.wait(SampleFinished, lambda event: event.sample == started.sample)
    texts = [e for e in looks.events if isinstance(e, SampleText) and e.sample == started.sample]
    assert sum(len(one.text) for one in texts) == 5
    assert looks.ask(Rewind(0), Rewound).step == 0
    refused = looks.ask(Adjust({"model.n_layer": 3}, request_id=9), Refused)
    assert refused.request_id == 9 and "n_layer" in refused.message
    assert looks.state(Resume(), State.RUNNING)
    assert not [e for e in looks.events if isinstance(e, Warned) and "read-only" in e.message]


def test_the_curves_and_marks_are_those_of_the_engine(serve: Serve) -> None:
    trains, looks, _ = serve(eval__interval=5)
    looks.state(Pause(), State.PAUSED)
    looks.ask(Adjust({"optim.learning_rate": 0.01}), Adjusted)
    looks.ask(Step(request_id=5), StateChanged, lambda event: event.request_id == 5)
    # after the one that is due, if any: nothing is under way then
    looks.ask(Evaluate(request_id=6), Evaluated, lambda event: event.request_id == 6)
    ours, theirs = looks.engine.metrics, trains.engine.metrics
    curves = {name: theirs.column(name).snapshot()[1] for name in theirs.names()}
    assert "train_loss" in curves and "val_loss" in curves
    got = {name: ours.column(name).snapshot()[1] for name in ours.names()}
    by_step = ("train_loss", "val_loss", "grad_norm")
    assert_same_bits({k: curves[k] for k in by_step}, {k: got[k] for k in by_step})
    assert [mark.label for mark in ours.marks] == [mark.label for mark in theirs.marks]
    assert ours.references == theirs.references


def test_the_inside_of_the_live_weights_is_looked_into(serve: Serve) -> None:
    trains, looks, _ = serve()
    looks.state(Pause(), State.PAUSED)
    step = trains.engine.status.step
    place: dict[str, Any] = {"layer": 1, "head": 1, "query": 3, "key": 2, "also": (1,)}
    place["off"] = ((0, "attention"), (1, 0))
    for number, view in enumerate(["attention", "steps", "prediction", "layers", "embeddings"], 1):
        ask = Inspect(view, options=place, request_id=number)
        there = looks.ask(ask, Inspected, lambda event: event.share == 1)
        own = trains.ask(ask, Inspected, lambda event: event.share == 1)
        assert there.step == own.step == step and there.request_id == number
        assert pack(there.found) == pack(own.found)
        assert (there.ids, there.tokens) == (own.ids, own.tokens)
        if view == "embeddings":  # the next map is turned as this one
            place["like"] = there.found.projection
    refused = looks.ask(Inspect("layers", "", request_id=9), Refused)
    assert "no text to look at" in refused.message and refused.request_id == 9
    assert not [e for e in trains.events if isinstance(e, Refused)]  # it concerns who asked


def test_a_newer_question_of_another_client_replaces_none(serve: Serve) -> None:
    trains, looks, run = serve()
    third = Talk(looks.runs_dir)
    third.ask(Open(str(run), watch=True), RunOpened)
    trains.state(Pause(), State.PAUSED)
    asked = (trains, looks, third)
    for number, one in enumerate(asked, 1):
        one.engine.send(Inspect("heads", request_id=number))
    for number, one in enumerate(asked, 1):
        one.wait(Inspected, lambda e, n=number: e.share == 1 and e.request_id == n)  # type: ignore[misc]
    assert third.engine.join(30)


def test_leaving_leaves_it_in_training_and_the_journal_says_who_came(serve: Serve) -> None:
    trains, looks, run = serve()
    looks.ask(Adjust({"optim.beta1": 0.8}), Adjusted)
    assert looks.state(Stop(), State.STOPPED)
    assert trains.engine.status.state is State.RUNNING
    assert looks.ask(Open(str(run), watch=True), RunOpened).attached  # and comes back
    trains.state(Pause(), State.PAUSED)
    with closing(RunDatabase(run / DATABASE_FILE, read_only=True)) as database:
        (entry,) = database.journal("command")
    assert entry["detail"]["name"] == "Adjust"
    assert "(process " in entry["detail"]["by"]


def test_once_the_engine_has_ended_the_run_is_viewed(serve: Serve) -> None:
    trains, looks, run = serve()
    trains.state(Stop(), State.STOPPED)
    ended = "and saved: it can be continued here"
    looks.wait(Warned, lambda event: ended in event.message)
    assert "open it here" in looks.ask(Pause(request_id=5), Refused).message
    opened = looks.ask(Open(str(run), running=False, watch=True), RunOpened)
    assert not opened.attached and not opened.watching


def test_who_is_left_is_attached_to_the_next_process_that_trains_the_run(serve: Serve) -> None:
    trains, looks, run = serve()
    trains.state(Stop(), State.STOPPED)
    looks.wait(StateChanged, lambda event: event.state is State.STOPPED)
    before = len([one for one in looks.events if isinstance(one, RunOpened)])
    next_one = Talk(looks.runs_dir, serves=True)
    next_one.ask(Open(str(run), running=True), RunOpened)

    def again() -> bool:
        opened = [one for one in looks.events if isinstance(one, RunOpened)]
        return len(opened) > before + 1 and bool(opened[-1].attached)

    looks.wait(RunOpened, lambda event: again())
    assert looks.state(Pause(), State.PAUSED)
    assert next_one.engine.status.state is State.PAUSED
    assert next_one.engine.join(30)


def test_who_only_watches_never_trains_the_run(serve: Serve) -> None:
    trains, looks, run = serve()
    watches = Open(str(run), running=True, watch=True, role="watch", request_id=4)
    assert looks.ask(watches, RunOpened).attached
    assert "only watched" in looks.ask(Pause(request_id=5), Refused).message
    trains.state(Stop(), State.STOPPED)
    # not the one that says that the engine has ended
    opened = looks.ask(watches, RunOpened, lambda one: one.request_id == 4)
    assert opened.watching and "--watch" in opened.missing
    assert "--watch" in looks.ask(Pause(request_id=6), Refused).message
    assert not is_locked(run)


def test_while_lost_processes_are_started_again_nobody_takes_the_run_from_them(
    serve: Serve,
) -> None:
    trains, looks, run = serve()
    session = looks.engine._session
    assert isinstance(session, Attached) and session._welcome and session._connection
    runtime = {**session._welcome.opened.runtime, "processes": 2}
    opened = structs.replace(session._welcome.opened, runtime=runtime)
    session._welcome = structs.replace(session._welcome, opened=opened)
    connect, started = session._again, threading.Event()
    assert connect

    def again() -> Connection:
        if not started.is_set():
            raise Unreachable("not yet")
        return connect()

    session._again = again
    session._connection.close()  # as when process 0 is killed: it says nothing
    looks.wait(Warned, lambda event: "all 2 are started again" in event.message)
    refused = looks.ask(Open(str(run), running=True, request_id=8), Refused)
    assert "started again: wait" in refused.message
    looks.events.clear()
    started.set()
    looks.wait(RunOpened, lambda event: bool(event.attached))
    assert looks.state(Pause(), State.PAUSED)
    assert trains.engine.status.state is State.PAUSED


def test_several_processes_that_were_stopped_are_not_expected_again(serve: Serve) -> None:
    trains, looks, _ = serve()
    session = looks.engine._session
    assert isinstance(session, Attached) and session._welcome
    runtime = {**session._welcome.opened.runtime, "processes": 2}
    opened = structs.replace(session._welcome.opened, runtime=runtime)
    session._welcome = structs.replace(session._welcome, opened=opened)
    trains.state(Stop(), State.STOPPED)
    looks.wait(RunOpened, lambda event: event.watching)
    assert not session.restarts


def test_a_socket_that_was_removed_is_made_again(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)
    _, looks, run = serve()
    address = read_address(run)
    assert address
    Path(address.socket).unlink()
    until(Path(address.socket).exists)
    third = Talk(looks.runs_dir)
    assert third.ask(Open(str(run), watch=True), RunOpened).attached
    assert looks.state(Pause(), State.PAUSED)  # who was connected is not disturbed
    assert third.engine.join(30)


def test_a_run_that_is_served_keeps_its_bits(
    serve: Serve, runs_dir: Path, make_config: MakeConfig
) -> None:
    alone = Talk(runs_dir)
    alone.start(make_config, train__max_steps=40, model__dropout=0.1)
    alone.wait(StateChanged, lambda event: event.state is State.FINISHED)
    trains, looks, _ = serve(train__max_steps=40, model__dropout=0.1)
    looks.engine.send(Pause())
    looks.engine.send(Evaluate())
    looks.engine.send(Resume())
    trains.wait(StateChanged, lambda event: event.state is State.FINISHED)
    sessions = [one.engine._session for one in (alone, trains)]
    first, second = (one.trainer for one in sessions if isinstance(one, Session))
    assert_same_bits(weights(first.model), weights(second.model))
    assert isinstance(looks.engine._session, Attached)
    assert alone.engine.join(30)
