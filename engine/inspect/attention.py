"""Attention: the steps of one head, the patterns of all of them, and what each head does.

A pattern is the attention weights of one head on one text, (T, T): row i says how much token i
takes from tokens 0 to i. Patterns are computed head by head and layer by layer: all of a model at
once, L x nh x T x T numbers, are 0.6 GB for GPT-2 and 1024 tokens (``pattern_bytes``).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engine.config.model_size import FP32_BYTES
from engine.config.schema import ModelConfig
from engine.inspect.forward_pass import (
    BlockPass,
    TokenIds,
    batch_of,
    device_of,
    forward_pass,
    require_gpt,
    require_place,
    require_token,
)
from engine.inspect.prediction import Floats, looking_at
from engine.model import GPT, LanguageModel
from engine.model.attention import reference_weights

# Row 0 can only attend to itself, and for row 1 the first token is the previous one: scores are
# means over the rows from here on.
FIRST_ROW = 2
# Heads rest on the first token when they find nothing (attention sinks: Xiao et al. 2023): counted
# like any other, it would be the name of 132 of GPT-2's 144 heads. So other scores are shares of
# the weight that is not on it, and they count until nine tenths of all weight is.
SINK = 0.9
# A head is named after what takes more than half: of the previous and the current token only one
# can, and none does where all weights are equal.
MAJORITY = 0.5
# Spread: the entropy of its rows, as share of that of equal weights. Over 64 tokens, 0.9 of it is
# as much as equal weights on 42 of them.
SPREAD = 0.9
LABELS = (
    "first token", "previous token", "current token", "same token", "induction",
    "spread", "recent tokens", "mixed",
)  # fmt: skip
RECENT = 4  # the token itself and three before it: where most weight of small models is

TEXT_FIGURES = 6  # that are measured on texts; one more, induction, is on random strings
INDUCTION_STRINGS = 4
LONGEST_PERIOD = 64  # of a repeated random string; longer ones tell nothing new
SHORTEST_PERIOD = 3  # at 2, the token to be found would be the previous one


# -- patterns -------------------------------------------------------------------------------------


class _Heads(NamedTuple):
    """Queries (nh, T, hs), keys and values (nkv, T, hs) of a layer for one text, fp32.

    They are as attention compares them: after projection, QK norm and rotation.
    """

    q: Tensor
    k: Tensor
    v: Tensor

    def of(self, head: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return q, k and v of one head, (T, hs) each; groups of heads share k and v."""
        shared = head * self.k.size(0) // self.q.size(0)
        return self.q[head], self.k[shared], self.v[shared]

    def pattern(self, head: int) -> Tensor:
        """Compute the attention weights of one head: (T, T)."""
        q, k, _ = self.of(head)
        return reference_weights(q[None, None], k[None, None])[0, 0]

    def patterns(self) -> Iterator[Tensor]:
        """Compute the attention weights of each head in turn: (T, T)."""
        return map(self.pattern, range(self.q.size(0)))


def _heads(passed: BlockPass) -> _Heads:
    q, k, v = passed.block.attention.heads(passed.attention_input, passed.rope)
    # fp32 as in the fused kernels: rows of bf16 weights would not sum to 1
    return _Heads(q[0].float(), k[0].float(), v[0].float())


def pattern_bytes(config: ModelConfig, length: int) -> int:
    """Return the size of all patterns of a text of ``length`` tokens, in fp32."""
    if config.architecture == "bigram":
        return 0
    return config.n_layer * config.n_head * length**2 * FP32_BYTES


def attention_patterns(model: LanguageModel, ids: TokenIds) -> Iterator[Floats]:
    """Yield the patterns of each layer in turn, (nh, T, T), one layer at a time in memory.

    They are those of ``model.attention_weights``.

    Args:
        ids: (T,).

    Raises:
        InputError: The model is a bigram, or the text is empty or longer than the context.
    """
    gpt = require_gpt(model, "attention")
    for passed in forward_pass(gpt, batch_of(gpt, ids)):
        with looking_at(gpt):
            patterns = np.stack([_numpy(pattern) for pattern in _heads(passed).patterns()])
        yield patterns


def attention_pattern(model: LanguageModel, ids: TokenIds, layer: int, head: int) -> Floats:
    """Compute the pattern of one head, (T, T).

    Args:
        ids: (T,).

    Raises:
        InputError: As ``attention_patterns``, or there is no such layer or head.
    """
    gpt, passed = _pass_to(model, ids, layer, head)
    with looking_at(gpt):
        return _numpy(_heads(passed).pattern(head))


def _pass_to(model: LanguageModel, ids: TokenIds, layer: int, head: int) -> tuple[GPT, BlockPass]:
    """Compute the blocks up to a layer."""
    gpt = require_gpt(model, "attention")
    require_place(gpt.config, layer, head)
    passes = forward_pass(gpt, batch_of(gpt, ids))
    for _ in range(layer):
        next(passes)
    return gpt, next(passes)


# -- one head, step by step -----------------------------------------------------------------------


@dataclass(frozen=True)
class HeadSteps:
    """How one head computes its output for one token, the query; T tokens, heads of size hs.

    Queries and keys are those that are compared: after projection, QK norm and rotation. Where
    heads share keys and values, these are the shared ones.
    """

    layer: int
    head: int
    query: int  # position of the token that looks
    key: int  # position of the token that is looked at; a later one is masked
    q: Floats  # (hs,)
    k: Floats  # (hs,)
    products: Floats  # (hs,), q * k
    score: float  # their sum, q . k
    scale: float  # 1 / sqrt(hs)
    scaled: Floats  # (T,), q . k * scale of the query and each token, before the mask
    masked: NDArray[np.bool_]  # (T,), the tokens after the query, whose scores become -inf
    weights: Floats  # (T,), the softmax of the rest; 0 where masked
    values: Floats  # (T, hs)
    mixed: Floats  # (hs,), the sum of the values by their weights
    added: Floats  # (C,), ``mixed`` through the head's columns of the output projection, no bias
    added_norm: float  # the length of ``added``


def head_steps(
    model: LanguageModel, ids: TokenIds, layer: int, head: int, query: int, key: int
) -> HeadSteps:
    """Compute what one head does for one query, with the numbers in between.

    Args:
        ids: (T,).
        query: Position in the text, from 0.
        key: Position of the token that q . k is shown for.

    Raises:
        InputError: The model is a bigram, the text is empty or longer than the context, or there
            is no such layer, head or token.
    """
    gpt, passed = _pass_to(model, ids, layer, head)
    length = passed.before.size(1)
    require_token(query, length)
    require_token(key, length)
    with looking_at(gpt):
        heads = _heads(passed)
        queries, keys, values = heads.of(head)
        q, k = queries[query], keys[key]  # (hs,) each
        scale = 1 / math.sqrt(q.numel())
        weights = heads.pattern(head)[query]  # (T,)
        mixed = weights @ values  # (hs,)
        added = _through_projection(passed.block.attention.proj, mixed, head, gpt.config.n_embd)
        return HeadSteps(
            layer,
            head,
            query,
            key,
            q=_numpy(q),
            k=_numpy(k),
            products=_numpy(q * k),
            score=float(q @ k),
            scale=scale,
            scaled=_numpy(keys @ q * scale),
            masked=np.arange(length) > query,
            weights=_numpy(weights),
            values=_numpy(values),
            mixed=_numpy(mixed),
            added=_numpy(added),
            added_norm=float(added.norm()),
        )


def _through_projection(proj: nn.Module, mixed: Tensor, head: int, width: int) -> Tensor:
    """Return what one head's output (hs,) adds to the output of attention: (C,)."""
    columns = slice(head * mixed.numel(), (head + 1) * mixed.numel())
    if isinstance(proj, nn.Linear):
        return proj.weight[:, columns].float() @ mixed
    added = mixed.new_zeros(width)  # without a projection, the heads are only concatenated
    added[columns] = mixed
    return added


# -- what each head does --------------------------------------------------------------------------


@dataclass(frozen=True)
class HeadScores:
    """What the heads do, (L, nh) each, from 0 to 1.

    Over the queries from the third token on. ``first`` and ``entropy`` are means; the others are
    shares of the weight that is not on the first token of the text. NaN where there is nothing to
    measure (texts of one or two tokens; contexts below 8 tokens, for induction), and of NaN
    weights.
    """

    first: Floats  # weight on the first token of the text
    previous: Floats  # on the token before the query
    current: Floats  # on the query itself
    recent: Floats  # on the query and the three tokens before it
    same: Floats  # on earlier tokens that are equal to the query; of queries that have some
    # on the token that followed the query's token last time, in the second half of a random string
    # repeated once, which has no other regularity (Olsson et al. 2022)
    induction: Floats
    entropy: Floats  # of the rows, over that of equal weights: 0 one token, 1 all equally

    @property
    def by_label(self) -> dict[str, Floats]:
        """The scores (L, nh) by what heads are named after, of all heads, whatever their names."""
        return {
            "previous token": self.previous,
            "current token": self.current,
            "recent tokens": self.recent,
            "first token": self.first,
            "same token": self.same,
            "induction": self.induction,
            "spread": self.entropy,
        }


def name_of_head(scores: HeadScores, layer: int, head: int) -> tuple[str, float]:
    """Say what a head does, as one of ``LABELS``, and the score that says so.

    The first that holds: nearly all weight is on the first token; most of the rest is on one of
    the tokens that have a name; most weight is on the first token; the weight is spread; most of
    the rest is on recent tokens. Else it is mixed, with the highest score of the named tokens.
    """
    at = (layer, head)
    first, entropy = float(scores.first[at]), float(scores.entropy[at])
    recent = float(scores.recent[at])
    named = {
        "previous token": float(scores.previous[at]),
        "current token": float(scores.current[at]),
        "same token": float(scores.same[at]),
        "induction": float(scores.induction[at]),
    }
    measured = {label: score for label, score in named.items() if not math.isnan(score)}
    best = max(measured, key=lambda label: measured[label], default="mixed")
    highest = measured.get(best, math.nan)
    if first > SINK:
        return "first token", first
    if highest > MAJORITY:
        return best, highest
    if first > MAJORITY:
        return "first token", first
    if entropy > SPREAD:
        return "spread", entropy
    if recent > MAJORITY:
        return "recent tokens", recent
    return "mixed", highest


def score_heads(
    model: LanguageModel, windows: NDArray[np.integer] | Tensor, seed: int
) -> Generator[float, None, HeadScores]:
    """Measure what each head does on texts, and on random strings repeated once.

    Yields the share that is done after each layer of each text; the scores are what the generator
    returns. The weights must not change meanwhile.

    Args:
        windows: (N, T) token ids, such as excerpts of the validation split.
        seed: Of the random strings.

    Raises:
        InputError: The model is a bigram, or the windows are empty or longer than the context.
    """
    gpt = require_gpt(model, "attention")
    texts = [batch_of(gpt, window) for window in windows]
    strings = _repeated_strings(gpt, seed)
    on_texts, on_strings = _totals(gpt, TEXT_FIGURES), _totals(gpt, 1)
    pieces, done = (len(texts) + len(strings)) * gpt.config.n_layer, 0
    for batch in texts:
        for layer, passed in enumerate(forward_pass(gpt, batch)):
            with looking_at(gpt):
                heads = _heads(passed)
                on_texts[layer] += [_measured(one, batch[0]) for one in heads.patterns()]
            yield (done := done + 1) / pieces
    for batch, period in strings:
        for layer, passed in enumerate(forward_pass(gpt, batch)):
            with looking_at(gpt):
                heads = _heads(passed)
                on_strings[layer] += [_found(one, period) for one in heads.patterns()]
            yield (done := done + 1) / pieces
    return _scores(on_texts, on_strings)


def _repeated_strings(model: GPT, seed: int) -> list[tuple[Tensor, int]]:
    """Return random strings repeated once, (1, 2 period), and their periods.

    Within a string no token comes twice, so that there is one token to find. The periods differ:
    a head that attends to a fixed distance finds it in one of them alone. Contexts below 8 tokens
    do not have room for two periods; there are no strings then.
    """
    longest = min(model.config.block_size // 2, model.vocab_size, LONGEST_PERIOD)
    different = min(INDUCTION_STRINGS, longest - SHORTEST_PERIOD + 1)
    if different < 2:
        return []
    random, strings = np.random.default_rng(seed), []
    for number in range(INDUCTION_STRINGS):
        period = longest - number % different
        string = random.choice(model.vocab_size, period, replace=False)
        twice = torch.from_numpy(np.tile(string, 2))[None]
        strings.append((twice.to(device_of(model)), period))
    return strings


def _totals(model: GPT, figures: int) -> NDArray[np.float64]:
    """Return zeros, to add figures as by ``_measured`` to: (L, nh, figures, 2)."""
    return np.zeros((model.config.n_layer, model.config.n_head, figures, 2))


def _measured(weights: Tensor, ids: Tensor) -> NDArray[np.float32]:
    """Measure a pattern (T, T) of a text (T,): the figures of ``_scores``.

    Returns:
        (TEXT_FIGURES, 2), of each its sum over the rows, and what that is to be divided by.
    """
    rows = weights[FIRST_ROW:]  # (T - 2, T)
    elsewhere = rows[:, 1:].sum(-1)  # (T - 2,), the weight that is not on the first token
    equal = (ids[FIRST_ROW:, None] == ids).tril(FIRST_ROW - 1)  # (T - 2, T), earlier tokens alone
    equal[:, 0] = False
    nats = -torch.special.xlogy(rows, rows).sum(-1)  # (T - 2,)
    most = torch.arange(FIRST_ROW + 1, len(ids) + 1, device=ids.device).log()[: len(rows)]
    figures = (
        (rows[:, 0], torch.ones_like(elsewhere)),
        (weights.diagonal(-1)[FIRST_ROW - 1 :], elsewhere),
        (weights.diagonal()[FIRST_ROW:], elsewhere),
        (rows.tril(FIRST_ROW).triu(FIRST_ROW - RECENT + 1)[:, 1:].sum(-1), elsewhere),
        ((rows * equal).sum(-1), elsewhere * equal.any(-1)),
        (nats / most, torch.ones_like(elsewhere)),
    )
    return _numpy(torch.stack([torch.stack(figure).sum(-1) for figure in figures]))


def _found(weights: Tensor, period: int) -> NDArray[np.float32]:
    """Measure the share of what is to come, in the second half of a repeated string: (1, 2)."""
    # token i of the second half is token i - period of the first; what followed it is one later
    found = weights.diagonal(1 - period)[1:].sum() / weights[period:, 1:].sum()
    # each string counts the same, so that a fixed distance, right in one period, gets half at most
    return _numpy(torch.stack((found, torch.ones_like(found)))[None])


def _scores(on_texts: NDArray[np.float64], on_strings: NDArray[np.float64]) -> HeadScores:
    """Divide the sums: (L, nh, TEXT_FIGURES, 2) and (L, nh, 1, 2)."""
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing to measure
        first, previous, current, recent, same, entropy = _means(on_texts)
        (induction,) = _means(on_strings)
    return HeadScores(first, previous, current, recent, same, induction, entropy)


def _means(totals: NDArray[np.float64]) -> list[Floats]:
    means = (totals[..., 0] / totals[..., 1]).astype(np.float32)  # (L, nh, figures)
    return [means[..., figure] for figure in range(means.shape[-1])]


# -- all heads at a glance ------------------------------------------------------------------------


@dataclass(frozen=True)
class AttentionOverview:
    """All heads on one text: small maps, and the pattern of a chosen one."""

    maps: Floats  # (L, nh, P, P), patterns pooled to P = min(T, pixels)
    pattern: Floats  # (T, T), of the chosen head


def attention_overview(
    model: LanguageModel, ids: TokenIds, pixels: int, layer: int = 0, head: int = 0
) -> AttentionOverview:
    """Compute a small map of each head's pattern, and one pattern in full.

    At most one layer's tensors are in memory at a time, of patterns one. A pixel is the largest of
    the weights it stands for, which keeps the thin diagonal of a previous-token head.

    Args:
        ids: (T,).
        pixels: The largest height and width of a map.
        layer: Of the pattern to be kept in full.
        head: Of the pattern to be kept in full.

    Raises:
        InputError: The model is a bigram, the text is empty or longer than the context, or there
            is no such layer or head.
    """
    gpt = require_gpt(model, "attention")
    require_place(gpt.config, layer, head)
    batch = batch_of(gpt, ids)
    side = min(pixels, batch.size(1))
    maps = np.empty((gpt.config.n_layer, gpt.config.n_head, side, side), np.float32)
    chosen = np.empty(0, np.float32)
    for i, passed in enumerate(forward_pass(gpt, batch)):
        with looking_at(gpt):
            for j, pattern in enumerate(_heads(passed).patterns()):
                # PyTorch for MPS pools wrongly where the sizes do not divide: pytorch issue 190064
                there = pattern.cpu() if pattern.is_mps else pattern
                maps[i, j] = _numpy(F.adaptive_max_pool2d(there[None], side)[0])
                if (i, j) == (layer, head):
                    chosen = _numpy(pattern)
    return AttentionOverview(maps, chosen)


def _numpy(x: Tensor) -> Floats:
    array: Floats = x.detach().float().cpu().numpy()
    return array
