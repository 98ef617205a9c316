"""Turn tokens into text, until a stop string or the last token."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence

from data.tokenizers import Tokenizer
from engine.config.schema import SampleConfig
from engine.config.stop_strings import StopScan
from engine.sampling.decoder import Frozen
from engine.sampling.generate import Generation

CACHE_BYTES = 2**30  # most memory for the KV caches of one batch
SEEDS = 2**31  # number of distinct seeds

Show = Callable[[int, str], None]
Decode = Callable[[int], str]


class Text:
    """A text that is being generated.

    Args:
        seed: Its seed, which may differ from ``settings.seed``.
        settings: Only the stop strings and the length are used.
        decode: Turns a token into text; see ``decoder_of``.
    """

    def __init__(self, seed: int, settings: SampleConfig, decode: Decode) -> None:
        self.seed = seed
        self.text = ""  # without the prompt and the stop string
        self.tokens = 0  # generated, those of the stop string included
        self.seconds = 0.0
        self.stopped_by = ""  # "stop" or "max_tokens", once it is done
        self.stop: str | None = None  # the stop string that ended it
        self._max_tokens = settings.max_tokens
        self._scan = StopScan(settings.stops)
        self._decode = decode

    @property
    def done(self) -> bool:
        """Whether a stop string or the last token was reached."""
        return bool(self.stopped_by)

    def add(self, token: int) -> str:
        """Add a token; return the new text that can be shown."""
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
        """End the text early; return what was held back as the possible start of a stop string."""
        held = self._scan.rest()
        self.text += held
        return held


def decoder_of(tokenizer: Tokenizer) -> Decode:
    """Return a cached function from one token to its text."""
    return functools.cache(lambda token: tokenizer.decode([token]))


def start_tokens(prompt: str, tokenizer: Tokenizer) -> list[int]:
    """Encode a prompt; an empty one becomes a new line, as a model needs at least one token.

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
    """Generate a text for each seed, in batches as large as memory allows.

    Args:
        frozen: From ``freeze``.
        tokenizer: The model's.
        settings: Its seed is ignored.
        seeds: One per text.
        show: Called with a text's index and its next piece.

    Raises:
        InputError: The prompt has characters outside the vocabulary.
        FloatingPointError: The model's logits are not finite.
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
    """Return ``count`` consecutive seeds."""
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
