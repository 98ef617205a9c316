"""Generate samples in short time slices between training quanta, from copies of the weights."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from data.errors import InputError
from data.tokenizers import Tokenizer
from engine.config.schema import SampleConfig
from engine.machine.memory import memory_ran_out, refusing_failures
from engine.model import LanguageModel
from engine.model.logits import odds_of
from engine.protocol import (
    Event,
    Refused,
    SampleFinished,
    SampleStarted,
    SampleText,
    TokenOdds,
    Warned,
)
from engine.sampling.frozen import Frozen, freeze
from engine.sampling.generate import CACHE_BYTES, Generation, Text, start_tokens
from engine.training.phases import Phases

TRAINING_SHARE = 0.85  # of the time while a sample is generated during training
LONGEST_SLICE = 0.2  # seconds of sampling at a time, so that commands are answered promptly
NO_ROOM = (
    "there is too little memory left to generate text: lower system.micro_batch_size to free some"
)
ALTERNATIVES = 5  # most likely tokens that are named beside the one that was sampled
TEXT_SECONDS = 0.04  # text is sent this often: an event per token would be too many


@dataclass
class Job:
    """One text that was asked for."""

    number: int
    step: int
    automatic: bool
    settings: SampleConfig
    written: Text
    group: int = 0  # the first of those that belong together; 0 for a single one
    unsent: str = ""
    ids: list[int] = field(default_factory=list)  # of the tokens whose odds are not sent yet
    lengths: list[int] = field(default_factory=list)  # of the text that each completed
    logits: list[Tensor] = field(default_factory=list)  # (vocab_size,) for each of them

    @property
    def text(self) -> str:
        return self.written.text


@dataclass
class Batch:
    """Texts that are generated at the same time, a token of each at once."""

    jobs: list[Job]
    frozen: Frozen
    start: list[int]
    request_id: int = 0  # of the command that asked for it
    started: bool = False
    last_sent: float = field(default_factory=time.perf_counter)
    logits: Tensor | None = None  # of the last token, (B, vocab_size), or (1, vocab_size)
    _tokens: Iterator[list[int]] | None = None

    @property
    def automatic(self) -> bool:
        return self.jobs[0].automatic

    @property
    def tokens(self) -> Iterator[list[int]]:
        """The tokens; their first use allocates memory."""
        if self._tokens is None:
            settings, seeds = self.jobs[0].settings, [job.settings.seed for job in self.jobs]
            most = settings.max_tokens
            # a tenth more time for a token: no automatic sample, of which most are never looked at
            watch = None if self.automatic else self._note
            self._tokens = Generation(self.frozen, self.start, most, settings, seeds, watch=watch)
        return self._tokens

    def _note(self, logits: Tensor) -> None:
        self.logits = logits


class Sampler:
    """Generates requested samples one after another, the user's before automatic ones.

    Args:
        keep: Called with each finished text.
        last_number: Samples are numbered from the next on.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        emit: Callable[[Event], None],
        keep: Callable[[Job], None],
        last_number: int = 0,
        phases: Phases | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._token_text = functools.cache(tokenizer.token_text)
        self._emit = emit
        self._keep = keep
        self._phases = phases or Phases()
        self._batches: deque[Batch] = deque()
        self._numbers = last_number
        self._credit = 0.0

    @property
    def active(self) -> bool:
        return bool(self._batches)

    @property
    def writes_automatic(self) -> bool:
        return any(batch.automatic for batch in self._batches)

    def request(
        self,
        model: LanguageModel,
        step: int,
        settings: Sequence[SampleConfig],
        automatic: bool,
        request_id: int = 0,
    ) -> None:
        """Copy the weights and queue samples, one for each of the settings.

        Those that differ in their seeds alone are generated at the same time.

        Raises:
            InputError: A prompt has characters outside the vocabulary, or there is too
                little memory for a copy of the weights.
        """
        starts = [start_tokens(one.prompt, self._tokenizer) for one in settings]
        group = self._numbers + 1 if len(settings) > 1 else 0
        with refusing_failures(NO_ROOM):
            frozen = freeze(model)
            batches: list[Batch] = []
            for one, start in zip(settings, starts, strict=True):
                self._numbers += 1
                text = Text(one.seed, one, self._tokenizer)
                job = Job(self._numbers, step, automatic, one, text, group)
                if not (batches and _fits(batches[-1], one, frozen, start)):
                    batches.append(Batch([], frozen, start, request_id))
                batches[-1].jobs.append(job)
            _ = batches[0].tokens  # the others are allocated when their turn comes
        # the user waits for a requested sample, but not for an automatic one
        queue = self._batches
        place = len(queue) if automatic else sum(not batch.automatic for batch in queue)
        for number, batch in enumerate(batches):
            queue.insert(place + number, batch)

    def earn(self, training_seconds: float) -> None:
        """Generate for the share of time that this much training allows.

        A token that took longer than allowed delays the next one. Time without a sample to generate
        is not saved up.
        """
        self._credit += training_seconds * (1 / TRAINING_SHARE - 1)
        if self._batches and self._credit > 0:
            start = time.perf_counter()
            self.run_for(min(self._credit, LONGEST_SLICE))
            self._credit -= time.perf_counter() - start
        self._credit = min(self._credit, LONGEST_SLICE if self._batches else 0.0)

    def run_for(self, seconds: float, automatic_first: bool = False) -> None:
        """Generate for about this long, at least one token."""
        deadline = time.perf_counter() + seconds
        phase = self._phases.enter("sampling")
        while self._batches:
            batch = self._batches[0]
            if automatic_first:
                batch = next((one for one in self._batches if one.automatic), batch)
            self._write_tokens(batch)
            if time.perf_counter() >= deadline:
                break
        self._phases.enter(phase)

    def stop(self, sample: int, request_id: int = 0) -> None:
        """End a sample and those generated at the same time.

        Raises:
            InputError: It is not being generated.
        """
        for batch in self._batches:
            if batch.started and any(job.number == sample for job in batch.jobs):
                self._finish(batch, request_id)
                return
        raise InputError("this text is not being generated any more")

    def close(self) -> None:
        """End all samples; what was generated of them is kept."""
        while self._batches:
            batch = self._batches[0]
            if not (batch.started or batch.automatic):
                why = "the run was closed before the sample was started"
                self._emit(Refused("Sample", why, request_id=batch.request_id))
            self._finish(batch)

    def _write_tokens(self, batch: Batch) -> None:
        now = time.perf_counter()
        if not batch.started:
            self._start(batch)
        try:
            ids = next(batch.tokens)
        except (FloatingPointError, MemoryError, RuntimeError) as error:
            is_full = memory_ran_out(error)
            if isinstance(error, RuntimeError) and not is_full:
                raise
            why = NO_ROOM if is_full else error
            self._emit(Warned(f"the sample of step {batch.jobs[0].step} ended early: {why}"))
            self._finish(batch)
            return
        writing = [row for row, job in enumerate(batch.jobs) if not job.written.done]
        for row in writing:
            job, token = batch.jobs[row], ids[row]
            job.unsent += job.written.add(token)
            if batch.logits is not None:
                job.ids.append(token)
                job.lengths.append(job.written.length)
                # a copy: the decoder may use the memory again
                job.logits.append(batch.logits[min(row, len(batch.logits) - 1)].float().clone())
        after = time.perf_counter()
        for row in writing:
            batch.jobs[row].written.seconds += after - now
        if all(job.written.done for job in batch.jobs):
            self._finish(batch)
        elif after - batch.last_sent > TEXT_SECONDS:
            for job in batch.jobs:
                self._send(job)
            batch.last_sent = after

    def _start(self, batch: Batch) -> None:
        batch.started = True
        for job in batch.jobs:
            self._emit(
                SampleStarted(
                    job.number,
                    job.step,
                    job.automatic,
                    dataclasses.asdict(job.settings),
                    job.group,
                    request_id=batch.request_id,
                )
            )

    def _send(self, job: Job) -> None:
        if job.unsent or job.ids:
            self._emit(SampleText(job.number, job.unsent, self._odds(job)))
        job.unsent = ""

    def _odds(self, job: Job) -> tuple[TokenOdds, ...]:
        """Return the odds of the tokens since the last time; for all at once that costs little."""
        if not job.ids:
            return ()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # there is little to compute
        try:
            odds = odds_of(torch.stack(job.logits), torch.tensor(job.ids), ALTERNATIVES)
        finally:
            torch.set_num_threads(threads)
        lengths = job.lengths
        job.ids, job.lengths, job.logits = [], [], []
        text_of = self._token_text
        return tuple(
            TokenOdds(length, p, rank, tuple(zip(map(text_of, top), top_p, strict=True)))
            for length, p, rank, top, top_p in zip(lengths, *odds, strict=True)
        )

    def _finish(self, batch: Batch, request_id: int = 0) -> None:
        self._batches.remove(batch)
        if not batch.started:
            return
        for job in batch.jobs:
            written = job.written
            job.unsent += written.end()
            self._send(job)
            self._keep(job)
            speed = written.tokens / max(written.seconds, 1e-9)
            tokens, why = written.tokens, written.stopped_by
            self._emit(SampleFinished(job.number, tokens, speed, why, request_id=request_id))


def _fits(batch: Batch, settings: SampleConfig, frozen: Frozen, start: list[int]) -> bool:
    """Return whether a text can be generated together with those of a batch."""
    first = batch.jobs[0].settings
    each = frozen.cache_bytes(len(start) + settings.max_tokens)
    fits = (len(batch.jobs) + 1) * each <= CACHE_BYTES
    return fits and dataclasses.replace(settings, seed=first.seed) == first
