"""``kill -9`` at any moment: the run opens again and its history has neither holes nor doubles."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data.batches import split_tokens
from data.tokenizers import CharTokenizer
from engine.checkpoint import read_checkpoint
from engine.metrics import MetricStore
from engine.presets import preset_config
from engine.protocol import Message, Open, Start
from engine.run.checkpoints import list_checkpoints, step_of
from engine.run.folder import find_run, is_locked
from engine.run.opening import Watcher, open_run
from engine.session import Session
from engine.trainer import Runtime, Trainer

KILLS = 5

# A program that trains: it tells when it is ready, takes one command and speaks of its events.
PROGRAM = """
import json, sys
import engine.session
from engine.protocol import from_dict
from engine.worker import EngineLoop
loop = EngineLoop(lambda event: print(type(event).__name__, flush=True))
print("ready", flush=True)
loop.send(from_dict(json.loads(sys.stdin.readline())))
loop.run()
"""


class Program:
    """One such program."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        self.hear("ready")

    def hear(self, word: str) -> None:
        """Wait until it says a word."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.strip() == word:
                return
        raise AssertionError(f"the program ended before it said {word!r}")

    def send(self, command: Message) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command.to_dict()) + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        assert self.process.wait(10) == -signal.SIGKILL
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


def open_session(path: Path) -> Session:
    files = open_run(path, Watcher(lambda message: None, lambda: False))
    session = Session(files, MetricStore(), lambda event: None, lambda message: None)
    session.open(running=True)
    return session


def train_to(session: Session, step: int) -> None:
    while session.trainer.step < step:
        session.advance()


@pytest.mark.usefixtures("one_thread")
def test_a_run_that_is_killed_again_and_again_is_the_run_that_was_not(
    runs_dir: Path, small_text_file: Path
) -> None:
    config = preset_config("tiny").replace(
        {
            "data.corpus": str(small_text_file),
            "model.n_embd": 16,
            "model.dropout": 0.1,
            "train.max_steps": 100_000,
            "eval.interval": 30,
            "eval.batches": 2,
            "checkpoint.interval": 15,
            "sample.max_tokens": 20,
            "system.device": "cpu",
            "system.threads": 1,
            "system.micro_batch_size": 16,
        }
    )
    chance = random.Random(1)
    reached = []
    for kill in range(KILLS):
        program = Program()
        if kill == 0:
            program.send(Start(config.to_dict(), str(runs_dir), "victim"))
            program.hear("RunOpened")
        else:
            program.send(Open(str(runs_dir / "victim")))
            if kill > 1:  # one is killed while it opens the run, the others at work
                program.hear("RunOpened")
        time.sleep(chance.uniform(0.0, 0.2) if kill == 1 else chance.uniform(0.2, 1.0))
        program.kill()
        run = find_run("victim", runs_dir)
        assert not is_locked(run)
        for checkpoint in list_checkpoints(run):
            read_checkpoint(checkpoint)  # every one that has its name is whole
        reached.append(max([0, *map(step_of, list_checkpoints(run))]))
    assert reached == sorted(reached) and reached[-1] > 0

    session = open_session(run)
    assert session.trainer.step == reached[-1]
    end = session.trainer.step + 40
    train_to(session, end)
    session.close(save=True)
    session = open_session(run)
    losses = session.files.database.metric(0, "train_loss")
    evaluations = session.files.database.metric(0, "val_loss")
    session.close(save=False)
    assert losses[0].tolist() == list(range(1, end + 1))
    assert set(evaluations[0].tolist()) >= set(range(30, end, 30))
    left = [path.name for path in (run / "checkpoints").iterdir() if path.name.startswith(".")]
    assert left == []

    # … and to the bit what a run gives that nobody killed
    text = small_text_file.read_text(encoding="utf-8")
    tokenizer = CharTokenizer.train(text)
    split = split_tokens(tokenizer.encode(text))
    alone = Trainer(config, Runtime("cpu", "fp32", 1, 16, False), split, tokenizer.vocab_size)
    for step in range(min(end, 200)):
        assert alone.train_step().loss.item() == losses[1][step], f"step {step + 1}"
