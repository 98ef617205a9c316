"""Generate samples in short time slices between training quanta, from copies of the weights."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from data.tokenizers import Tokenizer
from engine.config.schema import SampleConfig
from engine.machine.memory import memory_ran_out, refusing_failures
from engine.model import LanguageModel
from engine.protocol import Event, Refused, SampleFinished, SampleStarted, SampleText, Warned
from engine.sampling.frozen import freeze
from engine.sampling.generate import Generation, Text, decoder_of, start_tokens
from engine.training.phases import Phases

TRAINING_SHARE = 0.85  # of the time while a sample is generated during training
LONGEST_SLICE = 0.2  # seconds of sampling at a time, so that commands are answered promptly
NO_ROOM = (
    "there is too little memory left to generate text: lower system.micro_batch_size to free some"
)
TEXT_SECONDS = 0.04  # text is sent this often: an event per token would be too many


@dataclass
class Job:
    number: int
    step: int
    automatic: bool
    settings: SampleConfig
    tokens: Generation
    written: Text
    unsent: str = ""
    started: bool = False
    request_id: int = 0  # of the command that asked for it
    last_sent: float = field(default_factory=time.perf_counter)

    @property
    def text(self) -> str:
        return self.written.text


class Sampler:
    """Generates requested samples one after another, the user's before automatic ones."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        emit: Callable[[Event], None],
        keep: Callable[[Job], None],
        phases: Phases | None = None,
    ) -> None:
        self._tokenizer, self._decode = tokenizer, decoder_of(tokenizer)
        self._emit = emit
        self._keep = keep
        self._phases = phases or Phases()
        self._jobs: deque[Job] = deque()
        self._numbers = 0
        self._credit = 0.0

    @property
    def active(self) -> bool:
        return bool(self._jobs)

    @property
    def writes_automatic(self) -> bool:
        return any(job.automatic for job in self._jobs)

    def request(
        self,
        model: LanguageModel,
        step: int,
        settings: SampleConfig,
        automatic: bool,
        request_id: int = 0,
    ) -> int:
        """Copy the weights and queue a sample; return its number.

        Raises:
            InputError: The prompt has characters outside the vocabulary, or there is too
                little memory for a copy of the weights.
        """
        start, seed = start_tokens(settings.prompt, self._tokenizer), settings.seed
        with refusing_failures(NO_ROOM):
            tokens = Generation(freeze(model), start, settings.max_tokens, settings, [seed])
        self._numbers += 1
        text = Text(seed, settings, self._decode)
        job = Job(self._numbers, step, automatic, settings, tokens, text, request_id=request_id)
        # the user waits for a requested sample, but not for an automatic one
        place = len(self._jobs) if automatic else sum(not job.automatic for job in self._jobs)
        self._jobs.insert(place, job)
        return job.number

    def earn(self, training_seconds: float) -> None:
        """Generate for the share of time that this much training allows.

        A token that took longer than allowed delays the next one. Time without a sample to generate
        is not saved up.
        """
        self._credit += training_seconds * (1 / TRAINING_SHARE - 1)
        if self._jobs and self._credit > 0:
            start = time.perf_counter()
            self.run_for(min(self._credit, LONGEST_SLICE))
            self._credit -= time.perf_counter() - start
        self._credit = min(self._credit, LONGEST_SLICE if self._jobs else 0.0)

    def run_for(self, seconds: float, automatic_first: bool = False) -> None:
        """Generate for about this long, at least one token."""
        deadline = time.perf_counter() + seconds
        phase = self._phases.enter("sampling")
        while self._jobs:
            job = self._jobs[0]
            if automatic_first:
                job = next((one for one in self._jobs if one.automatic), job)
            self._write_token(job)
            if time.perf_counter() >= deadline:
                break
        self._phases.enter(phase)

    def close(self) -> None:
        """End all samples; what was generated of them is kept."""
        while self._jobs:
            job = self._jobs[0]
            if not (job.started or job.automatic):
                why = "the run was closed before the sample was started"
                self._emit(Refused("Sample", why, request_id=job.request_id))
            self._finish(job)

    def _write_token(self, job: Job) -> None:
        now = time.perf_counter()
        if not job.started:
            job.started = True
            settings = dataclasses.asdict(job.settings)
            self._emit(
                SampleStarted(
                    job.number, job.step, job.automatic, settings, request_id=job.request_id
                )
            )
        try:
            (token,) = next(job.tokens)
        except (FloatingPointError, MemoryError, RuntimeError) as error:
            is_full = memory_ran_out(error)
            if isinstance(error, RuntimeError) and not is_full:
                raise
            why = NO_ROOM if is_full else error
            self._emit(Warned(f"the sample of step {job.step} ended early: {why}"))
            self._finish(job)
            return
        job.unsent += job.written.add(token)
        after = time.perf_counter()
        job.written.seconds += after - now
        if job.written.done:
            self._finish(job)
        elif after - job.last_sent > TEXT_SECONDS:
            self._send(job, after)

    def _send(self, job: Job, now: float) -> None:
        if job.unsent:
            self._emit(SampleText(job.number, job.unsent))
        job.unsent, job.last_sent = "", now

    def _finish(self, job: Job) -> None:
        self._jobs.remove(job)
        if not job.started:
            return
        written = job.written
        job.unsent += written.end()
        self._send(job, time.perf_counter())
        self._keep(job)
        speed = written.tokens / max(written.seconds, 1e-9)
        self._emit(SampleFinished(job.number, written.tokens, speed))
