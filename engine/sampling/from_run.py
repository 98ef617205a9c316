"""Generate text from a checkpoint of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.errors import InputError
from engine.checkpoint.load import read_good
from engine.checkpoint.store import rebuild_model
from engine.config.schema import SampleConfig, config_from_dict
from engine.machine.limits import bounded_threads
from engine.model import LanguageModel
from engine.sampling.frozen import freeze
from engine.sampling.generate import Text, write
from engine.training.precision import DTYPES, SUPPORTED


@dataclass(frozen=True)
class RunSampler:
    """The model of a run at a checkpoint."""

    model: LanguageModel  # on the CPU, with its tokenizer
    step: int
    settings: SampleConfig  # the run's own
    threads: int  # the run's; another number may change the last bits

    def write(self, settings: SampleConfig, show: Callable[[str], None] | None = None) -> Text:
        """Generate one text.

        Args:
            settings: Seed, prompt and the rest; they need not be the run's.
            show: Called with each piece of text; an exception it raises ends the generation.

        Raises:
            InputError: The prompt has characters outside the vocabulary, or the model's weights are
                not finite.
        """
        assert self.model.tokenizer is not None  # a checkpoint holds its tokenizer
        seen = (lambda _, piece: show(piece)) if show else None
        frozen, seeds = freeze(self.model), [settings.seed]
        try:
            (text,) = write(frozen, self.model.tokenizer, settings, seeds, seen)
        except FloatingPointError:
            raise InputError(
                "this model's weights are not finite, as after training that diverged"
            ) from None
        return text


def load_sampler(run: Path, which: str, warn: Callable[[str], None]) -> RunSampler:
    """Load the model of a run's checkpoint.

    Args:
        which: ``best``, ``latest`` or a step.
        warn: Called with a sentence if a damaged checkpoint was skipped.

    Raises:
        InputError: There is no such checkpoint, or none is intact.
    """
    found = read_good(run, which, with_optimizer=False)
    found.tell(warn)
    model, state = rebuild_model(found.path, found.snapshot), found.snapshot.state
    runtime = state["runtime"]  # the run's dtype, so that the app gives the same text
    if runtime["precision"] in SUPPORTED["cpu"]:
        model.compute_dtype = DTYPES[runtime["precision"]]
    sample = config_from_dict(state["config"]).sample
    return RunSampler(model, found.snapshot.step, sample, bounded_threads(runtime["threads"]))
