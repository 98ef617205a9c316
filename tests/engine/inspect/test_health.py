"""Maps and findings from what a run has recorded of its layers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.inspect import health
from engine.inspect.health import HEALTHY, Finding, findings, matrix
from engine.metric_catalogue import FAMILIES, GRAD_NORM
from engine.metrics import MetricStore
from engine.runs.database import Curve, RunDatabase
from tests.engine.run_folders import write_run

STEPS = (1, 100, 200, 300, 400, 500)


def curves(**families: Mapping[str, Sequence[float] | float]) -> dict[str, Curve]:
    """Curves of some families: ``grad_norm={"blocks.0": value of each step}``."""
    return {
        f"health/{family}/{part}": Curve(
            np.array(STEPS), np.broadcast_to(np.array(values, float), len(STEPS))
        )
        for family, parts in families.items()
        for part, values in parts.items()
    }


def suspicious(found: Sequence[Finding]) -> dict[str, str]:
    return {one.name.removeprefix("health/"): one.told for one in found if one.is_suspicious}


def test_a_map_has_layers_or_matrices_in_the_order_of_the_model() -> None:
    store = MetricStore()
    for part in ("blocks.10", "blocks.2.feed_forward.up", "blocks.2", "token_embedding",
                 "blocks.2.attention.qkv", "head"):  # fmt: skip
        store.extend(f"health/grad_norm/{part}", [1, 100], [1.0, 2.0])
    store.append("health/grad_norm/blocks.2", 200, 3.0)
    store.append("health/dead_units/blocks.2", 300, 0.5)
    store.append("grad_norm", 400, 1.0)
    found = matrix(health.curves_of(store), GRAD_NORM)
    assert found.parts == ("token_embedding", "blocks.2", "blocks.2.attention.qkv",
                           "blocks.2.feed_forward.up", "blocks.10", "head")  # fmt: skip
    assert found.steps.tolist() == [1, 100, 200]
    np.testing.assert_array_equal(found.values[1], [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(found.values[0], [1.0, 2.0, np.nan])
    assert matrix(health.curves_of(store), GRAD_NORM, layers=True).parts == (
        "blocks.2",
        "blocks.10",
    )
    assert len(matrix(health.curves_of(store), GRAD_NORM, layers=False).parts) == 4


def test_a_run_of_before_has_nothing_and_says_what_to_do(runs_dir: Path) -> None:
    recorded = health.read_curves(write_run(runs_dir, "first", steps=20))
    assert recorded == {} and findings(recorded) == []
    assert matrix(recorded, GRAD_NORM).values.shape == (0, 0)
    told = health.why_empty(100, "gpt-tui train --resume first")
    assert "every 100 steps" in told and "gpt-tui train --resume first" in told
    assert "set it, to 100" in health.why_empty(0, "")


def test_a_runs_database_has_what_its_store_has(runs_dir: Path) -> None:
    run = write_run(runs_dir, "first", steps=20)
    database = RunDatabase(run / "run.db")
    rows = [("health/dead_units/blocks.0", 10, 0.25), ("health/dead_units/blocks.0", 20, math.nan)]
    database.add_metrics(0, rows)
    database.close()
    steps, values = health.read_curves(run)["health/dead_units/blocks.0"]
    assert steps.tolist() == [10, 20]
    np.testing.assert_array_equal(values, [0.25, np.nan])


HEALTHY_RUN: dict[str, dict[str, Sequence[float] | float]] = {
    "grad_norm": {f"blocks.{n}": 0.1 * (n + 1) for n in range(4)},
    "update_ratio": {f"blocks.{n}": 1e-3 for n in range(4)},
    "activation_std": {f"blocks.{n}": 0.5 + 0.2 * n for n in range(4)},
    "dead_units": {f"blocks.{n}": 0.05 for n in range(4)},
    "attention_entropy": {f"blocks.{n}": [0.999, 0.99, 0.8, 0.7, 0.6, 0.6] for n in range(4)},
}


def test_of_a_healthy_run_nothing_is_suspicious_and_all_is_told() -> None:
    found = findings(curves(**HEALTHY_RUN))
    assert suspicious(found) == {}
    assert len(found) == 20
    assert [one.name for one in found[:2]] == [
        "health/grad_norm/blocks.0", "health/grad_norm/blocks.1"
    ]  # fmt: skip
    assert {one.step for one in found} == {500}
    assert HEALTHY.keys() == {one.name for one in FAMILIES}
    for one in found:
        assert one.healthy.told.endswith(".") and one.healthy.source


@pytest.mark.parametrize(
    ("family", "values", "told"),
    [
        ("grad_norm", 1e-4, "hardly learns"),
        ("grad_norm", 50.0, "decides clipping"),
        ("grad_norm", math.nan, "no finite value"),
        ("update_ratio", 0.25, "by 25% of its size"),
        ("update_ratio", 1e-6, "1,000 times less than the median"),
        ("activation_std", [0.5] * 5 + [6.0], "such a jump precedes divergence"),
        ("activation_std", 9.0, "grows 13 times in layer 2"),
        ("activation_std", 2e4, "fp16 overflows"),
        ("dead_units", 0.75, "75% of the hidden units of layer 2"),
        ("attention_entropy", 0.02, "collapsed to single tokens"),
        ("attention_entropy", 0.999, "found nothing to look at"),
    ],
)
def test_what_is_suspicious_comes_first_and_says_why(
    family: str, values: Sequence[float] | float, told: str
) -> None:
    changed = HEALTHY_RUN | {family: {**HEALTHY_RUN[family], "blocks.2": values}}
    found = findings(curves(**changed))
    (first,) = suspicious(found).items()
    assert first[0] == f"{family}/blocks.2"
    assert told in first[1] and "layer 2" in first[1]
    assert found[0].part == "blocks.2"


def test_the_worst_comes_before_what_is_bad() -> None:
    dead = {"blocks.0": 0.6, "blocks.1": 0.99, "blocks.2": 0.1, "blocks.3": math.nan}
    found = findings(curves(dead_units=dead))
    assert [one.part for one in found] == ["blocks.3", "blocks.1", "blocks.0", "blocks.2"]


def test_at_the_first_step_weights_may_move_far_or_not_at_all() -> None:
    first = {
        name: Curve(one.steps[:1], one.values[:1])
        for name, one in curves(
            grad_norm={"head": 1.0, "a": 1.0, "b": 0.0}, update_ratio={"head": 0.9, "a": 0.0}
        ).items()
    }
    assert suspicious(findings(first)) == {}


def test_what_was_not_measured_with_the_others_is_not_told_of() -> None:
    some = curves(update_ratio={"head": 1e-3, "blocks.0": 1e-3})
    late = some["health/update_ratio/head"]
    some["health/update_ratio/head"] = Curve(late.steps[:2], late.values[:2])
    assert [one.part for one in findings(some)] == ["blocks.0"]


def test_as_json_it_has_maps_and_findings_and_no_nan() -> None:
    told = health.as_dict(curves(dead_units={"blocks.0": [0.0] * 5 + [math.nan]}))
    again = json.loads(json.dumps(told, allow_nan=False))
    assert again["maps"]["health/dead_units"] == {
        "parts": ["blocks.0"], "steps": [*STEPS], "values": [[0.0] * 5 + [None]]
    }  # fmt: skip
    (one,) = again["findings"]
    assert one["metric"] == "health/dead_units/blocks.0" and one["suspicious"]
