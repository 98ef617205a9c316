"""A run of a sweep that is held to the others: it ends as any other, says why, and may go on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from engine.protocol import Evaluate, PruningRule, Resume, Rewind, State, StateChanged, Step
from engine.runs.database import RunDatabase
from engine.runs.folder import create_run
from engine.runs.summary import read_summary
from engine.session.ending import PRUNED, read_evaluations
from engine.session.session import Session
from engine.training.trainer import Evaluation, Trainer
from tests.engine.conftest import MakeConfig, Rig, assert_same_bits, bits

WHY = (
    "stopped at step 8 of 20 by the median stopping rule: best validation loss 5.0000, median of "
    "3 other runs at that step 2.0000"
)

WINDOWS = 8  # that an evaluation takes: two batches
Contend = Callable[..., Session]
Trained = Callable[..., Path]


@pytest.fixture(autouse=True)
def evaluations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluations find 5 on the way, whole-split ones 4."""

    def quanta(
        trainer: Trainer, whole: bool = False, model: Any = None
    ) -> Generator[None, None, Evaluation]:
        yield
        return Evaluation(trainer.step, 4.0 if whole else 5.0, WINDOWS, WINDOWS if whole else 20)

    monkeypatch.setattr(Trainer, "evaluate_quanta", quanta)


@pytest.fixture
def trained(runs_dir: Path, make_config: MakeConfig) -> Trained:
    """Writes down a run that was evaluated every four steps and found the same each time."""

    def write(loss: float, batch_size: int = 4) -> Path:
        run = create_run(make_config(), runs_dir, None)
        database = RunDatabase(run / "run.db")
        measured = Evaluation(0, loss, WINDOWS, 20).measured_on(batch_size)
        for step in (4, 8, 12, 16):
            facts = {"val_loss": loss, "measured": measured, "scheduled": True}
            database.add_journal(0, step, "evaluated", facts)
        looked = {"val_loss": 0.1, "measured": measured, "scheduled": False}
        database.add_journal(0, 6, "evaluated", looked)
        database.close()
        return run

    return write


@pytest.fixture
def rivals(trained: Trained) -> list[Path]:
    """Three runs that were trained before."""
    return [trained(loss) for loss in (1.0, 2.0, 3.0)]


@pytest.fixture
def contend(rig: Rig, make_config: MakeConfig, rivals: list[Path]) -> Contend:
    """A run at 5 that is held to them from step 8 on."""

    def begin(*pruning_rule: Path) -> Session:
        return rig.new(make_config(eval__interval=4), pruning_rule=terms(*(pruning_rule or rivals)))

    return begin


def terms(*rivals: Path) -> PruningRule:
    return PruningRule(after_runs=3, after_steps=7, rivals=tuple(map(str, rivals)))


def test_it_ends_at_an_evaluation_whole_saved_and_with_its_reason(
    rig: Rig, contend: Contend
) -> None:
    session = contend()
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 8)
    assert rig.said(StateChanged)[-1].message == WHY
    assert session.files.database.journal("finished")[-1]["step"] == 8
    summary = read_summary(rig.close(session))
    assert (summary.state, summary.step, summary.total_steps) == ("finished", 8, 20)
    assert (summary.best_val_loss, summary.val_measured) == (4.0, "whole split")
    assert summary.pruned == WHY


def test_without_others_to_be_held_to_it_is_trained_to_its_end(rig: Rig, contend: Contend) -> None:
    lone = contend(Path("no/such/run"))
    rig.rest(lone)
    assert (lone.trainer.step, lone.status.pruned) == (20, "")


@pytest.mark.parametrize("close", [Rig.close, Rig.crash])
def test_it_is_still_stopped_when_it_is_opened_to_be_looked_at(
    rig: Rig, contend: Contend, close: Callable[[Rig, Session], Path]
) -> None:
    session = contend()
    rig.rest(session)
    session = rig.open(close(rig, session), running=False)
    rig.rest(session)
    assert (session.status.state, session.trainer.step) == (State.FINISHED, 8)
    assert session.status.pruned == rig.said(StateChanged)[-1].message == WHY


def test_the_persons_wish_beats_the_rule_at_once_or_later(rig: Rig, contend: Contend) -> None:
    session = contend()
    rig.rest(session)
    rig.send(session, Step())
    assert "resume it to continue" in rig.events[-1].message  # type: ignore[attr-defined]
    rig.send(session, Resume())
    rig.rest(session)
    assert (session.status.state, session.trainer.step, session.status.pruned) == (
        State.FINISHED,
        20,
        "",
    )

    other = contend()
    rig.rest(other)
    other = rig.open(rig.close(other))
    assert other.status.state is State.RUNNING
    rig.rest(other)
    assert (other.trainer.step, read_summary(rig.close(other)).pruned) == (20, "")


def test_a_stopped_run_that_goes_on_ends_with_the_same_bits_as_one_left_alone(
    rig: Rig, contend: Contend
) -> None:
    alone, stopped = contend(Path("no/such/run")), contend()
    rig.rest(alone)
    rig.rest(stopped)
    again = rig.open(rig.close(stopped))
    rig.rest(again)
    assert_same_bits(bits(again), bits(alone))


def test_a_run_that_is_killed_is_judged_again_where_the_queue_opens_it(
    rig: Rig, contend: Contend, rivals: list[Path]
) -> None:
    session = contend()
    rig.to_step(session, 6)
    again = rig.open(rig.close(session), pruning_rule=terms(*rivals))
    rig.rest(again)
    assert (again.trainer.step, again.status.pruned) == (8, WHY)

    session = contend()  # this one is killed between the verdict and its end
    rig.until(session, lambda: session.status.pruned)
    rig.until(session, lambda: not session.saving.busy)
    again = rig.open(rig.crash(session), pruning_rule=terms(*rivals))
    rig.rest(again)
    assert (again.status.state, again.trainer.step, again.status.pruned) == (State.FINISHED, 8, WHY)


def test_going_back_from_the_stop_is_a_way_on(rig: Rig, contend: Contend) -> None:
    session = contend()
    rig.rest(session)
    rig.send(session, Rewind(4))
    rig.until(session, lambda: session.trainer.step == 4 and session.status.state is State.PAUSED)
    rig.rest(session)
    assert session.status.pruned == ""
    rig.send(session, Resume())
    rig.rest(session)  # the rule holds on the new way, too: nobody has overruled it
    assert (session.trainer.step, session.status.pruned) == (8, WHY)


def test_who_looks_in_between_is_no_evaluation(rig: Rig, contend: Contend) -> None:
    session = contend()
    rig.until(session, lambda: session.trainer.step == 7)
    rig.send(session, Evaluate())
    rig.rest(session)
    assert session.trainer.step == 8
    assert [entry["step"] for entry in session.files.database.journal(PRUNED)] == [8]


def test_rivals_that_are_gone_damaged_or_measured_otherwise_are_left_out(
    rig: Rig, contend: Contend, rivals: list[Path], trained: Trained
) -> None:
    found = read_evaluations(rivals[0])
    assert {step: one.loss for step, one in found.items()} == {4: 1.0, 8: 1.0, 12: 1.0, 16: 1.0}
    (rivals[0] / "run.db").write_bytes(b"no database" * 1000)
    assert read_evaluations(rivals[0]) == {}
    whole = contend()
    rig.rest(whole)
    assert whole.trainer.step == 20  # two are too few
    shutil.rmtree(rivals[1])
    assert read_evaluations(rivals[1]) == {}

    left = contend(rivals[2], whole.files.path, trained(1.0, batch_size=1))
    rig.rest(left)
    assert left.trainer.step == 20
    rig.rest(stopped := contend(rivals[2], whole.files.path, trained(1.0)))
    assert stopped.trainer.step == 8
