"""Sample the next token from logits: repetition penalty, temperature, top-k, top-p and min-p."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from engine.config.schema import SampleConfig
from engine.rng import Stream, generator_for

MIN_TEMPERATURE = 1e-200  # dividing the logits by less would overflow; the result is the same
DRAWS_AHEAD = 64  # random numbers drawn at once; changing it changes the text of every seed


class Draws:
    """Samples the next token of B sequences, each with its own random numbers.

    The settings apply in this order: ``repetition_penalty``, ``temperature``, ``top_k``,
    ``top_p``, ``min_p``; each filter works on the tokens that the one before it left.

    A sequence's tokens depend only on its seed and its own logits, never on its neighbours in the
    batch. It computes in float64, and usually on the CPU, as there are few numbers to process.

    Args:
        settings: Only the five settings above are used.
        seeds: One per sequence.
        start: Token ids that all sequences begin with; the repetition penalty counts them.
    """

    def __init__(
        self, settings: SampleConfig, seeds: Sequence[int], start: Sequence[int], vocab_size: int
    ) -> None:
        self._settings = settings
        self._generators = [generator_for(seed, Stream.SAMPLE) for seed in seeds]
        self._ahead: Iterator[Tensor] = iter(())  # uniform random numbers, (B, 1) per token
        self._seen: Tensor | None = None  # (B, vocab_size) bool: the sequence contains the token
        if settings.repetition_penalty != 1:
            self._seen = torch.zeros(len(seeds), vocab_size, dtype=torch.bool)
            self._seen[:, list(start)] = True

    def draw(self, logits: Tensor) -> Tensor:
        """Sample the next token of each sequence.

        Args:
            logits: (B, vocab_size), or (1, vocab_size) for all sequences, on the CPU or on CUDA,
                where it then computes.

        Returns:
            (B,) token ids on the device of the logits.

        Raises:
            FloatingPointError: The logits are not finite.
        """
        logits = logits.double()
        if self._seen is not None:
            self._seen = self._seen.to(logits.device)
            logits = penalised(logits, self._seen, self._settings.repetition_penalty)
        if self._settings.temperature == 0:  # greedy decoding
            _require_numbers(logits.amax(-1))
            ids = logits.argmax(-1).expand(len(self._generators))  # (B,)
        else:
            uniform = self._uniform().to(logits.device)
            ids = pick(sampled_from(logits, self._settings), uniform)  # (B,)
        if self._seen is not None:
            self._seen.scatter_(1, ids[:, None], True)
        return ids

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with only these rows of the batch."""
        self._generators = [self._generators[row] for row in rows]
        self._ahead = iter([numbers[list(rows)] for numbers in self._ahead])
        if self._seen is not None:
            self._seen = self._seen[list(rows)]

    def _uniform(self) -> Tensor:
        """Draw a random number in [0, 1) for each sequence: (B, 1)."""
        numbers = next(self._ahead, None)
        if numbers is None:
            each = [
                torch.rand(DRAWS_AHEAD, dtype=torch.float64, generator=one)
                for one in self._generators
            ]
            # (DRAWS_AHEAD, B, 1), handed out one (B, 1) at a time
            self._ahead = iter(torch.stack(each, dim=1)[..., None].unbind(0))
            numbers = next(self._ahead)
        return numbers


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Lower the logits of tokens in ``seen`` (CTRL: Keskar et al. 2019, section 4.1).

    Args:
        logits: (B, vocab_size).
        seen: (B, vocab_size) bool.
        penalty: Above 1 makes repetition less likely.
    """
    # dividing a negative logit would raise it
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, lowered, logits)


def sampled_from(logits: Tensor, settings: SampleConfig) -> Tensor:
    """Return the probabilities that the next token is drawn with: (B, vocab_size) of float64.

    Args:
        logits: (B, vocab_size) of float64, penalised.
        settings: ``temperature``, ``top_k``, ``top_p`` and ``min_p`` are used.
    """
    if settings.temperature == 0:  # greedy decoding
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    probs = (logits / max(settings.temperature, MIN_TEMPERATURE)).softmax(-1)
    return truncated(probs, settings)


def truncated(probs: Tensor, settings: SampleConfig) -> Tensor:
    """Apply top-k, then top-p, then min-p, and renormalise.

    Top-k keeps the k most likely tokens. Top-p (nucleus sampling: Holtzman et al. 2020) keeps the
    smallest set of most likely tokens whose probabilities reach that share. Min-p (Nguyen et al.
    2024) keeps tokens at least that share as likely as the most likely one.

    Args:
        probs: (B, vocab_size) probabilities.
        settings: ``top_k``, ``top_p`` and ``min_p`` are used.
    """
    top_k, top_p, min_p = settings.top_k, settings.top_p, settings.min_p
    if not (top_k or top_p < 1 or min_p):
        return probs
    # stable, so that top-k breaks ties by token id and the result is deterministic
    kept, order = probs.sort(dim=-1, descending=True, stable=True)  # (B, vocab_size) each
    if top_k:
        kept[:, top_k:] = 0
    if top_p < 1:
        # the probability of all more likely tokens: the first one to reach top_p is still kept
        before = kept.cumsum(-1) - kept
        kept[before >= top_p * kept.sum(-1, keepdim=True)] = 0
    if min_p:
        kept[kept < min_p * kept[:, :1]] = 0
    kept /= kept.sum(-1, keepdim=True)
    return torch.zeros_like(probs).scatter_(-1, order, kept)  # back to the order of the vocabulary


def pick(probs: Tensor, uniform: Tensor) -> Tensor:
    """Sample by inverting the cumulative distribution.

    ``torch.multinomial`` has one generator for the whole batch; here each sequence has its own
    random number, so that it does not depend on its neighbours.

    Args:
        probs: (B, vocab_size), or (1, vocab_size) for all rows of ``uniform``.
        uniform: (B, 1) numbers in [0, 1).

    Returns:
        (B,) token ids, never one of probability 0.

    Raises:
        FloatingPointError: The probabilities are not finite.
    """
    cumulative = probs.cumsum(-1)  # (B, vocab_size)
    if len(cumulative) < len(uniform):
        cumulative = cumulative.repeat(len(uniform), 1)
    ids = torch.searchsorted(cumulative, uniform, right=True)[:, 0]  # (B,)
    # past the end: rounding left the sum a little below 1, or there are NaNs
    if probs.size(-1) in ids.tolist():
        _require_numbers(cumulative[:, -1])
        last = (cumulative < cumulative[:, -1:]).sum(-1)  # the last token of probability above 0
        ids = ids.minimum(last)
    return ids


class Odds(NamedTuple):
    """How likely chosen tokens were, n of them."""

    probabilities: list[float]
    ranks: list[int]  # 1 for the most likely token
    top_ids: list[list[int]]  # of the most likely tokens, the first the most
    top_probabilities: list[list[float]]


def odds_of(logits: Tensor, ids: Tensor, alternatives: int) -> Odds:
    """Compare chosen tokens with the others that could have come.

    Args:
        logits: (n, vocab_size), before temperature and the other settings.
        ids: (n,), the token chosen at each place.
        alternatives: How many of the most likely tokens to name.
    """
    probs = logits.softmax(-1)  # (n, vocab_size)
    chosen = logits.gather(-1, ids[:, None])  # (n, 1)
    top = probs.topk(min(alternatives, logits.size(-1)), dim=-1)
    return Odds(
        probs.gather(-1, ids[:, None])[:, 0].tolist(),
        ((logits > chosen).sum(-1) + 1).tolist(),
        top.indices.tolist(),
        top.values.tolist(),
    )


def _require_numbers(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise FloatingPointError("the model's logits are not finite")
