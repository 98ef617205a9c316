"""FLOPs and sizes of a model, computed from its configuration without building it."""

from __future__ import annotations

from engine.config.schema import ModelConfig, OptimConfig

COUNTED = "without position embeddings, as nanoGPT counts"  # parameters, wherever they are shown
FP32_BYTES = 4  # weights, gradients and optimizer state are kept in fp32
BACKWARD_SHARE = 2  # each product of the forward pass has two in the backward pass


def flops_per_token(config: ModelConfig, vocab_size: int, training: bool = True) -> float:
    """Return the floating-point operations per token at full context length.

    The usual count (PaLM: Chowdhery et al. 2022, appendix B; nanoGPT's ``estimate_mfu``): a
    multiplication and an addition per weight, and 4 x ``n_layer`` x ``n_embd`` x ``block_size`` for
    the attention scores and the weighted sum of values, as if every token attended to the whole
    context. Lookups, norms, activations and the optimizer are not counted. Unlike theirs, it counts
    only the weights of matrices, not untied embeddings, gains and biases.

    Args:
        training: Include the backward pass.
    """
    if config.architecture == "bigram":
        return 0.0  # only a lookup
    attention = 2 * 2 * config.n_layer * config.n_embd * config.block_size
    forward = 2 * matrix_weights(config, vocab_size) + attention
    return float(forward * (1 + BACKWARD_SHARE) if training else forward)


def matrix_weights(config: ModelConfig, vocab_size: int) -> int:
    """Return the number of weights in the matrices of the blocks and the head."""
    return block_weights(config) + (
        0 if config.architecture == "bigram" else config.n_embd * vocab_size
    )


def block_weights(config: ModelConfig) -> int:
    """Return the number of weights in the matrices of the blocks, those that Muon takes."""
    if config.architecture == "bigram":
        return 0
    width, outputs = config.n_embd, int(config.output_proj)
    keys_and_values = 2 * config.kv_heads * config.head_size
    attention = width * (width + keys_and_values + outputs * width)
    feed_forward = 0
    if config.mlp_ratio:
        inputs = 2 if config.activation == "swiglu" else 1
        feed_forward = (inputs + outputs) * width * config.d_ff
    return config.n_layer * (attention + feed_forward)


def kv_cache_numbers(config: ModelConfig) -> int:
    """Return the number of elements in the KV cache of a sequence of ``block_size`` tokens."""
    if config.architecture == "bigram":
        return 0
    return 2 * config.n_layer * config.kv_heads * config.head_size * config.block_size


def parameter_count(config: ModelConfig, vocab_size: int, positions: bool = True) -> int:
    """Return the number of parameters, as of the model when it is built.

    Args:
        positions: Count learned position embeddings, as for memory; what is shown is ``COUNTED``.
    """
    if config.architecture == "bigram":
        return vocab_size**2
    width = config.n_embd
    tables = config.n_gram - int(config.tie_weights)  # a tied head is counted as a matrix already
    learned = config.block_size if positions and config.position == "learned" else 0
    embeddings = (tables * vocab_size + learned) * width
    norms = config.n_layer * (2 if config.mlp_ratio else 1) + (config.norm_place == "pre")
    vectors = {"none": 0, "rms": 1, "layer": 1 + config.bias}[config.norm]
    return (
        matrix_weights(config, vocab_size)
        + embeddings
        + norms * vectors * width
        + (config.n_layer * _biases_of_block(config) if config.bias else 0)
    )


def optimizer_bytes(config: ModelConfig, optim: OptimConfig, vocab_size: int) -> int:
    """Return the bytes of the optimizer's state: AdamW keeps two numbers a parameter, others one.

    Args:
        optim: Of it, the optimizer and its momentum.
    """
    numbers = parameter_count(config, vocab_size)
    if optim.optimizer == "sgd":
        return FP32_BYTES * (numbers if optim.momentum else 0)
    matrices = block_weights(config) if optim.optimizer == "muon" else 0
    return FP32_BYTES * (2 * numbers - matrices)


def training_bytes(config: ModelConfig, optim: OptimConfig, vocab_size: int) -> int:
    """Return the bytes that training keeps: weights, gradients, optimizer state, average."""
    copies = 2 + bool(optim.ema_decay)
    numbers = parameter_count(config, vocab_size)
    return copies * FP32_BYTES * numbers + optimizer_bytes(config, optim, vocab_size)


def _biases_of_block(config: ModelConfig) -> int:
    width, outputs = config.n_embd, int(config.output_proj)
    attention = width + 2 * config.kv_heads * config.head_size + outputs * width
    if not config.mlp_ratio:
        return attention
    inputs = 2 if config.activation == "swiglu" else 1
    return attention + inputs * config.d_ff + outputs * width
