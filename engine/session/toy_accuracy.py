"""How many problems of a toy task a model solves: exactly, and problems that it never saw.

The greedy answer of a model is right if each token of the right answer is the most likely one after
those before it. So one forward pass over questions with their answers tells, and nothing is
generated.
"""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from data.corpora.toys import LINE_OF, Problem, problems
from data.tokenizers import Tokenizer
from engine.model import LanguageModel
from engine.runs.open import RunFiles

PROBLEMS = 100
FEWEST = 20  # that fit the context
ONE_TOKEN_A_CHARACTER = ("char", "bytes")  # of these texts, which are ASCII


class ToyAccuracy:
    """Measures the share of a task's problems that are solved.

    Args:
        found: Problems, of which each is one token longer than the context at most.
    """

    def __init__(self, found: list[Problem], tokenizer: Tokenizer) -> None:
        T, (end,) = max(len(one.line) for one in found), tokenizer.encode("\n").tolist()
        # before each line stands the end of another one, and after it more of them
        self._ids = torch.full((len(found), T + 1), end)  # (N, T + 1)
        self._asked = torch.zeros(len(found), T, dtype=torch.bool)  # (N, T): of the targets
        for row, one in enumerate(found):
            ids = torch.tensor(tokenizer.encode(one.line).tolist())
            self._ids[row, 1 : len(ids) + 1] = ids
            self._asked[row, list(one.asked)] = True
        among = tokenizer.encode(found[0].among).tolist()
        self._among = torch.tensor(among or range(tokenizer.vocab_size))  # (A,) ids

    @classmethod
    def of(cls, files: RunFiles) -> ToyAccuracy | None:
        """Return what measures a run; None unless its text is a toy task."""
        corpus, tokenizer = files.corpus, files.tokenizer
        if corpus.source != "built-in" or corpus.name not in LINE_OF:
            return None
        if tokenizer.kind not in ONE_TOKEN_A_CHARACTER:
            return None
        longest = files.config.model.block_size
        found = [one for one in problems(corpus.name, PROBLEMS) if len(one.line) <= longest]
        known = not tokenizer.unknown("".join(one.line for one in found))
        return cls(found, tokenizer) if known and len(found) >= FEWEST else None

    def quanta(self, model: LanguageModel, batch_size: int) -> Generator[None, None, float]:
        """Measure a model, yielding after each batch; its weights and mode stay as they are."""
        solved, count = 0, len(self._ids)
        for start in range(0, count, batch_size):
            part = slice(start, start + batch_size)
            was_training = model.training
            model.eval()
            with torch.no_grad():
                right = self._solved(model, self._ids[part], self._asked[part])  # (b,)
            model.train(was_training)
            solved += int(right.sum())
            yield
        return solved / count

    def _solved(self, model: LanguageModel, ids: Tensor, asked: Tensor) -> Tensor:
        """Return which problems are solved, (b,), of ids (b, T + 1) and targets asked (b, T)."""
        x, y = ids[:, :-1], ids[:, 1:]  # (b, T) each
        device = next(model.parameters()).device
        logits = model(x.to(device)).cpu()[..., self._among]  # (b, T, A)
        chosen = self._among[logits.argmax(-1)]  # (b, T)
        return ((chosen == y) | ~asked).all(-1)
