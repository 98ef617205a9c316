"""How surprised a model is by each token of a text: −log2 of the probability that it gave it.

The mean surprisal is the validation loss in other units: 1 bit is ln 2 nats.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.inspect.prediction import Floats, Ids, each_logits
from engine.model.language_model import LanguageModel

KINDS = ("lower case", "capital", "digit", "space", "line end", "punctuation", "other")
NATS = float(np.log(2.0))  # in a bit


@dataclass(frozen=True, eq=False)
class Surprise:
    """The surprisal of each token of a text, given those before it.

    Nothing comes before the first: its figures are NaN, and its rank 0. If the model's weights are
    not finite, so are all figures, and the ranks mean nothing.
    """

    ids: Ids  # (T,)
    tokens: tuple[str, ...]  # T texts
    bits: Floats  # (T,), −log2 of the probability of the token
    rank: NDArray[np.int64]  # (T,), 1 where the token was the most likely one
    entropy: Floats  # (T,), bits that were to be expected
    characters: int  # of all tokens but the first

    @property
    def mean_bits(self) -> float:
        """Mean over the tokens but the first; NaN if there are none."""
        return _total(self.bits[1:]) / (len(self.bits) - 1) if len(self.bits) > 1 else float("nan")

    @property
    def bits_per_character(self) -> float:
        """As ``mean_bits``, over characters: comparable between tokenizers."""
        return _total(self.bits[1:]) / self.characters if self.characters else float("nan")

    def worst(self, count: int = 10) -> list[int]:
        """Return the positions of the most surprising tokens, the worst first."""
        order = np.argsort(-self.bits[1:], kind="stable") + 1  # NaN last
        return [int(at) for at in order[:count]]


def _total(bits: Floats) -> float:
    """Add bits up; NaN where there is no sum, as of inf and -inf."""
    with np.errstate(invalid="ignore"):
        return float(bits.sum(dtype=np.float64))


@dataclass(frozen=True)
class KindCost:
    """What the tokens of a kind cost."""

    kind: str  # of ``KINDS``
    count: int
    mean_bits: float
    share: float  # of the surprisal of all tokens


def surprise(model: LanguageModel, ids: Sequence[int] | Ids, tokenizer: Tokenizer) -> Surprise:
    """Measure the surprisal of a text; the model stays as it is.

    Args:
        ids: T token ids, at most ``block_size`` + 1, as nothing is predicted from the last one.
    """
    return surprises(model, np.asarray(ids, dtype=np.int64)[None], tokenizer)[0]


def surprises(model: LanguageModel, windows: Ids, tokenizer: Tokenizer) -> list[Surprise]:
    """Measure texts of the same length together: (B, T) token ids."""
    windows = np.asarray(windows, dtype=np.int64)
    B, T = windows.shape
    if T == 0:
        raise InputError("there is no text to look at: give at least one character")
    bits, entropy = np.full((2, B, T), np.nan, dtype=np.float32)  # (B, T) each
    rank = np.zeros((B, T), dtype=np.int64)
    at = 1
    for logits in each_logits(model, windows[:, :-1]) if T > 1 else ():
        part = slice(None), slice(at, at + logits.size(1))
        ids = torch.tensor(windows[part][..., None], device=logits.device)  # (B, t, 1)
        found = _measured(logits, ids)
        del logits  # before the next ones are made
        bits[part], rank[part], entropy[part] = (one.cpu().numpy() for one in found)
        at = part[1].stop
    return [
        Surprise(
            row,
            token_texts(tokenizer, row),
            bits[i],
            rank[i],
            entropy[i],
            len(tokenizer.decode(row[1:])),
        )
        for i, row in enumerate(windows)
    ]


def _measured(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return bits, rank and entropy, (B, t) each, of tokens (B, t, 1) by logits (B, t, V)."""
    log_probs = logits.log_softmax(-1)  # (B, t, V)
    chosen = log_probs.gather(-1, ids)  # (B, t, 1)
    rank = (log_probs > chosen).sum(-1) + 1
    terms = log_probs.exp().mul_(log_probs).masked_fill_(log_probs.isneginf(), 0)  # 0 log 0 is 0
    return -chosen[..., 0] / NATS, rank, -terms.sum(-1) / NATS


def token_texts(tokenizer: Tokenizer, ids: Sequence[int] | Ids) -> tuple[str, ...]:
    """Return the text of each token by itself."""
    known = {one: tokenizer.token_text(one) for one in set(np.asarray(ids).tolist())}
    return tuple(known[one] for one in np.asarray(ids).tolist())


NO_CHARACTER = re.compile(" ?<[89A-F][0-9A-F]>")  # see ``data.tokenizers.base.shown_bytes``


def kind_of(token: str) -> str:
    """Return the kind of a token, that of its first character.

    A space that begins a longer token, as in BPE, belongs to the word: the character after it
    counts. Bytes that are no whole character, as in ``<E2>``, are of no kind.
    """
    first = token[1:2] if token[:1] == " " and len(token) > 1 else token[:1]
    if NO_CHARACTER.match(token):
        return "other"
    if first in ("\n", "\r"):
        return "line end"
    if first.isspace():
        return "space"
    if first.isdigit():
        return "digit"
    if first.isalpha():
        return "capital" if first.isupper() else "lower case"
    return "punctuation" if first.isprintable() and first else "other"


def by_kind(measured: Sequence[Surprise]) -> list[KindCost]:
    """Sum up what each kind of token costs, the dearest in total first."""
    bits = np.concatenate([one.bits[1:] for one in measured])
    kinds = np.array([kind_of(token) for one in measured for token in one.tokens[1:]], dtype=object)
    total = _total(bits)
    costs = []
    for kind in KINDS:
        own = bits[kinds == kind]
        if len(own):
            cost = _total(own)
            share = cost / total if total else 0.0
            costs.append(KindCost(kind, len(own), cost / len(own), share))
    return sorted(costs, key=lambda one: -one.mean_bits * one.count)


def by_position(measured: Sequence[Surprise]) -> Floats:
    """Return the mean surprisal at each position of the context: (T,) bits.

    The first is NaN: nothing comes before it. A model that uses its context is less surprised
    further in.
    """
    longest = max(len(one.bits) for one in measured)
    rows = np.full((len(measured), longest), np.nan)
    for row, one in zip(rows, measured, strict=True):
        row[: len(one.bits)] = one.bits
    there = np.array([np.arange(longest) < len(one.bits) for one in measured])
    there[:, 0] = False
    with np.errstate(invalid="ignore"):  # 0 / 0 where no text reaches
        mean: Floats = (np.where(there, rows, 0.0).sum(0) / there.sum(0)).astype(np.float32)
    return mean


def difference(before: Surprise, after: Surprise) -> Floats:
    """Return how much more surprising each token is ``after``, in bits: (T,), below 0 if learned.

    Raises:
        InputError: The texts, or the tokens that they are cut into, differ.
    """
    if "".join(before.tokens) != "".join(after.tokens):
        raise InputError("the two texts differ: look at the same one through both models")
    if before.tokens != after.tokens:
        raise InputError(
            "the two models cut the text into different tokens, so that only bits per character "
            f"compare: {before.bits_per_character:.2f} and {after.bits_per_character:.2f}"
        )
    with np.errstate(invalid="ignore"):  # inf - inf, where neither thought it possible
        return after.bits - before.bits
