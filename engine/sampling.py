"""From logits to tokens: the rules by which the next one is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config import SampleConfig
from engine.randomness import Stream, generator_for

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Tokens = NDArray[np.int64]
COLDEST = 1e-200  # temperatures below it draw the same; quotients would overflow
DRAWS_AHEAD = 256  # random numbers are made so many at a time; part of what a seed stands for


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
    It is a matter of a few numbers, so it is done on the CPU whatever the device, in doubles, and
    in numpy, whose calls cost the least.

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
        self._ahead = np.empty((len(seeds), 0))
        self._next = 0
        self._seen: Flags | None = None  # (B, vocab_size) whether the text has the token
        if rules.repetition_penalty != 1:
            self._seen = np.zeros((len(seeds), vocab_size), dtype=bool)
            self._seen[:, list(start)] = True

    def draw(self, logits: Tensor) -> Tokens:
        """The next token of each text.

        Args:
            logits: (B, vocab_size), or (1, vocab_size) for all.

        Returns:
            (B,) ids.

        Raises:
            FloatingPointError: The logits are not numbers.
        """
        rules = self._rules
        scores: Numbers = logits.cpu().numpy().astype(np.float64)  # a copy, changed in place
        if self._seen is not None:
            scores = penalised(scores, self._seen, rules.repetition_penalty)
        highest = np.maximum.reduce(scores, axis=1, keepdims=True)  # (B, 1)
        if not math.isfinite(np.add.reduce(highest, axis=None)):
            raise FloatingPointError("the model's logits are not numbers")
        if rules.temperature == 0:
            ids = np.repeat(scores.argmax(axis=1), len(self._generators) // len(scores))
        else:
            scores -= highest  # so that no exponential overflows
            scores /= max(rules.temperature, COLDEST)
            chances = np.exp(scores, out=scores)  # (B, vocab_size)
            ids = pick(truncated(chances, rules), self._uniform())
        if self._seen is not None:
            self._seen[np.arange(len(ids)), ids] = True
        return ids

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the texts alone."""
        self._generators = [self._generators[row] for row in rows]
        self._ahead = self._ahead[list(rows)]
        if self._seen is not None:
            self._seen = self._seen[list(rows)]

    def _uniform(self) -> Numbers:
        """A random number in [0, 1) for each text: (B, 1)."""
        if self._next == self._ahead.shape[1]:
            each = [
                torch.rand(DRAWS_AHEAD, dtype=torch.float64, generator=one)
                for one in self._generators
            ]
            self._ahead, self._next = torch.stack(each).numpy(), 0
        self._next += 1
        return self._ahead[:, self._next - 1 : self._next]


def penalised(logits: Numbers, seen: Flags, penalty: float) -> Numbers:
    """Logits with the tokens that were ``seen`` made less likely; all (B, vocab_size)."""
    lowered = np.where(logits > 0, logits / penalty, logits * penalty)
    return np.where(seen, lowered, logits)


def truncated(chances: Numbers, rules: Rules) -> Numbers:
    """Chances (B, vocab_size), in any unit, with those that the rules drop set to zero."""
    if not (rules.top_k or rules.top_p < 1 or rules.min_p):
        return chances
    order = np.argsort(-chances, axis=1, kind="stable")  # (B, vocab_size) the likeliest first
    kept = np.take_along_axis(chances, order, axis=1)
    if rules.top_k:
        kept[:, rules.top_k :] = 0
    if rules.top_p < 1:
        before = kept.cumsum(axis=1) - kept  # the mass of the likelier ones
        kept[before >= rules.top_p * kept.sum(axis=1, keepdims=True)] = 0
    if rules.min_p:
        kept[kept < rules.min_p * kept[:, :1]] = 0
    result = np.empty_like(chances)
    np.put_along_axis(result, order, kept, axis=1)
    return result


def pick(chances: Numbers, uniform: Numbers) -> Tokens:
    """Invert the distribution function.

    Args:
        chances: (B, vocab_size), or (1, vocab_size) for all, in any unit.
        uniform: (B, 1) numbers in [0, 1).

    Returns:
        (B,) the ids whose shares of the whole the numbers fall into; never one without a chance.
    """
    reached = np.add.accumulate(chances, axis=1)
    reached /= reached[:, -1:]  # ends in exactly 1, which no number reaches
    ids: Tokens = (reached > uniform).argmax(axis=1)
    return ids
