"""A run that trains in a process of its own: left, found, told what to do, and ended."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.remote.wire import from_engine
from engine.runs.checkpoint_names import list_checkpoints, step_of
from engine.runs.folder import LOG_FILE, is_locked
from engine.runs.summary import read_summary
from tests.cli.conftest import Answer, Cli, start_process, train_command, until
from tests.ssh import PROGRAM, FakeSsh

LONG = ["--set", "train.max_steps=1000000", "--set", "eval.interval=0"]
Detach = Callable[..., int]


pytestmark = pytest.mark.usefixtures("sockets")


@pytest.fixture
def detach(cli: Cli, text: Path, runs_dir: Path) -> Iterator[Detach]:
    """Trains a run named ``a`` in the background; returns the number of its process."""
    numbers: list[int] = []

    def start(*options: str) -> int:
        words = [word for word in train_command(text) if word != "--json"]
        answer = cli(*words, "--detach", "--name", "a", *LONG, *options)
        assert answer.code == 0, answer
        (number,) = re.findall(r"trained by process (\d+), in the background", answer.out)
        numbers.append(int(number))
        return numbers[-1]

    yield start
    for number in numbers:
        if is_locked(runs_dir / "a"):
            os.kill(number, signal.SIGKILL)


def test_a_run_in_the_background_is_found_told_and_stopped(
    cli: Cli, detach: Detach, runs_dir: Path
) -> None:
    number = detach()
    (listed,) = [json.loads(line) for line in cli("ps", "--json").out.splitlines()]
    assert (listed["run"], listed["pid"]) == (str(runs_dir / "a"), number)
    assert listed["state"] == "training" and listed["total_steps"] == 1_000_000
    assert "a" in cli("ps").out and "training" in cli("ps").out
    assert cli("tell", "a", "pause", "--json").json["state"] == "paused"
    told = cli("tell", "a", "set", "optim.beta1=0.8", "--json").json
    assert told["changes"] == {"optim.beta1": [0.9, 0.8]}
    assert "optim.beta1: 0.8 → 0.7" in cli("tell", "a", "set", "optim.beta1=0.7").out
    assert cli("tell", "a", "evaluate", "--json").json["val_loss"] > 0
    assert len(cli("tell", "a", "sample", "one", "--json").json["text"]) == 5
    saved = cli("tell", "a", "save", "--json").json
    assert Path(saved["saved"]).is_dir()
    assert cli("tell", "a", "resume").out.startswith("training, step")
    answer = cli("stop", "a", "--json")
    assert answer.json["state"] == "stopped" and answer.json["step"] >= saved["step"]
    until(lambda: not is_locked(runs_dir / "a"))
    assert cli("ps").out == "no run is in training\n"
    assert "from step 0 to 1,000,000" in cli("logs", "a").out
    until(lambda: "train --resume a\n" in cli("logs", "a", "--follow").out)


def test_commands_for_another_machine_are_carried_out_there(
    cli: Cli,
    detach: Detach,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ssh = FakeSsh(tmp_path_factory.mktemp("ssh"), monkeypatch)
    number = detach()
    there = ["--program", PROGRAM, "--ssh", "-J gate"]
    assert cli("ps", "--host", "box", "--json", *there).json["pid"] == number
    assert "-J gate" in ssh.calls[-1]
    told = cli("tell", "box:a", "set", "optim.beta1=0.8", "--json", *there).json
    assert told["changes"] == {"optim.beta1": [0.9, 0.8]}
    assert cli("stop", "box:a", *there).out.startswith("stopped at step")
    assert "from step 0" in cli("logs", "box:a", *there).out
    refused = cli("tell", "box:a", "pause", *there)
    assert refused.code == 2 and "the run 'a' is not in training" in refused.err
    ssh.does_first("exit 255\n")
    assert "ssh does not reach box" in cli("tell", "box:a", "pause", *there).err
    assert "no name of a machine" in cli("ps", "--host=-oProxyCommand=x").problem
    assert "needs a terminal" in cli("attach", "box:a", *there).problem


def test_the_only_run_in_training_needs_no_name(cli: Cli, detach: Detach, runs_dir: Path) -> None:
    for command in ("attach", "logs"):
        assert "gpt-tui train --detach starts one" in cli(command).problem
    detach()
    assert "from step 0 to 1,000,000" in cli("logs").out
    assert "needs a terminal" in cli("attach").problem
    assert cli("logs", "--runs-dir", "elsewhere").out == cli("logs", "a").out
    (runs_dir / "a" / LOG_FILE).write_bytes(b"")
    answer = cli("logs")
    assert (answer.code, answer.out) == (0, "")
    assert answer.err.strip().endswith("the run 'a' has logged nothing yet")


def test_what_cannot_be_told_is_one_sentence(cli: Cli, detach: Detach) -> None:
    detach()
    assert "there is no setting 'optim.rate'" in cli("tell", "a", "set", "optim.rate=1").problem
    assert "only in a new run" in cli("tell", "a", "set", "model.n_layer=7").problem
    assert "needs at least one" in cli("tell", "a", "set").problem
    assert "takes no argument" in cli("tell", "a", "pause", "now").problem
    assert "one prompt" in cli("tell", "a", "sample", "a", "b").problem
    assert "'fly'" in cli("tell", "a", "fly").problem
    assert cli("tell", "a", "status").out.startswith("training")  # it goes on


def test_a_run_that_nothing_trains_says_how_it_is_trained(
    cli: Cli, quick_train: Callable[..., Answer]
) -> None:
    assert quick_train("--name", "a").code == 0
    for words in (["tell", "a", "pause"], ["stop", "a"]):
        problem = cli(*words).problem
        assert "the run 'a' is finished at step" in problem
        assert "gpt-tui train --resume a --set train.max_steps=N --detach" in problem
    assert "gpt-tui a opens it" in cli("attach", "a").problem
    assert "was not trained in the background" in cli("logs", "a").problem


def test_settings_that_are_refused_start_nothing(cli: Cli, text: Path, runs_dir: Path) -> None:
    for words in (["--preset", "tinyy"], ["--preset", "tiny", "--data", "/no/such/file"]):
        problem = cli("train", "--detach", *words).problem
        assert "tinyy" in problem or "/no/such/file" in problem
    assert not runs_dir.exists() or not list(runs_dir.iterdir())


def test_a_killed_run_is_no_longer_listed_and_goes_on_in_the_background(
    cli: Cli, detach: Detach, runs_dir: Path
) -> None:
    number = detach("--set", "checkpoint.interval=2")
    until(lambda: any((runs_dir / "a" / "checkpoints").glob("step-*")))
    os.kill(number, signal.SIGKILL)
    until(lambda: not is_locked(runs_dir / "a"))
    assert cli("ps").out == "no run is in training\n"
    answer = cli("train", "--resume", "a", "--detach")
    assert answer.code == 0
    assert cli("tell", "a", "status", "--json").json["step"] >= 2
    assert cli("stop", "a").code == 0


def test_events_are_lines_of_json(text: Path) -> None:
    words = [word for word in train_command(text) if word != "--json"]
    process = start_process(*words, "--events")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    told = [json.loads(line) for line in out.splitlines()]
    kinds: list[Any] = [one["type"] for one in told]
    assert {"RunOpened", "StateChanged", "Evaluated", "Saved", "SampleText"} <= set(kinds)
    assert [one["step"] for one in told if one["type"] == "Evaluated"] == [3, 6]
    assert told[-1] == {**told[-1], "type": "StateChanged", "state": "finished", "step": 6}
    for line in out.splitlines():
        assert from_engine(line.encode())


def test_where_nobody_reads_the_events_any_more_the_run_is_saved(
    text: Path, runs_dir: Path
) -> None:
    words = [word for word in train_command(text) if word != "--json"]
    process = start_process(*words, "--events", "--name", "a", *LONG)
    assert process.stdout and process.stderr
    while '"Saved"' not in (line := process.stdout.readline()):
        assert line
    process.stdout.close()
    assert process.wait(60) == 0
    assert "nobody reads the events any more" in process.stderr.read()
    told = read_summary(runs_dir / "a")
    assert told.state == "stopped" and told.step >= 3
    assert step_of(list_checkpoints(runs_dir / "a")[-1]) == told.step
