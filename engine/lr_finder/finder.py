"""The learning-rate finder: train a temporary model while the learning rate rises."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import torch

from data.batches import Split
from data.download import Watcher
from engine.config.schema import Config
from engine.lr_finder.ramp import DIVERGED, Ramp, Suggestion, at_rate, suggest
from engine.machine.memory import keep_freed_memory, refusing_failures
from engine.metrics import Column
from engine.runs.text import load_text
from engine.training.precision import use_tf32
from engine.training.runtime import Say, resolve_runtime, use_threads
from engine.training.trainer import Runtime, StepResult, Trainer


class LRFinder:
    """Trains a newly initialised model of its own; nothing is written to disk.

    ``losses`` receives the training loss of each step, from 0.
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
        self.config, self.runtime, self.ramp, self.losses = config, runtime, ramp, losses
        with refusing_failures(OUT_OF_MEMORY):
            self._trainer = Trainer(at_rate(config, ramp.first), runtime, split, vocab_size)

    def quanta(self) -> Generator[None, None, Suggestion]:
        """Take the steps, yielding after each micro-batch, and return the suggestion.

        It ends early once the loss is not finite, or its running average is more than twice its
        minimum.

        Raises:
            InputError: A micro-batch does not fit into the memory.
        """
        trainer, diverged = self._trainer, False
        for step in range(self.ramp.steps):
            trainer.adjust(at_rate(self.config, self.ramp.rate(step)))
            quanta = trainer.step_quanta()
            while (result := self._advance(quanta)) is None:
                yield
            with refusing_failures(OUT_OF_MEMORY):
                self.losses.append(step, float(result.loss))
            diverged = self._has_diverged()
            if diverged:
                break
        return suggest(self.ramp, self.losses.snapshot()[2], diverged)

    def _advance(self, quanta: Generator[None, None, StepResult]) -> StepResult | None:
        """Run one micro-batch with the finder's own thread count and tf32 mode."""
        with _restoring_threads_and_tf32(), refusing_failures(OUT_OF_MEMORY):
            use_threads(self.runtime.threads)
            if self.runtime.device == "cuda":
                use_tf32(self.runtime.precision == "tf32")
            try:
                next(quanta)
                return None
            except StopIteration as stop:
                result: StepResult = stop.value
                return result

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
    """Load the text, resolve the runtime as for a run, and build the model.

    Args:
        losses: As for ``LRFinder``.
        report: Called with lines of progress; an exception it raises cancels.
        warn: Called with a sentence for each setting that is not available here.
        cancelled: Polled during a download.

    Raises:
        InputError: The text cannot be used, or there is too little memory.
    """
    keep_freed_memory()
    corpus, tokenizer, split = load_text(config, Watcher(report, cancelled))
    for sentence in filter(None, (corpus.note, *corpus.told)):
        warn(sentence)
    with _restoring_threads_and_tf32():
        runtime = resolve_runtime(config, split, tokenizer.vocab_size, report, warn)
        use_threads(runtime.threads)
        report("building the model")
        return LRFinder(config, split, tokenizer.vocab_size, runtime, ramp, losses)


@contextmanager
def _restoring_threads_and_tf32() -> Iterator[None]:
    """Restore the thread count and the tf32 mode on exit, for a run that is open."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        use_tf32(tf32)


OUT_OF_MEMORY = (
    "there is too little memory for the learning-rate finder: lower system.micro_batch_size, or "
    "close the open run"
)
