"""The app on a run of another machine, in a real terminal and through a stand-in for ssh."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.protocol import Stop
from engine.remote.host import Host
from engine.runs.folder import is_locked
from tests.cli.conftest import train_command
from tests.ssh import PROGRAM, FakeSsh
from tests.tui.test_terminal import OURS, Terminal
from tui.cli import main
from tui.commands.elsewhere import add_ssh_options, host_of
from tui.commands.tell import tell

LONG = ["--set", "train.max_steps=1000000", "--set", "eval.interval=0"]


@pytest.fixture
def run(sockets: Path, tmp_path: Path, small_text_file: Path) -> Iterator[Path]:
    """A run that is trained in the background."""
    words = [word for word in train_command(small_text_file) if word != "--json"]
    assert main([*words, "--detach", "--name", "night", *LONG]) == 0
    folder = tmp_path / "runs" / "night"
    yield folder
    if is_locked(folder):
        tell(folder, Stop())


def test_a_run_elsewhere_is_attached_to_lost_found_and_left(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = FakeSsh(tmp_path, monkeypatch)
    folder = tmp_path / "here"
    folder.mkdir()
    terminal = Terminal(folder, ["attach", "box:night", "--program", PROGRAM], OURS)
    try:
        terminal.until(lambda: terminal.shows("on box, which trains this run"), "the run")
        ssh.does_first("sleep 0.5\n")
        os.kill(ssh.last_pid, signal.SIGKILL)
        terminal.until(lambda: terminal.shows("no connection to box"), "that the link is lost")
        terminal.until(lambda: terminal.shows("which trains this run"), "the new link")
        terminal.press(" ")
        terminal.until(lambda: tell(run, None)["state"] == "paused", "the pause")
        terminal.press("q")
        assert terminal.wait() == 0
        terminal.assert_restored()
        assert f"attach box:night --program {shlex.quote(PROGRAM)}" in terminal.goodbye
        assert str(folder) not in terminal.goodbye
    finally:
        terminal.close()
    assert tell(run, None)["state"] == "paused"  # it is left as it was


def test_the_way_to_a_machine_is_named_as_it_is_typed() -> None:
    assert Host("box").typed == ""
    host = Host("box", ("-J", "gate"), "~/my venv/gpt-tui")
    parser = argparse.ArgumentParser()
    add_ssh_options(parser)
    assert host_of("box", parser.parse_args(shlex.split(host.typed))) == host
