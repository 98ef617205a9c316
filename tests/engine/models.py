"""Models small enough to be compared number by number, of every kind the schema knows."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import torch
from hypothesis import assume
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from engine.config.schema import SETTINGS, ModelConfig
from engine.model import GPT, LanguageModel, build_model

VOCAB = 65
SHAPE: dict[str, Any] = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12}
ModuleT = TypeVar("ModuleT", bound=nn.Module)


def small_config(**changes: Any) -> ModelConfig:
    """A small shape; say what should differ."""
    config = ModelConfig(**SHAPE | changes)
    assert config.conflicts() == []
    return config


def small_model(seed: int = 0, **changes: Any) -> GPT:
    """A GPT in eval mode whose weights are far from the small numbers they begin with."""
    torch.manual_seed(seed)
    return scatter(GPT(small_config(**changes), VOCAB).eval())


def scatter(model: ModuleT) -> ModuleT:
    """Give every parameter, gains and biases too, a random value that keeps numbers around one."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=parameter.size(-1) ** -0.5)
            else:
                nn.init.normal_(parameter, mean=float(name == "weight"), std=0.3)
    return model


def scale_gradient(model: nn.Module, name: str, factor: float) -> RemovableHandle:
    """Multiply the gradient of a parameter by ``factor`` in every backward pass, until removed."""
    parameter = model.get_parameter(name)
    handle: RemovableHandle = parameter.register_hook(lambda g: g * factor)  # type: ignore[no-untyped-call]
    return handle


def some_tokens(batch: int = 3, length: int = 12, seed: int = 1) -> Tensor:
    """Random ids (batch, length)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (batch, length), generator=generator)


def noise(*shape: int, seed: int = 2) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """How far apart, over the size of what is expected (both as one long vector)."""
    one, other = ours.detach().double(), theirs.detach().double()
    return float((one - other).norm() / other.norm().clamp(min=1e-30))


def choices(name: str) -> st.SearchStrategy[str]:
    """Every word a setting of the model may be."""
    return st.sampled_from(SETTINGS[f"model.{name}"].choices)


@st.composite
def model_configs(draw: st.DrawFn) -> ModelConfig:
    """Any GPT that the schema does not refuse, small."""
    n_head = draw(st.sampled_from([1, 2, 4]))
    mlp_ratio = draw(st.sampled_from([0.0, 1.0, 1.5, 4.0]))
    config = ModelConfig(
        n_layer=draw(st.integers(1, 3)),
        n_head=n_head,
        n_kv_head=draw(st.sampled_from([0, *(n for n in (1, 2) if n_head % n == 0)])),
        n_embd=n_head * draw(st.sampled_from([4, 5, 8])),
        mlp_ratio=mlp_ratio,
        block_size=12,
        position=draw(choices("position")),
        n_gram=draw(st.sampled_from([1, 2, 4])),
        norm=draw(choices("norm")),
        norm_place=draw(choices("norm_place")),
        qk_norm=draw(st.booleans()),
        activation=draw(choices("activation")),
        residual=draw(st.booleans()),
        # without it, only some widths of the feed-forward are possible
        output_proj=draw(st.booleans()) or mlp_ratio not in (0.0, 1.0, 1.5),
        logit_softcap=draw(st.sampled_from([0.0, 15.0])),
        bias=draw(st.booleans()),
        tie_weights=draw(st.booleans()),
    )
    assume(not config.conflicts())
    return config


def random_model(config: ModelConfig, seed: int = 0) -> LanguageModel:
    """Such a model, with weights of some size."""
    torch.manual_seed(seed)
    return scatter(build_model(config, VOCAB).eval())


def with_dropout(model: LanguageModel, **rates: float) -> LanguageModel:
    """The same model, with other rates."""
    model.set_dropout(dataclasses.replace(model.config, **rates))  # type: ignore[arg-type]
    return model
