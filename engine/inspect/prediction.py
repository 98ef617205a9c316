"""What a model predicts at each position, and what the settings of sampling leave of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.config.schema import SampleConfig
from engine.model.gpt import GPT
from engine.model.language_model import LanguageModel
from engine.model.logits import penalised, sampled_from

LARGEST = 64 * 2**20  # bytes of logits that are kept; those of 333 positions of GPT-2
LOGITS_AT_ONCE = 2**22  # that are not kept: 16 MB; fewer rows of GPT-2's take longer each

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of the token after each position, for the last positions of a text.

    All positions are there, unless their logits take more than ``LARGEST``.
    """

    ids: Ids  # (T,) of the text
    first: int  # the position of the first row
    logits: Floats  # (T - first, V), before the settings of sampling
    log_norm: Floats  # (T - first,), log of the sum of their exponentials

    @property
    def log_probs(self) -> Floats:
        """Natural logarithms of the probabilities: (T - first, V)."""
        return self.logits - self.log_norm[:, None]

    @property
    def entropy(self) -> Floats:
        """How uncertain each prediction is, in bits: (T - first,). log2(V) if all tokens are alike.

        NaN where the logits are not finite.
        """
        return np.array([_entropy(row) for row in self.log_probs], dtype=np.float32)

    @property
    def entropy_of_all(self) -> Floats:
        """The same for all positions of the text: (T,). NaN for those before ``first``."""
        return np.concatenate([np.full(self.first, np.nan, np.float32), self.entropy])

    def at(self, position: int) -> Floats:
        """Return the logits (V,) of the token after a position from ``first`` to T - 1."""
        if not self.first <= position < len(self.ids):
            raise IndexError(f"{position} is outside {self.first} … {len(self.ids) - 1}")
        row: Floats = self.logits[position - self.first]
        return row


def _entropy(log_probs: Floats) -> float:
    probs = np.exp(log_probs.astype(np.float64))
    terms = np.where(probs > 0, probs * log_probs, 0.0)  # 0 log 0 is 0
    return float(-terms.sum() / np.log(2)) if np.isfinite(probs).all() else float("nan")


def predict(model: LanguageModel, ids: Sequence[int] | Ids) -> Prediction:
    """Predict the token after each position of a text; the model stays as it is.

    Args:
        ids: T token ids, at least one and at most ``block_size``.
    """
    first = max(0, len(ids) - max(1, LARGEST // (4 * model.vocab_size)))
    return _predict(model, ids, first)


def predict_at(model: LanguageModel, ids: Sequence[int] | Ids, position: int) -> Prediction:
    """Predict the token after one position alone; tokens after it do not count.

    Args:
        ids: T token ids.
        position: From 0 to T - 1. The text of the result ends there.
    """
    if not 0 <= position < len(ids):
        raise IndexError(f"{position} is outside 0 … {len(ids) - 1}")
    return _predict(model, ids[: position + 1], position)


def _predict(model: LanguageModel, ids: Sequence[int] | Ids, first: int) -> Prediction:
    kept = np.asarray(ids, dtype=np.int64)
    logits = next(each_logits(model, kept[None], first, len(kept)))[0].cpu()  # (T - first, V)
    # row by row: all rows in float64 would be twice as large as the logits
    norm = torch.stack([row.double().logsumexp(-1).float() for row in logits])  # (T - first,)
    return Prediction(kept, first, logits.numpy(), norm.numpy())


def each_logits(
    model: LanguageModel, ids: Ids, first: int = 0, rows: int | None = None
) -> Iterator[Tensor]:
    """Yield the logits (B, rows, V) of some positions at a time, computed in eval mode.

    Args:
        ids: (B, T) token ids.
        first: Positions before it are left out.
        rows: Positions at a time; None takes as many as ``LOGITS_AT_ONCE`` holds.
    """
    device = next(model.parameters()).device
    tokens = torch.tensor(ids, device=device)  # (B, T)
    rows = rows or max(1, LOGITS_AT_ONCE // (model.vocab_size * len(ids)))
    with looking_at(model):
        # the head of a GPT maps each position by itself: not all logits need exist at once
        stream = model.stream(tokens) if isinstance(model, GPT) else tokens  # (B, T, C), (B, T)
        to_logits = model.logits if isinstance(model, GPT) else model
        parts = [stream[:, at : at + rows] for at in range(first, ids.shape[1], rows)]
    for part in parts:
        with looking_at(model):
            logits = to_logits(part)
        yield logits
        del logits  # before the next ones are made


@contextmanager
def looking_at(model: LanguageModel) -> Iterator[None]:
    """Compute without gradients and without dropout; the model's mode is restored."""
    was_training = model.training
    try:
        with torch.no_grad():
            model.eval()
            yield
    finally:
        model.train(was_training)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The tokens that may come next, the most likely first."""

    ids: Ids  # (V,)
    probabilities: Floats  # (V,), the model's own
    kept: NDArray[np.bool_]  # (V,), whether the settings leave the token
    sampled: Floats  # (V,), what it is drawn with; the kept ones sum to 1


def filtered(
    logits: Floats, settings: SampleConfig, before: Sequence[int] | Ids = ()
) -> Candidates:
    """Return what temperature, repetition penalty, top-k, top-p and min-p leave of a prediction.

    Args:
        logits: (V,); log-probabilities will do, too, unless there is a repetition penalty, which
            depends on the sign of the logits.
        settings: Of sampling.
        before: The tokens so far, which the repetition penalty counts.
    """
    of_model = torch.tensor(logits).double()[None]  # (1, V)
    probabilities, order = of_model.softmax(-1)[0].sort(descending=True, stable=True)
    if settings.repetition_penalty != 1:
        seen = torch.zeros_like(of_model, dtype=torch.bool)
        seen[:, torch.as_tensor(before, dtype=torch.long)] = True
        of_model = penalised(of_model, seen, settings.repetition_penalty)
    sampled = sampled_from(of_model, settings)[0][order]  # (V,)
    return Candidates(
        order.numpy(), probabilities.float().numpy(), (sampled > 0).numpy(), sampled.float().numpy()
    )


def likeliest(prediction: Prediction, count: int = 3) -> list[tuple[list[tuple[int, float]], int]]:
    """Return, of each position of the text, the most likely tokens and the rank of the next one.

    Positions before ``first`` have none, and the last one, of which no next is known, rank 0.
    """
    ids, log_probs = prediction.ids, prediction.log_probs
    order = np.argsort(-log_probs, axis=-1, kind="stable")[:, :count]  # (T - first, count)
    probabilities = np.exp(np.take_along_axis(log_probs, order, -1))
    next_ids = np.append(ids[prediction.first + 1 :], 0)  # (T - first,)
    chosen = np.take_along_axis(log_probs, next_ids[:, None], -1)
    ranks = (log_probs > chosen).sum(-1) + 1
    ranks[-1] = 0
    rows = zip(order.tolist(), probabilities.tolist(), ranks.tolist(), strict=True)
    told = [([*zip(few, shares, strict=True)], int(rank)) for few, shares, rank in rows]
    return [*[([], 0)] * prediction.first, *told]
