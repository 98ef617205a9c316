"""What takes a while, in threads of a screen: it reports, can be cancelled, and hands over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from textual.worker import Worker, get_current_worker

from data.download import Watcher
from data.errors import Cancelled, InputError, reason_of
from tui.screens.keyed import KeyedScreen

T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """What a thread is doing.

    Attributes:
        watcher: Says how far it is, and whether it was cancelled.
    """

    _screen: KeyedScreen[Any]
    _worker: Worker[Any]
    watcher: Watcher

    def hand(self, take: Callable[[T], object], what: T) -> None:
        """Hand something over to the app's thread, unless it is no longer wanted."""
        self._screen.call_from_worker(lambda: None if self._worker.is_cancelled else take(what))


class Jobs:
    """The threads of a screen, one of each group: a new one takes the place of the one before.

    Args:
        say: Receives a line on what is being done; empty once it is done.
    """

    def __init__(self, screen: KeyedScreen[Any], say: Callable[[str], None]) -> None:
        self._screen, self._say = screen, say
        self._workers: dict[str, Worker[Any]] = {}

    def begin(
        self,
        group: str,
        work: Callable[[Job], None],
        fail: Callable[[InputError], object],
        may_download: bool = False,
    ) -> None:
        """Do some work in a thread.

        Args:
            fail: Receives why it cannot be done.
            may_download: Whether that was asked for.
        """

        def run() -> None:
            worker = get_current_worker()
            unsaid: list[str] = []  # keys wait behind what is handed over: one line at a time is

            def say(line: str) -> None:
                unsaid.append(line)
                if len(unsaid) == 1:
                    job.hand(say_last, unsaid)

            def say_last(lines: list[str]) -> None:
                last = lines[-1]
                lines.clear()
                self._say(last)

            watcher = Watcher(
                say,
                lambda: bool(worker.is_cancelled),
                may_download,
            )
            job = Job(self._screen, worker, watcher)
            try:
                work(job)
            except Cancelled:
                return
            except InputError as error:
                job.hand(fail, error)
            except OSError as error:
                job.hand(fail, InputError(f"the text cannot be read ({reason_of(error)})"))
            job.hand(self._say, "")

        self._workers[group] = self._screen.run_worker(
            run, group=group, thread=True, exclusive=True
        )

    def is_running(self, group: str) -> bool:
        return group in self._workers and not self._workers[group].is_finished

    def cancel(self, group: str) -> None:
        self._workers[group].cancel()
        self._say("")
