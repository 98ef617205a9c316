"""``kill -9`` at any moment: the run opens again and its history has neither holes nor doubles.

A program is killed again and again, each time before a line of its code drawn by chance, or from
outside at a time drawn by chance; ``GPT_TUI_KILLS`` says how often (``make kill-test``: 200).
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.batches import split_tokens
from data.download import Watcher
from data.tokenizers import CharTokenizer
from engine.checkpoint.store import read_checkpoint
from engine.config.presets import preset_config
from engine.config.schema import Config
from engine.metrics import MetricStore
from engine.protocol import Command, Open, Start
from engine.runs.checkpoint_names import branch_of, list_checkpoints, list_snapshots, step_of
from engine.runs.database import RunDatabase
from engine.runs.folder import is_locked
from engine.runs.open import open_run
from engine.session.session import Session
from engine.training.trainer import Runtime, Trainer
from tests.faults.victim import Doom, live

KILLS = int(os.environ.get("GPT_TUI_KILLS", "20"))
SEED = int(os.environ.get("GPT_TUI_KILL_SEED", "1"))
INTERVAL = 15
FILES: dict[str, tuple[tuple[str, ...], int]] = {  # and the last line that may be drawn
    "start": (
        (
            "runs/open.py",
            "runs/folder.py",
            "runs/database.py",
            "session/build.py",
            "checkpoint/load.py",
        ),
        90,
    ),
    "step": (
        ("engine/training/trainer.py", "engine/session/results.py", "engine/session/run_state.py"),
        800,
    ),
    "evaluation": (("engine/session/results.py", "engine/session/ending.py"), 600),
    "checkpoint": (
        ("engine/checkpoint/store.py", "data/files.py", "runs/checkpoint_names.py"),
        700,
    ),
    "database": (("runs/database.py", "engine/session/recorder.py"), 800),
    "rewinding": (
        ("engine/session/rewind.py", "engine/checkpoint/store.py", "runs/database.py"),
        400,
    ),
    "any time": ((), 0),
}


def config_on(text: Path) -> Config:
    return preset_config("tiny").replace(
        {
            "data.corpus": str(text),
            "model.n_embd": 16,
            "model.dropout": 0.1,
            "train.max_steps": 100_000,
            "eval.interval": 10,
            "eval.batches": 2,
            "checkpoint.interval": INTERVAL,
            "sample.max_tokens": 5,
            "system.device": "cpu",
            "system.threads": 1,
            "system.micro_batch_size": 16,
        }
    )


class Killer:
    """Starts victims from a warm server, and sees them die."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.victim"])

    def doom(self, kind: str) -> Doom:
        """A moment of a kind, drawn by chance."""
        files, last = FILES[kind]
        return Doom(
            files,
            self._chance.randint(1, max(1, last)),
            from_start=kind == "start",
            rewinds=kind == "rewinding",
            learning_rate=self._chance.uniform(1e-3, 5e-3),
        )

    def kill(self, command: Command, doom: Doom) -> int | None:
        """Let a program run until it is killed; the step at which it opened the run, if it did."""
        ours, theirs = self._context.Pipe(duplex=False)
        victim = self._context.Process(target=live, args=(command, doom, theirs))
        victim.start()
        theirs.close()
        if not doom.files:
            time.sleep(self._chance.uniform(0.0, 0.4))
            victim.kill()
        victim.join(60)
        assert victim.exitcode == -signal.SIGKILL, (doom, victim.exitcode, list(heard(ours)))
        said = dict(heard(ours))
        assert "failed" not in said, (doom, said)
        return said.get("opened")


def heard(channel: Any) -> Iterator[tuple[str, Any]]:
    try:
        while channel.poll():
            yield channel.recv()
    except EOFError:
        return


class Witness:
    """Looks at the run after each kill, and remembers what it was."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.saved = -1  # the step of the newest checkpoint; -1: none
        self.unplaced: list[int] = []  # steps of checkpoints that are whole but have no name yet
        self._losses: dict[tuple[int, int], float] = {}  # by branch and step
        self._last_change = 0  # the id of its entry in the journal
        self._whole: set[tuple[str, int]] = set()

    def look(self) -> None:
        """Hold the run to all that is promised of one that was just killed."""
        if not (self.run / "config.toml").exists():
            assert self.saved < 0  # killed before there was a run
            return
        assert not is_locked(self.run)
        newest = self._checkpoints_are_whole()
        if (self.run / "run.db").exists():
            self._history_is_whole(newest)

    def _checkpoints_are_whole(self) -> Path | None:
        for path in list_snapshots(self.run):
            key = path.name, (path / "manifest.json").stat().st_mtime_ns
            if key not in self._whole:
                read_checkpoint(path, with_optimizer=False)  # raises if a hash does not fit
                self._whole.add(key)
        unplaced = (self.run / "checkpoints").glob(".step-*.tmp/manifest.json")
        self.unplaced = [int(one.parent.name[6:14]) for one in unplaced]
        full = list_checkpoints(self.run)
        self.saved = step_of(full[-1]) if full else -1
        return full[-1] if full else None

    def _history_is_whole(self, newest: Path | None) -> None:
        database = RunDatabase(self.run / "run.db", read_only=True)
        try:
            branches = database.branches()
            self._forget_what_was_changed(database)
            for branch in branches:
                self._never_changes(branch.id, *database.metric(branch.id, "train_loss"))
            if newest:
                way = database.lineage(branch_of(newest))
                steps, _ = database.curve("train_loss", way)
                recorded = int(steps[-1]) if len(steps) else 0
                assert steps.tolist() == list(range(1, recorded + 1))
                assert 0 <= recorded - self.saved < 2 * INTERVAL  # one may be half-written
        finally:
            database.close()

    def _forget_what_was_changed(self, database: RunDatabase) -> None:
        """From a new learning rate on, steps that were lost before it are not the same again."""
        for entry in database.journal("adjusted", after_id=self._last_change):
            self._last_change, branch, step = entry["id"], entry["branch"], entry["step"]
            self._losses = {k: v for k, v in self._losses.items() if k[0] != branch or k[1] <= step}

    def _never_changes(self, branch: int, steps: np.ndarray, values: np.ndarray) -> None:
        """What is trained again gives the bits it gave before."""
        assert len(set(steps.tolist())) == len(steps)
        for step, value in zip(steps.tolist(), values.tolist(), strict=True):
            assert self._losses.setdefault((branch, step), value) == value, (branch, step)


def open_session(path: Path) -> Session:
    files = open_run(path, Watcher(lambda message: None, lambda: False))
    session = Session(files, MetricStore(), lambda event: None, lambda message: None)
    session.open(running=True)
    return session


def changes_of_the_learning_rate(session: Session) -> dict[int, float]:
    """From the journal: what it became at which step, along the run's line of history."""
    rates: dict[int, float] = {}
    for one in session.run_state.lineage().changes(session.files.database.journal("adjusted")):
        rates = {s: rate for s, rate in rates.items() if s < one.step}  # a newer word
        rates[one.step] = one.values["optim.learning_rate"]
    return rates


def undisturbed(
    config: Config, text: Path, rates: dict[int, float], end: int, kernels: str
) -> Iterator[float]:
    """The losses of a trainer that nobody stops, and that is changed at the same steps.

    Args:
        kernels: Whose kernels the run was settled to use.
    """
    content = text.read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train(content)
    split = split_tokens(tokenizer.encode(content))
    runtime = Runtime("cpu", "fp32", 1, 16, False, kernels)
    alone = Trainer(config, runtime, split, tokenizer.vocab_size)
    for step in range(end):
        if step in rates:
            alone.adjust(alone.config.replace({"optim.learning_rate": rates[step]}))
        yield alone.train_step().loss.item()


@pytest.mark.usefixtures("one_thread")
def test_a_run_that_is_killed_again_and_again_is_the_run_that_was_not(
    runs_dir: Path, small_text_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_on(small_text_file)
    run = runs_dir / "victim"
    killer, witness = Killer(SEED), Witness(run)
    kinds = [list(FILES)[kill % len(FILES)] for kill in range(KILLS)]
    for kind in kinds:
        there = (run / "config.toml").exists()
        before = [max(witness.saved, 0), *witness.unplaced]
        command = Open(str(run)) if there else Start(config.to_dict(), str(runs_dir), "victim")
        opened_at = killer.kill(command, killer.doom(kind))
        assert opened_at in (None, *before), kind  # it goes on from the newest checkpoint
        witness.look()

    session = open_session(run)
    assert session.trainer.step in (witness.saved, *witness.unplaced)
    end = session.trainer.step + 40
    while session.trainer.step < end:
        session.advance()
    session.close(save=True)
    witness.look()

    session = open_session(run)
    steps, losses = session.files.database.curve("train_loss", session.run_state.lineage())
    evaluated, _ = session.files.database.curve("val_loss", session.run_state.lineage())
    rates, kernels = changes_of_the_learning_rate(session), session.trainer.runtime.kernels
    session.close(save=False)
    assert steps.tolist() == list(range(1, end + 1))
    assert set(evaluated.tolist()) >= set(range(10, end, 10))
    left = [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]
    assert left == []
    assert losses.tolist() == list(undisturbed(config, small_text_file, rates, end, kernels))
    with capsys.disabled():
        told = ", ".join(f"{n} {kind}" for kind, n in Counter(kinds).items())
        print(f"\n{len(kinds)} of {len(kinds)} kills survived ({told}), {end} steps", end="")
