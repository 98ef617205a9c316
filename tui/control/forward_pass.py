"""A short text through a model, tensor by tensor: a run's, or an untrained one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from engine.config.presets import Preset, preset_config

if TYPE_CHECKING:
    from engine.inspect.trace import Trace
    from engine.model import LanguageModel

TEXT = "ROMEO:"
# of tinyshakespeare, so that an untrained model needs no text
ALPHABET = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class ForwardPass:
    """What became of a text.

    Attributes:
        weights: Whose they are.
        tokens: T of them, as text.
        attention: Weights of the first head of the first block: T rows of T; none in a bigram.
        likeliest: The most likely next tokens and their probabilities.
    """

    weights: str
    tokens: tuple[str, ...]
    trace: Trace
    attention: tuple[tuple[float, ...], ...]
    likeliest: tuple[tuple[str, float], ...]


def pass_through(
    preset: Preset, run: Path | None, warn: Callable[[str], None] = lambda _: None
) -> ForwardPass:
    """Pass a text through the best weights of a run; through new ones if it has none.

    Args:
        warn: Called with a sentence if a damaged checkpoint was skipped.
    """
    if run is not None:
        from engine.inspect.moments import load_moment

        with suppress(InputError):
            found = load_moment(run, "best", warn)
            return _through(found.model, f"{run.name} at step {found.step:,}")
    from data.tokenizers import CharTokenizer
    from engine.inspect.trace import initial_model

    model = initial_model(preset_config(preset.name), CharTokenizer(ALPHABET))
    return _through(model, "a new model, untrained")


def _through(model: LanguageModel, weights: str) -> ForwardPass:
    import torch

    from engine.inspect.trace import trace

    tokenizer = model.tokenizer
    assert tokenizer is not None
    try:
        ids = [int(one) for one in tokenizer.encode(TEXT)][: model.config.block_size]
    except InputError:  # another text, without these letters
        ids = list(range(min(len(TEXT), tokenizer.vocab_size, model.config.block_size)))
    traced = trace(model, ids)
    seen = model.attention_weights(torch.tensor([ids]))  # a (1, nh, T, T) for each block
    rows = seen[0][0, 0].float().tolist() if seen else []
    return ForwardPass(
        weights,
        tuple(tokenizer.decode([one]) for one in ids),
        traced,
        tuple(map(tuple, rows)),
        tuple((tokenizer.decode([one]), chance) for one, chance in traced.likeliest),
    )
