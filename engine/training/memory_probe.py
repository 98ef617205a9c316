"""Predict the memory of a forward and backward pass from two small ones."""

from __future__ import annotations

import torch
from torch import Tensor

from data.errors import InputError
from engine.machine import memory
from engine.machine.memory import LARGEST_SHARE, TRAINING_BYTES, physical_bytes
from engine.training.trainer import Trainer

TRANSIENT_SHARE = 1.5  # activations, with their gradients and scratch space, over activations


def largest_micro_batch(trainer: Trainer, wanted: int) -> int:
    """Return how many sequences fit into memory in one forward and backward pass.

    Args:
        trainer: Its weights do not change.
        wanted: The number of sequences that is needed; 0 for any.

    Returns:
        At least 1, and at least ``wanted``.

    Raises:
        InputError: Not even one fits, or fewer than ``wanted``; the message says how many do.
    """
    if trainer.device.type == "cuda":
        one, two = peak_bytes(trainer, 1), peak_bytes(trainer, 2)
        each = float(max(1, two - one))
    else:
        one, two = kept_bytes(trainer, 1), kept_bytes(trainer, 2)
        each = max(1, two - one) * TRANSIENT_SHARE
    parameters = sum(p.numel() for p in trainer.model.parameters())
    # the weights are allocated already; gradients and optimizer state are not
    fixed = (TRAINING_BYTES - 4) * parameters + max(0, one - (two - one))
    there = LARGEST_SHARE * available_bytes(trainer.device.type)
    fits = int((there - fixed) // each)
    if fits >= max(1, wanted):
        return fits
    needed = (fixed + each * max(1, wanted)) / 1e9
    remedy = (
        f"set system.micro_batch_size to {fits} or less, which gives the same steps in more passes"
        if fits >= 1
        else "lower model.block_size, model.n_layer or model.n_embd"
    )
    raise InputError(
        f"a pass over {max(1, wanted)} sequences would take about {needed:,.1f} GB of memory, and "
        f"{there / 1e9:,.1f} GB are available: {remedy}"
    )


def kept_bytes(trainer: Trainer, size: int) -> int:
    """Measure what a forward pass over ``size`` sequences saves for the backward pass."""
    weights = {p.untyped_storage().data_ptr() for p in trainer.model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        trainer.forward_backward(size)
    return sum(kept.values())


def peak_bytes(trainer: Trainer, size: int) -> int:
    """Measure the peak of GPU memory that a pass over ``size`` sequences adds."""
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    trainer.forward_backward(size)
    return torch.cuda.max_memory_allocated() - before


def available_bytes(device: str = "cpu") -> int:
    """Return the free memory of a GPU, or what the CPU can still allocate without swapping."""
    if device == "cuda":
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info()
        return free
    left = memory.available_bytes()
    return physical_bytes() if left is None else left
