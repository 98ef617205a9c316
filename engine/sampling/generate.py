"""Generate tokens one at a time, for one sequence or a batch, and turn them into text."""

from __future__ import annotations

import functools
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from data.tokenizers.base import Tokenizer
from engine.config.schema import SampleConfig
from engine.model import LanguageModel
from engine.model.logits import Draws
from engine.sampling.decoder import decoder_for
from engine.sampling.frozen import Frozen, freeze

ONE_THREAD_UP_TO = 8_000_000  # weights times sequences
DRAWN_ON_CUDA_FROM = 100_000  # logits of all sequences; it sorts so many faster
UNMODIFIED = SampleConfig(temperature=1.0)  # samples from the model's own distribution
CACHE_BYTES = 2**30  # most memory for the KV caches of one batch
SEEDS = 2**31  # number of distinct seeds

Show = Callable[[int, str], None]


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
        watch: Called with the logits of each token, before it is sampled: (B, vocab_size), or
            (1, vocab_size) after the shared start, on the CPU. They hold until the next token.

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
        watch: Callable[[Tensor], None] | None = None,
    ) -> None:
        if not start:
            raise ValueError("generation needs at least one token to start from")
        self._frozen, self._left, self._watch = frozen, max_tokens, watch
        self._draws = Draws(settings, seeds, start, frozen.vocab_size)
        newest = list(start)[-frozen.block_size :]
        self._stream: torch.cuda.Stream | None = None
        if frozen.device.type == "cuda":
            self._stream = _stream_beside_training()
            self._stream.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode(), torch.cuda.stream(self._stream):  # None changes nothing
            window = torch.tensor([newest], device=frozen.device)  # (1, T)
            self._decoder = decoder_for(frozen, len(seeds), window.size(1) + max_tokens)
        half = max(1, frozen.block_size // 2)
        # the newer half of the context, by position: (1,) in the shared start, then (B,)
        self._recent = deque(window.unbind(1), maxlen=half)
        on_cpu = frozen.device.type == "cpu"  # else drawing the tokens is all that is left to it
        self._small = not on_cpu or frozen.weights * len(seeds) <= ONE_THREAD_UP_TO
        many = frozen.vocab_size * len(seeds) >= DRAWN_ON_CUDA_FROM
        on_cuda = many and frozen.device.type == "cuda"
        self._draws_on = frozen.device if on_cuda else torch.device("cpu")
        self._start: Tensor | None = window  # until it is processed

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
                logits = self._logits().to(self._draws_on)
                if self._watch:
                    self._watch(logits.cpu())
                ids = self._draws.draw(logits)
                self._recent.append(ids.to(self._frozen.device))
        finally:
            torch.set_num_threads(before)  # training continues in the same thread
        tokens: list[int] = ids.tolist()
        return tokens

    def keep(self, rows: Sequence[int]) -> None:
        """Continue with only these rows of the batch, numbered as in the last list of ids."""
        self._draws.keep(rows)
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            chosen = torch.tensor(rows, device=self._frozen.device)
            self._decoder.keep(chosen)
            kept = [ids[chosen] if len(ids) > 1 else ids for ids in self._recent]
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


# -- text -----------------------------------------------------------------------------------------


class Text:
    """A text that is being generated.

    Args:
        seed: Its seed, which may differ from ``settings.seed``.
        settings: Only the stop strings and the length are used.
        tokenizer: Turns its tokens into text; its token for the end of a text ends this one.
    """

    def __init__(self, seed: int, settings: SampleConfig, tokenizer: Tokenizer) -> None:
        self.seed = seed
        self.text = ""  # without the prompt and the stop string
        self.tokens = 0  # generated, those of the stop string included
        self.seconds = 0.0
        self.stopped_by = ""  # "stop", "end_of_text" or "max_tokens", once it is done
        self.stop: str | None = None  # the stop string that ended it
        self._max_tokens = settings.max_tokens
        self._scan = StopScan(settings.stops)
        self._stream, self._end_of_text = tokenizer.stream(), tokenizer.end_of_text
        self.length = 0  # of the text that the last token completed, in characters

    @property
    def done(self) -> bool:
        """Whether a stop string, the end of the text or the last token was reached."""
        return bool(self.stopped_by)

    def add(self, token: int) -> str:
        """Add a token; return the new text that can be shown."""
        self.tokens += 1
        if token == self._end_of_text:
            self.length, self.stopped_by = 0, "end_of_text"
            piece = self._rest()
            self.text += piece
            return piece
        decoded = self._stream.feed(token)
        self.length = len(decoded)
        piece = self._scan.feed(decoded)
        if self._scan.found is not None:
            self.stopped_by, self.stop = "stop", self._scan.found
        elif self.tokens >= self._max_tokens:
            self.stopped_by = "max_tokens"
            piece += self._rest()
        self.text += piece
        return piece

    def end(self) -> str:
        """End the text early; return what was held back.

        That is what may have been the start of a stop string, or of a character.
        """
        held = "" if self.done else self._rest()
        self.text += held
        return held

    def _rest(self) -> str:
        left = self._stream.rest()
        self.length += len(left)
        return self._scan.feed(left) + self._scan.rest()


def start_tokens(prompt: str, tokenizer: Tokenizer) -> list[int]:
    """Encode a prompt; a model needs at least one token.

    An empty one becomes the end of the text before, or a new line where documents have no end.

    Raises:
        InputError: The prompt has characters outside the vocabulary.
    """
    if prompt:
        return [int(token) for token in tokenizer.encode(tokenizer.typed(prompt))]
    if tokenizer.end_of_text is not None:
        return [tokenizer.end_of_text]
    return [0] if tokenizer.unknown("\n") else [int(token) for token in tokenizer.encode("\n")]


def beginning(tokenizer: Tokenizer) -> str:
    """Return what an empty prompt begins with, in words."""
    if tokenizer.end_of_text is None and not tokenizer.unknown("\n"):
        return "a new line"
    return tokenizer.token_text(start_tokens("", tokenizer)[0])


def write(
    frozen: Frozen,
    tokenizer: Tokenizer,
    settings: SampleConfig,
    seeds: Sequence[int],
    show: Show | None = None,
) -> list[Text]:
    """Generate a text for each seed, in batches as large as memory allows.

    Args:
        frozen: From ``freeze``.
        settings: Its seed is ignored.
        show: Called with a text's index and its next piece.

    Raises:
        InputError: The prompt has characters outside the vocabulary.
        FloatingPointError: The model's logits are not finite.
    """
    start = start_tokens(settings.prompt, tokenizer)
    texts = [Text(seed, settings, tokenizer) for seed in seeds]
    numbered = list(enumerate(texts))
    each = frozen.cache_bytes(len(start) + settings.max_tokens)
    size = max(1, CACHE_BYTES // max(1, each))
    for first in range(0, len(texts), size):
        _write_together(frozen, start, settings, numbered[first : first + size], show)
    return texts


def seeds_from(seed: int, count: int) -> list[int]:
    return [(seed + number) % SEEDS for number in range(count)]


def _write_together(
    frozen: Frozen,
    start: Sequence[int],
    settings: SampleConfig,
    texts: list[tuple[int, Text]],
    show: Show | None,
) -> None:
    began = time.perf_counter()
    seeds = [text.seed for _, text in texts]
    generation = Generation(frozen, start, settings.max_tokens, settings, seeds)
    for ids in generation:
        for (number, text), token in zip(texts, ids, strict=True):
            if text.done:
                continue
            piece = text.add(token)
            text.seconds = time.perf_counter() - began
            if show and piece:
                show(number, piece)
        unfinished = [row for row, (_, text) in enumerate(texts) if not text.done]
        if not unfinished:
            return
        # a smaller batch is faster, but shrinking it copies the KV cache
        if len(unfinished) <= len(texts) // 2:
            generation.keep(unfinished)
            texts = [texts[row] for row in unfinished]


class StopScan:
    """Searches for stop strings in a text that arrives in pieces.

    The end of the text is held back while it may be the start of a stop string, so that no part of
    one is shown.

    Args:
        stops: None of them empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    def feed(self, piece: str) -> str:
        """Add a piece; return the text that certainly precedes any stop string."""
        if not self._stops:
            return piece
        self._held += piece
        places = [(self._held.find(one), one) for one in self._stops if one in self._held]
        if places:  # the one that ends first, as if characters arrived one by one
            end, self.found = min(places, key=lambda found: (found[0] + len(found[1]), found[0]))
        else:
            end = len(self._held) - max(self._begun(one) for one in self._stops)
        shown, self._held = self._held[:end], self._held[end:]
        return shown

    def rest(self) -> str:
        """Return what was held back, if the text ended without a stop string."""
        held, self._held = self._held, ""
        return "" if self.found else held

    def _begun(self, stop: str) -> int:
        """Return how many characters at the end may be the start of a stop string."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
