"""What is recorded besides the results of steps, about once a second: times and the machine."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

from engine.bits import BYTES_PER_TOKEN
from engine.config.model_size import flops_per_token
from engine.config.schema import tokens_per_step
from engine.machine.memory import memory_ran_out
from engine.machine.usage import Usage, main_thread_clock
from engine.metric_catalogue import (
    BIGRAM_LOSS,
    OTHER_PHASES,
    STEP_PHASES,
    UNIFORM_LOSS,
)
from engine.runs.open import RunFiles
from engine.session.run_state import RunState
from engine.training.peak import peak_flops

FIRST_SECONDS, MOST_SECONDS = 1.0, 10.0  # between two recordings
RECORDINGS = 2000  # then they become rarer: a long run needs no more points than a short one
LARGEST_VOCABULARY = 1024  # for bigrams, whose table has its square
COUNTED_TOKENS = 4_000_000  # of a longer text


class Monitor:
    """Records times per step, the machine's load, memory and FLOPs utilisation.

    Args:
        run_state: The run; nothing is recorded while it is not trained.
    """

    def __init__(self, run_state: RunState) -> None:
        trainer = run_state.trainer
        self._run_state = run_state
        self._device, self._phases = trainer.device, run_state.phases
        gpu = (trainer.device.index or 0) if trainer.device.type == "cuda" else None
        self._usage = Usage(gpu)
        self._screen = main_thread_clock()
        self._peak: float | None = None
        self._flops = flops_per_token(trainer.config.model, trainer.model.vocab_size)
        self.restart()

    def restart(self) -> None:
        """Begin a stretch of training: what was before it does not count."""
        self._phases.take()
        self._usage.read()
        self._first_step = self._run_state.step
        self._screen_before = self._screen() if self._screen else 0.0
        self._clipped = 0
        self._due = time.monotonic() + FIRST_SECONDS

    def note(self, grad_norm: float) -> None:
        """Count a step whose gradient was clipped."""
        clip = self._run_state.trainer.config.optim.grad_clip
        self._clipped += bool(clip) and grad_norm > clip

    def record_if_due(self) -> None:
        """Record at this step, if the last time is long enough ago."""
        now, run_state = time.monotonic(), self._run_state
        steps = run_state.step - self._first_step
        if now < self._due or steps <= 0:
            return
        seconds = self._phases.take()
        screen = self._screen() if self._screen else 0.0
        figures = {
            f"time_{phase}": spent / steps for phase, spent in self._divided(seconds).items()
        }
        if self._screen:
            figures["time_screen"] = (screen - self._screen_before) / steps
        if run_state.trainer.config.optim.grad_clip:
            figures["clip_fraction"] = min(self._clipped / steps, 1.0)
        figures |= self._usage.read() | self._device_memory() | self._utilisation(seconds, steps)
        figures |= {"wall_time": time.time(), "tokens": float(run_state.trainer.tokens)}
        run_state.recorder.record(run_state.step, figures)
        self._first_step, self._screen_before, self._clipped = run_state.step, screen, 0
        pause = run_state.throughput.train_seconds / RECORDINGS
        self._due = now + min(max(pause, FIRST_SECONDS), MOST_SECONDS)
        self._phases.take()  # recording is no part of training

    def _divided(self, seconds: dict[str, float]) -> dict[str, float]:
        """Return the seconds of the phases there are on this device, 0 where nothing was done."""
        if self._device.type == "cpu":  # only the moments before and after its parts
            seconds["other"] = seconds.get("other", 0.0) + seconds.pop("training", 0.0)
        return dict.fromkeys(OTHER_PHASES, 0.0) | seconds

    def _device_memory(self) -> dict[str, float]:
        if self._device.type == "cuda":
            return {"memory_device": float(torch.cuda.memory_reserved(self._device))}
        if self._device.type == "mps":
            return {"memory_device": float(torch.mps.driver_allocated_memory())}
        return {}

    def _utilisation(self, seconds: dict[str, float], steps: int) -> dict[str, float]:
        """Return the share of the device's peak in the steps alone."""
        spent = sum(seconds.get(phase, 0.0) for phase in STEP_PHASES)
        if not self._flops or spent <= 0:
            return {}
        if self._peak is None:
            self._peak = self._measured_peak()
        if not self._peak:
            return {}
        tokens = steps * tokens_per_step(self._run_state.trainer.config)
        of_all = self._peak * self._run_state.trainer.runtime.processes
        return {"mfu": tokens * self._flops / spent / of_all}

    def _measured_peak(self) -> float:
        try:
            return peak_flops(self._device, self._run_state.trainer.runtime.precision)
        except (MemoryError, RuntimeError) as error:
            if not memory_ran_out(error):
                raise
            return 0.0

    def close(self) -> None:
        self._usage.close()


def references_of(files: RunFiles) -> dict[str, float]:
    """Return what the losses of a run are compared with; see ``engine.metric_catalogue``."""
    split, size = files.split, files.tokenizer.vocab_size
    some = split.val[:COUNTED_TOKENS]
    # the ends of documents are no part of a text: their loss counts, and they have no bytes
    text = files.tokenizer.decode(some[some != files.tokenizer.end_of_text])
    found = {
        BYTES_PER_TOKEN: len(text.encode("utf-8", "surrogatepass")) / max(len(some), 1),
        UNIFORM_LOSS: math.log(size),
    }
    if size <= LARGEST_VOCABULARY:
        found[BIGRAM_LOSS] = bigram_loss(split.train, split.val, size)
    return {name: value for name, value in found.items() if math.isfinite(value)}


def bigram_loss(train: np.ndarray, val: np.ndarray, vocab_size: int) -> float:
    """Return the validation loss of a table of pairs counted in the training text.

    One is added to each count, as in the lecture's bigram model, so that no pair is impossible.
    """
    counts = _pairs(train, vocab_size) + 1.0
    of_val = _pairs(val, vocab_size)
    log_shares = np.log(counts / counts.sum(axis=1, keepdims=True))
    return float(-(of_val * log_shares).sum() / max(of_val.sum(), 1.0))


def _pairs(tokens: np.ndarray, vocab_size: int) -> np.ndarray:
    """Count each pair of neighbours, (first, second), as float64."""
    some: Any = tokens[:COUNTED_TOKENS].astype(np.int32)
    keys = some[:-1] * np.int32(vocab_size) + some[1:]
    counts: np.ndarray = np.bincount(keys, minlength=vocab_size**2).astype(np.float64)
    return counts.reshape(vocab_size, vocab_size)
