"""Combinations that cannot be: each is refused in one sentence, and all of them at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import InputError
from engine.config.schema import SETTINGS, Config
from engine.model import build_model

CONFLICTS: list[tuple[dict[str, Any], str, dict[str, Any]]] = [  # what, the sentence, a way out
    (
        {"model.n_embd": 100, "model.n_head": 3},
        "model.n_embd 100 is not divisible by model.n_head 3: try n_embd 99",
        {"model.n_embd": 99},
    ),
    (
        {"model.n_embd": 2, "model.n_head": 5},
        "model.n_embd 2 is not divisible by model.n_head 5: try n_embd 5",
        {"model.n_embd": 5},
    ),
    (
        {"model.position": "rotary", "model.n_embd": 36, "model.n_head": 4},
        "model.position rotary rotates pairs of elements, and head size n_embd / n_head = 9 is "
        "odd: try n_embd 32",
        {"model.n_embd": 32},
    ),
    (
        {"model.position": "rotary", "model.n_embd": 100, "model.n_head": 3},
        "model.n_embd 100 is not divisible by model.n_head 3: try n_embd 102",
        {"model.n_embd": 102},
    ),
    (
        {"model.n_head": 4, "model.n_kv_head": 3},
        "model.n_head 4 is not divisible by model.n_kv_head 3: every key head must have the same "
        "number of query heads",
        {"model.n_kv_head": 2},
    ),
    (
        {"model.n_head": 4, "model.n_kv_head": 8},
        "model.n_head 4 is not divisible by model.n_kv_head 8: every key head must have the same "
        "number of query heads",
        {"model.n_kv_head": 0},
    ),
    (
        {"model.position": "sinusoidal", "model.n_embd": 15, "model.n_head": 3},
        "model.position sinusoidal has as many sines as cosines, and model.n_embd 15 is odd: try "
        "n_embd 12",
        {"model.n_embd": 12},
    ),
    (
        {"model.output_proj": False},
        "without model.output_proj the MLP must be as wide as the residual stream: set "
        "model.mlp_ratio so that its width 512 becomes n_embd 128",
        {"model.mlp_ratio": 1},
    ),
    (
        {"model.output_proj": False, "model.mlp_ratio": 1, "model.activation": "swiglu"},
        "without model.output_proj the MLP must be as wide as the residual stream: set "
        "model.mlp_ratio so that its width 85 becomes n_embd 128",
        {"model.mlp_ratio": 1.5},
    ),
    (
        {"model.zero_init": True, "model.residual": False},
        "model.zero_init makes the output of every block zero at first, and without model.residual "
        "nothing else passes it: turn zero_init off or residual on",
        {"model.zero_init": False},
    ),
    (
        {"model.init": "torch", "model.embd_std": 0.3},
        "model.embd_std applies to model.init gpt2; torch initialises embeddings as N(0, 1): leave "
        "it at 0.02, or set model.init to gpt2",
        {"model.embd_std": 0.02},
    ),
    (
        {"model.norm": "none", "model.norm_place": "post"},
        "model.norm is none, so model.norm_place must stay pre",
        {"model.norm_place": "pre"},
    ),
    (
        {"optim.min_lr": 0.1, "optim.learning_rate": 0.01},
        "optim.min_lr 0.1 is above optim.learning_rate 0.01: lower optim.min_lr too",
        {"optim.min_lr": 0.001},
    ),
]


@pytest.mark.parametrize(("changes", "sentence", "way_out"), CONFLICTS)
def test_a_conflict_is_one_sentence_and_its_way_out_works(
    changes: dict[str, Any], sentence: str, way_out: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as refused:
        Config().replace(changes)
    assert refused.value.problems == [sentence]
    Config().replace(changes | way_out)


def test_several_conflicts_are_told_at_once_with_whatever_else_is_wrong() -> None:
    with pytest.raises(InputError) as refused:
        Config().replace(
            {
                "model.n_embd": 33,
                "model.n_kv_head": 3,
                "model.position": "sinusoidal",
                "model.output_proj": False,
                "model.zero_init": True,
                "model.residual": False,
                "model.init": "torch",
                "model.embd_std": 0.5,
                "model.norm": "none",
                "model.norm_place": "post",
                "optim.min_lr": 0.5,
                "train.batch_size": 0,
                "model.heads": 3,
            }
        )
    told = refused.value.problems
    assert len(told) == 10
    for word in (
        "n_embd 33 is not divisible",
        "n_kv_head 3",
        "sinusoidal",
        "output_proj",
        "zero_init",
        "embd_std",
        "norm_place",
        "min_lr",
        "batch_size",
        "no setting 'model.heads'",
    ):
        assert sum(word in sentence for sentence in told) == 1, word


def test_a_bigram_has_no_conflicts_of_shape() -> None:
    Config().replace({"model.architecture": "bigram", "model.n_embd": 33, "model.zero_init": True})


def test_no_schedule_needs_a_floor_that_it_does_not_use() -> None:
    changes = {"optim.min_lr": 0.1, "optim.learning_rate": 0.01}
    Config().replace(changes | {"optim.schedule": "constant"})


SMALL_SIZES = {
    "model.n_layer": st.integers(1, 2),
    "model.n_head": st.integers(1, 4),
    "model.n_kv_head": st.integers(0, 4),
    "model.n_embd": st.integers(1, 24),
    "model.mlp_ratio": st.sampled_from([0.0, 0.3, 1.0, 1.5, 4.0]),
    "model.block_size": st.just(4),
}
WORDS = {
    s.key: st.sampled_from(s.choices or SWITCH)
    for SWITCH in [(False, True)]
    for s in SETTINGS.values()
    if s.section == "model" and (s.choices or s.type is bool)
}


@settings(max_examples=100, deadline=None)
@given(values=st.fixed_dictionaries(SMALL_SIZES | WORDS))
def test_what_is_not_refused_can_be_built(values: dict[str, Any]) -> None:
    config, problems = Config().check(values)
    if not problems:
        build_model(config.model, 7)
