"""The way of the data through a model, drawn in characters with the shapes on it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from engine.config.schema import Config

ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU", "relu2": "ReLU squared", "swiglu": "SwiGLU"}
OUT, IN, ADD = "│", "│ │", "├◂╯"  # the rail at the left: the residual stream


@dataclass(frozen=True)
class Step:
    """A tensor on the way, and what made it.

    Attributes:
        rail: What is drawn at the left of it.
        what: The operation; a number in it does not make it another one.
        detail: Numbers of the operation.
        axes: Names of its dimensions, with blanks between them.
        shape: Their sizes.
        is_new: The model before has no such step.
    """

    rail: str
    what: str
    detail: str
    axes: str
    shape: tuple[int, ...]
    is_new: bool = False


def data_way(config: Config, vocab_size: int, before: Config | None = None) -> list[Step]:
    """Return the steps from the token ids to the loss.

    Args:
        before: Of a model whose steps are not new.
    """
    model, known = config.model, set()
    if before is not None:
        known = {what for _, what, _, _ in _steps(before)}
    sizes = {
        "B": config.train.batch_size,
        "T": model.block_size,
        "C": model.n_embd,
        "nh": model.n_head,
        "hs": model.head_size,
        "F": model.d_ff,
        "V": vocab_size,
    }
    return [
        Step(
            rail,
            what,
            detail,
            axes,
            tuple(sizes[one] for one in axes.split()),
            before is not None and bool(what) and what not in known,
        )
        for rail, what, detail, axes in _steps(config)
    ]


def _steps(config: Config) -> Iterator[tuple[str, str, str, str]]:
    """Yield rail, operation, its numbers and axes."""
    model = config.model
    yield "", "token ids", "", "B T"
    if model.architecture == "bigram":
        yield OUT, "table row: logits", "", "B T V"
        yield OUT, "softmax: probabilities", "", "B T V"
        yield OUT, "loss: mean of -ln p", "", ""
        return
    yield OUT, "token embedding", "", "B T C"
    if model.position == "learned":
        yield OUT, "+ position embedding", "", "B T C"
    elif model.position == "sinusoidal":
        yield OUT, "+ sines of positions", "", "B T C"
    yield from _block(config)
    if model.norm != "none" and model.norm_place == "pre":
        yield OUT, "last norm", "", "B T C"
    yield OUT, "linear: logits", "", "B T V"
    yield OUT, "softmax: probabilities", "", "B T V"
    yield OUT, "loss: mean of -ln p", "", ""


def _block(config: Config) -> Iterator[tuple[str, str, str, str]]:
    model = config.model
    inside = IN if model.residual else OUT
    begin = "├─╮" if model.residual else OUT
    has_norm, pre = model.norm != "none", model.norm_place == "pre"
    if model.n_layer > 1:
        yield begin, "blocks in turn:", str(model.n_layer), ""
    elif model.residual:
        yield begin, "block", "", ""

    def added(name: str) -> Iterator[tuple[str, str, str, str]]:
        if model.dropout:
            yield inside, "dropout in training", f"{model.dropout:g}", "B T C"
        if model.residual:
            yield ADD, "added to the stream", "", "B T C"
        if has_norm and not pre:
            yield OUT, f"norm after {name}", "", "B T C"

    if has_norm and pre:
        yield inside, "norm before attention", "", "B T C"
    heads = f"{model.n_head} heads" if model.n_head > 1 else "1 head"
    yield inside, "q, k, v:", f"{heads} of {model.head_size}", "B nh T hs"
    yield inside, "scores q·k / √hs", "", "B nh T T"
    yield inside, "future off, softmax", "", "B nh T T"
    yield inside, "weights times values", "", "B nh T hs"
    if model.n_head > 1:
        yield inside, "heads side by side", "", "B T C"
    if model.output_proj:
        yield inside, "projection", "", "B T C"
    yield from added("attention")
    if not model.mlp_ratio:
        return
    if has_norm and pre:
        yield (begin if model.residual else inside), "norm before MLP", "", "B T C"
        lead = inside
    else:
        lead = begin if model.residual else inside
    name = ACTIVATIONS[model.activation]
    yield lead, f"linear, {name}", "", "B T F"
    if model.output_proj:
        yield inside, "linear, to the width", "", "B T C"
    yield from added("MLP")


def columns(step: Step) -> tuple[str, str, str]:
    """Return a step as three texts: the operation, the axes and the sizes."""
    what = f"{step.what} {step.detail}".strip()
    axes = f"({','.join(step.axes.split())})" if step.axes else ""
    return what, axes, "×".join(map(str, step.shape))
