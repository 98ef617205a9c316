"""What a text cost at each moment of a run whose weights are kept: when was each token learned?

A capital after a line's end costs some bits for ever, as nobody can know which one comes; that
a capital comes is learned early. So each token is measured twice: itself, and as one of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.inspect.moments import UNTRAINED, load_moment
from engine.inspect.prediction import Floats, Ids, each_logits
from engine.inspect.surprise import KINDS, NATS, kind_of, token_texts
from engine.model import LanguageModel
from engine.runs.checkpoint_names import list_snapshots, step_of

MOST_MOMENTS = 40  # of more, some are left out, evenly spaced
LEARNED = 1.0  # bits: the token has half of the probability


class Cost(NamedTuple):
    """What the tokens of a text cost at one moment."""

    token: Floats  # (T,) bits; NaN first
    kind: Floats  # (T,), of the probability of all tokens of the token's kind


Known = MutableMapping[str, Cost]
"""What was measured before, by the name of the checkpoint."""


@dataclass(frozen=True, eq=False)
class OverMoments:
    """What the tokens of a text cost over the moments of a run."""

    steps: tuple[int, ...]  # S, rising
    token: Floats  # (S, T) bits
    kind: Floats  # (S, T) bits

    def learned_at(self, position: int, of_kind: bool = False) -> int | None:
        """Return the first step from which on a token cost less than ``LEARNED`` bits."""
        costs = (self.kind if of_kind else self.token)[:, position]
        dear = np.flatnonzero(~(costs < LEARNED))  # NaN is not learned
        first = int(dear[-1]) + 1 if len(dear) else 0
        return self.steps[first] if first < len(self.steps) else None


def over_moments(
    run: Path,
    model: LanguageModel,
    step: int,
    ids: Sequence[int] | Ids,
    tokenizer: Tokenizer,
    known: Known,
) -> Iterator[tuple[float, OverMoments]]:
    """Measure a text through the weights of a run that are kept, a moment at a time.

    Moments whose weights are gone by then, or damaged, are left out.

    Args:
        model: That of the moment which is looked at, measured first.
        step: Of this moment.
        ids: (T,).
        known: Costs of the same text at other moments; those that are missing are added.

    Yields:
        How much is done, and all that is known by then.
    """
    ids = np.asarray(ids, dtype=np.int64)
    kinds = np.array([KINDS.index(kind_of(one)) for one in _vocabulary(model, tokenizer)])
    here = cost_of(model, ids, kinds)
    named = {step_of(one): one.name for one in list_snapshots(run)}  # of branches, the last
    named = {0: UNTRAINED} | {one: named[one] for one in _spread([*named])}
    named.pop(step, None)
    missing = [one for one, name in named.items() if name not in known]
    for done, one in enumerate(missing):
        yield done / len(missing), _together(_costs(named, known) | {step: here})
        loaded = _load(run, one)
        if loaded is not None:
            known[named[one]] = cost_of(loaded, ids, kinds)
    yield 1.0, _together(_costs(named, known) | {step: here})


def _vocabulary(model: LanguageModel, tokenizer: Tokenizer) -> tuple[str, ...]:
    return token_texts(tokenizer, range(model.vocab_size))


def _spread(steps: Sequence[int]) -> list[int]:
    """Return the steps, or some of them, the first and the last included."""
    found = sorted(set(steps))
    places = np.linspace(0, len(found) - 1, min(len(found), MOST_MOMENTS)).round().astype(int)
    return [found[place] for place in places.tolist()]


def _load(run: Path, step: int) -> LanguageModel | None:
    try:
        return load_moment(run, str(step) if step else UNTRAINED, lambda told: None).model
    except (InputError, OSError):
        return None


def cost_of(model: LanguageModel, ids: Ids, kinds: np.ndarray) -> Cost:
    """Measure what each token of a text costs, and its kind.

    Args:
        ids: (T,).
        kinds: (V,), the number of the kind of each token of the vocabulary.
    """
    cost = Cost(*np.full((2, len(ids)), np.nan, dtype=np.float32))
    at = 1
    for logits in each_logits(model, ids[None, :-1]) if len(ids) > 1 else ():
        log_probs = logits[0].log_softmax(-1)  # (t, V)
        end = at + len(log_probs)
        chosen = torch.tensor(ids[at:end, None], device=logits.device)  # (t, 1)
        groups = torch.tensor(kinds, device=logits.device)  # (V,)
        sums = log_probs.new_zeros(len(log_probs), len(KINDS))
        sums.index_add_(1, groups, log_probs.exp())  # (t, K)
        cost.token[at:end] = _bits(log_probs.gather(-1, chosen))
        cost.kind[at:end] = _bits(sums.gather(-1, groups[chosen]).log().clamp(max=0))
        at = end
    return cost


def _bits(log_probs: Tensor) -> Floats:
    bits: Floats = (-log_probs[:, 0] / NATS).float().cpu().numpy()
    return bits


def _costs(named: Mapping[int, str], known: Known) -> dict[int, Cost]:
    return {step: known[name] for step, name in named.items() if name in known}


def _together(costs: Mapping[int, Cost]) -> OverMoments:
    steps = sorted(costs)
    return OverMoments(
        tuple(steps),
        np.stack([costs[one].token for one in steps]),
        np.stack([costs[one].kind for one in steps]),
    )
