"""What is recorded besides losses: where the time goes, the machine, and what losses mean."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from engine.metric_catalogue import METRICS, family_of
from engine.protocol import Fork, Forked, Pause, Resume
from engine.runs.database import reading
from engine.session import monitor
from engine.session.monitor import bigram_loss
from engine.training import peak
from engine.training.peak import peak_flops
from engine.training.phases import Phases
from tests.engine.conftest import MakeConfig, MakeTrainer, Rig


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything is recorded at each step."""
    monkeypatch.setattr(monitor, "FIRST_SECONDS", 0.0)
    yield


def test_a_run_records_where_its_time_goes(always: None, rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(eval__interval=5, optim__grad_clip=1e-9))
    rig.to_step(session, 12)
    path = rig.close(session)
    with reading(path) as database:
        lineage = database.present_lineage()
        curves = {name: database.curve(name, lineage) for name in database.metric_names(0)}
        meta = database.meta()
    known = {name for name in curves if name in METRICS or family_of(name)}
    assert curves.keys() == known  # nothing without words
    for phase in ("data", "forward", "backward", "optimizer"):
        steps, seconds = curves[f"time_{phase}"]
        assert steps.tolist() == list(range(1, 13))
        assert (seconds > 0).all()
    evaluation = curves["time_evaluation"]
    spent = evaluation.steps[evaluation.values > 0]
    assert spent.tolist() == [6, 11]  # recorded with the step after it
    assert curves["clip_fraction"].values.tolist() == [1.0] * 12
    assert curves["tokens"].values.tolist() == [32.0 * step for step in range(1, 13)]
    assert (np.diff(curves["wall_time"].values) >= 0).all()
    assert (curves["mfu"].values > 0).all()
    assert meta["references"]["uniform_loss"] < math.log(100)


def test_the_peak_of_a_device_is_measured() -> None:
    assert 1e8 < peak_flops(torch.device("cpu"), "fp32") < 1e15


def test_where_a_large_product_would_take_long_the_peak_is_that_of_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds: list[float] = []

    def slow(device: torch.device, precision: str, side: int) -> float:
        seconds.append(2.0 * side**3 / 1e9)
        return seconds[-1]

    monkeypatch.setattr(peak, "_seconds", slow)
    assert peak_flops(torch.device("cpu"), "bf16") == pytest.approx(1e9)
    assert sum(seconds) < 0.2


def test_the_time_of_a_pause_is_no_part_of_a_step(
    always: None, rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    session.handle(Pause())
    session.run_state.phases._since -= 3600.0  # an hour goes by
    session.handle(Resume())
    rig.to_step(session, 4)
    assert max(session.recorder.metrics.column("time_other").snapshot()[1]) < 60


def test_what_is_trained_again_for_a_fork_is_no_part_of_a_step(
    always: None, rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 4)
    session.handle(Fork(step=3))
    session.run_state.phases._since -= 3600.0  # it takes an hour
    rig.until(session, lambda: rig.said(Forked))
    rig.to_step(session, 6)
    assert max(session.recorder.metrics.column("time_other").snapshot()[1]) < 60


def test_the_phases_of_a_step_add_up_to_its_time(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(train__grad_accum_steps=2)
    trainer.phases.take()
    trainer.phases.enter("training")
    trainer.train_step()
    seconds = trainer.phases.take()
    assert seconds.keys() == {"training", "data", "forward", "backward", "optimizer"}
    assert seconds["training"] < 0.1 * sum(seconds.values())


def test_a_phase_within_another_one_counts_once() -> None:
    phases = Phases()
    phases.enter("a")
    assert phases.enter("b") == "a"
    phases.enter("a")
    assert phases.take().keys() == {"a", "b"}
    assert phases.take().keys() == {"a"}


def test_the_bigram_loss_is_that_of_counted_pairs() -> None:
    train, val = np.array([0, 1, 0, 1, 0, 2], np.uint8), np.array([0, 1, 0], np.uint8)
    # of 0: twice 1, once 2, and one more of each of the three; of 1: twice 0
    expected = -(math.log(3 / 6) + math.log(3 / 5)) / 2
    assert bigram_loss(train, val, 3) == pytest.approx(expected)


def test_a_run_of_before_gets_its_references_when_it_is_opened(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 1)
    session.recorder.database._soon("DELETE FROM meta WHERE key = ?", [("references",)])
    path = rig.close(session)
    again = rig.open(path)
    assert again.recorder.metrics.references["bigram_loss"] > 0
