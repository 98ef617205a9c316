"""Streams samples from frozen copies of the weights, in slices of time between training quanta."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from data.tokenizers import Tokenizer
from engine.config import SampleConfig
from engine.model import LanguageModel
from engine.protocol import Event, Refused, SampleFinished, SampleStarted, SampleText, Warned
from engine.sampling import generate

TRAINING_SHARE = 0.85  # of the time while a sample streams beside training
LONGEST_SLICE = 0.2  # seconds of writing in one go, however long the quantum before was
TEXT_SECONDS = 0.04  # pieces of text are handed on this often, not token by token


@dataclass
class Job:
    """One text being written."""

    number: int
    step: int
    automatic: bool
    settings: SampleConfig
    tokens: Iterator[int]
    text: str = ""
    unsent: str = ""
    count: int = 0
    seconds: float = 0.0
    started: bool = False
    last_sent: float = field(default_factory=time.perf_counter)


class Sampler:
    """Writes requested samples one after another, the person's before automatic ones.

    Args:
        tokenizer: Turns prompts to tokens and tokens to text.
        emit: Takes the events.
        keep: Takes each finished job.
    """

    def __init__(
        self, tokenizer: Tokenizer, emit: Callable[[Event], None], keep: Callable[[Job], None]
    ) -> None:
        self._tokenizer = tokenizer
        self._emit = emit
        self._keep = keep
        self._jobs: deque[Job] = deque()
        self._numbers = 0
        self._credit = 0.0

    @property
    def active(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._jobs)

    @property
    def writes_automatic(self) -> bool:
        """Whether a sample nobody asked for is still unfinished."""
        return any(job.automatic for job in self._jobs)

    def request(
        self, model: LanguageModel, step: int, settings: SampleConfig, automatic: bool
    ) -> int:
        """Freeze the weights and queue a sample; returns its number.

        Raises:
            InputError: The prompt has characters outside the vocabulary.
        """
        start = self.start_tokens(settings.prompt)
        frozen = copy.deepcopy(model).eval().requires_grad_(False)
        self._numbers += 1
        tokens = generate(
            frozen,
            start,
            settings.max_tokens,
            settings.temperature,
            settings.top_k,
            settings.top_p,
            settings.seed,
        )
        job = Job(self._numbers, step, automatic, settings, tokens)
        # what a person asked for goes ahead of what nobody waits for
        place = len(self._jobs) if automatic else sum(not job.automatic for job in self._jobs)
        self._jobs.insert(place, job)
        return job.number

    def start_tokens(self, prompt: str) -> list[int]:
        """The tokens a sample starts from; an empty prompt starts on a new line."""
        if prompt:
            return [int(token) for token in self._tokenizer.encode(prompt)]
        if self._tokenizer.unknown("\n"):
            return [0]
        return [int(token) for token in self._tokenizer.encode("\n")]

    def earn(self, training_seconds: float) -> None:
        """Write for the share of time that this much training allows.

        A token that took longer than it might is paid back before the next one. Nothing is saved
        up: time in which there was nothing to write is gone.
        """
        self._credit += training_seconds * (1 / TRAINING_SHARE - 1)
        if self._jobs and self._credit > 0:
            start = time.perf_counter()
            self.run_for(min(self._credit, LONGEST_SLICE))
            self._credit -= time.perf_counter() - start
        self._credit = min(self._credit, LONGEST_SLICE if self._jobs else 0.0)

    def run_for(self, seconds: float, automatic_first: bool = False) -> None:
        """Write for about this long, at least one token."""
        deadline = time.perf_counter() + seconds
        while self._jobs:
            job = self._jobs[0]
            if automatic_first:
                job = next((one for one in self._jobs if one.automatic), job)
            self._write_token(job)
            if time.perf_counter() >= deadline:
                return

    def close(self) -> None:
        """Keep what is written of unfinished samples."""
        while self._jobs:
            job = self._jobs[0]
            if not (job.started or job.automatic):
                self._emit(Refused("Sample", "the run was closed before the text was begun"))
            self._finish(job)

    def _write_token(self, job: Job) -> None:
        now = time.perf_counter()
        if not job.started:
            job.started = True
            settings = dataclasses.asdict(job.settings)
            self._emit(SampleStarted(job.number, job.step, job.automatic, settings))
        try:
            token = next(job.tokens, None)
        except FloatingPointError as error:
            self._emit(Warned(f"the sample of step {job.step} ended early: {error}"))
            token = None
        if token is None:
            self._finish(job)
            return
        job.count += 1
        job.unsent += self._tokenizer.decode([token])
        after = time.perf_counter()
        job.seconds += after - now
        if after - job.last_sent > TEXT_SECONDS:
            self._send(job, after)

    def _send(self, job: Job, now: float) -> None:
        job.text += job.unsent
        self._emit(SampleText(job.number, job.unsent))
        job.unsent, job.last_sent = "", now

    def _finish(self, job: Job) -> None:
        self._jobs.remove(job)
        if not job.started:
            return
        if job.unsent:
            self._send(job, time.perf_counter())
        self._keep(job)
        self._emit(SampleFinished(job.number, job.count, job.count / max(job.seconds, 1e-9)))
