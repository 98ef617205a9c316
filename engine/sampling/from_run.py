"""Generate text from a checkpoint of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.checkpoint.load import read_good
from engine.checkpoint.store import rebuild_model
from engine.config.schema import SampleConfig, config_from_dict
from engine.model import LanguageModel
from engine.sampling.frozen import freeze
from engine.sampling.generate import Text, write
from engine.training.precision import DTYPES, SUPPORTED

BROKEN_WEIGHTS = "this model's weights are not finite, as after training that diverged"


@dataclass(frozen=True)
class RunSampler:
    """The model of a run at a checkpoint.

    Attributes:
        model: On the CPU, with its tokenizer.
        step: The checkpoint's.
        settings: The run's own.
        threads: The run's thread count; another one may change the last bits.
    """

    model: LanguageModel
    step: int
    settings: SampleConfig
    threads: int

    def write(self, settings: SampleConfig, show: Callable[[str], None] | None = None) -> Text:
        """Generate one text.

        Args:
            settings: Seed, prompt and the rest; they need not be the run's.
            show: Called with each piece of text; an exception it raises ends the generation.

        Raises:
            InputError: The prompt has characters outside the vocabulary.
            FloatingPointError: The model's logits are not finite.
        """
        assert self.model.tokenizer is not None  # a checkpoint holds its tokenizer
        seen = (lambda _, piece: show(piece)) if show else None
        (text,) = write(freeze(self.model), self.model.tokenizer, settings, [settings.seed], seen)
        return text


def load_sampler(run: Path, which: str, warn: Callable[[str], None]) -> RunSampler:
    """Load the model of a run's checkpoint.

    Args:
        run: The run folder.
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
    return RunSampler(model, found.snapshot.step, sample, runtime["threads"])
