"""The learning-rate finder: a throw-away model trains while its rate rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import torch

from data.batches import Split
from data.errors import InputError
from engine.config.schema import Config
from engine.config.setting import Value
from engine.lr_finder.ramp import DIVERGED, Ramp, Suggestion, as_settings, at_rate, suggest
from engine.machine.allocator import keep_freed_memory
from engine.metrics import Column
from engine.runs.open import Watcher, load_text
from engine.training.precision import use_tf32
from engine.training.runtime import Say, resolve_runtime
from engine.training.trainer import Runtime, Trainer


class LRFinder:
    """Trains a model of its own from its fresh start; nothing else is touched or written.

    Args:
        config: What is to be trained later, schedule and all.
        split, vocab_size: What on.
        runtime: What it computes with.
        rise: The rates, one a step.
        losses: Takes the training loss of each step, by its number from 0.
    """

    def __init__(
        self,
        config: Config,
        split: Split,
        vocab_size: int,
        runtime: Runtime,
        ramp: Ramp,
        losses: Column,
    ) -> None:
        self.config, self.ramp, self.losses = config, ramp, losses
        try:
            self._trainer = Trainer(at_rate(config, ramp.first), runtime, split, vocab_size)
        except torch.OutOfMemoryError:
            raise InputError(OUT_OF_MEMORY) from None

    @property
    def runtime(self) -> Runtime:
        """What it computes with."""
        return self._trainer.runtime

    def settle(self) -> None:
        """Let this thread compute as was settled for the test."""
        torch.set_num_threads(self.runtime.threads)
        if self.runtime.device == "cuda":
            use_tf32(self.runtime.precision == "tf32")

    def quanta(self) -> Generator[None, None, Suggestion]:
        """Take the steps, yielding after each micro-batch, and tell what came out.

        It ends early once the loss is not finite, or its running average is more than twice what
        it has been.

        Raises:
            InputError: The GPU's memory does not hold a micro-batch.
        """
        trainer, diverged = self._trainer, False
        for step in range(self.ramp.steps):
            trainer.adjust(at_rate(self.config, self.ramp.rate(step)))
            try:
                result = yield from trainer.step_quanta()
            except torch.OutOfMemoryError:
                raise InputError(OUT_OF_MEMORY) from None
            self.losses.append(step, float(result.loss))
            diverged = self._has_diverged()
            if diverged:
                break
        return suggest(self.ramp, self.losses.snapshot()[2], diverged)

    def settings(self, suggestion: Suggestion) -> dict[str, Value]:
        """What to set to follow a suggestion; nothing if there is none."""
        rate = suggestion.learning_rate
        return {} if rate is None else as_settings(self.config, rate)

    def _has_diverged(self) -> bool:
        last = self.losses.last
        if last is None or not math.isfinite(last):
            return True
        smoothed = self.losses.snapshot()[2]
        return bool(smoothed[-1] > DIVERGED * smoothed.min())


def prepare(
    config: Config,
    ramp: Ramp,
    losses: Column,
    report: Say,
    warn: Say,
    cancelled: Callable[[], bool],
) -> LRFinder:
    """Read the text, settle what to compute with as for a run, and build the model.

    Args:
        config: What is to be trained later.
        rise: The rates.
        losses: Takes the training losses.
        report: Takes a line on what is being done; what it raises calls it off.
        warn: Takes a sentence for each wish that this machine cannot fulfil.
        cancelled: Whether to give up a download.

    Raises:
        InputError: The text cannot be used, or the memory is too small.
    """
    keep_freed_memory()
    corpus, tokenizer, split = load_text(config, Watcher(report, cancelled))
    if corpus.note:
        warn(corpus.note)
    runtime = resolve_runtime(config, split, tokenizer.vocab_size, report, warn)
    report("building the model")
    test = LRFinder(config, split, tokenizer.vocab_size, runtime, ramp, losses)
    test.settle()
    return test


@contextmanager
def computing_as_before() -> Iterator[None]:
    """Whatever is settled inside about threads and tf32, an open run finds it as it was."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        use_tf32(tf32)


OUT_OF_MEMORY = (
    "the GPU's memory does not hold the test: lower system.micro_batch_size, or close the run "
    "that is open"
)
