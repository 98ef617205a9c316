"""How much a model computes, in closed form: nothing is built, nothing is allocated."""

from __future__ import annotations

from engine.config.schema import ModelConfig

BACKWARD_SHARE = 2  # a backward pass multiplies twice for each product of the forward pass


def flops_per_token(config: ModelConfig, vocab_size: int, training: bool = True) -> float:
    """Floating-point operations that one token costs in a full context.

    The usual count (PaLM: Chowdhery et al. 2022, appendix B; nanoGPT's ``estimate_mfu``): a
    multiplication and an addition for each weight that the token is multiplied with, and
    4 x ``n_layer`` x ``n_embd`` x ``block_size`` for scores and mixing in attention, where every
    token counts as if it looked at the whole context. Table look-ups, norms, activations and the
    optimizer are left out. Unlike theirs it counts the weights of matrices alone, so an untied
    embedding, a gain or a bias adds nothing.

    Args:
        config: The shape of the network.
        vocab_size: Number of distinct tokens.
        training: With the backward pass, which is three times the forward pass alone.
    """
    if config.architecture == "bigram":
        return 0.0  # a look-up
    attention = 2 * 2 * config.n_layer * config.n_embd * config.block_size
    forward = 2 * matrix_weights(config, vocab_size) + attention
    return float(forward * (1 + BACKWARD_SHARE) if training else forward)


def matrix_weights(config: ModelConfig, vocab_size: int) -> int:
    """Weights that every token is multiplied with: those of the blocks' matrices and the head."""
    if config.architecture == "bigram":
        return 0
    width, outputs = config.n_embd, int(config.output_proj)
    keys_and_values = 2 * config.kv_heads * config.head_size
    attention = width * (width + keys_and_values + outputs * width)
    feed_forward = 0
    if config.mlp_ratio:
        inputs = 2 if config.activation == "swiglu" else 1
        feed_forward = (inputs + outputs) * width * config.d_ff
    return config.n_layer * (attention + feed_forward) + width * vocab_size


def kv_cache_numbers(config: ModelConfig) -> int:
    """Keys and values that are kept of one text as long as the context."""
    if config.architecture == "bigram":
        return 0
    return 2 * config.n_layer * config.kv_heads * config.head_size * config.block_size
