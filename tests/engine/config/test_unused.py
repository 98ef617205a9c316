"""A setting that changes nothing is told, with the reason."""

from __future__ import annotations

import pytest
import torch

from engine.config.presets import GROUPS, Preset, preset_config
from engine.config.schema import Config
from engine.config.unused import BIGRAM_SETTINGS, beyond_the_run, without_effect
from engine.model import build_model
from tests.engine.model.test_combinations import FACTORS


def _given(preset: str, **given: str) -> tuple[Config, list[str]]:
    changes = {name.replace("__", "."): value for name, value in given.items()}
    config, problems = preset_config(preset).check(changes)
    assert not problems
    return config, list(changes)


@pytest.mark.parametrize(
    ("preset", "given", "reason"),
    [
        ("bigram", {"optim__optimizer": "muon"}, "trained with AdamW"),
        ("tiny", {"model__rope_theta": "5"}, "model.position rotary"),
        ("tiny", {"optim__muon_lr": "0.1"}, "optim.optimizer muon"),
        ("tiny", {"optim__momentum": "0.5"}, "optim.beta1"),
        ("tiny", {"optim__optimizer": "sgd", "optim__beta2": "0.9"}, "SGD uses optim.momentum"),
        ("tiny", {"optim__cooldown_steps": "9"}, "optim.schedule wsd"),
        ("tiny", {"optim__schedule": "constant", "optim__decay_steps": "9"}, "does not decay"),
        ("tiny", {"model__mlp_ratio": "off", "model__activation": "relu"}, "no MLP"),
        ("tiny", {"train__max_epochs": "1", "train__max_steps": "9"}, "takes precedence"),
    ],
)
def test_a_setting_without_effect_is_named_with_the_reason(
    preset: str, given: dict[str, str], reason: str
) -> None:
    config, keys = _given(preset, **given)
    (told,) = without_effect(config, keys)
    assert told.startswith(f"{keys[-1]} has no effect here: ")
    assert reason in told


def test_several_settings_with_one_reason_make_one_sentence() -> None:
    config, keys = _given("bigram", model__n_layer="7", model__dropout="0.5")
    assert without_effect(config, keys) == [
        "model.n_layer and model.dropout have no effect here: a bigram model has only one table"
    ]


@pytest.mark.parametrize(
    ("preset", "given"),
    [
        ("fast", {"optim__muon_lr": "0.1", "optim__momentum": "0.5", "optim__beta1": "0.8"}),
        ("fast", {"model__rope_theta": "5", "model__activation": "relu"}),
        ("tiny", {"optim__optimizer": "sgd", "optim__momentum": "0.5"}),
        ("tiny", {"optim__schedule": "wsd", "optim__cooldown_steps": "9"}),
        ("tiny", {"optim__schedule": "constant", "optim__cooldown_steps": "9"}),
        ("bigram", {"model__block_size": "16", "model__init": "torch"}),
        ("tiny", {"train__max_steps": "9"}),
    ],
)
def test_a_setting_that_counts_is_not_named(preset: str, given: dict[str, str]) -> None:
    assert without_effect(*_given(preset, **given)) == []


@pytest.mark.parametrize("preset", GROUPS["recipes to train with"], ids=lambda preset: preset.name)
def test_no_preset_to_train_with_sets_in_vain(preset: Preset) -> None:
    assert without_effect(preset_config(preset.name), list(preset.values)) == []


MODEL_FACTORS = [key for key in FACTORS if key.startswith("model.")]


@pytest.mark.parametrize("key", MODEL_FACTORS)
def test_what_a_bigram_is_said_not_to_read_leaves_its_outputs_as_they_are(key: str) -> None:
    for value in FACTORS[key]:
        config, _ = preset_config("bigram").check({key: value})
        same = torch.equal(_outputs(config), _outputs(preset_config("bigram")))
        assert same or key in BIGRAM_SETTINGS


def _outputs(config: Config) -> torch.Tensor:
    torch.manual_seed(1)
    model = build_model(config.model, vocab_size=7).train()
    logits: torch.Tensor = model(torch.arange(7)[None])
    return logits


FITTING = {"optim.warmup_steps": 9, "eval.interval": 10, "checkpoint.interval": 50}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, ""),
        ({"optim.warmup_steps": 100}, "optim.warmup_steps is 100 (the learning rate never reaches"),
        ({"optim.decay_steps": 101}, "optim.decay_steps is 101 (the decay does not reach its end)"),
        ({"optim.decay_steps": 101, "optim.schedule": "constant"}, ""),
        (
            {"optim.cooldown_steps": 100, "optim.schedule": "wsd"},
            "optim.cooldown_steps is 100 (the learning rate falls from the start)",
        ),
        ({"eval.interval": 101}, "eval.interval is 101 (evaluated only at the end)"),
        ({"eval.patience": 10}, "eval.patience is 10 (it cannot stop early)"),
        ({"eval.patience": 9}, ""),
        ({"checkpoint.interval": 10**9}, "checkpoint.interval is 1000000000 (saved only at the"),
        ({"checkpoint.interval": 0, "eval.interval": 0}, ""),  # that is "end only"
    ],
)
def test_numbers_that_do_not_fit_the_run_are_told(values: dict[str, object], told: str) -> None:
    sentence = beyond_the_run(Config().replace(FITTING | values), 100)
    assert sentence.startswith(f"the run has 100 steps: {told}" if told else "")
    assert bool(sentence) == bool(told)


def test_of_a_change_only_what_it_brings_is_told() -> None:
    before = Config().replace(FITTING | {"eval.interval": 101})
    longer = before.replace({"optim.warmup_steps": 100})
    assert "eval" not in beyond_the_run(longer, 100, (before, 100))
    assert "optim.warmup_steps is 100" in beyond_the_run(longer, 100, (before, 100))
    assert "optim.warmup_steps is 100" in beyond_the_run(longer, 90, (longer, 110))
    again = before.replace({"eval.interval": 102})
    assert "eval.interval is 102" in beyond_the_run(again, 100, (before, 100))
    assert beyond_the_run(before, 100, (before, 100)) == ""


def test_what_a_preset_brings_is_told_in_one_sentence() -> None:
    assert beyond_the_run(preset_config("nanogpt-cpu"), 50) == (
        "the run has 50 steps: optim.warmup_steps is 100 (the learning rate never reaches its "
        "peak), eval.interval is 250 (evaluated only at the end), checkpoint.interval is 500 "
        "(saved only at the end)"
    )


def test_a_run_shorter_than_a_step_is_told() -> None:
    config = Config().replace(FITTING | {"optim.warmup_steps": 0, "train.max_epochs": 0.001})
    assert beyond_the_run(config.replace({"eval.interval": 0, "checkpoint.interval": 0}), 1) == (
        "the run has 1 step: train.max_epochs is 0.001 (one step is more than that)"
    )
