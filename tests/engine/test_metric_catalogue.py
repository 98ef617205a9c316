"""The catalogue of metrics: words, figures, and the curves that are derived when drawn."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.metric_catalogue import (
    CHARTS,
    FAMILIES,
    FORMATS,
    METRICS,
    MOST_UNKNOWN,
    as_markdown,
    charts_of,
    charts_of_families,
    column_of,
    format_value,
    short_list,
    transform_of,
)
from engine.metrics import MetricStore

DOCS = Path(__file__).parents[2] / "docs"


def test_every_metric_has_a_unit_that_can_be_written_and_a_sentence() -> None:
    for metric in METRICS.values():
        assert metric.unit in FORMATS, metric.name
        assert metric.help.endswith("."), metric.name
    for family in FAMILIES:
        assert family.unit in FORMATS and family.help.endswith("."), family.name
    names = [one.name for chart in CHARTS for one in chart.metrics]
    assert len(names) == len(set(names))
    assert all(len({one.unit for one in chart.metrics}) == 1 for chart in CHARTS)


def test_the_table_of_metrics_is_that_of_the_catalogue() -> None:
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    assert page.split("<!-- made by: engine.metric_catalogue.as_markdown -->\n")[1].split(
        "<!-- end -->"
    )[0] == as_markdown()  # fmt: skip


def test_a_run_has_the_charts_of_what_it_recorded_and_of_what_follows_from_it() -> None:
    charts = charts_of(["train_loss", "train_seconds", "grad_norm", "entropy_of_heads"])
    assert [one.name for one in charts] == [
        "loss", "grad_norm", "bits_per_byte", "perplexity", "entropy_of_heads"
    ]  # fmt: skip
    assert charts[-1].title == "entropy of heads"
    assert [one.name for one in charts[0].metrics] == ["train_loss"]


def test_a_database_that_names_a_million_metrics_gets_few_charts() -> None:
    assert len(charts_of(f"unknown_{n}" for n in range(10_000))) == MOST_UNKNOWN


PARTS = ("token_embedding", *(f"blocks.{n}{part}" for n in (10, 2, 0)
                              for part in (".feed_forward.up", ".attention.qkv", "")))  # fmt: skip


def test_of_families_there_are_no_charts_unless_they_are_asked_for() -> None:
    names = ["train_loss", *(f"health/grad_norm/{part}" for part in PARTS)]
    names += ["health/dead_units/blocks.2"]
    assert "health" not in {one.group for one in charts_of(names)}
    charts = list(charts_of_families(names))
    assert [(one.name, [m.label for m in one.metrics]) for one in charts[:2]] == [
        ("health/grad_norm", ["L0", "L2", "L10"]),
        ("health/dead_units", ["L2"]),
    ]
    assert [one.title for one in charts[2:5]] == [
        "grad token_embedding", "grad L0 attention.qkv", "grad L0 feed_forward.up"
    ]  # fmt: skip
    assert all(one.group == "health" for one in charts)


def test_a_chart_of_many_layers_has_some_of_them() -> None:
    (chart,) = charts_of_families(f"health/dead_units/blocks.{n}" for n in range(200))
    labels = [one.label for one in chart.metrics]
    assert len(labels) == 12
    assert labels[0] == "L0" and labels[-1] == "L199"


@pytest.mark.parametrize("part", ["blocks.", "blocks.x", "blocks." + "9" * 9999, "\x00", "²", "/"])
def test_parts_that_no_model_has_are_names_as_any(part: str) -> None:
    charts = list(charts_of_families([f"health/grad_norm/{part}", "health/grad_norm/blocks.0"]))
    assert {m.name for one in charts for m in one.metrics} >= {f"health/grad_norm/{part}"}


def test_in_a_sentence_a_family_is_one_word() -> None:
    names = [f"{family.name}/{part}" for family in FAMILIES for part in PARTS]
    told = short_list(["train_loss", *names, "val_loss"])
    assert len(told) == 2 + len(FAMILIES)
    assert "health/grad_norm/…" in told


@pytest.mark.parametrize(
    ("name", "expected"),
    [("train_bits_per_byte", lambda loss: loss / math.log(2) / 2), ("val_perplexity", np.exp)],
)
def test_a_derived_curve_is_computed_from_its_source(name: str, expected: Any) -> None:
    store, metric = MetricStore(), METRICS[name]
    store.extend(metric.source, [1, 2, 3], [4.0, math.nan, 1.0])
    transform = transform_of(metric, {"bytes_per_token": 2.0})
    assert transform
    steps, values, _ = column_of(store, metric).snapshot()
    np.testing.assert_allclose(transform(values), expected(values))
    assert steps.tolist() == [1, 2, 3]


def test_a_recorded_curve_is_drawn_as_it_is() -> None:
    assert transform_of(METRICS["grad_norm"], {}) is None


def test_a_loss_beyond_all_bounds_has_an_infinite_perplexity_and_no_warning() -> None:
    transform = transform_of(METRICS["train_perplexity"], {})
    assert transform
    with np.errstate(all="raise"):
        assert transform(np.array([1e6])).tolist() == [math.inf]


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("val_loss", 1.48349, "1.4835"),
        ("learning_rate", 0.0003, "0.0003"),
        ("tokens_per_second", 17_340.0, "17.3k"),
        ("time_forward", 0.01234, "12.3 ms"),
        ("time_data", 2.5e-5, "25 µs"),
        ("memory_host", 1.23e9, "1.23 GB"),
        ("cpu_load", 0.5, "50 %"),
        ("gpu_temperature", 61.2, "61 °C"),
        ("grad_norm", None, "–"),
        ("grad_norm", math.nan, "–"),
        ("grad_norm", math.inf, "∞"),
    ],
)
def test_figures_are_short_and_have_their_unit(
    name: str, value: float | None, written: str
) -> None:
    assert format_value(METRICS[name], value) == written
