"""A signal never costs training: the run is saved and can be resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest

from engine.protocol import Event, RunOpened
from engine.runs.checkpoint_names import list_checkpoints, step_of
from engine.runs.summary import read_summary
from tests.cli.conftest import ROOT, Cli, start_process, train_command, until
from tui import EXIT_SIGNAL
from tui.cli import main
from tui.commands import headless
from tui.terminal.signals import ending_signals, name_of

ENDLESS = ("--set", "train.max_steps=1000000")


def wait_for(stream: IO[str], words: str) -> str:
    """Read until a line holds the words; returns all that was read."""
    read = ""
    while words not in read:
        line = stream.readline()
        assert line, read
        read += line
    return read


def signal_when_opened(monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """Have a signal arrive the moment a run stands ready."""
    hear = headless._Headless._hear

    def hear_then_signal(self: headless._Headless, event: Event) -> None:
        hear(self, event)
        if isinstance(event, RunOpened):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(headless._Headless, "_hear", hear_then_signal)


def test_ctrl_c_saves_and_the_run_goes_on_later(text: Path, runs_dir: Path, cli: Cli) -> None:
    process = start_process(*train_command(text), *ENDLESS)
    assert process.stderr is not None
    wait_for(process.stderr, "step 3/1,000,000: val")
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)  # impatience does no harm
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    facts = json.loads(out.splitlines()[-1])
    assert facts["state"] == "stopped"
    assert list_checkpoints(runs_dir / "tiny-1")[-1].name == f"step-{facts['steps']:08d}"
    more = facts["steps"] + 2
    answer = cli("train", "--resume", "tiny-1", "--set", f"train.max_steps={more}", "--json")
    assert (answer.code, answer.json["steps"]) == (0, more)


without_nohup = pytest.mark.skipif(
    signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    reason="hang-ups are ignored here, as under nohup, and so our programs ignore them",
)


@without_nohup
def test_closed_terminal(text: Path) -> None:
    """The hang-up comes when nobody reads what is printed any more."""
    terminal, ours = os.openpty()
    command = [sys.executable, "-m", "tui", *train_command(text), *ENDLESS]
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=ours, stdout=ours, stderr=ours, start_new_session=True
    )
    os.close(ours)
    read = b""
    while b"step 3/1,000,000: val" not in read:
        read += os.read(terminal, 4096)
    os.close(terminal)
    time.sleep(0.3)  # it goes on writing to the terminal that is gone
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 130


@pytest.mark.parametrize(
    "number", [signal.SIGXCPU, pytest.param(signal.SIGHUP, marks=without_nohup)]
)
def test_other_signals_at_any_time(
    cli: Cli, text: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(number)
    signal_when_opened(monkeypatch, number)
    answer = cli(*train_command(text), *ENDLESS)
    assert answer.code == 130
    assert answer.json["state"] == "stopped"
    assert f"{number.name}: saving the run" in answer.err
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_of_a_batch_system_saves_and_training_goes_on(
    text: Path, runs_dir: Path, number: signal.Signals
) -> None:
    settings = ["--set", "checkpoint.interval=0", "--set", "eval.interval=0"]
    process = start_process(*train_command(text), "--name", "a", *ENDLESS, *settings)
    run = runs_dir / "a"
    until(lambda: run.is_dir() and read_summary(run).step >= 3)
    process.send_signal(number)
    until(lambda: list_checkpoints(run))
    saved = step_of(list_checkpoints(run)[-1])
    until(lambda: read_summary(run).step > saved)
    process.terminate()
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"{number.name}: saving the run, and training on" in said


def test_every_signal_that_would_end_the_process_is_heard() -> None:
    numbers = ending_signals()
    named = {signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGXCPU}
    # a shell has its background processes ignore some
    ignored = {one for one in named if signal.getsignal(one) is signal.SIG_IGN}
    assert {signal.SIGINT, signal.SIGTERM} | (named - ignored) <= set(numbers)
    heard = []
    with headless._handling(numbers, lambda number, _: heard.append(number)):
        for number in numbers:
            signal.raise_signal(number)
    assert heard == numbers
    assert all(name_of(number) for number in numbers)


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    try:
        assert signal.SIGUSR2 not in ending_signals()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_once_stopped_by_a_signal_no_other_changes_the_exit_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Python takes a while to exit, and the handlers of a run are gone."""
    monkeypatch.setattr("tui.cli._carry_out", lambda arguments: EXIT_SIGNAL)
    before = {number: signal.getsignal(number) for number in ending_signals()}
    try:
        assert main() == EXIT_SIGNAL
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_signal_before_anything_is_made(
    cli: Cli, text: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data.download import Watcher
    from data.errors import Cancelled
    from engine.runs.open import RunFiles
    from engine.session import worker

    def slow_download(command: object, watcher: Watcher) -> RunFiles:
        os.kill(os.getpid(), signal.SIGINT)
        assert watcher.cancelled()
        raise Cancelled

    monkeypatch.setattr(worker, "_open_files", slow_download)
    answer = cli(*train_command(text))
    assert answer.code == 130
    assert answer.json["run"] is None
    assert not runs_dir.exists()


def test_signal_while_a_run_is_prepared_leaves_no_empty_run_and_an_old_one_as_it_was(
    cli: Cli, quick_train: Cli, text: Path, runs_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.session import build
    from engine.training.runtime import resolve_runtime

    assert quick_train().code == 0

    def interrupted(*arguments: Any) -> object:
        os.kill(os.getpid(), signal.SIGTERM)
        return resolve_runtime(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(build, "resolve_runtime", interrupted)
        new = cli(*train_command(text))
        more = ("--set", "train.max_steps=8", "--set", "system.micro_batch_size=8", "--json")
        old = cli("train", "--resume", "tiny-1", *more)
    assert (new.code, new.json["run"]) == (130, None)
    assert (old.code, old.json["run"]) == (130, str(runs_dir / "tiny-1"))
    assert (old.json["steps"], old.json["state"]) == (6, "finished")
    assert [path.name for path in runs_dir.iterdir() if path.is_dir()] == ["tiny-1"]
    assert cli("train", "--resume", "tiny-1", *more).json["steps"] == 8


def test_a_later_end_outlives_a_stop_before_the_next_step(
    quick_train: Cli, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick_train()
    with monkeypatch.context() as patch:
        signal_when_opened(patch, signal.SIGINT)
        answer = cli("train", "--resume", "tiny-1", "--set", "train.max_steps=9", "--json")
    assert (answer.code, answer.json["steps"], answer.json["total_steps"]) == (130, 6, 9)
    answer = cli("train", "--resume", "tiny-1", "--json")
    assert (answer.code, answer.json["steps"]) == (0, 9)
