"""From logits to tokens: the rules by which the next one is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config.schema import SampleConfig
from engine.rng import Stream, generator_for

COLDEST = 1e-200  # temperatures below it draw the same; quotients would overflow
DRAWS_AHEAD = 64  # random numbers are made so many at a time; part of what a seed stands for


@dataclass(frozen=True)
class Rules:
    """How a token is drawn; applied in this order.

    Args:
        repetition_penalty: Tokens the text has already lose: their positive logits are divided by
            it, their negative ones multiplied (CTRL: Keskar et al. 2019, section 4.1).
        temperature: Divides the logits; 0 takes the likeliest token, whatever follows.
        top_k: Keep only the k likeliest tokens; 0 keeps all.
        top_p: Of these, keep the likeliest whose probabilities first reach this share of their sum
            (nucleus sampling: Holtzman et al. 2020).
        min_p: Of these, keep those at least this share as likely as the likeliest
            (Nguyen et al. 2024); 0 keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @classmethod
    def of(cls, settings: SampleConfig) -> Rules:
        """Those of a configuration."""
        return cls(
            settings.temperature,
            settings.top_k,
            settings.top_p,
            settings.min_p,
            settings.repetition_penalty,
        )


class Draws:
    """Draws the tokens of B texts, each with random numbers of its own.

    What a text draws depends on its seed and its own logits alone, never on the texts beside it.
    It is a matter of a few numbers, so it is done on the CPU whatever the device, and in doubles.

    Args:
        rules: How.
        seeds: One for each text.
        start: The ids that all texts begin with.
        vocab_size: Number of distinct tokens.
    """

    def __init__(
        self, rules: Rules, seeds: Sequence[int], start: Sequence[int], vocab_size: int
    ) -> None:
        self._rules = rules
        self._generators = [generator_for(seed, Stream.SAMPLE) for seed in seeds]
        self._ahead: Iterator[Tensor] = iter(())  # random numbers, (B, 1) for each token
        self._seen: Tensor | None = None  # (B, vocab_size) whether the text has the token
        if rules.repetition_penalty != 1:
            self._seen = torch.zeros(len(seeds), vocab_size, dtype=torch.bool)
            self._seen[:, list(start)] = True

    def draw(self, logits: Tensor) -> Tensor:
        """The next token of each text.

        Args:
            logits: (B, vocab_size), or (1, vocab_size) for all, on any device.

        Returns:
            (B,) ids on the CPU.

        Raises:
            FloatingPointError: The logits are not numbers.
        """
        logits = logits.cpu().double()
        if self._seen is not None:
            logits = penalised(logits, self._seen, self._rules.repetition_penalty)
        if self._rules.temperature == 0:
            _require_numbers(logits.amax(-1))
            ids = logits.argmax(-1).expand(len(self._generators))
        else:
            chances = (logits / max(self._rules.temperature, COLDEST)).softmax(-1)
            ids = pick(truncated(chances, self._rules), self._uniform())
        if self._seen is not None:
            self._seen.scatter_(1, ids[:, None], True)
        return ids

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the texts alone."""
        self._generators = [self._generators[row] for row in rows]
        self._ahead = iter([numbers[list(rows)] for numbers in self._ahead])
        if self._seen is not None:
            self._seen = self._seen[list(rows)]

    def _uniform(self) -> Tensor:
        """A random number in [0, 1) for each text: (B, 1)."""
        numbers = next(self._ahead, None)
        if numbers is None:
            each = [
                torch.rand(DRAWS_AHEAD, dtype=torch.float64, generator=one)
                for one in self._generators
            ]
            self._ahead = iter(torch.stack(each, dim=1)[..., None].unbind(0))
            numbers = next(self._ahead)
        return numbers


def penalised(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Logits with the tokens that were ``seen`` made less likely; all (B, vocab_size)."""
    lowered = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, lowered, logits)


def truncated(chances: Tensor, rules: Rules) -> Tensor:
    """Probabilities (B, vocab_size) without the tokens that the rules drop, of sum 1 again."""
    if not (rules.top_k or rules.top_p < 1 or rules.min_p):
        return chances
    kept, order = chances.sort(dim=-1, descending=True, stable=True)  # (B, vocab_size)
    if rules.top_k:
        kept[:, rules.top_k :] = 0
    if rules.top_p < 1:
        before = kept.cumsum(-1) - kept  # the mass of the likelier ones
        kept[before >= rules.top_p * kept.sum(-1, keepdim=True)] = 0
    if rules.min_p:
        kept[kept < rules.min_p * kept[:, :1]] = 0
    kept /= kept.sum(-1, keepdim=True)
    return torch.zeros_like(chances).scatter_(-1, order, kept)


def pick(chances: Tensor, uniform: Tensor) -> Tensor:
    """Invert the distribution function.

    Args:
        chances: (B, vocab_size) probabilities, or (1, vocab_size) for all.
        uniform: (B, 1) numbers in [0, 1).

    Returns:
        (B,) the ids whose shares of the whole the numbers fall into; never one without a chance.

    Raises:
        FloatingPointError: The probabilities are not numbers.
    """
    reached = chances.cumsum(-1)
    if len(reached) < len(uniform):
        reached = reached.repeat(len(uniform), 1)
    ids = torch.searchsorted(reached, uniform, right=True)[:, 0]
    if chances.size(-1) in ids.tolist():  # beyond a sum a little below 1, or not a number
        _require_numbers(reached[:, -1])
        last = (reached < reached[:, -1:]).sum(-1)  # the last one with a chance
        ids = ids.minimum(last)
    return ids


def _require_numbers(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise FloatingPointError("the model's logits are not numbers")
