"""Run the learning-rate finder in the engine thread, while an open run is paused."""

from __future__ import annotations

import dataclasses
import sys
import traceback
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

from data.errors import Cancelled, InputError
from engine.config.schema import config_from_dict
from engine.config.setting import Value
from engine.lr_finder.ramp import Ramp, Suggestion, ramp_for
from engine.machine.memory import described_failure
from engine.metrics import MetricStore
from engine.protocol import (
    Command,
    EndLearningRateFinder,
    Event,
    FindLearningRate,
    LearningRateFinderPrepared,
    LearningRateFound,
    State,
    Warned,
)

if TYPE_CHECKING:
    from engine.lr_finder.finder import LRFinder


class BackgroundFinder:
    """Runs at most one learning-rate finder, a quantum at a time."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._command = FindLearningRate({})  # the latest
        self._finder: LRFinder | None = None
        self._quanta: Generator[None, None, Suggestion] | None = None
        self.ramp = Ramp()
        self.metrics = MetricStore(self.ramp.smoothing)  # train_loss by step, from 0

    @property
    def under_way(self) -> bool:
        return self._quanta is not None

    def begin(self, command: FindLearningRate, state: State, cancelled: Callable[[], bool]) -> None:
        """Load the text and build the model, which blocks for some seconds.

        Args:
            state: Of the open run; refused while it trains.
        """

        def report(message: str) -> None:
            if cancelled():
                raise Cancelled
            self._emit(LearningRateFinderPrepared(message, request_id=command.request_id))

        self._command = command
        try:
            if state is State.RUNNING:
                raise InputError(
                    "pause the run first: the learning-rate finder needs its processor"
                )
            config = config_from_dict(command.config)
            self.ramp = ramp_for(config)
            self.metrics = MetricStore(self.ramp.smoothing)
            report("loading PyTorch")
            from engine.lr_finder.finder import prepare

            losses = self.metrics.column("train_loss")
            warn = lambda message: self._emit(Warned(message))  # noqa: E731
            self._finder = prepare(config, self.ramp, losses, report, warn, cancelled)
        except Cancelled:
            self._emit(LearningRateFound("", request_id=command.request_id))
        except Exception as error:  # only the finder ends; an open run and the worker continue
            self._give_up(error)
        else:
            self._quanta = self._finder.quanta()
            runtime = dataclasses.asdict(self._finder.runtime)
            self._emit(LearningRateFinderPrepared("", runtime, request_id=command.request_id))

    def advance(self) -> None:
        """Run one quantum; after the last one, emit the result."""
        assert self._finder and self._quanta
        try:
            next(self._quanta)
        except StopIteration as stop:
            suggestion: Suggestion = stop.value
            self._end(suggestion.why, suggestion.changes(self._finder.config))
        except Exception as error:
            self._give_up(error)

    def end(self, command: Command) -> None:
        """End the finder before another command; ``EndLearningRateFinder`` is always answered."""
        if self.under_way:
            self._end("", {})
        elif isinstance(command, EndLearningRateFinder):
            self._emit(LearningRateFound("", request_id=command.request_id))

    def _end(self, why: str, changes: dict[str, Value]) -> None:
        self._finder = self._quanta = None
        self._emit(LearningRateFound(why, changes, request_id=self._command.request_id))

    def _give_up(self, error: Exception) -> None:
        self._finder = self._quanta = None
        message = str(error)
        if not isinstance(error, InputError):
            traceback.print_exception(error, file=sys.__stderr__)  # the app keeps it in its log
            message = described_failure(error) or (
                f"the learning-rate finder failed: {type(error).__name__}: {message}"
            )
        self._emit(self._command.refused(message))
