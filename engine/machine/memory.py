"""Whether a model fits this machine at all, told before anything is built."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.config.model_size import matrix_weights
from engine.config.presets import probably_has_cuda
from engine.config.schema import ModelConfig

TRAINING_BYTES = 16  # of a parameter: itself, its gradient and AdamW's two averages, in fp32
BUILDING_BYTES = 4  # on a GPU's machine only the building takes place in main memory
LARGEST_SHARE = 0.9  # of the memory there is
LITTLE_LEFT = 0.05  # of what a process holds and could still have: one large tensor, and it is over
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def parameter_estimate(model: ModelConfig, vocab_size: int) -> int:
    """Parameters of a model without building it: matrices and embeddings, biases left out."""
    if model.architecture == "bigram":
        return vocab_size**2
    tables = model.n_gram - int(model.tie_weights)  # a tied head is a table and a matrix
    positions = model.block_size if model.position == "learned" else 0
    embeddings = (tables * vocab_size + positions) * model.n_embd
    return matrix_weights(model, vocab_size) + embeddings


def check_memory(model: ModelConfig, vocab_size: int) -> None:
    """Refuse a model whose weights and optimizer state alone cannot fit.

    Raises:
        InputError: They cannot; the sentence says how much there is and what to lower.
    """
    parameters = parameter_estimate(model, vocab_size)
    needed = parameters * (BUILDING_BYTES if probably_has_cuda() else TRAINING_BYTES)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > LARGEST_SHARE * there:
        raise InputError(
            f"this model has {parameters / 1e9:,.1f} billion parameters and needs "
            f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f} GB: "
            f"lower model.n_layer or model.n_embd"
        )


def gpu_memory_ran_out(error: RuntimeError) -> bool:
    """Whether this is what it says, by PyTorch's allocator or by the driver."""
    return "out of memory" in str(error).lower()  # the CPU's allocator says "can't allocate memory"


def memory_now() -> dict[str, int] | None:
    """What this process holds and what it could still have, in bytes; None where it is not told.

    ``kills`` counts the processes that were ever killed here because memory ran out.
    """
    try:
        held = int((PROC / "self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        left = _field(PROC / "meminfo", "MemAvailable:") * 1024
        kills = _field(PROC / "vmstat", "oom_kill")
    except (OSError, ValueError):
        return None  # as on macOS
    with suppress(OSError, ValueError):  # a container may have less than its machine
        limit = int((CGROUP / "memory.max").read_text())
        used = int((CGROUP / "memory.current").read_text())
        cached = _field(CGROUP / "memory.stat", "inactive_file")  # of files, given up when needed
        left = min(left, limit - used + cached)
    return {"held": held, "left": left, "kills": kills}


def why_killed(before: dict[str, Any] | None, now: dict[str, int] | None, size: int) -> str:
    """Whether it was for memory that a run ended without a word, and the way out; else empty.

    Args:
        before: ``memory_now`` as the run last wrote it down.
        now: As it is now.
        size: Sequences that are computed at once.
    """
    if not before:
        return ""
    scarce = before["left"] < LITTLE_LEFT * (before["held"] + before["left"])
    if not scarce and not (now and now["kills"] > before["kills"]):
        return ""
    way_out = (
        f"set system.micro_batch_size to {size // 2}, which gives the same steps in more passes"
        if size > 1
        else "close other programs, or begin a run with a smaller model"
    )
    return (
        f"memory ran out: it held {before['held'] / 1e9:.1f} GB and {before['left'] / 1e9:.1f} GB "
        f"were left; {way_out}"
    )


def _field(file: Path, name: str) -> int:
    """The number beside a name in one of the kernel's tables."""
    for line in file.read_text().splitlines():
        if line.startswith(name + " "):
            return int(line.split()[1])
    raise ValueError(f"{file} has no {name}")
