"""Check whether a model fits into memory before it is built, and diagnose out-of-memory kills."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from data.errors import InputError
from engine.config.model_size import parameter_count
from engine.config.presets import probably_has_cuda
from engine.config.schema import ModelConfig
from engine.machine import limits
from engine.machine.limits import field_of, memory_left, memory_limit

T = TypeVar("T")

TRAINING_BYTES = 16  # per parameter: weight, gradient and AdamW's two moments, in fp32
BUILDING_BYTES = 4  # per parameter: the weight alone, as where there is a GPU to train on
LARGEST_SHARE = 0.9  # of the available memory that may be used
LITTLE_LEFT = 0.05  # of held and free memory; with less free, the next large tensor may fail
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
LARGEST_FROM_HEAP = 2**30  # bytes; larger blocks are still mapped individually
PAD = 64 * 2**20  # bytes; the heap grows by at least this much


def logits_bytes(model: ModelConfig, vocab_size: int) -> int:
    """Return the memory of the logits of one sequence and their gradient, both (T, V) in fp32."""
    return 2 * model.block_size * vocab_size * 4


def check_memory(model: ModelConfig, vocab_size: int) -> None:
    """Reject a model whose weights, optimizer state and logits alone exceed the memory.

    Raises:
        InputError: The message says how much memory there is and what to lower.
    """
    parameters = parameter_count(model, vocab_size)
    needed = parameters * TRAINING_BYTES + logits_bytes(model, vocab_size)
    if probably_has_cuda():
        needed = parameters * BUILDING_BYTES
    there = physical_bytes()
    if needed > LARGEST_SHARE * there:
        whose = "this process may use" if there >= memory_limit() else "this machine has"
        raise InputError(
            f"this model has {parameters / 1e9:,.1f} billion parameters and, to train on one "
            f"sequence, needs {needed / 1e9:,.1f} GB of memory, and {whose} {there / 1e9:,.1f} GB: "
            f"{_smaller(model, vocab_size, parameters)}"
        )


def _smaller(model: ModelConfig, vocab_size: int, parameters: int) -> str:
    """Return what makes a model smaller."""
    fewer = f"take a text with fewer than its {vocab_size:,} different characters"
    if logits_bytes(model, vocab_size) > parameters * TRAINING_BYTES:
        return f"lower model.block_size, or {fewer}"
    one = dataclasses.replace(model, architecture="gpt", n_layer=1)
    if model.architecture == "bigram" or parameter_count(one, vocab_size) > parameters / 2:
        return fewer if model.architecture == "bigram" else f"lower model.n_embd, or {fewer}"
    return "lower model.n_layer or model.n_embd"


def physical_bytes() -> int:
    """Return the memory of this machine, or what this process may use of it."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(min(physical, memory_limit()))


def memory_ran_out(error: BaseException) -> bool:
    """Return whether an error of an allocator or a driver means too little memory."""
    told = str(error).lower()
    of_torch = "out of memory" in told or "can't allocate memory" in told or "alloc_cpu" in told
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and of_torch)


def if_memory_allows(measure: Callable[[], T]) -> T | None:
    """Return a measurement that training can do without; None if memory ran out."""
    try:
        return measure()
    except (MemoryError, RuntimeError) as error:
        if not memory_ran_out(error):
            raise
        return None


def described_failure(error: BaseException) -> str:
    """Describe a lack of memory or a failure of the GPU in one sentence; else return nothing."""
    told = str(error).lower()
    if memory_ran_out(error):
        return (
            "memory ran out: lower train.batch_size (and raise train.grad_accum_steps to make up "
            "for it), or system.micro_batch_size, and open the run again"
        )
    if not isinstance(error, RuntimeError):
        return ""
    if "no kernel image" in told:
        return (
            "this PyTorch was not built for this GPU: install a build that knows it, or set "
            "system.device to cpu"
        )
    if "cuda error" in told or "device-side assert" in told:
        reason = str(error).strip().splitlines()[0]
        return (
            f"the GPU failed ({reason}), and cannot be used by this process any more: close "
            f"gpt-tui and start it again; the run continues from its last checkpoint"
        )
    return ""


@contextmanager
def refusing_failures(no_room: str) -> Iterator[None]:
    """Turn a lack of memory or a failure of the GPU into an ``InputError``.

    Args:
        no_room: The sentence if memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = no_room if memory_ran_out(error) else described_failure(error)
        if not told:
            raise
        raise InputError(told) from None


def memory_now() -> dict[str, int] | None:
    """Return the bytes this process holds and could still allocate; None if unknown.

    ``kills`` counts the processes that the kernel has killed since boot because memory ran out.
    """
    try:
        held = limits.held_bytes()
        kills = field_of(limits.PROC / "vmstat", "oom_kill")
    except (OSError, ValueError):
        return None  # as on macOS
    left = available_bytes()
    return None if left is None else {"held": held, "left": left, "kills": kills}


def available_bytes() -> int | None:
    """Return what this process can still allocate without swapping; None if unknown."""
    try:
        left = field_of(limits.PROC / "meminfo", "MemAvailable:") * 1024
    except (OSError, ValueError):
        return None
    return int(min(left, memory_left()))


def why_killed(before: Mapping[str, Any] | None, now: dict[str, int] | None, size: int) -> str:
    """Return one sentence if a run was probably killed for lack of memory, else an empty string.

    Args:
        before: The last ``memory_now`` that the run recorded.
        size: The run's micro-batch size.
    """
    if not before:
        return ""
    scarce = before["left"] < LITTLE_LEFT * (before["held"] + before["left"])
    if not scarce and not (now and now["kills"] > before["kills"]):
        return ""
    way_out = (
        f"set system.micro_batch_size to {size // 2}, which gives the same steps in more passes"
        if size > 1
        else "close other programs, or start a run with a smaller model"
    )
    return (
        f"memory ran out: it held {before['held'] / 1e9:.1f} GB and {before['left'] / 1e9:.1f} GB "
        f"were left; {way_out}"
    )


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next step; return whether it accepted the options.

    Activations are freed and allocated again in every step. By default, glibc returns large blocks
    to the kernel, which has to zero each page when it is next used: 1,500 page faults per step of
    the 0.8 M model, a tenth of its time.
    """
    if not sys.platform.startswith("linux"):
        return False
    import ctypes  # not before the first paint

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    options = (
        (M_MMAP_THRESHOLD, LARGEST_FROM_HEAP),
        (M_TRIM_THRESHOLD, LARGEST_FROM_HEAP),
        (M_TOP_PAD, PAD),
    )
    accepted = [mallopt(option, value) for option, value in options]
    return all(accepted)
