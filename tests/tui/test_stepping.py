"""Steps of a setting's value are of the size that matters for it."""

from __future__ import annotations

import pytest

from engine.config.schema import SETTINGS
from engine.config.setting import Value
from tui.control.stepping import stepped


@pytest.mark.parametrize(
    ("key", "value", "larger", "smaller"),
    [
        ("optim.learning_rate", 1e-3, 2e-3, 5e-4),
        ("optim.learning_rate", 3e-3, 5e-3, 2e-3),
        ("model.n_layer", 4, 5, 3),
        ("model.n_layer", 1, 2, 1),
        ("model.n_embd", 128, 256, 64),
        ("train.batch_size", 12, 13, 11),
        ("train.max_steps", 2000, 5000, 1000),
        ("model.dropout", 0.1, 0.15, 0.05),
        ("model.dropout", 0.0, 0.05, 0.0),
        ("model.dropout", 0.95, 0.95, 0.9),
        ("sample.temperature", 1.0, 1.1, 0.9),
        ("sample.prompt", "x", "x", "x"),
    ],
)
def test_the_next_value(key: str, value: Value, larger: Value, smaller: Value) -> None:
    assert stepped(SETTINGS[key], value, up=True) == larger
    assert stepped(SETTINGS[key], value, up=False) == smaller


@pytest.mark.parametrize("key", SETTINGS)
@pytest.mark.parametrize("up", [True, False])
def test_every_step_is_a_valid_value(key: str, up: bool) -> None:
    one = SETTINGS[key]
    value = one.default
    for _ in range(40):
        value = stepped(one, value, up)
        assert one.check(value) == value
