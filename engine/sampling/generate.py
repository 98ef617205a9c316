"""Streams of tokens that continue a text, one or many side by side."""

from __future__ import annotations

import functools
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.model import LanguageModel
from engine.model.logits import Draws, Rules
from engine.sampling.decoder import Frozen, freeze

ONE_THREAD_UP_TO = 8_000_000  # weights times texts


class Generation:
    """Continues one start several times over, a token of each text at a time.

    Within the context every token is computed once (KV cache). Past it, rotary positions (and none)
    roll: the newest token takes the place of the oldest. Learned and sinusoidal positions cannot;
    when their context is full its older half is dropped and the newer half read afresh, so that a
    token costs the same on average however long the text grows.

    Text i draws from ``seeds[i]`` and its own logits alone, so it is the text that its seed gives
    by itself as far as the arithmetic allows: products over more rows may be summed in another
    order. That moves logits by about 1e-6 of their size in fp32, where a draw all but never falls
    in between, and by about 1e-2 in bf16, where texts part after some hundreds of tokens.

    Args:
        frozen: From ``freeze``.
        start: At least one token id; of a longer start the last ``block_size`` count.
        max_tokens: How many tokens to add.
        rules: How tokens are drawn.
        seeds: One for each text.

    Raises:
        ValueError: ``start`` is empty.
    """

    def __init__(
        self,
        frozen: Frozen,
        start: Sequence[int],
        max_tokens: int,
        rules: Rules,
        seeds: Sequence[int],
    ) -> None:
        if not start:
            raise ValueError("generation needs at least one token to start from")
        self._frozen, self._left = frozen, max_tokens
        self._draws = Draws(rules, seeds, start, frozen.vocab_size)
        newest = list(start)[-frozen.block_size :]
        window = torch.tensor([newest], device=frozen.device)  # (1, T)
        self._decoder = frozen.decoder(len(seeds), window.size(1) + max_tokens)
        half = max(1, frozen.block_size // 2)
        # the newest half of the context by position: (1,) each while all texts agree, then (B,)
        self._recent = deque(window.unbind(1), maxlen=half)
        self._small = frozen.weights * len(seeds) <= ONE_THREAD_UP_TO
        self._start: Tensor | None = window  # until it is read
        self._stream: torch.cuda.Stream | None = None
        if frozen.device.type == "cuda":
            self._stream = _stream_beside_training()
            self._stream.wait_stream(torch.cuda.current_stream())

    def __iter__(self) -> Iterator[list[int]]:
        return self

    @torch.inference_mode()
    def __next__(self) -> list[int]:
        """One more id for each text.

        Raises:
            FloatingPointError: The logits are not numbers.
        """
        if not self._left:
            raise StopIteration
        self._left -= 1
        before = torch.get_num_threads()
        if self._small:  # which does not gain by waiting for a second thread
            torch.set_num_threads(1)
        try:
            with torch.cuda.stream(self._stream):
                ids = self._draws.draw(self._logits())
                self._recent.append(ids.to(self._frozen.device))
        finally:
            torch.set_num_threads(before)  # training finds its own
        tokens: list[int] = ids.tolist()
        return tokens

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with some of the texts alone, numbered as in the last list of ids."""
        chosen = torch.tensor(rows, device=self._frozen.device)
        self._decoder.keep(chosen)
        self._draws.keep(rows)
        kept = (ids[chosen] if len(ids) > 1 else ids for ids in self._recent)
        self._recent = deque(kept, maxlen=self._recent.maxlen)

    def _logits(self) -> Tensor:
        """(B, vocab_size), or (1, vocab_size) while all texts agree."""
        if self._start is not None:
            start, self._start = self._start, None
            return self._decoder.begin(start)
        newest = self._recent[-1]
        if self._decoder.full:
            texts = [ids.expand(len(newest)) for ids in self._recent]
            return self._decoder.begin(torch.stack(texts, dim=1))
        return self._decoder.step(newest)


@functools.cache
def _stream_beside_training() -> torch.cuda.Stream:
    """Where text is computed; on the stream of training each token would wait for its steps."""
    stream: torch.cuda.Stream = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call]
    return stream


def generate(
    model: LanguageModel,
    start: Sequence[int],
    max_tokens: int,
    rules: Rules | None = None,
    seed: int | None = None,
) -> Iterator[int]:
    """Continue ``start``, one token at a time, each computed when it is asked for.

    Args:
        model: Its weights are copied at once, and it is left as it is found.
        start: At least one token id; of a longer start the last ``block_size`` count.
        max_tokens: How many tokens to add.
        rules: How tokens are drawn; by default as likely as the model says.
        seed: Same seed, same text; None takes a fresh one.

    Raises:
        ValueError: ``start`` is empty.
    """
    seeds = [secrets.randbits(31) if seed is None else seed]
    generation = Generation(freeze(model), start, max_tokens, rules or Rules(), seeds)
    return (ids[0] for ids in generation)


def write_fast(model: LanguageModel) -> LanguageModel:
    """Let a model's ``generate`` compute each token once; what it returns stays the same."""

    def fast(
        start_tokens: Tensor | Sequence[int],
        max_length: int = 100,
        *,
        seed: int | None = None,
        **rules: Any,
    ) -> Tensor:
        start = torch.as_tensor(start_tokens).long().flatten().tolist()
        return torch.tensor([*start, *generate(model, start, max_length, Rules(**rules), seed)])

    model.generate = functools.update_wrapper(fast, model.generate)  # type: ignore[method-assign]
    return model
