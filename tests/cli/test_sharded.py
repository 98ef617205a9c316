"""``--set system.shard=on``: a model that is divided among processes, in a run like any other."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file

from engine.config.schema import Config
from engine.machine import limits
from engine.protocol import (
    Adjust,
    Adjusted,
    Evaluate,
    Evaluated,
    Fork,
    Forked,
    Inspect,
    Inspected,
    Open,
    Pause,
    Rewind,
    Rewound,
    RunOpened,
    Sample,
    SampleFinished,
    SampleStarted,
    Save,
    Saved,
    State,
    StateChanged,
    Step,
    Stop,
)
from engine.runs.folder import LOG_FILE, is_locked
from engine.runs.summary import read_summary
from tests.cli.conftest import Cli, start_process, train_command, until
from tests.cli.test_processes import lose_each, members, steps
from tests.engine.session.test_worker import Talk

SHARED = ["--set", "train.shards=2", "--set", "eval.interval=0", "--set", "checkpoint.interval=20"]
SHARDED = [*SHARED, "--set", "system.shard=on"]
pytestmark = [
    pytest.mark.usefixtures("sockets"),
    pytest.mark.skipif(not limits.PROC.exists(), reason="processes are found in /proc"),
]


def losses(run: Path) -> tuple[float, float]:
    found = read_summary(run)
    assert found.train_loss and found.best_val_loss
    return found.train_loss, found.best_val_loss


@pytest.fixture
def talk(runs_dir: Path) -> Iterator[Talk]:
    talk = Talk(runs_dir)
    yield talk
    assert talk.engine.join(30)


def stopped(launcher: subprocess.Popen[str]) -> str:
    """End a run by a signal; return what it said."""
    processes = members(launcher)
    launcher.terminate()
    told, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 130, said
    assert not any(Path(f"/proc/{one}").exists() for one in processes.values())
    return told + said


def test_it_loses_no_more_than_since_the_last_checkpoint_whichever_process_is_killed(
    cli: Cli, text: Path, runs_dir: Path
) -> None:
    options = [*train_command(text), "--set", "train.max_steps=200"]
    launcher = start_process(*options, *SHARDED, "--name", "a", "--procs", "2")
    run = runs_dir / "a"
    lose_each(launcher, run)
    _, said = launcher.communicate(timeout=60)
    assert launcher.returncode == 0, said
    assert not (run / LOG_FILE).exists()  # no traceback: one sentence said all
    summary = read_summary(run)
    assert (summary.processes, summary.sharded) == (2, True)
    assert "2 processes of 1 thread, sharded" in " ".join(cli("runs", "show", "a").out.split())
    assert cli(*options, *SHARED, "--name", "b").code == 0
    assert losses(runs_dir / "a") == pytest.approx(losses(runs_dir / "b"), rel=1e-4)


def test_it_is_controlled_like_any_other(cli: Cli, text: Path, runs_dir: Path, talk: Talk) -> None:
    options = [word for word in train_command(text) if word != "--json"]
    options += ["--set", "train.max_steps=1000000", "--set", "train.grad_accum_steps=4"]
    launcher = start_process(*options, *SHARDED, "--name", "a", "--procs", "2")
    run = runs_dir / "a"
    until(lambda: steps(run))
    opened = talk.ask(Open(str(run), watch=True, request_id=1), RunOpened)
    assert opened.attached and opened.runtime["shard"]

    def sample(step: int | None = None) -> None:
        started = talk.ask(
            Sample({"max_tokens": 5}, step=step), SampleStarted, lambda one: not one.automatic
        )
        talk.wait(SampleFinished, lambda event: event.sample == started.sample)

    def look(number: int) -> int | None:
        command = Inspect("heads", request_id=number)
        return talk.ask(command, Inspected, lambda one: one.request_id == number).step

    for _ in range(3):  # in the midst of a step, most probably
        sample()
        assert talk.ask(Evaluate(whole=True), Evaluated).measured == "whole split"
        assert talk.ask(Save(), Saved).step
    assert talk.ask(Adjust({"sample.temperature": 0.5}), Adjusted).changes
    assert talk.ask(Adjust({"optim.beta1": 0.8}), Adjusted).changes
    assert look(5)
    talk.state(Pause(request_id=2), State.PAUSED)
    step = talk.engine.status.step
    assert talk.ask(Step(request_id=3), StateChanged, lambda one: one.request_id == 3).step > step
    sample()
    assert look(6) == step + 1
    assert talk.ask(Save(), Saved).step == step + 1
    assert talk.ask(Rewind(25), Rewound).step == 25  # from a checkpoint, and five steps again
    assert talk.ask(Fork(name="child"), Forked).path == str(runs_dir / "child")
    assert talk.ask(Rewind(0), Rewound).step == 0
    talk.ask(Step(request_id=4), StateChanged, lambda one: one.request_id == 4)
    talk.engine.send(Stop(save=False))
    stopped(launcher)
    assert read_summary(run).step == steps(run)[-1] == 1


def test_a_checkpoint_is_whole_and_continues_with_any_number(
    cli: Cli, text: Path, runs_dir: Path
) -> None:
    # whose rates do not depend on the end
    words = [*train_command(text), "--set", "optim.schedule=constant"]

    def train(*options: str) -> None:
        launcher = start_process(*options)
        _, said = launcher.communicate(timeout=60)
        assert launcher.returncode == 0, said

    def end(number: int) -> list[str]:
        return ["--set", f"train.max_steps={number}"]

    train(*words, *SHARDED, *end(20), "--name", "a", "--procs", "2")
    assert cli("verify", "a").code == 0
    assert cli("sample", "a", "--max-tokens", "5").code == 0
    for name in ("b", "c"):  # the same weights and optimizer go on, divided or not
        assert cli("fork", "a", "--name", name, *end(40)).code == 0
    train("train", "--resume", "a", "--json", *end(40), "--procs", "2")
    assert read_summary(runs_dir / "a").sharded
    assert cli("train", "--resume", "b", "--json").code == 0
    assert not read_summary(runs_dir / "b").sharded
    whole = ["--set", "system.shard=off", *end(30)]
    assert cli("train", "--resume", "c", "--json", *whole).code == 0
    again = ["--set", "system.shard=on", *end(40), "--procs", "2"]
    train("train", "--resume", "c", "--json", *again)
    assert losses(runs_dir / "a") == pytest.approx(losses(runs_dir / "b"), rel=1e-4)
    assert losses(runs_dir / "a") == pytest.approx(losses(runs_dir / "c"), rel=1e-4)
    for file in ("model", "optimizer"):
        one, other = (
            load_file(runs_dir / f"{name}/checkpoints/step-00000040/{file}.safetensors")
            for name in "ab"
        )
        assert {name: t.shape for name, t in one.items()} == {n: t.shape for n, t in other.items()}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("optim.optimizer", "muon", "Muon needs whole matrices"),
        ("optim.ema_decay", "0.9", "no average of the weights"),
        ("system.compile", "on", "not train a compiled model"),
        ("system.kernels", "native", "PyTorch's kernels"),
        ("system.reduce", "exact", "sums depend on their number"),
    ],
)
def test_what_it_cannot_do_is_refused_with_a_way_out(key: str, value: str, told: str) -> None:
    sharded = {"system.shard": "on", key: value}
    (problem,) = Config().check(sharded)[1]
    assert told in problem
    (way_out,) = re.findall(r"--set (\S+?),", problem)
    assert not Config().check(sharded | dict([way_out.split("=")]))[1]
    assert "or leave system.shard off" in problem
    assert not Config().check({"system.shard": "off", key: value})[1]


def test_it_is_refused_before_anything_starts(cli: Cli, text: Path, runs_dir: Path) -> None:
    words = ["--set", "system.shard=on", "--set", "optim.optimizer=muon", "--procs", "2"]
    assert "--set optim.optimizer=adamw" in cli(*train_command(text), *words).problem
    assert not list(runs_dir.glob("*"))


def test_with_one_process_the_model_is_whole(cli: Cli, text: Path, runs_dir: Path) -> None:
    options = [*train_command(text), *SHARDED, "--set", "train.max_steps=2"]
    assert cli(*options, "--name", "a").code == 0
    assert not read_summary(runs_dir / "a").sharded
    assert not is_locked(runs_dir / "a")
