"""A short text through a model, tensor by tensor: a run's, or an untrained one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from engine.config.presets import Preset, preset_config
from engine.runs.checkpoint_names import list_snapshots

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


def pass_through(preset: Preset, run: Path | None) -> ForwardPass:
    """Pass a text through the best weights of a run; through new ones if it has none yet.

    Raises:
        InputError: The weights that the run has are damaged, or new ones do not fit into memory.
    """
    if run is not None and list_snapshots(run):
        from engine.inspect.moments import load_moment

        found = load_moment(run, "best", lambda _: None)  # the step says which is intact
        return _through(found.model, f"{run.name} at step {found.step:,}")
    from data.tokenizers import CharTokenizer
    from engine.inspect.trace import initial_model

    # not in training mode: dropout would draw from what a run draws from that is trained meanwhile
    model = initial_model(preset_config(preset.name), CharTokenizer(ALPHABET)).eval()
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
        tuple(tokenizer.token_text(one) for one in ids),
        traced,
        tuple(map(tuple, rows)),
        tuple((tokenizer.token_text(one), chance) for one, chance in traced.likeliest),
    )
