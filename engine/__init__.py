"""The training engine: configuration, models, the trainer and the run folder.

Importing this package is cheap: torch is loaded by the modules that compute, when they are used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.model import LanguageModel

__all__ = ["__version__", "load"]

__version__ = "0.1.0"


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

    return load_model(find_run(str(run)), checkpoint)
