"""From logits to text."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from engine.model import LanguageModel
from engine.model.cache import KVCache
from engine.randomness import Stream, generator_for


def sample_token(
    logits: Tensor,
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> int:
    """Draw the next token.

    Args:
        logits: (vocab_size,).
        generator: Source of the draw, on the CPU.
        temperature: Divides the logits; 0 takes the likeliest token.
        top_k: Keep only the k likeliest tokens; 0 keeps all.
        top_p: Of these, keep the likeliest whose probabilities first reach this sum
            (nucleus sampling: Holtzman et al. 2020).

    Raises:
        FloatingPointError: The logits are not numbers.
    """
    logits = logits.double().cpu()
    highest = logits.max()
    if not torch.isfinite(highest):
        raise FloatingPointError("the model's logits are not numbers")
    if temperature == 0:
        return int(logits.argmax())
    # the highest is taken off first: however low the temperature, nothing overflows
    probabilities = ((logits - highest) / temperature).softmax(dim=-1)  # (vocab_size,)
    if top_k or top_p < 1:
        probabilities = _truncate(probabilities, top_k, top_p)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _truncate(probabilities: Tensor, top_k: int, top_p: float) -> Tensor:
    """Zero all but the top k, then all but the nucleus of mass p of what is left."""
    ordered, order = probabilities.sort(descending=True, stable=True)  # (vocab_size,)
    if top_k:
        ordered[top_k:] = 0
    before = ordered.cumsum(0) - ordered  # mass of the likelier ones
    ordered[before >= top_p * ordered.sum()] = 0
    return torch.zeros_like(probabilities).scatter_(0, order, ordered)


@torch.inference_mode()
def generate(
    model: LanguageModel,
    start: Sequence[int],
    max_tokens: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Iterator[int]:
    """Continue ``start``, one token at a time, each computed when it is asked for.

    Within the context every token is computed once (KV cache). Learned positions make the cache
    invalid past ``block_size``: when the context is full its older half is dropped and the newer
    half computed afresh, so that a token costs the same on average however long the text grows.

    Args:
        model: Left as it is found; dropout is off while a token is computed.
        start: At least one token id; of a longer start the last ``block_size`` count.
        max_tokens: How many tokens to add.
        temperature, top_k, top_p: See ``sample_token``.
        seed: Same seed, same text; None takes a fresh one.

    Raises:
        ValueError: ``start`` is empty.
    """
    if not start:
        raise ValueError("generation needs at least one token to start from")
    generator = generator_for(secrets.randbits(31) if seed is None else seed, Stream.SAMPLE)
    block_size, device = model.config.block_size, next(model.parameters()).device
    context = list(start)[-block_size:]
    cache = model.new_cache()
    fresh = context  # the tokens no cache has seen yet
    for _ in range(max_tokens):
        if cache.length + len(fresh) > block_size:
            fresh = context = context[-max(1, block_size // 2) :]
            cache = model.new_cache()
        logits = _eval_forward(model, torch.tensor([fresh], device=device), cache)
        token = sample_token(logits[0, -1], generator, temperature, top_k, top_p)
        fresh = [token]
        context = [*context, token]
        yield token


def _eval_forward(model: LanguageModel, input_ids: Tensor, cache: KVCache) -> Tensor:
    was_training = model.training
    if was_training:
        model.eval()
    try:
        logits: Tensor = model(input_ids, cache)
    finally:
        if was_training:
            model.train()
    return logits
