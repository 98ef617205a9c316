"""Every two choices of model, optimizer and precision work together, or are refused.

Of forty thousand million combinations nobody can try all; but most faults need only two choices to
meet, and some thirty rows hold every pair.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from data.tokenizers import CharTokenizer
from engine.checkpoint.load import load_model
from engine.checkpoint.retention import Rules
from engine.checkpoint.store import (
    find_checkpoint,
    read_checkpoint,
    restore,
    take_snapshot,
    write_checkpoint,
)
from engine.config.schema import SETTINGS, Config
from engine.training.precision import DTYPES
from tests.engine.conftest import SMALL, MakeTrainer, assert_same_bits, checkpoint_state, weights
from tests.engine.pairwise import Row, all_pairs

BASE = SMALL | {"model.n_head": 4, "train.max_steps": 6, "optim.warmup_steps": 1}
SWITCH = (False, True)


def every(key: str) -> tuple[str, ...]:
    return SETTINGS[key].choices


TRAINING: dict[str, tuple[Any, ...]] = {
    "optim.optimizer": every("optim.optimizer"),
    "optim.schedule": every("optim.schedule"),
    "optim.grad_clip": (0.0, 1.0),
    "optim.weight_decay": (0.0, 0.1),
    "optim.momentum": (0.0, 0.9),
    "optim.ema_decay": (0.0, 0.9),
    "train.grad_accum_steps": (1, 2),
    "system.precision": tuple(DTYPES),
}
FACTORS: dict[str, tuple[Any, ...]] = TRAINING | {
    "model.n_kv_head": (0, 1, 2),
    "model.mlp_ratio": (0.0, 1.0, 1.5, 4.0),
    "model.position": every("model.position"),
    "model.n_gram": (1, 3),
    "model.norm": every("model.norm"),
    "model.norm_place": every("model.norm_place"),
    "model.qk_norm": SWITCH,
    "model.activation": every("model.activation"),
    "model.residual": SWITCH,
    "model.output_proj": SWITCH,
    "model.init": every("model.init"),
    "model.zero_init": SWITCH,
    "model.logit_softcap": (0.0, 15.0),
    "model.embd_std": (0.02, 0.3),
    "model.dropout": (0.0, 0.2),
    "model.embd_dropout": (-1.0, 0.1),
    "model.attn_dropout": (-1.0, 0.0, 0.1),
    "model.resid_dropout": (-1.0, 0.1),
    "model.bias": SWITCH,
    "model.tie_weights": SWITCH,
}
REFUSED = {  # of two choices by themselves; test_conflicts.py has the sentences
    (("model.mlp_ratio", 4.0), ("model.output_proj", False)),
    (("model.norm", "none"), ("model.norm_place", "post")),
    (("model.residual", False), ("model.zero_init", True)),
    (("model.init", "torch"), ("model.embd_std", 0.3)),
}


def is_possible(row: Row) -> bool:
    return Config().check(BASE | row)[1] == []


ROWS, IMPOSSIBLE = all_pairs(FACTORS, is_possible)
BIGRAM, NOT_BIGRAM = all_pairs(TRAINING | {"model.architecture": ("bigram",)}, is_possible)


def described(row: Row) -> str:
    """What differs from the defaults, for the name of the test."""
    return " ".join(
        f"{key.split('.')[1]}={value}"
        for key, value in row.items()
        if value != SETTINGS[key].default
    )


def test_only_the_pairs_that_contradict_each_other_are_left_out() -> None:
    assert IMPOSSIBLE == REFUSED
    assert set() == NOT_BIGRAM
    assert len(ROWS) < 60


def test_every_choice_of_model_and_optimizer_is_among_them() -> None:
    """A new setting has to be placed here, unless two sizes of it are much alike."""
    sizes = {"n_layer", "n_head", "n_embd", "block_size", "rope_theta", "architecture"}
    rates = {"learning_rate", "muon_lr", "min_lr", "decay_steps", "cooldown_steps", "warmup_steps"}
    rates |= {"beta1", "beta2"}
    known = {key.split(".")[1] for key in FACTORS} | sizes | rates
    there = {s.name for s in SETTINGS.values() if s.section in ("model", "optim")}
    assert there <= known


@pytest.mark.parametrize("row", ROWS + BIGRAM, ids=described)
def test_it_trains_evaluates_generates_and_comes_back_from_a_checkpoint(
    row: Row, make_trainer: MakeTrainer, tokenizer: CharTokenizer, tmp_path: Path
) -> None:
    changes = {key.replace(".", "__"): value for key, value in (BASE | row).items()}
    trainer = make_trainer(**changes)
    for _ in range(3):
        assert torch.isfinite(trainer.train_step().loss)
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())
    evaluation = trainer.evaluate()
    assert math.isfinite(evaluation.loss)
    text = trainer.evaluated_model.generate([1, 2], max_length=12, seed=1)
    assert len(text) == 14 and max(text) < tokenizer.vocab_size

    state = checkpoint_state(trainer, tokenizer)
    write_checkpoint(tmp_path, take_snapshot(trainer, state), Rules(3), None)
    other = make_trainer(**changes)
    restore(other, read_checkpoint(find_checkpoint(tmp_path, "latest")))
    assert other.evaluate() == evaluation
    for _ in range(2):
        assert other.train_step().loss == trainer.train_step().loss
    assert_same_bits(weights(other.model), weights(trainer.model))
    load_model(tmp_path, "latest")
