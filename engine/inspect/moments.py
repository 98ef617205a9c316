"""The model of a run at a moment, and texts to look at through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.batches import Tokens, validation_windows
from data.download import Watcher
from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.inspect.prediction import Ids
from engine.inspect.trace import initial_model
from engine.machine.limits import bounded_threads
from engine.runs.folder import read_run_config
from engine.runs.open import look_at_run
from engine.runs.tokenizer_file import tokenizer_in_checkpoints
from engine.sampling.from_run import RunSampler, load_sampler

UNTRAINED = "untrained"


def load_moment(
    run: Path, which: str, warn: Callable[[str], None], watcher: Watcher | None = None
) -> RunSampler:
    """Load the model of a run at a moment, on the CPU, in eval mode, with its tokenizer.

    Other threads may train meanwhile: nothing that is shared is drawn from.

    Args:
        which: ``latest``, ``best``, a step whose weights are kept, or ``untrained``: the weights
            that the run began with, which are made anew from its seed.
        warn: Called with a sentence if a damaged checkpoint was skipped.
        watcher: Of reading the text, which is only read if no checkpoint has the tokenizer.

    Raises:
        InputError: There are no such weights (of a step the sentence names the nearest), or none
            is intact.
    """
    if which != UNTRAINED:
        return load_sampler(run, which, warn)
    config = read_run_config(run)
    model = initial_model(config, _tokenizer_of(run, watcher or Watcher())).eval()
    return RunSampler(model, 0, config.sample, bounded_threads(config.system.threads))


def _tokenizer_of(run: Path, watcher: Watcher) -> Tokenizer:
    """Read a run's tokenizer, from a checkpoint if there is one: the text takes longer."""
    return tokenizer_in_checkpoints(run) or read_excerpts(run, watcher).tokenizer


def excerpt(val: Tokens, length: int, number: int) -> Ids:
    """Return one of the contexts (T,) that evaluations measure; after the last comes the first.

    Raises:
        InputError: The split is shorter than a context.
    """
    starts = validation_windows(len(val), length)
    if not len(starts):
        raise InputError("the validation split is shorter than the context: type a text")
    start = starts[number % len(starts)]
    return val[start : start + length].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Excerpts:
    """The validation split of a run, with what its texts are made of."""

    val: Tokens  # (n,)
    tokenizer: Tokenizer
    block_size: int

    def at(self, number: int) -> Ids:
        """Return an excerpt, as long as the model's context; see ``excerpt``."""
        return excerpt(self.val, self.block_size, number)


def read_excerpts(run: Path, watcher: Watcher | None = None) -> Excerpts:
    """Read the validation split of a run; the run may be in training.

    Raises:
        InputError: Its text is not where it was, or its files are damaged.
    """
    files = look_at_run(run, watcher or Watcher())
    files.close()
    return Excerpts(files.split.val, files.tokenizer, files.config.model.block_size)
