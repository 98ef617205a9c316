"""A text as a model reads it: found and read in a thread, then looked at by the token."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.batches import Offsets, Split, no_starts
from data.corpora.corpus import Corpus
from data.corpora.describe import describe
from data.download import Watcher
from data.errors import Cancelled, InputError
from data.sources.meter import REPORT_SECONDS
from data.specs import has_place
from data.tokenizers import Tokenizer
from data.windows import NO_TARGET, Windows, windows_of
from engine.config.model_size import parameter_count
from engine.config.schema import Config, total_steps
from engine.runs.open import look_at_run
from engine.runs.text import read_text, text_at
from tui.control.own_presets import named_config
from tui.corpus.facts import Described, Facts

Tokens = NDArray[Any]

COUNTED_AT_ONCE = 1 << 22  # tokens
SEARCHED_AT_ONCE = 1 << 16
LONGEST_SHOWN = 16  # bytes of a token; longer ones are counted together


@dataclass(frozen=True, eq=False)
class TextLook:
    """A text, and what is known of it.

    Attributes:
        corpus: Without readers where only its tokens are there.
        train: Tokens to train on, (n,).
        val: Tokens to validate on, (m,).
        counts: How often each token occurs, (vocab_size,); None until they were counted.
        sizes: The bytes of each, (vocab_size,).
        starts: Where the documents to train on begin; empty if they are not kept apart.
    """

    corpus: Corpus
    tokenizer: Tokenizer
    train: Tokens
    val: Tokens
    counts: NDArray[np.int64] | None = None
    sizes: NDArray[np.int64] | None = None
    described: Described | None = None
    undescribed: str = ""
    starts: Offsets = field(default_factory=no_starts)

    @property
    def total(self) -> int:
        return len(self.train) + len(self.val)

    def ids(self, start: int, stop: int) -> Tokens:
        """Return the tokens of a part of the whole text, (stop - start,)."""
        cut = len(self.train)
        parts = (
            self.train[max(0, start) : max(0, min(stop, cut))],
            self.val[max(0, start - cut) : max(0, stop - cut)],
        )
        return np.concatenate(parts)

    def shown(self, start: int, stop: int) -> list[str]:
        """Return each token of a part as it is shown."""
        return [self.tokenizer.token_text(one) for one in self.ids(start, stop).tolist()]

    def id(self, place: int) -> int:
        """Return the token at a place."""
        return int(self.ids(place, place + 1)[0])

    def read(self, start: int, stop: int) -> list[str]:
        """Return what a part reads: a letter of several tokens stands with the last of them."""
        stream = self.tokenizer.stream()
        return [stream.feed(one) for one in self.ids(start, stop).tolist()]

    # -- figures -----------------------------------------------------------------------------------

    def facts(self, config: Config) -> Facts:
        """Return the figures, and those of a run with some settings."""
        parameters = parameter_count(config.model, self.tokenizer.vocab_size, positions=False)
        return Facts(
            name=self.corpus.name,
            source=self.corpus.source,
            characters=self.corpus.characters,
            tokenizer=self.tokenizer.kind,
            vocab_size=self.tokenizer.vocab_size,
            train=len(self.train),
            val=len(self.val),
            token_bytes=0
            if self.counts is None or self.sizes is None
            else int(self.counts @ self.sizes),
            parameters=parameters,
            steps=total_steps(config, self._windows(config).per_epoch),
            per_epoch=self._windows(config).per_epoch,
            windows=config.train.batch_size * config.train.grad_accum_steps,
            block_size=config.model.block_size,
            described=self.described,
            undescribed=self.undescribed,
            recipe=_recipe(config),
        )

    def frequent(self, most: int) -> list[tuple[str, int, int]]:
        """Return the most frequent tokens: text, id, count."""
        if self.counts is None:
            return []
        order = np.argsort(-self.counts, kind="stable")[:most].tolist()
        text = self.tokenizer.token_text
        return [(text(id), id, int(self.counts[id])) for id in order if self.counts[id]]

    def lengths(self) -> list[tuple[str, int]]:
        """Return how many tokens of the text have which length in bytes."""
        if self.counts is None or self.sizes is None:
            return []
        sizes = np.minimum(self.sizes, LONGEST_SHOWN + 1)
        found = np.zeros(LONGEST_SHOWN + 2, np.int64)
        np.add.at(found, sizes, self.counts)
        labels = [*map(str, range(LONGEST_SHOWN + 1)), f">{LONGEST_SHOWN}"]
        return [pair for pair in zip(labels, found.tolist(), strict=True) if pair[1]]

    # -- batches -----------------------------------------------------------------------------------

    def windows(self, config: Config, step: int, rows: range) -> list[tuple[int, list[str]]]:
        """Return rows of the batch of a step as the trainer takes them: offsets and tokens.

        Raises:
            InputError: The text is too short for one.
        """
        train, T = config.train, config.model.block_size
        if len(self.train) <= T:
            raise InputError(
                f"the text gives {len(self.train):,} tokens to train on, too few for a window of "
                f"model.block_size {T} and the target after it"
            )
        windows = self._windows(config)
        size = train.batch_size * train.grad_accum_steps
        offsets = windows.of_step(size, seed=train.seed, step=step)  # (B,)
        wanted = offsets[rows.start : rows.stop]
        text = self.tokenizer.token_text
        found = windows.take(wanted)  # (rows, T + 1)
        return [
            (offset, [text(one) for one in ids if one != NO_TARGET])
            for offset, ids in zip(wanted.tolist(), found.tolist(), strict=True)
        ]

    def _windows(self, config: Config) -> Windows:
        split = Split(self.train, self.val, self.starts)
        return windows_of(split, config.data, config.model.block_size)[0]

    # -- searching ---------------------------------------------------------------------------------

    def search(self, words: str, start: int, watcher: Watcher) -> range | None:
        """Return the tokens of the next place with some words, in any case; None if there is none.

        After the end it goes on from the beginning.

        Raises:
            Cancelled: ``watcher.cancelled`` returned true.
        """
        pattern = re.compile(re.escape(words), re.IGNORECASE)
        due = 0.0
        beyond = 4 * len(words) + 4  # tokens of the next part that a match may reach into
        for begin in self._parts(start):
            if watcher.cancelled():
                raise Cancelled
            if time.monotonic() >= due:  # a screen takes longer to show it than a part takes
                watcher.report(f"searching: {begin / self.total:.0%}")
                due = time.monotonic() + REPORT_SECONDS
            ids = self.ids(begin, begin + SEARCHED_AT_ONCE + beyond)
            if not pattern.search(self.tokenizer.decode(ids)):
                continue
            pieces = self.read(begin, begin + SEARCHED_AT_ONCE + beyond)
            if match := pattern.search("".join(pieces)):
                ends = np.cumsum([len(one) for one in pieces])
                first = int(np.searchsorted(ends, match.start(), side="right"))
                last = int(np.searchsorted(ends, match.end(), side="left"))
                return range(begin + first, begin + last + 1)
        return None

    def _parts(self, start: int) -> Iterator[int]:
        yield from range(start, self.total, SEARCHED_AT_ONCE)
        yield from range(0, start, SEARCHED_AT_ONCE)


def look(run: Path | None, config: Config, watcher: Watcher) -> TextLook:
    """Find a text and its tokens: of a run, or of settings.

    Raises:
        InputError: It cannot be used.
        Cancelled: ``watcher.cancelled`` returned true.
    """
    if run is None:
        corpus, tokenizer, split = read_text(config.data, watcher)
    else:
        files = look_at_run(run, watcher)
        files.close()
        corpus, tokenizer, split = files.corpus, files.tokenizer, files.split
    return TextLook(corpus, tokenizer, split.train, split.val, starts=split.train_starts)


def counted(text: TextLook, watcher: Watcher) -> TextLook:
    """Count the tokens.

    Raises:
        Cancelled: ``watcher.cancelled`` returned true.
    """
    counts = np.zeros(text.tokenizer.vocab_size, np.int64)
    for part in (text.train, text.val):
        for start in range(0, len(part), COUNTED_AT_ONCE):
            if watcher.cancelled():
                raise Cancelled
            ids = part[start : start + COUNTED_AT_ONCE]
            counts += np.bincount(ids, minlength=len(counts))
    bytes_of = text.tokenizer.token_bytes
    sizes = [len(bytes_of(id)) for id in range(text.tokenizer.vocab_size)]
    if (end := text.tokenizer.end_of_text) is not None:
        sizes[end] = 0  # it stands for no text
    return replace(text, counts=counts, sizes=np.array(sizes, np.int64))


def described(text: TextLook, config: Config, watcher: Watcher) -> TextLook:
    """Read all of a text once more, to describe its documents and characters.

    Raises:
        Cancelled: ``watcher.cancelled`` returned true.
    """
    try:
        corpus = with_files(text.corpus, config, watcher)
        found = describe(corpus, watcher)
    except Cancelled:
        raise
    except InputError as error:
        return replace(text, undescribed=f"only its tokens are here ({error})")
    return replace(
        text,
        described=Described(
            size=corpus.size,
            documents=corpus.count,
            longest=found.longest,
            odd=found.odd.described(),
            told=corpus.told,
        ),
    )


def with_files(known: Corpus, config: Config, watcher: Watcher) -> Corpus:
    """Return a text that can be read: loaded, if only its tokens were.

    Raises:
        InputError: It is not there, or it is another one now.
    """
    if known.readers:
        return known
    spec = known.source if has_place(known.source) else config.data.corpus
    found = text_at(spec, config.data, watcher)
    if found.sha256 != known.sha256:
        raise InputError("its files have changed")
    return found


def _recipe(config: Config) -> str:
    """Return the preset whose model and run some settings are; empty if they were changed."""
    try:
        meant = named_config(config.preset)
    except InputError:
        return ""
    run = attrgetter("max_steps", "max_epochs", "batch_size", "grad_accum_steps")
    same = (meant.model, run(meant.train)) == (config.model, run(config.train))
    return config.preset if same else ""


def changes_of(config: Config, wanted: Config) -> dict[str, Any]:
    """Return what one must set for the text and tokens that are wanted."""
    keys: Sequence[str] = ("data.corpus", "data.tokenizer", "data.vocab_size")
    return {key: wanted.get(key) for key in keys if wanted.get(key) != config.get(key)}
