"""The speed of training: that of the last moments, and of steps as they are now."""

from __future__ import annotations

import numpy as np
import pytest

from engine.protocol import Adjust
from engine.training.throughput import SETTLING_SECONDS, SPEED_SECONDS, Throughput
from tests.engine.conftest import MakeConfig, Rig


class Steps:
    """Takes steps of a length and a size."""

    def __init__(self) -> None:
        self.throughput, self.tokens = Throughput(), 0

    def take(self, count: int, size: int, seconds: float) -> list[float]:
        """Take some steps; returns the speed told after each."""
        told = []
        for _ in range(count):
            self.throughput.expect(size)
            self.tokens += size
            self.throughput.add(seconds, self.tokens)
            told.append(self.throughput.tokens_per_second)
        return told


def test_the_speed_is_that_of_the_last_few_seconds() -> None:
    steps = Steps()
    assert steps.take(5, size=100, seconds=0.5)[0] == 0.0, "one moment has no speed"
    assert steps.throughput.tokens_per_second == pytest.approx(200)
    faster = steps.take(int(SPEED_SECONDS / 0.25) + 1, size=100, seconds=0.25)
    assert 200 < faster[1] < 400
    assert faster[-1] == pytest.approx(400)


def test_after_steps_change_their_size_nothing_of_the_old_speed_is_told() -> None:
    steps = Steps()
    steps.take(50, size=12, seconds=0.1)  # 120 tokens a second
    after = steps.take(20, size=240, seconds=0.2)  # 1200 tokens a second
    silent = [speed for speed in after if speed == 0.0]
    assert len(silent) == pytest.approx(SETTLING_SECONDS / 0.2, abs=1)
    assert after[: len(silent)] == silent
    assert after[len(silent) :] == pytest.approx([1200.0] * (20 - len(silent)))


def test_the_first_step_of_another_size_may_be_slow_and_says_nothing() -> None:
    steps = Steps()
    steps.take(5, size=12, seconds=0.1)
    assert steps.take(1, size=240, seconds=30.0) == [0.0]
    assert steps.take(1, size=240, seconds=0.2) == pytest.approx([1200.0])


def test_a_live_change_of_the_batch_is_followed_by_the_time_left(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(train__max_steps=100_000, train__batch_size=2))
    rig.to_step(session, 5)
    assert session.status.seconds_left is not None
    before = session.status.tokens_per_step
    session.handle(Adjust({"train.batch_size": 8}))
    rig.to_step(session, 6)
    assert session.status.tokens_per_step == 4 * before
    assert session.status.seconds_left is None


def test_steps_that_are_read_at_once_share_the_time_between_two_reads() -> None:
    throughput = Throughput()
    throughput.restart(10.0)
    assert throughput.ends_of(1, 10.5) == [10.5]
    assert throughput.ends_of(4, 12.5) == [11.0, 11.5, 12.0, 12.5]


def test_the_recorded_training_time_rises_evenly_where_losses_are_read_now_and_then(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where the host only queues the steps and each read waits for them."""
    monkeypatch.setattr(Throughput, "should_read", lambda self, unread, device: unread >= 8)
    session = rig.new(make_config(train__max_steps=100))
    rig.to_step(session, 24)
    session.outlet.flush()
    _, seconds = session.files.database.metric(0, "train_seconds")
    each = np.diff(seconds, prepend=0.0).reshape(3, 8)
    assert (each > 0).all()
    np.testing.assert_allclose(each, each[:, :1].repeat(8, axis=1), rtol=1e-3)
    assert seconds[-1] == pytest.approx(session.status.train_seconds)
