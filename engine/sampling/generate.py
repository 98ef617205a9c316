"""Generate tokens one at a time, for one sequence or a batch."""

from __future__ import annotations

import functools
import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from engine.config.schema import SampleConfig
from engine.model import LanguageModel
from engine.model.logits import Draws
from engine.sampling.decoder import Frozen, freeze

ONE_THREAD_UP_TO = 8_000_000  # weights times sequences
UNMODIFIED = SampleConfig(temperature=1.0)  # samples from the model's own distribution


class Generation:
    """Continues one start with B different sequences, one token of each per iteration.

    Within the context length every token is processed once (KV cache). Past it, a model with rotary
    or no positions uses a sliding window. With learned or sinusoidal positions the older half of a
    full context is dropped and the newer half processed again, so that the average cost of a token
    stays constant.

    Sequence i samples from ``seeds[i]`` and its own logits alone, so it equals the sequence that
    its seed gives without a batch, up to rounding: larger matrix products may sum in another order.
    The relative difference of the logits is about 1e-6 in fp32, which almost never changes a token,
    and about 1e-2 in bf16, where sequences diverge after some hundreds of tokens.

    Args:
        frozen: From ``freeze``.
        start: At least one token id; only the last ``block_size`` are used.
        max_tokens: Number of tokens to add; the setting of that name is ignored.
        settings: See ``Draws``.
        seeds: One per sequence.

    Raises:
        ValueError: ``start`` is empty.
    """

    def __init__(
        self,
        frozen: Frozen,
        start: Sequence[int],
        max_tokens: int,
        settings: SampleConfig,
        seeds: Sequence[int],
    ) -> None:
        if not start:
            raise ValueError("generation needs at least one token to start from")
        self._frozen, self._left = frozen, max_tokens
        self._draws = Draws(settings, seeds, start, frozen.vocab_size)
        newest = list(start)[-frozen.block_size :]
        window = torch.tensor([newest], device=frozen.device)  # (1, T)
        self._decoder = frozen.decoder(len(seeds), window.size(1) + max_tokens)
        half = max(1, frozen.block_size // 2)
        # the newer half of the context, by position: (1,) in the shared start, then (B,)
        self._recent = deque(window.unbind(1), maxlen=half)
        self._small = frozen.weights * len(seeds) <= ONE_THREAD_UP_TO
        self._start: Tensor | None = window  # until it is processed
        self._stream: torch.cuda.Stream | None = None
        if frozen.device.type == "cuda":
            self._stream = _stream_beside_training()
            self._stream.wait_stream(torch.cuda.current_stream())

    def __iter__(self) -> Iterator[list[int]]:
        return self

    @torch.inference_mode()
    def __next__(self) -> list[int]:
        """Return the next token id of each sequence.

        Raises:
            FloatingPointError: The logits are not finite.
        """
        if not self._left:
            raise StopIteration
        self._left -= 1
        before = torch.get_num_threads()
        if self._small:  # synchronising threads would take longer than the work they share
            torch.set_num_threads(1)
        try:
            with torch.cuda.stream(self._stream):
                ids = self._draws.draw(self._logits())
                self._recent.append(ids.to(self._frozen.device))
        finally:
            torch.set_num_threads(before)  # training goes on in the same thread
        tokens: list[int] = ids.tolist()
        return tokens

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with only these rows of the batch, numbered as in the last list of ids."""
        chosen = torch.tensor(rows, device=self._frozen.device)
        self._decoder.keep(chosen)
        self._draws.keep(rows)
        kept = (ids[chosen] if len(ids) > 1 else ids for ids in self._recent)
        self._recent = deque(kept, maxlen=self._recent.maxlen)

    def _logits(self) -> Tensor:
        """Compute the next logits: (B, vocab_size), or (1, vocab_size) after the shared start."""
        if self._start is not None:
            start, self._start = self._start, None
            return self._decoder.begin(start)
        newest = self._recent[-1]  # (B,)
        if self._decoder.full:
            columns = [ids.expand(len(newest)) for ids in self._recent]  # (B,) per position
            return self._decoder.begin(torch.stack(columns, dim=1))  # (B, T)
        return self._decoder.step(newest)


@functools.cache
def _stream_beside_training() -> torch.cuda.Stream:
    """Return a CUDA stream for sampling; on the default one a token would wait for whole steps."""
    stream: torch.cuda.Stream = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call]
    return stream


def generate(
    model: LanguageModel,
    start: Sequence[int],
    max_tokens: int,
    settings: SampleConfig = UNMODIFIED,
    seed: int | None = None,
) -> Iterator[int]:
    """Continue ``start`` lazily, one token at a time.

    Args:
        model: Its weights are copied at once; the model itself is not changed.
        start: At least one token id; only the last ``block_size`` are used.
        max_tokens: Number of tokens to add; the setting of that name is ignored.
        settings: See ``Draws``; by default it samples from the model's own distribution.
        seed: Makes the result reproducible; None picks a random one.

    Raises:
        ValueError: ``start`` is empty.
    """
    seeds = [secrets.randbits(31) if seed is None else seed]
    generation = Generation(freeze(model), start, max_tokens, settings, seeds)
    return (ids[0] for ids in generation)


def use_fast_generate(model: LanguageModel) -> LanguageModel:
    """Replace a model's ``generate`` by one with a KV cache that returns the same tokens."""

    def fast(
        start_tokens: Tensor | Sequence[int],
        max_length: int = 100,
        *,
        seed: int | None = None,
        **options: Any,
    ) -> Tensor:
        start = torch.as_tensor(start_tokens).long().flatten().tolist()
        settings = replace(UNMODIFIED, **options)
        return torch.tensor([*start, *generate(model, start, max_length, settings, seed)])

    model.generate = functools.update_wrapper(fast, model.generate)  # type: ignore[method-assign]
    return model
