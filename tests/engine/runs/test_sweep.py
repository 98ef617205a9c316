from __future__ import annotations

from typing import Any

from engine.config.presets import preset_config
from engine.runs.summary import RunSummary
from engine.runs.sweep import sweep_over, swept_settings


def a_run(name: str, best: float | None = 2.0, **settings: Any) -> RunSummary:
    changes = {key.replace("__", "."): value for key, value in settings.items()}
    config = preset_config("tiny").replace(changes)
    return RunSummary(f"/runs/{name}", name, "finished", best_val_loss=best, config=config)


def test_the_setting_with_most_values_comes_first_and_seeds_last() -> None:
    runs = [
        a_run("a", train__seed=1, model__n_layer=1, optim__learning_rate=1e-3),
        a_run("b", train__seed=2, model__n_layer=2, optim__learning_rate=2e-3),
        a_run("c", train__seed=3, model__n_layer=2, optim__learning_rate=3e-3),
        RunSummary("/runs/bad", "bad", "damaged"),
    ]
    assert swept_settings(runs) == ["optim.learning_rate", "model.n_layer", "train.seed"]
    assert swept_settings(runs[:1]) == []


def test_numbers_stand_where_they_are_and_other_values_by_rank() -> None:
    runs = [
        a_run("a", 2.0, optim__learning_rate=0.01, optim__optimizer="muon"),
        a_run("b", 1.5, optim__learning_rate=0.001, optim__optimizer="adamw"),
        a_run("c", None, optim__learning_rate=0.1),
        a_run("d", float("nan"), optim__learning_rate=0.2),
    ]
    rates = sweep_over(runs, "optim.learning_rate", "best val")
    assert [(one.run.name, one.x, one.y) for one in rates.points] == [
        ("b", 0.001, 1.5), ("a", 0.01, 2.0),
    ]  # fmt: skip
    assert rates.ranked == []
    optimizers = sweep_over(runs, "optim.optimizer", "best val")
    assert [(one.x, one.value) for one in optimizers.points] == [(0, "adamw"), (1, "muon")]
    assert optimizers.ranked == ["adamw", "muon"]


def test_a_zero_beside_values_that_span_decades_has_a_rank() -> None:
    runs = [a_run(str(decay), optim__weight_decay=decay) for decay in (0.0, 1e-4, 1e-1)]
    swept = sweep_over(runs, "optim.weight_decay", "best val")
    assert [one.x for one in swept.points] == [0, 1, 2]
