"""The training engine: configuration, models, the trainer and the run folder.

Importing this package is cheap: torch is loaded by the modules that compute, when they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.program import VERSION

if TYPE_CHECKING:
    from engine.model import LanguageModel

__all__ = ["__version__", "load", "new"]

__version__ = VERSION


def load(run: str | Path, checkpoint: str = "best") -> LanguageModel:
    """Load a trained model from a run folder.

    Args:
        run: Path of the run folder, or the name of a run in the default runs folder.
        checkpoint: ``"best"``, ``"latest"`` or a step number.

    Returns:
        The model in eval mode on the CPU, its ``tokenizer`` attribute set. Calling it on token ids
        (B, T) gives logits (B, T, vocab_size); ``model.generate(...)`` continues a text.

    Raises:
        data.errors.InputError: There is no such run or checkpoint, or it is damaged.
    """
    from engine.checkpoint.load import load_model
    from engine.runs.folder import find_run
    from engine.sampling.generate import use_fast_generate

    return use_fast_generate(load_model(find_run(str(run)), checkpoint))


def new(preset: str, seed: int | None = None) -> LanguageModel:
    """Build an untrained model with the initial weights of a run with this preset.

    Args:
        preset: ``gpt-tui presets`` lists them: recipes, and the models of the lecture.
        seed: Of the weights; None takes the preset's.

    Returns:
        The model in eval mode on the CPU, with the tokenizer of the preset's text.

    Raises:
        data.errors.InputError: There is no such preset, its text is not available, or it does
            not fit into memory.
    """
    from data.corpora.load import load_corpus
    from data.download import Watcher
    from data.tokenizers import make_tokenizer
    from engine.config.presets import preset_config
    from engine.inspect.trace import initial_model
    from engine.runs.text import options_of
    from engine.sampling.generate import use_fast_generate

    config = preset_config(preset)
    if seed is not None:
        config = config.replace({"train.seed": seed})
    corpus = load_corpus(config.data.corpus, options_of(config.data))
    tokenizer = make_tokenizer(config.data, corpus, Watcher())
    return use_fast_generate(initial_model(config, tokenizer).eval())
