"""A trained run that writes text, computing as the run does; several write from one prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.checkpoint.load import read_good
from engine.checkpoint.store import rebuild_model
from engine.config.schema import SampleConfig, config_from_dict
from engine.model import LanguageModel
from engine.sampling.decoder import freeze
from engine.sampling.text import Text, write
from engine.training.precision import DTYPES, SUPPORTED

BROKEN_WEIGHTS = "this model's weights are no longer numbers, as after training that diverged"


@dataclass(frozen=True)
class RunSampler:
    """A run's model at a checkpoint.

    Attributes:
        model: On the CPU, with its tokenizer.
        step: Of the checkpoint.
        settings: How this run samples.
        threads: How many the run computes in; another number may change the last bits.
    """

    model: LanguageModel
    step: int
    settings: SampleConfig
    threads: int

    def write(self, settings: SampleConfig, show: Callable[[str], None] | None = None) -> Text:
        """Write one text.

        Args:
            settings: How; its seed is the text's.
            show: Takes the pieces as they come; what it raises breaks the text off.

        Raises:
            InputError: The prompt has characters outside the vocabulary.
            FloatingPointError: The model's weights are no longer numbers.
        """
        assert self.model.tokenizer is not None  # a checkpoint holds its tokenizer
        seen = (lambda _, piece: show(piece)) if show else None
        (text,) = write(freeze(self.model), self.model.tokenizer, settings, [settings.seed], seen)
        return text


def load_scribe(run: Path, which: str, warn: Callable[[str], None]) -> RunSampler:
    """Read the model of a run's checkpoint.

    Args:
        run: The run's folder.
        which: ``best``, ``latest`` or a step.
        warn: Takes a sentence where a damaged checkpoint was passed over.

    Raises:
        InputError: There is no such checkpoint, or none is whole.
    """
    found = read_good(run, which, with_optimizer=False)
    found.tell(warn)
    model, state = rebuild_model(found.path, found.snapshot), found.snapshot.state
    runtime = state["runtime"]  # so that the text is the app's
    if runtime["precision"] in SUPPORTED["cpu"]:
        model.compute_dtype = DTYPES[runtime["precision"]]
    sample = config_from_dict(state["config"]).sample
    return RunSampler(model, found.snapshot.step, sample, runtime["threads"])
