"""When a run measures its layers, and that it trains to the same bits."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from engine.inspect.health import curves_of, read_curves
from engine.metric_catalogue import FAMILIES, family_of
from engine.protocol import Adjust, Fork, Forked, Resume, Rewind, Rewound, Warned
from engine.session import health
from engine.session.session import Session
from engine.training import trainer
from tests.engine.conftest import (
    DEVICES,
    ON_DEVICE,
    MakeConfig,
    Rig,
    assert_same_bits,
    bits,
    recorded_losses,
)

GRADIENT = "health/grad_norm/blocks.1.attention.qkv"
DEAD = "health/dead_units/blocks.0"


def values(session: Session, name: str = GRADIENT) -> dict[int, float]:
    steps, found, _ = session.recorder.metrics.column(name).snapshot()
    return dict(zip(steps.tolist(), found.tolist(), strict=True))


@pytest.fixture
def every_four(make_config: MakeConfig) -> Any:
    return make_config(eval__health_interval=4, model__dropout=0.2)


def test_layers_are_measured_at_the_first_step_and_every_few(rig: Rig, every_four: Any) -> None:
    session = rig.new(every_four)
    rig.to_step(session, 9)
    in_store = curves_of(session.recorder.metrics)
    assert {tuple(one.steps.tolist()) for one in in_store.values()} == {(1, 4, 8)}
    assert {family_of(name) for name in in_store} == {*FAMILIES}
    assert 0 <= values(session, DEAD)[8] <= 1
    path = rig.close(session)
    in_file = read_curves(path)
    assert in_file.keys() == in_store.keys()
    for name, curve in in_file.items():
        assert curve.values.tolist() == in_store[name].values.tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_measuring_changes_no_bit_of_the_training(
    device: str, rig: Rig, make_config: MakeConfig
) -> None:
    measured, plain = (
        rig.new(make_config(eval__health_interval=every, model__dropout=0.2, **ON_DEVICE[device]))
        for every in (4, 0)
    )
    for session in (measured, plain):
        rig.to_step(session, 9)
        session._results.read()  # of a GPU they are read now and then
    assert recorded_losses(measured) == recorded_losses(plain)
    assert_same_bits(bits(measured), bits(plain))
    assert len(values(measured)) == 3
    assert not curves_of(plain.recorder.metrics)


def test_a_run_that_was_resumed_has_the_same_measurements(rig: Rig, every_four: Any) -> None:
    straight = rig.new(every_four)
    rig.to_step(straight, 13)
    expected = values(straight), values(straight, DEAD)
    session = rig.new(every_four)
    rig.to_step(session, 6)
    again = rig.open(rig.close(session))
    rig.to_step(again, 9)
    once_more = rig.open(rig.crash(again))  # back to step 6
    assert list(values(once_more)) == [1, 4]
    rig.to_step(once_more, 13)
    assert (values(once_more), values(once_more, DEAD)) == expected


def test_a_run_that_went_back_and_its_fork_go_on_measuring(rig: Rig, every_four: Any) -> None:
    session = rig.new(every_four)
    rig.to_step(session, 13)
    expected = values(session)
    session.handle(Rewind(6))
    rig.until(session, lambda: rig.said(Rewound))
    assert values(session) == {step: expected[step] for step in (1, 4)}
    session.handle(Fork())
    rig.until(session, lambda: rig.said(Forked))
    fork = rig.open(Path(rig.said(Forked)[0].path))
    session.handle(Resume())
    for one in (session, fork):
        rig.to_step(one, 13)
        assert values(one) == expected


def test_the_interval_changes_while_a_run_trains(rig: Rig, every_four: Any) -> None:
    session = rig.new(every_four)
    rig.to_step(session, 5)
    session.handle(Adjust({"eval.health_interval": 0}))
    rig.to_step(session, 9)
    session.handle(Adjust({"eval.health_interval": 5}))
    rig.to_step(session, 11)
    assert list(values(session)) == [1, 4, 10]
    assert not session.recorder.metrics.marks  # it has no effect on the curves


@pytest.mark.parametrize(
    ("module", "fails", "missing", "measured"),
    [(health, "measure_activity", DEAD, GRADIENT), (trainer, "WatchedUpdate", GRADIENT, DEAD)],
)
def test_without_memory_for_it_training_goes_on_and_that_is_said_once(
    rig: Rig,
    every_four: Any,
    monkeypatch: pytest.MonkeyPatch,
    module: ModuleType,
    fails: str,
    missing: str,
    measured: str,
) -> None:
    def full(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(module, fails, full)
    session = rig.new(every_four)
    rig.to_step(session, 9)
    (warning,) = rig.said(Warned)
    assert "eval.health_interval 0 turns it off" in warning.message
    assert list(values(session, measured)) == [1, 4, 8]
    assert not values(session, missing)


def test_the_text_is_no_longer_than_a_step_and_the_same_every_time(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(eval__health_interval=4))
    rig.to_step(session, 1)
    text = session._health._text()
    assert text.shape == (4, 8)
    assert session._health._text() is text


def test_a_bigram_has_the_figures_of_its_table_alone(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(model__architecture="bigram"))
    rig.to_step(session, 2)
    assert curves_of(session.recorder.metrics).keys() == {
        "health/grad_norm/token_embedding", "health/update_ratio/token_embedding"
    }  # fmt: skip


def test_measuring_has_a_place_of_its_own_among_the_times(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.session.monitor.FIRST_SECONDS", 0.0)
    session = rig.new(make_config(eval__health_interval=2))
    rig.to_step(session, 6)
    spent = values(session, "time_health")
    assert {step for step, seconds in spent.items() if seconds > 0} >= {2, 4}
