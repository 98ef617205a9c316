"""The loop in its thread: prompt, answering, and alive whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec import structs

from engine.protocol import (
    Adjust,
    Adjusted,
    Command,
    CoolDown,
    EndLearningRateFinder,
    Evaluate,
    Evaluated,
    Event,
    Failed,
    FindLearningRate,
    Fork,
    Forked,
    LearningRateFound,
    Open,
    Pause,
    Pin,
    Pinned,
    Refused,
    Resume,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    SampleFinished,
    SampleStarted,
    Save,
    Saved,
    Silence,
    Silenced,
    Start,
    State,
    StateChanged,
    Step,
    Stop,
    Unsilence,
    Unsilenced,
)
from engine.runs.database import RunDatabase
from engine.runs.folder import is_locked
from engine.session.elsewhere import Elsewhere
from engine.session.worker import EngineLoop
from engine.training import trainer as trainer_module
from tests.engine.conftest import MakeConfig

E = TypeVar("E", bound=Event)


def _answers(command: Command, event: Event) -> bool:
    return event.request_id == command.request_id


class Talk:
    """A thread engine, and a way to wait for what it says."""

    def __init__(
        self, runs_dir: Path, serves: bool = False, elsewhere: Elsewhere | None = None
    ) -> None:
        self.runs_dir = runs_dir
        self.events: list[Event] = []
        self._said = threading.Condition()
        self.engine = EngineLoop(self._hear, serves=serves, elsewhere=elsewhere)
        self.engine.start()

    def _hear(self, event: Event) -> None:
        with self._said:
            self.events.append(event)
            self._said.notify_all()

    def ask(
        self,
        command: Command,
        kind: type[E],
        matching: Callable[[E], bool] = lambda event: True,
        within: float = 60.0,
    ) -> E:
        """Send a command; wait for the first matching event after it."""
        with self._said:
            seen = len(self.events)
            self.engine.send(command)

            def answer() -> E | None:
                later = [event for event in self.events[seen:] if isinstance(event, kind)]
                return next(filter(matching, later), None)

            assert self._said.wait_for(lambda: answer() is not None, within), (
                f"no {kind.__name__} after {command}: {self.events[seen:]}"
            )
            found = answer()
        assert found is not None
        return found

    def wait(self, kind: type[E], matching: Callable[[E], bool]) -> None:
        """Wait until the engine has said something."""

        def has_said() -> bool:
            return any(matching(one) for one in self.events if isinstance(one, kind))

        with self._said:
            assert self._said.wait_for(has_said, 60)

    def start(self, make_config: MakeConfig, **changes: Any) -> RunOpened:
        config = make_config(**changes).to_dict()
        return self.ask(Start(config, str(self.runs_dir), command_line="test"), RunOpened)

    def state(self, command: Command, state: State) -> StateChanged:
        """Send a command; wait until the engine says that it is in a state."""
        return self.ask(command, StateChanged, lambda event: event.state is state)


@pytest.fixture
def talk(runs_dir: Path) -> Iterator[Talk]:
    talk = Talk(runs_dir)
    yield talk
    assert talk.engine.join(30)


LONG_STEP: dict[str, Any] = {"train__grad_accum_steps": 60_000, "train__max_steps": 1000}


def test_each_command_is_answered_by_its_event(talk: Talk, make_config: MakeConfig) -> None:
    opened = talk.start(make_config, train__max_steps=100_000)
    assert talk.state(Pause(), State.PAUSED)
    assert talk.state(Step(), State.PAUSED)
    assert talk.ask(Adjust({"optim.beta1": 0.8}), Adjusted).changes == {"optim.beta1": [0.9, 0.8]}
    number = talk.ask(Sample({"max_tokens": 4}), SampleStarted, lambda e: not e.automatic).sample
    assert talk.ask(Evaluate(), Evaluated).measured
    assert talk.ask(Save(), Saved).step == talk.engine.status.step
    assert talk.state(Resume(), State.RUNNING)
    assert talk.ask(Adjust({"optim.beta1": 0.7}), Adjusted)
    assert talk.ask(Adjust({"optim.beta1": 7}), Refused).command == "Adjust"
    assert talk.state(Stop(), State.STOPPED)
    assert any(isinstance(e, SampleFinished) and e.sample == number for e in talk.events)
    kinds = [e["kind"] for e in RunDatabase(Path(opened.path) / "run.db", True).journal()]
    for kind in ("started", "paused", "adjusted", "sampled", "evaluated", "saved", "resumed"):
        assert kind in kinds


def test_each_answer_carries_the_id_of_its_request(talk: Talk, make_config: MakeConfig) -> None:
    config = make_config(train__max_steps=100_000, optim__schedule="constant").to_dict()
    asked: list[tuple[Command, type[Event]]] = [
        (Start(config, str(talk.runs_dir)), RunOpened),
        (Pause(), StateChanged),
        (Step(), StateChanged),
        (Adjust({"optim.beta1": 0.8}), Adjusted),
        (Adjust({"sample.seed": 3}), Adjusted),
        (Sample({"max_tokens": 4}), SampleStarted),
        (Sample({"prompt": "☃"}), Refused),
        (Evaluate(), Evaluated),
        (Step(), StateChanged),
        (Save(), Saved),
        (Save(), Saved),  # nothing new: it says so again
        (Pin(2), Pinned),
        (Fork(step=1), Forked),
        (Fork(), Forked),
        (Fork({"model.n_layer": 7}), Refused),
        (Rewind(9), Refused),
        (Rewind(1), Rewound),
        (CoolDown(), Adjusted),
        (Silence("spike"), Silenced),
        (Unsilence(), Unsilenced),
        (Unsilence(), Refused),
        (FindLearningRate(config), LearningRateFound),
        (EndLearningRateFinder(), LearningRateFound),
        (Resume(), StateChanged),
        (Stop(), StateChanged),
        (Stop(), StateChanged),
        (Resume(), Refused),
    ]
    for request_id, (command, kind) in enumerate(asked, 1):
        sent = structs.replace(command, request_id=request_id)
        talk.ask(sent, kind, partial(_answers, sent))


def test_pause_sample_and_stop_are_prompt_although_a_step_takes_minutes(
    talk: Talk, make_config: MakeConfig
) -> None:
    talk.start(make_config, **LONG_STEP)
    talk.ask(Sample({"max_tokens": 2}), SampleStarted, lambda e: not e.automatic)  # under way

    def seconds(command: Command, kind: type[Event], matching: Callable[[Any], bool]) -> float:
        start = time.perf_counter()
        talk.ask(command, kind, matching)
        return time.perf_counter() - start

    took = {
        "sample": seconds(Sample({"max_tokens": 5}), SampleStarted, lambda e: not e.automatic),
        "pause": seconds(Pause(), StateChanged, lambda e: e.state is State.PAUSED),
        "sample while paused": seconds(Sample(), SampleStarted, lambda e: not e.automatic),
        "resume": seconds(Resume(), StateChanged, lambda e: e.state is State.RUNNING),
        "stop": seconds(Stop(), StateChanged, lambda e: e.state is State.STOPPED),
    }
    assert talk.engine.status.step == 0
    assert max(took.values()) < 10.0, took  # seconds; what waits for a step waits for minutes


def test_training_goes_on_while_a_long_sample_streams(talk: Talk, make_config: MakeConfig) -> None:
    talk.start(make_config, train__max_steps=10**6)
    talk.ask(Sample({"max_tokens": 10**6}), SampleStarted, lambda e: not e.automatic)
    step = talk.engine.status.step
    talk.ask(Adjust({"eval.interval": step + 50}), Adjusted)
    evaluated = talk.ask(Adjust({}), Evaluated)
    assert evaluated.step == step + 50


def test_only_a_run_can_be_paused(talk: Talk) -> None:
    assert talk.ask(Pause(), Refused) == Refused("Pause", "there is no run open: start one first")
    assert talk.ask(Stop(), StateChanged) == StateChanged(State.IDLE)


def test_a_start_that_cannot_be_is_refused_and_leaves_no_folder(
    talk: Talk, make_config: MakeConfig, tmp_path: Path
) -> None:
    short = tmp_path / "short.txt"
    short.write_text("too short")
    config = make_config().to_dict()
    for section, name, value, why in (
        ("data", "corpus", str(short), "too short"),
        ("data", "corpus", str(tmp_path / "absent.txt"), "does not exist"),
        ("train", "batch_size", 0, "train.batch_size must be"),
        ("sample", "prompt", "☃", "☃"),
    ):
        wrong = config | {section: config[section] | {name: value}}
        answer = talk.ask(Start(wrong, str(talk.runs_dir)), Refused)
        assert why in answer.message
        assert not list(talk.runs_dir.glob("*"))
    assert talk.engine.status.state is State.IDLE
    talk.start(make_config)


def test_a_new_run_saves_and_closes_the_old_one(talk: Talk, make_config: MakeConfig) -> None:
    old = talk.start(make_config, train__max_steps=10**6)
    talk.state(Pause(), State.PAUSED)
    talk.state(Step(), State.PAUSED)
    step = talk.engine.status.step
    new = talk.start(make_config)
    assert new.path != old.path
    assert not is_locked(Path(old.path)) and is_locked(Path(new.path))
    again = talk.ask(Open(old.path, running=False), RunOpened)
    assert (again.step, again.saved_step) == (step, step) and step > 0


def test_a_run_that_is_open_elsewhere_is_refused(
    talk: Talk, runs_dir: Path, make_config: MakeConfig
) -> None:
    path = talk.start(make_config).path
    other = Talk(runs_dir)
    assert "being trained by another program" in other.ask(Open(path), Refused).message
    assert other.engine.join(10)


def test_a_stop_sent_after_a_start_calls_it_off_even_before_it_is_looked_at(
    runs_dir: Path, make_config: MakeConfig
) -> None:
    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, Refused | RunOpened):
            loop.end()

    loop = EngineLoop(hear)
    loop.send(Start(make_config().to_dict(), str(runs_dir)))
    loop.send(Stop())
    loop.run()
    assert Refused("Start", "cancelled") in events
    assert not any(isinstance(event, RunOpened) for event in events)
    assert not list(runs_dir.glob("*"))


def test_a_failure_is_told_and_the_loop_lives_on(
    talk: Talk, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = talk.start(make_config, train__max_steps=10**6).path
    saved = talk.ask(Adjust({"eval.interval": 5}), Saved, lambda event: event.step > 0)

    def broken(*_: Any) -> Any:
        raise RuntimeError("a kernel that does not exist")

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Trainer, "_update", broken)
        failed = talk.ask(Adjust({}), Failed)
    assert "a kernel that does not exist" in failed.message
    assert "Traceback" in failed.detail and "_update" in failed.detail
    assert talk.ask(Pause(), Refused)
    assert talk.engine.status.state is State.FAILED
    assert "a kernel that does not exist" in (Path(path) / "log.txt").read_text()
    assert RunDatabase(Path(path) / "run.db", True).meta()["summary"]["state"] == "failed"
    assert not is_locked(Path(path))
    assert talk.ask(Open(path, running=False), RunOpened).step >= saved.step


def test_a_failure_that_cannot_even_be_recorded_gives_the_run_free(
    talk: Talk, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = talk.start(make_config, train__max_steps=10**6).path

    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        for name in ("add_metrics", "set_meta", "add_journal"):
            patch.setattr(RunDatabase, name, full)
        failed = talk.ask(Pause(), Failed)
        assert "the disk is full" in failed.message
        talk.ask(Pause(), Refused)
    assert not is_locked(Path(path))


def test_ending_the_loop_saves_what_was_trained(runs_dir: Path, make_config: MakeConfig) -> None:
    talk = Talk(runs_dir)
    path = Path(talk.start(make_config, train__max_steps=10**6).path)
    talk.ask(Adjust({"eval.interval": 20}), Evaluated)
    assert talk.engine.join(30)
    step = talk.engine.status.step
    assert step >= 20
    assert (path / "checkpoints" / "latest").read_text() == f"step-{step:08d}\n"
    assert sorted(one.name for one in path.iterdir()) == [
        "checkpoints",
        "config.toml",
        "lock",
        "run.db",
        "tokenizer.json",
    ]


def test_the_status_never_goes_back_while_a_run_closes(talk: Talk, make_config: MakeConfig) -> None:
    talk.start(make_config, train__max_steps=10**6)
    seen: list[State] = []

    def hear(event: Event) -> None:
        seen.append(talk.engine.status.state)
        talk._hear(event)

    talk.engine._to_owner = hear
    talk.state(Stop(), State.STOPPED)
    assert State.PREPARING not in seen


def test_a_stop_calls_off_the_measuring_of_what_is_fastest(
    runs_dir: Path, make_config: MakeConfig
) -> None:
    events: list[Event] = []

    def hear(event: Event) -> None:
        events.append(event)
        if isinstance(event, StateChanged) and "(1 of " in event.message:
            loop.send(Stop())
            loop.end()

    loop = EngineLoop(hear)
    config = make_config(system__precision="auto", system__threads=0, system__micro_batch_size=0)
    loop.send(Start(config.to_dict(), str(runs_dir)))
    loop.run()
    assert Refused("Start", "cancelled") in events
    assert not any("(2 of " in e.message for e in events if isinstance(e, StateChanged))
    assert list(runs_dir.iterdir()) == []
