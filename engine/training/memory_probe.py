"""Predict the memory of a forward and backward pass from two small ones."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from data.errors import InputError
from engine.config.model_size import parameter_count
from engine.config.schema import ModelConfig
from engine.machine import memory
from engine.machine.memory import (
    LARGEST_SHARE,
    TRAINING_BYTES,
    logits_bytes,
    physical_bytes,
)
from engine.training.trainer import Trainer

LENGTHS = (16, 32, 64)  # of sequences from which the memory of longer ones is predicted
TRANSIENT_SHARE = 1.5  # activations, with their gradients and scratch space, over activations


def check_gpu_memory(model: ModelConfig, vocab_size: int) -> None:
    """Reject a model whose weights, optimizer state and logits alone exceed the GPU's memory.

    Raises:
        InputError: The message says how much is free and what to lower.
    """
    parameters = parameter_count(model, vocab_size)
    needed = parameters * TRAINING_BYTES + logits_bytes(model, vocab_size)
    free = available_bytes("cuda")
    if needed > LARGEST_SHARE * free:
        raise InputError(
            f"this model has {parameters / 1e9:,.1f} billion parameters and needs "
            f"{needed / 1e9:,.1f} GB of the GPU's memory, of which {free / 1e9:,.1f} GB are free: "
            f"lower model.n_layer or model.n_embd, or set system.device to cpu"
        )


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
    parameters = sum(p.numel() for p in trainer.model.parameters())
    there = LARGEST_SHARE * available_bytes(trainer.device.type)
    one, two = (_kept_by_a_pass(trainer, size) for size in (1, 2))
    kept = max(1, two - one)
    each = kept * TRANSIENT_SHARE
    if trainer.device.type == "cuda" and _fixed_bytes(parameters, one, two) + each <= there:
        # there is room to measure it, which counts what the kernels need, too; but with few tokens
        # the peak comes when the gradients are there and what a pass has kept is free again
        one, two = peak_bytes(trainer, 1), peak_bytes(trainer, 2)
        each = float(max(kept, two - one))
        there = LARGEST_SHARE * available_bytes("cuda")
    fixed = _fixed_bytes(parameters, one, two)
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


def _fixed_bytes(parameters: int, one: float, two: float) -> float:
    """Return what training needs besides the sequences: gradients and the optimizer's state."""
    # the weights are allocated already
    return (TRAINING_BYTES - 4) * parameters + max(0.0, one - (two - one))


def _kept_by_a_pass(trainer: Trainer, size: int) -> float:
    """Return ``kept_bytes`` at full context length, predicted from short sequences if it is long.

    Attention keeps a multiple of T or of T squared, so three lengths tell.
    """
    T = trainer.config.model.block_size
    if LENGTHS[-1] >= T:
        return kept_bytes(trainer, size)
    kept = [kept_bytes(trainer, size, length) for length in LENGTHS]
    slopes = [
        (after - before) / (longer - shorter)
        for (shorter, longer), (before, after) in zip(
            pairwise(LENGTHS), pairwise(kept), strict=True
        )
    ]
    squared = (slopes[1] - slopes[0]) / (LENGTHS[2] - LENGTHS[0])
    if squared < 1:  # less than a byte: the rounding of allocations
        squared = 0.0
    linear = slopes[1] - squared * (LENGTHS[2] + LENGTHS[1])
    return kept[2] + (T - LENGTHS[2]) * (linear + squared * (T + LENGTHS[2]))


def kept_bytes(trainer: Trainer, size: int, length: int | None = None) -> int:
    """Measure what a forward pass over ``size`` sequences saves for the backward pass.

    Args:
        length: Of the sequences; None takes the context length.
    """
    weights = {p.untyped_storage().data_ptr() for p in trainer.model.parameters()}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        trainer.forward_backward(size, length)
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
