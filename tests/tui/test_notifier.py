"""A run tells of itself while nobody looks; its name is obeyed by no terminal or shell."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.protocol import Advised, Evaluated, Event, Failed, State, StateChanged, Status, Warned
from tui.control import notifier
from tui.control.notifier import Notifier
from tui.control.preferences import Preferences
from tui.terminal.announce import notification, title

STATUS = Status(state=State.FINISHED, step=2000, val_loss=1.98, best_val_loss=1.97)
HOSTILE = 'x\x1b]0;title\x07"; touch {marker} #$(touch {marker})\n\0'
EVENTS: dict[str, Event] = {
    "finished": StateChanged(State.FINISHED),
    "best": Evaluated(1250, 1.97, "whole split", best=True),
    "diverged": Advised("non-finite", "the loss is not a number", "go back", {}),
    "warning": Warned("the checkpoint could not be written (No space left on device)"),
    "failed": Failed("the engine failed"),
}
QUIET: list[Event] = [
    StateChanged(State.PAUSED),
    Evaluated(1250, 2.5, "whole split", best=False),
    Advised("plateau", "the loss is flat", "lower the rate", {}),
]


class Desk:
    """Somebody's preferences, terminal and complaints."""

    def __init__(self) -> None:
        self.preferences = Preferences()
        self.written: list[str] = []
        self.complaints: list[str] = []
        self.notifier = Notifier(self.preferences, self.written.append, self.complaints.append)

    def take(self, event: Event, run: str = "fast-1", away: bool = True) -> None:
        """Hear of an event of a run in training."""
        for one in (StateChanged(State.RUNNING), event):
            self.notifier.take(one, STATUS, run, away)
        for thread in threading.enumerate():
            if thread.name.startswith("notify."):
                thread.join(30)


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    return Desk()


@pytest.mark.parametrize("kind", EVENTS)
def test_the_terminal_rings_and_shows_a_notification(desk: Desk, kind: str) -> None:
    desk.take(EVENTS[kind])
    (written,) = desk.written
    assert written.startswith("\x07\x1b]9;gpt-tui: fast-1: ")
    assert written.endswith("\x07")


@pytest.mark.parametrize("event", QUIET)
def test_what_is_not_worth_it_is_not_told(desk: Desk, event: Event) -> None:
    desk.take(event)
    assert desk.written == []


def test_nothing_rings_while_somebody_looks(desk: Desk) -> None:
    desk.take(EVENTS["finished"], away=False)
    assert desk.written == []


def test_not_every_new_best_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        desk.take(EVENTS["best"])
    assert len(desk.written) == 1
    monkeypatch.setattr(notifier, "BEST_SECONDS", 0.0)
    desk.take(EVENTS["best"])
    assert len(desk.written) == 2


def test_bell_and_message_can_be_turned_off(desk: Desk) -> None:
    desk.preferences.set("notify.bell", False)
    desk.take(EVENTS["finished"])
    desk.preferences.set("notify.message", False)
    desk.take(EVENTS["finished"])
    (written,) = desk.written
    assert written.startswith("\x1b]9;")


@pytest.mark.parametrize("sequence", [title, notification])
def test_a_name_ends_no_sequence(sequence: Callable[[str], str]) -> None:
    assert not set(sequence("x\x1b\\\x07\x9c\n")[3:-1]) & set("\x1b\x07\x9c\n")


def test_tmux_and_screen_pass_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", "/tmp/x")
    assert notification("done") == "\x1bPtmux;\x1b\x1b]9;gpt-tui: done\x07\x1b\\"
    monkeypatch.delenv("TMUX")
    monkeypatch.setenv("STY", "1.pts")
    assert notification("done") == "\x1bP\x1b]9;gpt-tui: done\x07\x1b\\"


def test_a_command_has_it_in_its_arguments_and_its_environment(desk: Desk, tmp_path: Path) -> None:
    program, marker = tmp_path / "my program", tmp_path / "marker"
    out = tmp_path / "out"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$#" "$@" "$GPT_TUI_EVENT" > "{out}"\n')
    program.chmod(0o755)
    desk.preferences.set("notify.command", f"'{program}' -t {{event}} {{message}}")
    run = HOSTILE.format(marker=marker)
    desk.take(EVENTS["finished"], run=run, away=False)
    assert desk.complaints == []
    count, *words = out.read_text().splitlines()
    assert count == "3"
    assert words[:2] == ["-t", "finished"]
    assert words[-1] == "finished"
    assert "finished at step 2,000, best val 1.970" in out.read_text()
    assert not marker.exists()


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        ("/no/such/program", "No such file or directory"),
        ("false", "it ended with 1"),
    ],
)
def test_a_command_that_fails_is_told(desk: Desk, command: str, problem: str) -> None:
    desk.preferences.set("notify.command", command)
    desk.take(EVENTS["finished"])
    (complaint,) = desk.complaints
    assert complaint.startswith("notify.command failed (")
    assert problem in complaint


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any]]]:
    """The address of a server, and what it was sent."""
    heard: list[Any] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(200 if self.path == "/" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/", heard
    listening.shutdown()
    listening.server_close()


def test_a_web_address_is_posted_to(desk: Desk, server: tuple[str, list[Any]]) -> None:
    address, heard = server
    desk.preferences.set("notify.webhook", address)
    desk.take(EVENTS["finished"])
    ((kind, body),) = heard
    assert kind == "application/json"
    assert body["event"] == "finished"
    assert body["run"] == "fast-1"
    assert body["best_val_loss"] == 1.97
    assert "finished at step 2,000" in body["text"]
    desk.preferences.set("notify.webhook", f"{address}missing")
    desk.take(EVENTS["finished"])
    assert desk.complaints == ["notify.webhook failed (HTTP Error 500: Internal Server Error)"]


def test_an_answer_that_is_not_http_is_told(desk: Desk) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), NotHttp) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        desk.preferences.set("notify.webhook", f"http://127.0.0.1:{server.server_address[1]}/")
        desk.take(EVENTS["finished"])
    (complaint,) = desk.complaints
    assert complaint.startswith("notify.webhook failed (no answer in HTTP: BadStatusLine(")


class NotHttp(socketserver.StreamRequestHandler):
    """Speaks something else."""

    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"220 ready\r\n")
