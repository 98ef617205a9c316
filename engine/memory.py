"""Whether a model fits this machine at all, told before anything is built."""

from __future__ import annotations

import os

from data.errors import InputError
from engine.arithmetic import matrix_weights
from engine.config import ModelConfig
from engine.presets import probably_has_cuda

TRAINING_BYTES = 16  # of a parameter: itself, its gradient and AdamW's two averages, in fp32
BUILDING_BYTES = 4  # on a GPU's machine only the building takes place in main memory
LARGEST_SHARE = 0.9  # of the memory there is


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
