"""The compiled model against the plain one; each test compiles, which takes a while."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch

from engine.config.presets import PRESETS
from engine.training.trainer import Trainer
from tests.engine.conftest import MakeTrainer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="there is no C++ compiler"
    ),
]

SHAPE = {"model.n_layer", "model.n_head", "model.n_embd", "model.block_size"}


def settings_of(name: str) -> dict[str, Any]:
    """What a preset says about the model, but for its size."""
    values = PRESETS[name].values
    return {
        key.replace(".", "__"): value
        for key, value in values.items()
        if key.startswith("model.") and key not in SHAPE
    }


def losses(trainer: Trainer, steps: int = 4) -> np.ndarray:
    return np.array([trainer.train_step().loss.item() for _ in range(steps)])


@pytest.mark.parametrize(
    ("name", "precision", "tolerance"),
    [("nanogpt-cpu", "fp32", 1e-5), ("fast", "fp32", 1e-5), ("fast", "bf16", 1e-2)],
)
def test_a_compiled_model_trains_as_the_plain_one(
    make_trainer: MakeTrainer, name: str, precision: str, tolerance: float
) -> None:
    changes = settings_of(name) | {"system__precision": precision}
    plain, compiled = make_trainer(**changes), make_trainer(**changes)
    compiled.compile()
    assert compiled.forward is not compiled.model
    found, expected = losses(compiled), losses(plain)
    np.testing.assert_allclose(found, expected, rtol=tolerance)
    assert compiled.evaluate().loss == pytest.approx(plain.evaluate().loss, rel=tolerance)


def test_a_compiled_model_drops_at_the_rate_that_is_asked_for_now(
    make_trainer: MakeTrainer,
) -> None:
    """And repeats itself: the seed decides here, too."""
    one, same = (make_trainer(model__dropout=0.3) for _ in range(2))
    for trainer in (one, same):
        trainer.compile()
    assert (losses(one) == losses(same)).all()
    x = torch.zeros(4, 8, dtype=torch.long)
    with torch.no_grad():
        assert (one.forward.train()(x) != one.forward(x)).any()
        one.adjust(one.config.replace({"model.dropout": 0.0}))
        torch.testing.assert_close(one.forward(x), one.model(x), rtol=1e-4, atol=1e-4)
