"""Trainers, sessions and engines small enough to be done in a moment."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.batches import Split, split_tokens
from data.download import Watcher
from data.tokenizers import CharTokenizer
from engine.checkpoint.store import optimizer_tensors
from engine.config.schema import Config, config_from_dict
from engine.metrics import MetricStore
from engine.protocol import Command, Event, PruningRule, Start
from engine.runs.open import RunFiles, new_run
from engine.session.run_state import Losses
from engine.session.session import Session
from engine.session.worker import open_or_restore
from engine.training.trainer import Runtime, Trainer

HAS_CUDA = torch.cuda.is_available()
on_a_gpu = [pytest.mark.gpu, pytest.mark.skipif(not HAS_CUDA, reason="there is no CUDA device")]
DEVICES = ["cpu", pytest.param("cuda", marks=on_a_gpu)]
# fp32 does not repeat its bits on a GPU
ON_DEVICE = {
    "cpu": {"system__device": "cpu", "system__precision": "fp32"},
    "cuda": {"system__device": "cuda", "system__precision": "bf16"},
}

SILENT = Watcher(lambda message: None, lambda: False)

SMALL: dict[str, Any] = {
    "model.n_layer": 2,
    "model.n_head": 2,
    "model.n_embd": 16,
    "model.block_size": 8,
    "train.batch_size": 4,
    "train.max_steps": 20,
    "optim.learning_rate": 1e-2,
    "optim.min_lr": 1e-3,
    "optim.warmup_steps": 3,
    "eval.interval": 0,
    "eval.batches": 2,
    "checkpoint.interval": 0,
    "sample.max_tokens": 12,
    "system.device": "cpu",
    "system.precision": "fp32",
    "system.threads": 1,
    "system.micro_batch_size": 4,
}


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Every test here computes in one thread."""


@pytest.fixture(scope="session")
def tokenizer(small_text: str) -> CharTokenizer:
    return CharTokenizer.train(small_text)


@pytest.fixture(scope="session")
def split(small_text: str, tokenizer: CharTokenizer) -> Split:
    return split_tokens(tokenizer.encode(small_text))


MakeConfig = Callable[..., Config]
MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_config(small_text_file: Path) -> MakeConfig:
    """A small configuration; say what should differ as ``section__name=value``."""

    def make(**changes: Any) -> Config:
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return Config().replace(SMALL | {"data.corpus": str(small_text_file)} | named)

    return make


@pytest.fixture
def make_trainer(make_config: MakeConfig, split: Split, tokenizer: CharTokenizer) -> MakeTrainer:
    """A small trainer; as ``make_config``."""

    def make(**changes: Any) -> Trainer:
        config = make_config(**changes)
        system = config.system
        runtime = Runtime("cpu", system.precision, 1, system.micro_batch_size, system.compile)
        return Trainer(config, runtime, split, tokenizer.vocab_size)

    return make


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    """The weights as they are now."""
    return {name: tensor.cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def assert_same_bits(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Both hold the same names and the same bits."""
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=name)


def checkpoint_state(trainer: Trainer, tokenizer: CharTokenizer) -> dict[str, Any]:
    """What a run has in the ``state.json`` of a checkpoint, besides the trainer's own."""
    return {
        "config": trainer.config.to_dict(),
        "runtime": dataclasses.asdict(trainer.runtime),
        "tokenizer": tokenizer.to_dict(),
        "corpus_sha256": "",
        "train_seconds": 0.0,
        "journal_id": 0,
        "unapplied": [],
        "standing": dataclasses.asdict(Losses()),
        "branch": 0,
        "versions": {},
    }


class Rig:
    """Opens sessions in this thread, drives them, and keeps what they say."""

    def __init__(self, runs_dir: Path) -> None:
        self.runs_dir = runs_dir
        self.events: list[Event] = []
        self._sessions: list[Session] = []

    def new(
        self, config: Config, running: bool = True, pruning_rule: PruningRule | None = None
    ) -> Session:
        """A session of a new run."""
        files = new_run(config, self.runs_dir, None, "test", SILENT)
        return self._session(files, running, {}, pruning_rule)

    def start(self, command: Start) -> Session:
        """A session of the new run that a command asks for."""
        config, runs_dir = config_from_dict(command.config), Path(command.runs_dir)
        files = new_run(config, runs_dir, command.name, "test", SILENT, command.like)
        return self._session(files, True, {}, command.pruning_rule)

    def open(
        self,
        path: Path,
        running: bool = True,
        pruning_rule: PruningRule | None = None,
        **changes: Any,
    ) -> Session:
        """A session of an existing run; changes as in ``make_config``."""
        named = {key.replace("__", "."): value for key, value in changes.items()}
        return self._session(open_or_restore(path, SILENT), running, named, pruning_rule)

    def _session(
        self,
        files: RunFiles,
        running: bool,
        changes: dict[str, Any],
        pruning_rule: PruningRule | None = None,
    ) -> Session:
        try:
            session = Session(
                files,
                MetricStore(),
                self.events.append,
                lambda message: None,
                changes,
                pruning_rule,
            )
        except BaseException:
            files.close()
            raise
        self._sessions.append(session)
        session.open(running)
        return session

    def send(self, session: Session, command: Command) -> list[Event]:
        """Give a command; returns what is said at once."""
        before = len(self.events)
        session.handle(command)
        return self.events[before:]

    def until(self, session: Session, done: Callable[[], object]) -> None:
        """Advance until something holds."""
        for _ in range(100_000):
            if done():
                return
            assert session.advance() or done(), "the session rests and it still does not hold"
        raise AssertionError("it never came to hold")

    def to_step(self, session: Session, step: int) -> None:
        """Advance to the boundary after a step."""
        self.until(session, lambda: session.trainer.step >= step)

    def rest(self, session: Session) -> None:
        """Advance until there is nothing to do."""
        self.until(session, lambda: not session.advance())

    def close(self, session: Session, save: bool = True) -> Path:
        """Close a session; returns the run's path."""
        session.close(save)
        self._sessions.remove(session)
        return session.files.path

    def crash(self, session: Session) -> Path:
        """Drop a session as kill -9 would: nothing more is written."""
        self._sessions.remove(session)
        session.saving.close()
        session.files.close()
        return session.files.path

    def said(self, kind: type[Any]) -> list[Any]:
        """The events of a kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def close_all(self) -> None:
        for session in list(self._sessions):
            self.crash(session)


@pytest.fixture
def rig(runs_dir: Path) -> Iterator[Rig]:
    rig = Rig(runs_dir)
    yield rig
    rig.close_all()


def bits(session: Session) -> dict[str, np.ndarray]:
    """Weights, their average and optimizer state of a session."""
    trainer = session.trainer
    tensors = optimizer_tensors(trainer)
    state = {name: tensor.detach().cpu().numpy().copy() for name, tensor in tensors.items()}
    average = {f"average/{k}": v for k, v in weights(trainer.evaluated_model).items()}
    return weights(trainer.model) | average | state


def recorded_losses(session: Session) -> dict[int, float]:
    """The training losses a run recorded, by step."""
    session.outlet.flush()
    steps, values = session.files.database.metric(0, "train_loss")
    assert len(set(steps.tolist())) == len(steps)
    return dict(zip(steps.tolist(), values.tolist(), strict=True))
