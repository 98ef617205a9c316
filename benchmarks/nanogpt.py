"""karpathy/nanoGPT as it is: what its ``train.py`` is told, and what its log says.

Nothing of it is changed or imported; it runs in its own folder and never writes there.
"""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from benchmarks import programs
from benchmarks.peers import COMPILED, Peer, gpt2_shape
from benchmarks.programs import BenchmarkError
from engine.config.schema import Config

NEVER = 10**6  # steps between evaluations that are not to be
LOG_INTERVAL = {"cpu": 1}  # as in nanoGPT's recipe for a CPU; elsewhere reading a loss costs time
LOG_INTERVAL_ELSEWHERE = 10  # … and its recipe reads every tenth
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # as nanoGPT calls them

ITERATION = re.compile(r"iter (\d+): loss .*?, time ([\d.]+)ms")
EVALUATION = re.compile(r"step (\d+): train loss ")
PARAMETERS = re.compile(r"num (?:non-)?decayed parameter tensors: \d+, with ([\d,]+) parameters")


def recipe_flags(config: Config) -> dict[str, object]:
    """Shape, batch and recipe as ``train.py`` calls them; where it evaluates and ends is not here.

    Raises:
        InputError: It cannot train that; see ``gpt2_shape``.
    """
    model, optim = gpt2_shape(config.model), config.optim
    return {
        "n_layer": model.n_layer,
        "n_head": model.n_head,
        "n_embd": model.n_embd,
        "block_size": model.block_size,
        "dropout": model.dropout,
        "bias": model.bias,
        "batch_size": config.train.batch_size,
        "gradient_accumulation_steps": config.train.grad_accum_steps,
        "learning_rate": optim.learning_rate,
        "min_lr": optim.min_lr,
        "warmup_iters": optim.warmup_steps,
        "weight_decay": optim.weight_decay,
        "beta1": optim.beta1,
        "beta2": optim.beta2,
        "grad_clip": optim.grad_clip,
    }


def run_nanogpt(
    peer: Peer,
    data: Path,
    flags: Mapping[str, object],
    *,
    device: str,
    precision: str,
    threads: int,
    environment: Mapping[str, str] | None = None,
) -> NanoGptLog:
    """Run ``train.py`` to its end.

    Args:
        peer: ``nanogpt`` or ``nanogpt-compiled``.
        data: The folder that ``write_nanogpt_data`` wrote; checkpoints go to ``out`` in it.
        flags: Of ``recipe_flags`` and more; those named here are the last word.
        device: cpu, cuda or mps.
        precision: What it casts to on a GPU; on a CPU it has fp32 only.
        threads: For a CPU.
        environment: Variables beside a person's own.

    Raises:
        BenchmarkError: It failed.
    """
    assert peer.folder
    told = {
        "log_interval": LOG_INTERVAL.get(device, LOG_INTERVAL_ELSEWHERE),
        "eval_interval": NEVER,
        "eval_iters": 0,  # the evaluation at step 0 cannot be turned off, but made empty
        "always_save_checkpoint": False,
        "dtype": DTYPES[precision],
        **flags,
        "dataset": str(data),  # an absolute path, so that its own data folder plays no part
        "out_dir": str(data / "out"),
        "device": device,
        "compile": peer.name == COMPILED,
    }
    command = [sys.executable, "train.py", *(f"--{key}={value}" for key, value in told.items())]
    variables = {
        "OMP_NUM_THREADS": str(threads),
        "PYTHONDONTWRITEBYTECODE": "1",  # the checkout stays as it is
        "PYTHONUNBUFFERED": "1",  # a line comes when it is printed
        **(environment or {}),
    }
    lines = programs.listen(command, peer.folder, programs.environment(**variables))
    log = NanoGptLog.read(lines)
    if len(log.iterations) < 2:
        raise BenchmarkError("nanoGPT did not train: it printed no two iterations")
    return log


@dataclass(frozen=True)
class Iteration:
    """A line of the log. ``seconds`` are nanoGPT's own, and those of this iteration alone."""

    number: int
    seconds: float
    arrived: float  # when the line came, of a clock whose zero means nothing


@dataclass(frozen=True)
class Stretch:
    """The iterations after one line of the log, up to and with that of another."""

    first: int
    last: int
    seconds: float
    evaluated: bool  # part of its time went into an evaluation

    @property
    def each(self) -> float:
        """Seconds of an iteration."""
        return self.seconds / (self.last - self.first + 1)


@dataclass(frozen=True)
class NanoGptLog:
    """What ``train.py`` printed."""

    iterations: list[Iteration]
    evaluations: dict[int, float]  # step -> when it was done
    parameters: int  # with the position embeddings; 0 if it did not say

    @classmethod
    def read(cls, lines: Iterable[tuple[float, str]]) -> NanoGptLog:
        """From lines, each with when it came."""
        iterations, evaluations, parameters = [], {}, 0
        for arrived, line in lines:
            if found := ITERATION.match(line):
                iterations.append(Iteration(int(found[1]), float(found[2]) / 1000, arrived))
            elif found := EVALUATION.match(line):
                evaluations[int(found[1])] = arrived
            elif found := PARAMETERS.match(line):
                parameters += int(found[1].replace(",", ""))
        return cls(iterations, evaluations, parameters)

    def stretches(self) -> list[Stretch]:
        """The time between lines: nanoGPT's own where it prints each iteration, else the clock's.

        On a GPU the time it prints is that of handing out the work of one iteration; only from
        line to line, each of which waits for a loss, does the clock tell what was done.
        """
        return [
            Stretch(
                before.number + 1,
                after.number,
                after.seconds if after.number == before.number + 1
                else after.arrived - before.arrived,
                any(before.number < step <= after.number for step in self.evaluations),
            )
            for before, after in pairwise(self.iterations)
        ]  # fmt: skip

    def after(self, warm_up: int) -> tuple[int, float]:
        """How many iterations were timed once ``warm_up`` were done, and their seconds.

        Raises:
            BenchmarkError: None.
        """
        timed = [one for one in self.stretches() if one.first >= warm_up and not one.evaluated]
        if not timed:
            raise BenchmarkError(f"nanoGPT printed nothing after its {warm_up} first iterations")
        return sum(s.last - s.first + 1 for s in timed), sum(s.seconds for s in timed)

    def training_seconds(self, updates: int) -> float:
        """Seconds of the first ``updates`` iterations, compiling counted, evaluations not.

        A stretch with an evaluation in it, or one that reaches too far, counts as the median of the
        others. The first iteration, in which a model is compiled, begins where the evaluation of
        step 0 ends.

        Raises:
            BenchmarkError: There was an evaluation in each stretch.
        """
        stretches = self.stretches()
        undisturbed = [s.each for s in stretches if not s.evaluated]
        if not undisturbed:
            raise BenchmarkError("nanoGPT evaluated too often for its training time to be told")
        typical = statistics.median(undisturbed)
        first = self.iterations[0]
        seconds = first.arrived - self.evaluations[0] if 0 in self.evaluations else first.seconds
        for one in stretches:
            count = min(one.last, updates - 1) - one.first + 1
            own = one.last < updates and not one.evaluated
            seconds += one.seconds if own else max(0, count) * typical
        return seconds
