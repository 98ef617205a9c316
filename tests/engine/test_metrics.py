"""The metric store: averages, summaries per column, and reading while another thread writes."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.metrics import BLOCK, Column, Mark, MetricStore
from engine.session.recorder import mark_entry

nan, inf = math.nan, math.inf


def filled(values: list[float], steps: list[int] | None = None, smoothing: float = 0.95) -> Column:
    column = Column(smoothing)
    column.extend(steps or range(len(values)), values)
    return column


def tensorboard_average(values: list[float], weight: float) -> list[float]:
    """TensorBoard's smoothing as it is documented: a mean started at zero, divided by its bias."""
    mean, count, result = 0.0, 0, []
    for value in values:
        if math.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            count += 1
        result.append(mean / (1 - weight**count) if count else nan)
    return result


# Values


def test_an_empty_column_has_nothing_to_say() -> None:
    column = Column()
    assert len(column) == 0
    assert (column.last, column.last_smoothed, column.last_step) == (None, None, None)
    assert [len(part) for part in column.snapshot()] == [0, 0, 0]


def test_rows_come_back_as_written_across_many_growths() -> None:
    values = np.random.default_rng(0).normal(size=5000)
    steps, read, _ = filled(values.tolist()).snapshot()
    np.testing.assert_array_equal(steps, np.arange(5000))
    np.testing.assert_array_equal(read, values)


def test_last_is_the_latest_value_even_when_it_is_not_finite() -> None:
    column = filled([3.0, 2.0, nan])
    assert column.last is not None and math.isnan(column.last)
    assert column.last_smoothed == pytest.approx((0.95 * 3.0 + 2.0) / 1.95)
    assert column.last_step == 2


def test_a_step_that_falls_is_refused_and_leaves_the_column_as_it_was() -> None:
    column = filled([1.0, 2.0], steps=[5, 7])
    with pytest.raises(ValueError, match="step 6 comes after step 7"):
        column.append(6, 3.0)
    column.append(7, 4.0)
    assert column.snapshot()[1].tolist() == [1.0, 2.0, 4.0]


def test_a_snapshot_cannot_be_written_to() -> None:
    _, values, _ = filled([1.0]).snapshot()
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 2.0


# Averages


@given(
    values=st.lists(st.floats(-1e6, 1e6) | st.sampled_from([nan, inf, -inf]), max_size=300),
    weight=st.sampled_from([0.0, 0.5, 0.95, 0.999]),
)
def test_the_average_is_tensorboards(values: list[float], weight: float) -> None:
    _, _, smoothed = filled(values, smoothing=weight).snapshot()
    expected = tensorboard_average(values, weight)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-9, atol=1e-6)


def test_a_value_that_is_not_finite_leaves_the_average_where_it_was() -> None:
    _, _, smoothed = filled([nan, 2.0, inf, -inf, nan, 2.0]).snapshot()
    assert math.isnan(smoothed[0])
    assert smoothed[1:].tolist() == [2.0] * 5


def test_the_average_of_huge_values_does_not_overflow() -> None:
    _, _, smoothed = filled([1.7e308, -1.7e308] * 50).snapshot()
    assert np.isfinite(smoothed).all()


@pytest.mark.parametrize("weight", [-0.1, 1.0, nan])
def test_a_smoothing_that_would_never_move_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="smoothing"):
        Column(weight)


@given(
    rows=st.integers(0, 14 * BLOCK),
    cut=st.integers(0, 14 * BLOCK),
    weight=st.sampled_from([0.0, 0.01, 0.5, 0.95, 0.999]),
    unsound=st.sampled_from([0.0, 0.02, 0.9, 1.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_many_rows_at_once_are_the_rows_one_by_one(
    rows: int, cut: int, weight: float, unsound: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=rows)
    values[random.random(rows) < unsound] = nan
    steps = np.arange(rows) // 2
    at_once, one_by_one = Column(weight), Column(weight)
    for part in (slice(0, cut), slice(cut, rows)):
        at_once.extend(steps[part], values[part])
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        one_by_one.append(step, value)
    for column in (at_once, one_by_one):
        column.append(rows, 1.0)
    ours, theirs = at_once.snapshot(), one_by_one.snapshot()
    np.testing.assert_array_equal(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-9, atol=1e-9)


def test_many_rows_that_do_not_fit_are_refused_and_leave_the_column_as_it_was() -> None:
    column = filled([1.0], steps=[5])
    many = 10 * BLOCK
    for steps in (range(many), [6, *range(9, 8 + many - 1), 7]):
        with pytest.raises(ValueError, match="must not decrease"):
            column.extend(steps, [0.0] * many)
    with pytest.raises(ValueError, match="3 steps for 2 values"):
        column.extend([6, 7, 8], [0.0, 0.0])
    assert column.snapshot()[1].tolist() == [1.0]


# Going back


def test_truncate_keeps_the_step_itself_and_drops_what_is_later() -> None:
    column = filled([float(i) for i in range(500)], steps=[2 * i for i in range(500)])
    column.truncate(after_step=601)
    steps, values, _ = column.snapshot()
    assert len(column) == 301
    assert (steps[-1], values[-1]) == (600, 300.0)


@given(
    values=st.lists(st.floats(-1e6, 1e6) | st.just(nan), min_size=1, max_size=200),
    data=st.data(),
)
def test_going_back_and_forth_again_leaves_no_trace(
    values: list[float], data: st.DataObject
) -> None:
    straight = filled(values)
    kept = data.draw(st.integers(-1, len(values)))
    rewound = filled(values)
    rewound.truncate(after_step=kept)
    for step in range(kept + 1, len(values)):
        rewound.append(step, values[step])
    for one, other in zip(straight.snapshot(), rewound.snapshot(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_a_reader_holds_survives_truncation() -> None:
    column = filled([1.0, 2.0, 3.0])
    _, before, _ = column.snapshot()
    column.truncate(after_step=0)
    column.extend([1, 2], [-1.0, -2.0])
    assert before.tolist() == [1.0, 2.0, 3.0]


# Two threads


def test_a_reader_never_sees_a_torn_row_while_the_engine_writes() -> None:
    column = Column(smoothing=0.0)  # so that all three columns of a row must agree
    torn: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            steps, values, smoothed = column.snapshot()
            if not ((values == steps).all() and (smoothed == steps).all()):
                torn.append(f"among {len(steps)} rows")

    def write() -> None:
        for _ in range(3):
            for step in range(len(column), 20_000):
                column.append(step, float(step))
            column.truncate(after_step=4_000)
        done.set()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=read), threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)
    finally:
        sys.setswitchinterval(interval)
    assert done.is_set()
    assert torn == []


# The store


def test_curves_appear_when_they_are_first_named() -> None:
    store = MetricStore()
    store.append("train_loss", 0, 4.2)
    store.append("val_loss", 0, 4.3)
    store.append("train_loss", 1, 4.0)
    assert store.names() == ["train_loss", "val_loss"]
    assert store.column("train_loss").last == 4.0
    assert store.column("train_loss") is store.column("train_loss")


def test_the_version_rises_with_every_change_and_with_nothing_else() -> None:
    store = MetricStore()
    seen = [store.version]
    change: Callable[[], object]
    for change in (
        lambda: store.append("loss", 1, 1.0),
        lambda: store.extend("loss", [2, 3], [1.0, 2.0]),
        lambda: store.add_mark(1, "lr 1e-3"),
        lambda: store.truncate(0),
    ):
        change()
        seen.append(store.version)
    store.column("loss").snapshot()
    store.names()
    assert seen == sorted(set(seen))
    assert store.version == seen[-1]


def test_truncating_the_store_takes_every_curve_and_the_marks_back() -> None:
    store = MetricStore(smoothing=0.5)
    for step in range(10):
        store.append("a", step, 1.0)
        store.append("b", step, 2.0)
    store.add_mark(3, "early")
    store.add_mark(8, "late")
    store.truncate(after_step=5)
    assert [len(store.column(name)) for name in store.names()] == [6, 6]
    assert store.marks == [Mark(3, "early")]
    assert store.column("a").smoothing == 0.5


def test_the_best_evaluations_are_those_better_than_all_before_also_after_going_back() -> None:
    store = MetricStore()
    for step, loss in ((10, 3.0), (20, 2.0), (30, 2.5), (40, nan), (50, 1.0)):
        mark_entry(store, step, "evaluated", {"val_loss": loss})
    assert [mark.step for mark in store.bests] == [10, 20, 50]
    assert [mark.kind for mark in store.events] == [
        "best", "best", "evaluation", "evaluation", "best",
    ]  # fmt: skip
    store.truncate(30)
    mark_entry(store, 40, "evaluated", {"val_loss": 1.9})
    assert [mark.step for mark in store.bests] == [10, 20, 40]
    store.clear()
    assert not store.bests


@pytest.mark.parametrize("best", [10, 20, 30])
def test_the_best_by_the_whole_split_is_the_last_that_is_marked(best: int) -> None:
    store = MetricStore()
    for step, loss in ((10, 2.5), (20, 2.6), (30, 2.4)):  # of parts of the split
        mark_entry(store, step, "evaluated", {"val_loss": loss})
    mark_entry(store, 30, "finished", {"best_step": best, "best_val_loss": 2.45})
    assert (store.bests[-1].step, store.bests[-1].value) == (best, 2.45)
    marked = [one.step for one in store.events if one.kind == "best"]
    assert marked == [one.step for one in store.bests] and max(marked) == best
    told = [one for one in store.events if one.kind == "evaluation"]
    assert not any("best" in one.label for one in told)
