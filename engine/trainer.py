"""The trainer: a plain object that advances in small quanta.

It is synchronous and deterministic and knows no thread, queue or clock. Its generators yield after
each micro-batch, so that whoever drives them can do something else in between; the weights change
only at the end of a step.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from data.batches import Split, evenly_spaced, train_offsets, validation_windows
from data.errors import InputError
from engine import native
from engine.config import Config, tokens_per_step, total_steps
from engine.ema import WeightAverage
from engine.model import LanguageModel, build_model
from engine.optim import Optimizer, learning_rate
from engine.precision import DTYPES, LossScale, use_tf32
from engine.randomness import Stream, reseed

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """What every ``auto`` of ``system`` came to; settled once, when a run is created."""

    device: str
    precision: str
    threads: int
    micro_batch_size: int
    compile: bool
    kernels: str = "torch"  # runs from before there was a choice have none on record


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step did. The tensors stay on the device until somebody needs them."""

    step: int  # steps done, this one included
    tokens: int  # tokens seen, this step's included
    loss: Tensor  # (), mean cross-entropy in nats
    grad_norm: Tensor  # (), before clipping
    learning_rate: float


@dataclass(frozen=True)
class Evaluation:
    """A validation loss and what it was measured on."""

    step: int
    loss: float  # nats per token
    windows: int  # contexts measured
    of: int  # contexts in the whole split

    @property
    def whole(self) -> bool:
        """Whether the whole validation split was measured."""
        return self.windows == self.of

    def in_words(self, batch_size: int) -> str:
        """What it was measured on."""
        if self.whole:
            return "whole split"
        return f"{self.windows // batch_size} of {self.of // batch_size} batches"


class Trainer:
    """Trains one model on one text.

    Args:
        config: What is asked for.
        runtime: What it runs on.
        split: The tokens.
        vocab_size: Number of distinct tokens.
    """

    def __init__(self, config: Config, runtime: Runtime, split: Split, vocab_size: int) -> None:
        self.config = config
        self.device = torch.device(runtime.device)
        reseed(config.train.seed, Stream.INIT)
        # built on the CPU, so that the weights begin the same on every device
        self.model = build_model(config.model, vocab_size).to(self.device)
        self.optimizer = Optimizer(self.model, config.optim)
        self.compute_with(runtime)
        self.average = WeightAverage(self.model) if config.optim.ema_decay else None
        self.forward: torch.nn.Module = self.model
        self.train_tokens = _on_device(split.train, self.device)  # (n_train,)
        self.val_tokens = _on_device(split.val, self.device)  # (n_val,)
        self.step = 0
        self.tokens = 0

    def compute_with(self, runtime: Runtime) -> None:
        """Settle how to compute; the device must stay.

        Raises:
            InputError: Native kernels are wanted, and this machine has none.
        """
        self.runtime = runtime
        self.dtype = DTYPES[runtime.precision]
        if runtime.kernels == "native":
            _load_kernels()
        self._settle(self.model)
        self.optimizer.compute_with(self._muon_dtype, runtime.kernels == "native")
        self.loss_scale = LossScale(self.device) if runtime.precision == "fp16" else None
        if self.device.type == "cuda":
            use_tf32(runtime.precision == "tf32")

    def _settle(self, model: LanguageModel) -> None:
        model.compute_with(self.dtype, self.runtime.kernels == "native")

    @property
    def _muon_dtype(self) -> torch.dtype:
        fast_bf16 = self.device.type == "cuda" or self.dtype == torch.bfloat16
        return torch.bfloat16 if fast_bf16 else torch.float32

    @property
    def evaluated_model(self) -> LanguageModel:
        """Whose loss is measured and whose text is sampled: the average, where there is one."""
        return self.average.model if self.average else self.model

    @property
    def total_steps(self) -> int:
        """Steps the run is to take."""
        return total_steps(self.config, len(self.train_tokens))

    @property
    def epoch(self) -> float:
        """How often the training split has been seen, in tokens."""
        return self.tokens / len(self.train_tokens)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(self.config.optim, self.step, self.total_steps)

    def compile(self) -> None:
        """Train through a compiled twin of the model; evaluation and sampling stay uncompiled.

        Raises:
            Exception: Whatever the compiler throws, at once rather than at the first step.
        """
        uncompiled, self.forward = self.forward, torch.compile(self.model)  # type: ignore[assignment]
        try:
            self.forward_backward(self._micro_batch_size)
        except BaseException:
            self.forward = uncompiled
            raise

    def forward_backward(self, size: int) -> None:
        """One pass over ``size`` sequences whose gradients are dropped, to warm up or to time."""
        x, y = self._windows(self.train_tokens, np.zeros(size, dtype=np.int64))  # (size, T) each
        self._loss(self.forward, x, y).backward()  # type: ignore[no-untyped-call]
        self.model.zero_grad(set_to_none=True)

    def adjust(self, config: Config) -> None:
        """Take over a configuration with other live settings, between two steps."""
        self.config = config
        self.optimizer.configure(config.optim)
        self.model.set_dropout(config.model)

    def train_step(self) -> StepResult:
        """Do one whole optimizer step."""
        return drain(self.step_quanta())

    def step_quanta(self) -> Generator[None, None, StepResult]:
        """One optimizer step, yielding after each micro-batch.

        Dropping the generator half-way is harmless: the weights have not changed, and the next one
        draws the same batch and the same dropout.
        """
        config, step = self.config, self.step
        if not self.model.training:
            self.model.train()
        self.model.zero_grad(set_to_none=True)  # the optimizer's would import the compiler
        loss = torch.zeros((), device=self.device)
        offsets = self._step_offsets()  # (S,) starts of the sequences of this step
        for micro_step, part in enumerate(_parts(offsets, self._micro_batch_size)):
            share = len(part) / len(offsets)
            if config.model.drops:
                reseed(config.train.seed, Stream.DROPOUT, step, micro_step)
            x, y = self._windows(self.train_tokens, part)  # (b, T) each
            part_loss = self._loss(self.forward, x, y) * share
            self._backward(part_loss)
            loss += part_loss.detach()
            yield
        rate = self.learning_rate
        grad_norm = self._update(rate)
        self.step += 1
        self.tokens += tokens_per_step(config)
        return StepResult(self.step, self.tokens, loss, grad_norm, rate)

    def evaluate(self, whole: bool = False, model: LanguageModel | None = None) -> Evaluation:
        """Measure the validation loss; see ``evaluate_quanta``."""
        return drain(self.evaluate_quanta(whole, model))

    def evaluate_quanta(
        self, whole: bool = False, model: LanguageModel | None = None
    ) -> Generator[None, None, Evaluation]:
        """Measure the validation loss, yielding after each batch. The same windows every time.

        Args:
            whole: Take the whole split instead of ``eval.batches`` evenly spaced batches.
            model: Other weights to measure than those in training.
        """
        model, config, step = model or self.evaluated_model, self.config, self.step
        self._settle(model)
        every = validation_windows(len(self.val_tokens), config.model.block_size)
        wanted = config.eval.batches * config.train.batch_size
        offsets = every if whole or wanted >= len(every) else evenly_spaced(every, wanted)
        total = torch.zeros((), device=self.device)
        for part in _parts(offsets, self._eval_batch_size):
            with torch.no_grad(), _eval_mode(model):
                x, y = self._windows(self.val_tokens, part)  # (b, T) each
                total += self._loss(model, x, y) * len(part)
            yield
        return Evaluation(step, float(total) / len(offsets), len(offsets), len(every))

    def _step_offsets(self) -> np.ndarray:
        train = self.config.train
        return train_offsets(
            len(self.train_tokens),
            self.config.model.block_size,
            train.batch_size * train.grad_accum_steps,
            seed=train.seed,
            step=self.step,
        )

    @property
    def _micro_batch_size(self) -> int:
        return min(self.runtime.micro_batch_size, self.config.train.batch_size)

    @property
    def _eval_batch_size(self) -> int:
        # without a backward pass twice the sequences take less time and memory
        return 2 * self._micro_batch_size

    def _windows(self, tokens: Tensor, offsets: np.ndarray) -> tuple[Tensor, Tensor]:
        """Inputs and targets (b, T) for windows that start at ``offsets`` (b,)."""
        starts = torch.from_numpy(offsets).to(self.device, non_blocking=True)
        reach = torch.arange(self.config.model.block_size + 1, device=self.device)
        windows = tokens[starts[:, None] + reach].long()  # (b, T + 1)
        return windows[:, :-1], windows[:, 1:]

    def _loss(self, model: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Mean cross-entropy () of predicting ``y`` (b, T) from ``x`` (b, T)."""
        logits = model(x)  # (b, T, vocab_size)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    def _backward(self, loss: Tensor) -> None:
        scaled = loss * self.loss_scale.scale if self.loss_scale else loss
        scaled.backward()  # type: ignore[no-untyped-call]

    def _clip(self, parameters: list[torch.nn.Parameter]) -> Tensor:
        """Scale the gradients down if their norm, which is returned, is above ``grad_clip``."""
        clip = self.config.optim.grad_clip or float("inf")
        gradients = [p.grad for p in parameters if p.grad is not None]
        if self.runtime.kernels == "native" and all(g.is_contiguous() for g in gradients):
            return native.clip_gradients(gradients, clip)
        return torch.nn.utils.clip_grad_norm_(parameters, clip)

    def _update(self, rate: float) -> Tensor:
        """Clip, then apply the gradients; returns their norm () before clipping.

        A gradient that is not finite leaves the weights as they are. The check stays on the
        device, so that a GPU need not wait for the host.
        """
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        if self.loss_scale:
            self.loss_scale.unscale([p.grad for p in parameters if p.grad is not None])
        grad_norm = self._clip(parameters)
        broken = ~torch.isfinite(grad_norm)
        self.optimizer.step(rate, skip=broken)
        if self.loss_scale:
            self.loss_scale.update(broken)
        if self.average:
            self.average.update(self.model, self.config.optim.ema_decay, self.step)
        return grad_norm


def drain(quanta: Generator[None, None, T]) -> T:
    """Run a generator of quanta to its end and give its result."""
    while True:
        try:
            next(quanta)
        except StopIteration as stop:
            result: T = stop.value
            return result


def _load_kernels() -> None:
    try:
        native.load()
    except native.NoKernels as reason:
        raise InputError(
            f"this run was trained with kernels of our own, and they cannot be had here: {reason}"
        ) from None


def _parts(offsets: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return (offsets[i : i + size] for i in range(0, len(offsets), size))


def _on_device(tokens: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int32)).to(device)


@contextmanager
def _eval_mode(model: LanguageModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
