"""The training loop, as generators that yield after each micro-batch (a quantum).

The trainer is synchronous and deterministic; it has no threads and no queues, and tells ``phases``
what it does without reading that clock. Its caller can do something else between two quanta. The
weights change only at the end of a step.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from data.batches import Offsets, Split, evenly_spaced
from data.errors import InputError
from data.windows import NO_TARGET, Windows, windows_of
from engine import kernels
from engine.config.schema import Config, tokens_per_step, total_steps
from engine.distributed.gradients import PairwiseSum, copy_back, flattened
from engine.distributed.overlap import OverlappedSum
from engine.distributed.team import Team
from engine.machine.cuda_graph import Replays, cuda_capture
from engine.machine.memory import if_memory_allows
from engine.model import LanguageModel, build_model
from engine.optim.optimizer import Optimizer
from engine.optim.schedule import learning_rate
from engine.rng import Stream, reseed
from engine.training.ema import WeightAverage
from engine.training.phases import Phases
from engine.training.precision import DTYPES, LossScale, use_tf32
from engine.training.sharding import Sharding
from engine.training.update_health import UpdateHealth, WatchedUpdate

T = TypeVar("T")


@dataclass(frozen=True)
class Runtime:
    """The resolved settings of ``system``, without ``auto``; chosen once, when a run is created."""

    device: str
    precision: str
    threads: int
    micro_batch_size: int
    compile: bool
    kernels: str = "torch"  # the default is for runs that were recorded without one
    cuda_graph: bool = False
    processes: int = field(default=1, compare=False)  # the bits do not depend on them
    reduce: str = "exact"  # how they add up their gradients
    shard: bool = False  # whether they divide the model, if there are several


@dataclass(frozen=True)
class StepResult:
    """The result of one optimizer step; reading its tensors makes the host wait for a GPU."""

    step: int  # steps done, this one included
    tokens: int  # tokens seen, this step's included
    loss: Tensor  # (), mean cross-entropy in nats
    grad_norm: Tensor  # (), before clipping
    learning_rate: float
    health: UpdateHealth | None = None  # if it was watched, and there was memory to do so


@dataclass(frozen=True)
class Evaluation:
    step: int
    loss: float  # nats per token
    windows: int  # windows of block_size tokens that were measured
    of: int  # windows in the whole split

    @property
    def whole(self) -> bool:
        return self.windows == self.of

    def measured_on(self, batch_size: int) -> str:
        """Return "whole split", or how many of its batches were measured."""
        if self.whole:
            return "whole split"
        return f"{self.windows // batch_size} of {self.of // batch_size} batches"


class MicroBatch(NamedTuple):
    """The sequences of one forward and backward pass."""

    number: int  # in the step, over all processes
    offsets: Offsets  # (b,)
    ends_shard: bool


class Trainer:
    """Trains one model; with a team, each process of it has a trainer with the same weights.

    Args:
        team: Of the processes that share the sequences of a step; None is this one alone.

    Attributes:
        model: The weights in training.
        sharding: Of the model, if each process of the team keeps a part of it.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        split: Split,
        vocab_size: int,
        team: Team | None = None,
    ) -> None:
        self.config = config
        self.team = team or Team()
        self.device = torch.device(runtime.device)
        self.phases = Phases()
        # other devices compute later than they are told to, so that their parts cannot be timed
        self._enter = self.phases.enter if self.device.type == "cpu" else _ignore
        reseed(config.train.seed, Stream.INIT)  # the initial weights depend on the seed alone
        # built on the CPU, so that every device starts from the same weights
        self.model = build_model(config.model, vocab_size)
        self.sharding: Sharding | None = None
        self._whole: LanguageModel | None = None  # of a sharded model, until it changes
        if runtime.shard and self.team.size > 1:
            self.sharding = self._shard(self.model, runtime)
        else:
            self.model.to(self.device)
        updated = self.sharding.parts if self.sharding else self.model
        self.optimizer = Optimizer(updated, config.optim, self.team)
        self.graph = Replays()
        self._loss_sum = torch.zeros((), device=self.device)  # of the current shard's micro-batches
        self._sum = PairwiseSum()  # of the gradients and losses of this process's shards
        self.compute_with(runtime)
        self._overlap = self._overlapped_sum()
        self.average = WeightAverage(self.model) if config.optim.ema_decay else None
        self.forward: torch.nn.Module = self.model  # or the compiled model
        # never as a whole on the device: they may be mapped from a file larger than its memory
        self.split = split
        self.train_windows, self.val_windows = windows_of(
            split, config.data, config.model.block_size
        )
        self._per_target = torch.zeros((), device=self.device)  # of the loss, where windows vary
        self.step = 0
        self.step_share = 0.0  # of the sequences of the step under way
        self.tokens = 0

    def compute_with(self, runtime: Runtime) -> None:
        """Apply another runtime, on the same device.

        Raises:
            InputError: It has native kernels, and they are not available on this machine.
        """
        self.runtime = runtime
        self.dtype = DTYPES[runtime.precision]
        if runtime.kernels == "native":
            _load_kernels(runtime.device)
        self._settle(self.model)
        muon_dtype = torch.bfloat16 if self.dtype == torch.bfloat16 else torch.float32
        self.optimizer.compute_with(muon_dtype, self._uses_cpu_kernels)
        # fp16 gradients underflow; bf16 has the exponent range of fp32
        self.loss_scale = LossScale(self.device) if runtime.precision == "fp16" else None
        if self.device.type == "cuda":
            use_tf32(runtime.precision == "tf32")
        self.graph.capture_with(cuda_capture if runtime.cuda_graph else None)
        self.forget_graph()

    def forget_graph(self) -> None:
        """Drop the captured CUDA graphs, because a constant or an address has changed."""
        self.graph.forget()
        # (b, T + 1) tokens of a micro-batch; reused, so that graphs can read them
        shape = self._micro_batch_size, self.config.model.block_size + 1
        self._batch = torch.zeros(shape, dtype=torch.long, device=self.device)

    @property
    def _uses_cpu_kernels(self) -> bool:
        return self.runtime.kernels == "native" and self.device.type == "cpu"

    def _settle(self, model: LanguageModel) -> None:
        model.compute_with(self.dtype, self.runtime.kernels == "native")

    def _overlapped_sum(self) -> OverlappedSum | None:
        """Return what adds up gradients within the last pass, where that is allowed and helps.

        A replayed CUDA graph tells of no gradient, and in shared memory there is nothing to hide.
        """
        team, runtime = self.team, self.runtime
        alone = team.size == 1 or team.shares_memory or self.sharding
        if runtime.reduce == "exact" or alone or runtime.cuda_graph:
            return None
        return OverlappedSum([p for p in self.model.parameters() if p.requires_grad], team)

    def _shard(self, model: LanguageModel, runtime: Runtime) -> Sharding:
        return Sharding(model, self.team, self.device, DTYPES[runtime.precision])

    @property
    def evaluated_model(self) -> LanguageModel:
        """The model to evaluate and sample from: the averaged weights, if there are any."""
        return self.average.model if self.average else self.whole_model

    @property
    def whole_model(self) -> LanguageModel:
        """The weights in training, for this process alone; of a sharded model a copy.

        Raises:
            ProcessLost: Another process has a part of them, and has ended.
        """
        if not self.sharding:
            return self.model
        if self._whole is None:
            weights = self.sharding.gather(self.sharding.names, self.optimizer)
            self._whole = self.sharding.whole_model(weights)
        return self._whole

    @property
    def whole_device(self) -> torch.device:
        """Where there is room for a whole model."""
        return torch.device("cpu") if self.sharding else self.device

    @property
    def is_lost(self) -> bool:
        """Whether parts of the weights are gone with another process."""
        return self.sharding is not None and self.team.is_broken

    def forget_whole(self) -> None:
        """Drop the copy of a sharded model, because its weights have changed."""
        self._whole = None

    @property
    def total_steps(self) -> int:
        return total_steps(self.config, self.train_windows.per_epoch)

    @property
    def epoch(self) -> float:
        """How often all of the training split was seen."""
        return self.tokens / self.train_windows.per_epoch

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return learning_rate(self.config.optim, self.step, self.total_steps)

    def compile(self) -> None:
        """Compile the model for training; evaluation and sampling stay uncompiled.

        Raises:
            Exception: Any error of the compiler, now rather than at the first step.
        """
        uncompiled, self.forward = self.forward, torch.compile(self.model)  # type: ignore[assignment]
        self.forget_graph()
        try:
            self.forward_backward(self._micro_batch_size)
        except BaseException:
            self.forward = uncompiled
            raise

    def forward_backward(self, size: int, length: int | None = None) -> None:
        """Run a pass over ``size`` sequences and discard the gradients, to warm up or measure.

        Args:
            length: Of the sequences; None takes the context length.
        """
        length = length or self.config.model.block_size
        windows = torch.zeros(size, length + 1, dtype=torch.long, device=self.device)
        self._loss(self.forward, windows).backward()  # type: ignore[no-untyped-call]
        self.model.zero_grad(set_to_none=True)  # None instead of zeros: no memory, no fill kernels

    def adjust(self, config: Config) -> None:
        """Apply a configuration with other live settings; call it between two steps."""
        before, self.config = self.config, config
        self.team.tell("adjust", config=config.to_dict())
        self.optimizer.configure(config.optim)
        self.model.set_dropout(config.model)
        if _constants(before) != _constants(config):
            self.forget_graph()

    def train_step(self) -> StepResult:
        return drain(self.step_quanta())

    def step_quanta(self, watched: bool = False) -> Generator[None, None, StepResult]:
        """Run one optimizer step, yielding after each micro-batch.

        The generator may be closed half-way: the weights have not changed, and the next one draws
        the same batch and the same dropout masks.

        Args:
            watched: Measure the gradient and the update of each weight; the step stays the same.
        """
        config, step = self.config, self.step
        if not self.model.training:
            self.model.train()  # enables dropout
        self._enter("data")
        # (S,) random starts of the sequences of this step, as ``get_batch`` in the lecture
        offsets = self._step_offsets()
        if self.train_windows.may_be_short:  # a tensor, so that captured graphs read it
            self._per_target.fill_(1 / self.train_windows.targets(offsets))
        rate = self.learning_rate
        self.optimizer.set_rate(rate)
        yield from self._passes(offsets)
        watch = self._watch() if watched else None
        self._enter("optimizer")
        # allocated before the weights change: nothing may fail between them and the step's number
        figures = torch.empty(2, device=self.device)
        self.graph.run("update", self._update)
        self.graph.end_round()
        self.forget_whole()
        if self.average:
            self.average.update(self.model, config.optim.ema_decay, step)
        self.step += 1
        self.tokens += tokens_per_step(config)
        # copied, because the next step writes to the same tensors
        torch.stack((self._loss_sum, self._grad_norm), out=figures)
        loss, grad_norm = figures.unbind()
        health = None
        if watch:
            self._enter("health")
            health = if_memory_allows(watch.end)
        return StepResult(self.step, self.tokens, loss, grad_norm, rate, health)

    def _passes(self, offsets: Offsets) -> Generator[None, None, None]:
        """Leave the gradients and the loss of all sequences of a step, of all processes."""
        config, step = self.config, self.step
        self._sum = PairwiseSum()  # a step that was given up has left some in it
        own = self._own_micro_batches(offsets)
        if self.sharding:
            self.team.tell("train")
        sums_in_passes = self.sharding is not None or self._overlap is not None
        adds_shards = config.train.shards > 1 and not sums_in_passes
        for number, (micro_step, part, ends_shard) in enumerate(own):
            # random numbers depend on the step alone, so there is no generator state to save
            if config.model.drops:
                reseed(config.train.seed, Stream.DROPOUT, step, micro_step)
            # the last micro-batch may be smaller, so each one counts by its share of the step
            size, share = len(part), len(part) / len(offsets)
            first = number == 0 or (own[number - 1].ends_shard and not sums_in_passes)
            windows = self._on_host(self.train_windows, part)  # (b, T + 1)
            self._batch[:size].copy_(windows, non_blocking=True)
            work = partial(self._accumulate, size, share, first)
            is_last = number == len(own) - 1
            with self._with_others(is_last):
                self.graph.run((size, share, first), work)
            if ends_shard and adds_shards:
                self._sum.add(flattened([*self._gradients(), self._loss_sum]))
            self.step_share = (number + 1) / len(own)
            if is_last and self._overlap:
                break  # the others have these sums, too: the step cannot be given up any more
            yield  # the caller may pause, sample or close the generator here
            self._enter("data")
        if adds_shards:
            self._reduce()
        elif self.sharding:
            self.team.begin_sum("step", step)

    def _with_others(self, is_last: bool) -> AbstractContextManager[None]:
        """Return what a pass runs in that other processes take part in.

        Raises:
            Instead: Process 0 wants something else.
        """
        if self.sharding:
            return self.sharding.passing("pass", self.step)
        if self._overlap and is_last:
            self.team.begin_sum("step", self.step)
            return self._overlap.last_pass(self._loss_sum)
        return nullcontext()

    def _own_micro_batches(self, offsets: Offsets) -> list[MicroBatch]:
        """Divide the sequences of a step into shards, of which each process has as many."""
        shards, team = self.config.train.shards, self.team
        micro_batches = []
        for shard, those in enumerate(_parts(offsets, len(offsets) // shards)):
            parts = list(_parts(those, self._micro_batch_size))
            if shard * team.size // shards == team.rank:
                at = shard * len(parts)
                last = len(parts) - 1
                micro_batches += [
                    MicroBatch(at + i, part, i == last) for i, part in enumerate(parts)
                ]
        return micro_batches

    def _gradients(self) -> list[Tensor]:
        if self.sharding:
            return self.sharding.gradients()
        return [p.grad for p in self.model.parameters() if p.grad is not None]

    def _reduce(self) -> None:
        """Replace gradients and loss by their sums over all shards, of all processes."""
        self._enter("reduction")
        total = self._sum.total()  # (n,) of this process
        self.team.begin_sum("step", self.step)
        self.team.add_up(total, exact=self.runtime.reduce == "exact")
        copy_back(total, [*self._gradients(), self._loss_sum])

    def _watch(self) -> WatchedUpdate | None:
        """Measure gradients and weights before their update; None if there is no memory for it."""
        self._enter("health")
        scale = self.loss_scale.scale if self.loss_scale else None
        return if_memory_allows(lambda: WatchedUpdate(self.model, scale))

    def _accumulate(self, size: int, share: float, first: bool) -> None:
        """Run a micro-batch and accumulate its gradients and its loss.

        Args:
            size: b, the number of sequences, which are the first b of ``_batch``.
            share: Of the step's sequences; scales the loss, as the step's loss is their mean.
            first: Of its shard: whether to reset the gradients and the loss.
        """
        if first:
            # not the optimizer's zero_grad, which would import the compiler
            self.model.zero_grad(set_to_none=True)
            self._loss_sum.zero_()
        self._enter("forward")
        windows = self._batch[:size]
        # (); gradients add up to those of the mean
        if self.train_windows.may_be_short:
            loss = self._loss_sum_of(self.forward, windows) * self._per_target
        else:
            loss = self._loss(self.forward, windows) * share
        scaled = loss * self.loss_scale.scale if self.loss_scale else loss
        self._enter("backward")
        scaled.backward()  # type: ignore[no-untyped-call]
        self._loss_sum += loss.detach()  # else every micro-batch's graph would be kept alive

    def evaluate(self, whole: bool = False, model: LanguageModel | None = None) -> Evaluation:
        """Measure the validation loss; see ``evaluate_quanta``."""
        return drain(self.evaluate_quanta(whole, model))

    def evaluate_quanta(
        self, whole: bool = False, model: LanguageModel | None = None
    ) -> Generator[None, None, Evaluation]:
        """Measure the validation loss, yielding after each batch.

        It uses the same windows every time, so that the noise of drawing them is not in the curve.

        Args:
            whole: Use the whole split instead of ``eval.batches`` evenly spaced batches.
            model: Evaluate this model instead of ``evaluated_model``.
        """
        other, config, step = model, self.config, self.step
        alone = self.team.size == 1 or (other is not None and not self.sharding)
        if not alone:
            self.team.tell("evaluate", whole=whole, other=other is not None)
        if self.sharding:
            model = self._divided(other) if other else self.model
        model = model or self.evaluated_model
        self._settle(model)
        every = self.val_windows.to_validate()
        wanted = config.eval.batches * config.train.batch_size
        offsets = every if whole or wanted >= len(every) else evenly_spaced(every, wanted)
        # without a backward pass, twice as many sequences take less time and memory
        parts = list(_parts(offsets, 2 * self._micro_batch_size))
        losses = torch.zeros(len(parts), device=self.device)
        rank, size = (0, 1) if alone else (self.team.rank, self.team.size)
        own = list(enumerate(parts))[rank::size]
        passes = len(parts[::size]) if self.sharding else len(own)
        for number, part in own + [(-1, parts[0])] * (passes - len(own)):
            windows = self._on_host(self.val_windows, part)  # (b, T + 1)
            windows = windows.to(self.device, non_blocking=True)
            together = self.sharding.passing("evaluation", step) if self.sharding else nullcontext()
            # no graph for backward, no dropout
            with together, torch.no_grad(), _eval_mode(model):
                # both stay on the device
                if self.val_windows.may_be_short:
                    loss = self._loss_sum_of(model, windows) / config.model.block_size
                else:
                    loss = self._loss(model, windows) * len(part)
            if number >= 0:  # else a pass that the others need
                losses[number] = loss
            yield
        if not alone:
            self.team.begin_sum("evaluation", step)
            self.team.add_up(losses, exact=True)  # each is of one process, the others have 0
        total = torch.zeros((), device=self.device)
        for loss in losses:
            total += loss
        full = self.val_windows.targets(offsets) / config.model.block_size  # windows' worth
        return Evaluation(step, float(total) / full, len(offsets), len(every))

    def _divided(self, model: LanguageModel) -> LanguageModel:
        """Divide a model that process 0 has, and the others have with any weights."""
        whole = dict(model.named_parameters())
        assert self.sharding
        self._shard(model, self.runtime).load_weights(whole)
        return model

    def _step_offsets(self) -> Offsets:
        train = self.config.train
        return self.train_windows.of_step(
            train.batch_size * train.grad_accum_steps, seed=train.seed, step=self.step
        )

    @property
    def _micro_batch_size(self) -> int:
        return min(self.runtime.micro_batch_size, self.config.train.batch_size)

    def _on_host(self, windows: Windows, offsets: Offsets) -> Tensor:
        """Return the windows (b, T + 1) at ``offsets`` (b,), for a GPU in pinned memory.

        From there it copies without a synchronisation.
        """
        on_host = torch.from_numpy(windows.take(offsets))
        return on_host.pin_memory() if self.device.type == "cuda" else on_host

    def _loss(self, model: torch.nn.Module, windows: Tensor) -> Tensor:
        """Compute the mean cross-entropy () of the tokens after each input (b, T + 1)."""
        x, y = windows[:, :-1], windows[:, 1:]  # (b, T) each: the targets are one token later
        logits = model(x)  # (b, T, vocab_size)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())  # over b * T positions

    def _loss_sum_of(self, model: torch.nn.Module, windows: Tensor) -> Tensor:
        """Sum the cross-entropy () of the targets that windows (b, T + 1) have."""
        x, y = windows[:, :-1].clamp(min=0), windows[:, 1:]  # (b, T) each
        logits = model(x)  # (b, T, vocab_size); what is filled up comes after all that is read
        return F.cross_entropy(
            logits.flatten(0, 1), y.flatten(), ignore_index=NO_TARGET, reduction="sum"
        )

    def _clip(self, gradients: list[Tensor]) -> Tensor:
        """Clip the gradients to the norm ``grad_clip``; return their norm () before."""
        clip = self.config.optim.grad_clip
        if self._uses_cpu_kernels and all(g.is_contiguous() for g in gradients):
            return kernels.clip_gradients(gradients, clip or float("inf"))
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.sharding:
            norm = self.sharding.total(norm, self._loss_sum)
        if clip:  # always multiplied: comparing on the host would wait for the GPU
            torch._foreach_mul_(gradients, (clip / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def _update(self) -> None:
        """Clip and apply the gradients; store their norm () before clipping in ``_grad_norm``.

        If the norm is not finite, the weights do not change. The check stays on the device, so that
        a GPU need not wait for the host.
        """
        gradients = self._gradients()
        if self.loss_scale:
            self.loss_scale.unscale(gradients)  # before clipping, which compares with grad_clip
        self._grad_norm = self._clip(gradients)
        broken = ~torch.isfinite(self._grad_norm)  # () one NaN or inf anywhere makes it non-finite
        self.optimizer.step(skip=broken)
        if self.loss_scale:
            self.loss_scale.update(broken)


def drain(quanta: Generator[object, None, T]) -> T:
    while True:
        try:
            next(quanta)
        except StopIteration as stop:
            result: T = stop.value
            return result


def _ignore(phase: str) -> str:
    return phase


def _load_kernels(device: str) -> None:
    try:
        kernels.load_for(device)
    except kernels.NoKernels as reason:
        raise InputError(
            f"this run was trained with native kernels, which are not available here: {reason}"
        ) from None


def _parts(offsets: Offsets, size: int) -> Iterator[Offsets]:
    return (offsets[i : i + size] for i in range(0, len(offsets), size))


def _constants(config: Config) -> tuple[object, ...]:
    """Return the live settings that a CUDA graph captures as constants."""
    optim, train = config.optim, config.train
    clip_and_decay = optim.grad_clip, optim.weight_decay
    averages = optim.beta1, optim.beta2, optim.momentum
    return config.model, train.batch_size, train.grad_accum_steps, clip_and_decay, averages


@contextmanager
def _eval_mode(model: LanguageModel) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
