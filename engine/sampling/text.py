"""Texts: what tokens become, until a stop string or the last token ends them."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

from data.tokenizers import Tokenizer
from engine.config.schema import SampleConfig
from engine.config.stop_strings import StopScan
from engine.model.logits import Rules
from engine.sampling.decoder import Frozen
from engine.sampling.generate import Generation

CACHE_BYTES = 2**30  # of keys and values at most, which bounds the texts written side by side
SEEDS = 2**31  # there are so many

Show = Callable[[int, str], None]
Decode = Callable[[int], str]


class Text:
    """One text that is being written.

    Args:
        seed: Its own.
        settings: Its stop strings and its length.
        decode: Turns a token into text; see ``decoder_of``.
    """

    def __init__(self, seed: int, settings: SampleConfig, decode: Decode) -> None:
        self.seed = seed
        self.text = ""  # without the prompt, and without what stopped it
        self.tokens = 0  # written, those of a stop string included
        self.seconds = 0.0
        self.stopped_by = ""  # "stop" or "max_tokens", once it is done
        self.stop: str | None = None  # the stop string it ran into
        self._max_tokens = settings.max_tokens
        self._scan = StopScan(settings.stops)
        self._decode = decode

    @property
    def done(self) -> bool:
        """Whether nothing more is to come."""
        return bool(self.stopped_by)

    def add(self, token: int) -> str:
        """Take a token; returns what it adds to the text that can be shown."""
        self.tokens += 1
        piece = self._scan.feed(self._decode(token))
        if self._scan.found is not None:
            self.stopped_by, self.stop = "stop", self._scan.found
        elif self.tokens >= self._max_tokens:
            self.stopped_by = "max_tokens"
            piece += self._scan.rest()
        self.text += piece
        return piece

    def end(self) -> str:
        """Break it off; returns what was held back."""
        held = self._scan.rest()
        self.text += held
        return held


def decoder_of(tokenizer: Tokenizer) -> Decode:
    """What single tokens stand for, looked up once each."""
    return functools.cache(lambda token: tokenizer.decode([token]))


def start_tokens(prompt: str, tokenizer: Tokenizer) -> list[int]:
    """The tokens a text starts from; an empty prompt starts on a new line.

    Raises:
        InputError: The prompt has characters outside the vocabulary.
    """
    if prompt:
        return [int(token) for token in tokenizer.encode(prompt)]
    return [0] if tokenizer.unknown("\n") else [int(token) for token in tokenizer.encode("\n")]


def write(
    frozen: Frozen,
    tokenizer: Tokenizer,
    settings: SampleConfig,
    seeds: Sequence[int],
    show: Show | None = None,
) -> list[Text]:
    """Write a text for each seed, side by side as far as memory allows.

    Args:
        frozen: From ``freeze``.
        tokenizer: The model's.
        settings: How; its own seed plays no part.
        seeds: One for each text.
        show: Takes the pieces of the texts as they come: the text's number, and what it adds.

    Raises:
        InputError: The prompt has characters outside the vocabulary.
        FloatingPointError: The model's logits are not numbers.
    """
    start = start_tokens(settings.prompt, tokenizer)
    decode = decoder_of(tokenizer)
    texts = [Text(seed, settings, decode) for seed in seeds]
    numbered = list(enumerate(texts))
    each = frozen.cache_bytes(len(start) + settings.max_tokens)
    size = max(1, CACHE_BYTES // max(1, each))
    for first in range(0, len(texts), size):
        _write_together(frozen, start, settings, numbered[first : first + size], show)
    return texts


def seeds_from(seed: int, count: int) -> list[int]:
    """The seeds of several texts: the first one's, then those that follow it."""
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
    generation = Generation(frozen, start, settings.max_tokens, Rules.of(settings), seeds)
    for ids in generation:
        for (number, text), token in zip(texts, ids, strict=True):
            if text.done:
                continue
            piece = text.add(token)
            text.seconds = time.perf_counter() - began
            if show and piece:
                show(number, piece)
        going_on = [row for row, (_, text) in enumerate(texts) if not text.done]
        if not going_on:
            return
        if len(going_on) <= len(texts) // 2:  # fewer texts take less time, but keeping costs some
            generation.keep(going_on)
            texts = [texts[row] for row in going_on]
