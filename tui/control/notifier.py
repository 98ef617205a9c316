"""Tells of a run while nobody looks: in the terminal, by a command, to a web address."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from data.errors import InputError
from engine.protocol import Advised, Evaluated, Event, Failed, State, StateChanged, Status, Warned
from tui.control.notify_targets import check_address, command_words
from tui.control.preferences import Preferences
from tui.terminal.announce import BELL, notification, takes_osc
from tui.text.numbers import format_loss

TOLD = (StateChanged, Evaluated, Advised, Warned, Failed)  # others are of no interest here
BEST_SECONDS = 300.0  # between two bests: early in training each evaluation is one
COMMAND_SECONDS, WEBHOOK_SECONDS = 60.0, 10.0


class News(NamedTuple):
    """Something worth telling."""

    event: str  # finished, best, diverged, warning or failed
    message: str
    run: str
    step: int
    val_loss: float | None
    best_val_loss: float | None


class Notifier:
    """Decides what is told, and tells it.

    Args:
        write: Writes to the terminal.
        complain: Shows what is wrong with a command or an address; called in any thread.
    """

    def __init__(
        self,
        preferences: Preferences,
        write: Callable[[str], None],
        complain: Callable[[str], None],
    ) -> None:
        self._preferences, self._write, self._complain = preferences, write, complain
        self._best_at = -BEST_SECONDS
        self._state = State.IDLE

    def take(self, event: Event, status: Status, run: str, away: bool) -> None:
        """Tell of an event of the engine, if it is worth it.

        Args:
            away: Whether the terminal has said that another window is in use.
        """
        told = self._worth_telling(event, status)
        if isinstance(event, StateChanged):
            self._state = event.state
        if told is None:
            return
        kind, message = told
        news = News(
            kind, f"{run}: {message}", run, status.step, status.val_loss, status.best_val_loss
        )
        if away:
            self._tell_terminal(news)
        if command := self._preferences.get("notify.command"):
            self._in_thread(lambda: run_command(command, news), "notify.command")
        if address := self._preferences.get("notify.webhook"):
            self._in_thread(lambda: post(address, news), "notify.webhook")

    def _worth_telling(self, event: Event, status: Status) -> tuple[str, str] | None:
        """Return the kind and the message."""
        if isinstance(event, StateChanged):
            if event.state is State.FINISHED and self._state is State.RUNNING:
                best = format_loss(status.best_val_loss)
                return "finished", f"finished at step {status.step:,}, best val {best}"
        elif isinstance(event, Evaluated):
            now = time.monotonic()
            if event.best and self._state is State.RUNNING and now - self._best_at >= BEST_SECONDS:
                self._best_at = now
                return "best", f"best val {format_loss(event.val_loss)} at step {event.step:,}"
        elif isinstance(event, Advised):
            if event.has_diverged or event.kind == "non-finite":
                return "diverged", event.message
        elif isinstance(event, Warned):
            if self._state in (State.RUNNING, State.PAUSED):
                return "warning", event.message
        elif isinstance(event, Failed):
            return "failed", event.message
        return None

    def _tell_terminal(self, news: News) -> None:
        told = BELL if self._preferences.get("notify.bell") else ""
        if self._preferences.get("notify.message") and takes_osc():
            told += notification(news.message)
        if told:
            self._write(told)

    def _in_thread(self, work: Callable[[], None], name: str) -> None:
        def carry_out() -> None:
            try:
                work()
            except (InputError, OSError, ValueError, subprocess.SubprocessError) as error:
                self._complain(f"{name} failed ({error})")

        threading.Thread(target=carry_out, name=name, daemon=True).start()


def run_command(command: str, news: News) -> None:
    """Run a program with what is told in its arguments and its environment; no shell reads it.

    Raises:
        OSError: It cannot be run.
        InputError: It is no command line.
        ValueError: The program has failed.
        subprocess.TimeoutExpired: It takes too long.
    """
    fields = {name: str(value).replace("\0", "") for name, value in news._asdict().items()}
    words = [_filled(word, fields) for word in command_words(command)]
    environment = {f"GPT_TUI_{name.upper()}": value for name, value in fields.items()}
    done = subprocess.run(
        words,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=COMMAND_SECONDS,
        start_new_session=True,  # a signal of the terminal is not for it
    )
    if done.returncode:
        raise ValueError(f"it ended with {done.returncode}")


def _filled(word: str, fields: dict[str, str]) -> str:
    for name in ("event", "message", "run", "step"):
        word = word.replace(f"{{{name}}}", fields[name])
    return word


def post(address: str, news: News) -> None:
    """Post what is told as JSON; ``text`` is what chat services show.

    Raises:
        OSError: There is no answer, or it is an error.
        InputError: It is not an address that may be used.
    """
    from http.client import HTTPException
    from urllib.request import Request, urlopen

    check_address(address)
    body = json.dumps({**news._asdict(), "text": news.message}).encode()
    request = Request(address, body, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=WEBHOOK_SECONDS) as answer:
            answer.read(1)
    except HTTPException as error:  # what answers does not speak HTTP
        raise OSError(f"no answer in HTTP: {error!r}") from None
