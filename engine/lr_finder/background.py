"""The learning-rate finder of a loop, beside a run that rests meanwhile or none."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from data.errors import Cancelled, InputError
from engine.config.schema import config_from_dict
from engine.lr_finder.ramp import Ramp, Suggestion, rise_for
from engine.metrics import MetricStore
from engine.protocol import (
    Command,
    EndLearningRateFinder,
    Event,
    FindLearningRate,
    LearningRateFinderPrepared,
    LearningRateFound,
    Refused,
    State,
    Warned,
)

if TYPE_CHECKING:
    from engine.lr_finder.finder import LRFinder


class BackgroundFinder:
    """At most one test, a quantum at a time.

    Args:
        emit: Takes the events.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._test: LRFinder | None = None
        self._quanta: Generator[None, None, Suggestion] | None = None
        self._request_id = 0  # of the latest test
        self.ramp = Ramp()
        self.metrics = MetricStore(self.ramp.smoothing)  # train_loss, by steps from 0

    @property
    def under_way(self) -> bool:
        """Whether there is more to do."""
        return self._quanta is not None

    def begin(
        self, command: FindLearningRate, state: State, called_off: Callable[[], bool]
    ) -> None:
        """Get ready, which takes a moment.

        Args:
            command: What to test.
            state: Of the loop: it must not be training.
            called_off: Asked now and then; the person may have thought better of it.
        """

        def report(message: str) -> None:
            if called_off():
                raise Cancelled
            self._emit(LearningRateFinderPrepared(message, request_id=command.request_id))

        self._request_id = command.request_id
        try:
            if state is State.RUNNING:
                raise InputError("pause the run first: a learning-rate test needs its processor")
            config = config_from_dict(command.config)
            self.ramp = rise_for(config)
            self.metrics = MetricStore(self.ramp.smoothing)
            report("loading PyTorch")
            from engine.lr_finder.finder import prepare

            losses = self.metrics.column("train_loss")
            with _computing_as_before():
                self._test = prepare(config, self.ramp, losses, report, self._warn, called_off)
        except Cancelled:
            self._emit(LearningRateFound("", request_id=self._request_id))
        except Exception as error:  # the test is over; the run beside it and the loop are well
            self._give_up(error)
        else:
            self._quanta = self._test.quanta()
            runtime = dataclasses.asdict(self._test.runtime)
            self._emit(LearningRateFinderPrepared("", runtime, request_id=self._request_id))

    def advance(self) -> None:
        """Do one quantum of the test; tell, at its end, what came out."""
        assert self._test and self._quanta
        try:
            with _computing_as_before():
                self._test.settle()
                next(self._quanta)
        except StopIteration as stop:
            suggestion: Suggestion = stop.value
            changes = self._test.settings(suggestion)
            self._forget()
            self._emit(LearningRateFound(suggestion.why, changes, request_id=self._request_id))
        except Exception as error:
            self._give_up(error)

    def end(self, command: Command) -> None:
        """Give way to whatever is wanted next; ``EndLearningRateFinder`` is always answered."""
        if self.under_way:
            self._forget()
            self._emit(LearningRateFound("", request_id=self._request_id))
        elif isinstance(command, EndLearningRateFinder):
            self._emit(LearningRateFound("", request_id=command.request_id))

    def _warn(self, message: str) -> None:
        self._emit(Warned(message))

    def _give_up(self, error: Exception) -> None:
        self._forget()
        told = str(error)
        if not isinstance(error, InputError):
            traceback.print_exception(error, file=sys.__stderr__)  # the app keeps it in its log
            told = f"the test failed: {type(error).__name__}: {error}"
        self._emit(Refused(FindLearningRate.__name__, told, request_id=self._request_id))

    def _forget(self) -> None:
        self._test = self._quanta = None


def _computing_as_before() -> AbstractContextManager[None]:
    from engine.lr_finder.finder import computing_as_before

    return computing_as_before()
