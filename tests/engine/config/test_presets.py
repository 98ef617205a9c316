"""The named configurations are what their lines say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from data.errors import InputError
from engine.config import presets
from engine.config.presets import (
    LADDER,
    PRESETS,
    Gpu,
    default_preset,
    nvidia_gpu,
    preset_config,
)
from engine.config.schema import Config, tokens_per_step, total_steps
from engine.model import LanguageModel, build_model
from engine.model.empty import build_empty_model

Machine = Callable[[str], None]  # installs an nvidia-smi that does this
TINYSHAKESPEARE_TRAIN_TOKENS = 1_003_854
TINYSHAKESPEARE_CHARACTERS = 65


def on_meta(name: str, vocab_size: int | None = None) -> LanguageModel:
    """A preset's model without its memory."""
    vocab_size = vocab_size or PRESETS[name].vocab_size or TINYSHAKESPEARE_CHARACTERS
    return build_empty_model(preset_config(name).model, vocab_size)


def parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("gpt2", 124_439_808),
        ("gpt2-medium", 354_823_168),
        ("gpt2-large", 774_030_080),
        ("gpt2-xl", 1_557_611_200),
    ],
)
def test_gpt2_has_as_many_parameters_as_published(name: str, published: int) -> None:
    assert PRESETS[name].vocab_size == 50_257
    assert parameters(on_meta(name)) == published


LECTURE_LOSSES = {
    "bigram": 2.49,
    "self-attention": 2.40,
    "multi-head": 2.28,
    "feed-forward": 2.24,
    "residual": 2.08,
    "layer-norm": 2.06,
    "lecture": 1.48,
}


def test_the_ladder_has_the_lectures_rungs_and_losses() -> None:
    assert {rung.name: rung.lecture_loss for rung in LADDER} == LECTURE_LOSSES
    listed = [name for name in PRESETS if name in LECTURE_LOSSES]
    assert listed == list(LECTURE_LOSSES)


CHANGES = {  # what each rung's line says, as settings
    "self-attention": {
        "model.architecture": "gpt",
        "optim.learning_rate": 1e-3,
        "train.max_steps": 5000,
    },
    "multi-head": {"model.n_head": 4},
    "feed-forward": {"model.mlp_ratio": 1.0},
    "residual": {
        "model.n_layer": 3,
        "model.residual": True,
        "model.output_proj": True,
        "model.mlp_ratio": 4.0,
    },
    "layer-norm": {"model.norm": "layer"},
    "lecture": {
        "model.n_layer": 6,
        "model.n_head": 6,
        "model.n_embd": 384,
        "model.block_size": 256,
        "model.dropout": 0.2,
        "train.batch_size": 64,
        "optim.learning_rate": 3e-4,
        "system.precision": "auto",
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_rung_changes_what_its_line_says_and_no_more(name: str) -> None:
    names = list(LECTURE_LOSSES)
    below = preset_config(names[names.index(name) - 1])
    changed = preset_config(name).differences(below)
    assert {key: here for key, (here, _) in changed.items()} == CHANGES[name]


@pytest.mark.parametrize("name", LECTURE_LOSSES)
def test_a_rung_has_the_lectures_parameters(name: str) -> None:
    # counted from the lecture's code: (parameters there, biases of ours it lacks, of its head)
    width, vocab = preset_config(name).model.n_embd, TINYSHAKESPEARE_CHARACTERS
    layers = preset_config(name).model.n_layer
    tables = 65 * 32 + 8 * 32 + 32 * vocab + vocab
    heads = 3 * 32 * 32
    block = heads + (32 * 32 + 32) + (32 * 128 + 128) + (128 * 32 + 32)
    theirs = {
        "bigram": vocab * vocab,
        "self-attention": tables + heads,
        "multi-head": tables + heads,
        "feed-forward": tables + heads + 32 * 32 + 32,
        "residual": tables + 3 * block,
        "layer-norm": tables + 3 * block + 3 * 2 * 64 + 64,
        "lecture": 10_788_929,  # as the script prints it: 10.788929 M
    }[name]
    biases = 0 if name == "bigram" else layers * 3 * width - vocab
    assert parameters(on_meta(name)) == theirs + biases


def test_the_lecture_starts_from_torchs_own_weights() -> None:
    torch.manual_seed(0)
    model = build_model(preset_config("layer-norm").model, TINYSHAKESPEARE_CHARACTERS)
    spreads = {name: tensor.std().item() for name, tensor in model.named_parameters()}
    assert spreads["token_embedding.weight"] == pytest.approx(1, rel=0.1)
    uniform = (32 * 3) ** -0.5  # torch draws between -1 and 1 over the root of the inputs
    assert spreads["blocks.0.attention.qkv.weight"] == pytest.approx(uniform, rel=0.1)
    assert spreads["blocks.2.feed_forward.up.weight"] == pytest.approx(uniform, rel=0.1)


def test_a_thousand_epochs_are_as_many_steps_as_the_list_says() -> None:
    config = preset_config("gpt-from-scratch")
    assert tokens_per_step(config) == 32 * 64
    steps = total_steps(config, TINYSHAKESPEARE_TRAIN_TOKENS)
    assert f"{steps:,} steps" in PRESETS["gpt-from-scratch"].help


@pytest.mark.parametrize("form", [{"model.position": "sinusoidal"}, {"model.norm_place": "post"}])
def test_the_other_forms_of_gpt_from_scratch_are_allowed(form: dict[str, object]) -> None:
    assert preset_config("gpt-from-scratch").replace(form).conflicts() == []


def test_the_notebooks_are_a_bigram_and_a_single_block_of_attention() -> None:
    preset = PRESETS["jax-notebooks"]
    assert "preset bigram" in preset.help
    config = preset_config("jax-notebooks").model
    assert (config.n_layer, config.n_head, config.mlp_ratio) == (1, 1, 0)


def test_the_10m_recipe_is_the_small_one_at_nanogpts_size() -> None:
    small, large, nanogpt = map(preset_config, ("fast", "fast-10m", "nanogpt"))
    assert on_meta("fast-10m").parameter_count() == pytest.approx(
        on_meta("nanogpt").parameter_count(), rel=0.05
    )
    shape = {f"model.{n}" for n in ("n_layer", "n_head", "n_embd", "block_size")}
    same = set(large.differences(nanogpt)) & (shape | {"train.batch_size"})
    assert not same
    drops = {"model.dropout", "model.attn_dropout"}
    sized = {key.split(".")[0] for key in set(large.differences(small)) - shape - drops}
    assert sized <= {"train", "optim"}


def test_the_bpe_recipe_is_the_small_one_with_other_tokens_and_what_they_need() -> None:
    small, bpe = map(preset_config, ("fast", "fast-bpe"))
    changed = bpe.differences(small)
    tokens, against_learning_by_heart = (
        {"data.tokenizer", "data.vocab_size"},
        {"model.n_gram", "optim.weight_decay", "train.max_steps"},
    )
    assert set(changed) == tokens | against_learning_by_heart
    sized = parameters(on_meta("fast-bpe", bpe.data.vocab_size))
    assert PRESETS["fast-bpe"].help.startswith(f"{sized / 1e6:.1f} M")


def test_a_preset_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'self-attention'"):
        preset_config("self-atention")


def test_torchs_start_has_no_spread_of_the_embeddings() -> None:
    with pytest.raises(InputError, match=r"model\.embd_std applies to model\.init gpt2"):
        Config().replace({"model.init": "torch", "model.embd_std": 0.1})


# The preset that is taken where none is named


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    """A machine without an NVIDIA GPU, and a torch that could use one."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(presets, "DRIVER", tmp_path / "gpus")
    monkeypatch.setattr(presets, "DEVICES", (tmp_path / "nvidiactl",))
    monkeypatch.setattr(presets, "_torch_has_cuda", lambda: True)
    presets.nvidia_gpu.cache_clear()

    def nvidia_smi(script: str) -> None:
        (tmp_path / "nvidiactl").touch()
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)

    yield nvidia_smi
    presets.nvidia_gpu.cache_clear()


@pytest.mark.parametrize(
    ("script", "gpu", "preset"),
    [
        ("echo 'GPU 0: NVIDIA H200'", Gpu.THERE, "fast-10m"),
        ("echo 'No devices found.'", Gpu.BROKEN, "fast"),
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", Gpu.BROKEN,
         "fast"),
        ("while :; do :; done", Gpu.BROKEN, "fast"),
    ],
)  # fmt: skip
def test_nvidia_smi_is_asked_and_not_only_looked_for(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, script: str, gpu: Gpu, preset: str
) -> None:
    monkeypatch.setattr(presets, "NVIDIA_SMI_SECONDS", 0.3)
    machine(script)
    assert nvidia_gpu() is gpu
    assert default_preset() == preset


def test_before_the_first_paint_nvidia_smi_is_not_asked(machine: Machine, tmp_path: Path) -> None:
    machine(f"touch {tmp_path}/asked; echo 'No devices found.'")
    assert default_preset(wait=False) == "fast-10m"  # files of a GPU are there
    assert not (tmp_path / "asked").exists()
    assert (default_preset(), default_preset(wait=False)) == ("fast", "fast-10m")


def test_without_a_device_nvidia_smi_is_not_waited_for(machine: Machine, tmp_path: Path) -> None:
    machine(f"touch {tmp_path}/asked; echo 'GPU 0: NVIDIA H200'")
    (tmp_path / "nvidiactl").unlink()
    assert (nvidia_gpu(), default_preset()) == (Gpu.BROKEN, "fast")
    assert not (tmp_path / "asked").exists()


def test_a_loaded_driver_needs_no_nvidia_smi_and_a_torch_without_cuda_no_gpu(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (nvidia_gpu(), default_preset()) == (Gpu.NONE, "fast")
    presets.nvidia_gpu.cache_clear()
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    assert (nvidia_gpu(), default_preset()) == (Gpu.THERE, "fast-10m")
    assert default_preset("cpu") == "fast"
    monkeypatch.setattr(presets, "_torch_has_cuda", lambda: False)
    assert default_preset() == "fast"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    presets.nvidia_gpu.cache_clear()
    assert nvidia_gpu() is Gpu.NONE


def test_whether_torch_is_built_with_cuda_is_known_without_loading_it() -> None:
    assert presets._torch_has_cuda() is (torch.version.cuda is not None)
