"""From a wish to the files of a run: everything that needs no torch.

Whatever can be wrong with the text, the settings or the folder is found here, before the first
heavy import, and before a run folder exists.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.batches import Split, check_long_enough, split_tokens
from data.corpus import Corpus, load_corpus
from data.errors import InputError
from data.tokenizers import TOKENIZERS, Tokenizer
from engine.config.schema import Config, DataConfig, ModelConfig, read_config
from engine.machine.memory import check_memory
from engine.program import program
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import (
    CONFIG_FILE,
    DATABASE_FILE,
    RunLock,
    check_name,
    create_run,
    delete_run,
    typed_name,
)

Report = Callable[[str], None]
Cancelled = Callable[[], bool]


@dataclass
class RunFiles:
    """An open run: its folder, its text and, unless it is only looked at, the right to write it."""

    path: Path
    config: Config
    corpus: Corpus
    tokenizer: Tokenizer
    split: Split
    database: RunDatabase
    lock: RunLock | None
    is_new: bool
    told: tuple[str, ...] = ()  # what was done before it could be opened

    def close(self) -> None:
        """Let go of the run."""
        self.database.close()
        if self.lock:
            self.lock.release()

    def discard(self) -> None:
        """Let go of a run, and remove it if it never came to be."""
        self.close()
        if self.is_new:
            delete_run(self.path)


@dataclass(frozen=True)
class Watcher:
    """Who is told what is going on, and may call it off."""

    report: Report
    cancelled: Cancelled

    def progress(self, done: int, total: int | None) -> None:
        """Say how far a download is."""
        of = f" of {total / 1e6:.1f}" if total else ""
        self.report(f"downloading: {done / 1e6:.1f}{of} MB")


def new_run(
    config: Config,
    runs_dir: Path,
    name: str | None,
    command_line: str,
    watcher: Watcher,
    like: str = "",
) -> RunFiles:
    """Load the text, then make the run's folder.

    Args:
        config: Of the run.
        runs_dir: Where its folder goes.
        name: Of the folder; None makes one up.
        command_line: What a person typed.
        watcher: Is told what is going on.
        like: The folder of a run it is to be computed like.

    Raises:
        InputError: The text, the name or the folder cannot be used; nothing was made.
    """
    if name:
        check_name(name, runs_dir)
    corpus, tokenizer, split = load_text(config, watcher)
    tokenizer.encode(config.sample.prompt)  # refuses unknown characters before there is a run
    if Path(corpus.source).is_absolute():  # a file: the run is opened from any folder later
        config = config.replace({"data.corpus": corpus.source})
    path = create_run(config, runs_dir, name)
    try:
        lock = RunLock(path)
        database = RunDatabase(path / DATABASE_FILE)
        database.set_meta(
            created=time.time(),
            command_line=command_line,
            preset=config.preset,
            corpus=corpus_facts(corpus),
            **({"like": like} if like else {}),
        )
    except BaseException:
        delete_run(path)
        raise
    return RunFiles(path, config, corpus, tokenizer, split, database, lock, is_new=True)


def open_run(path: Path, watcher: Watcher) -> RunFiles:
    """Open an existing run for writing.

    Raises:
        InputError: It is being written elsewhere, its files are damaged, or its text has changed.
    """
    config = read_run_config(path)
    lock = RunLock(path)
    try:
        file = path / DATABASE_FILE
        if list_checkpoints(path) and not (file.exists() and file.stat().st_size):
            raise Unreadable(file, "it is empty" if file.exists() else "it is gone")
        database = RunDatabase(path / DATABASE_FILE)
    except BaseException:
        lock.release()
        raise
    try:
        known = database.meta().get("corpus")
        config, corpus, tokenizer, split = _load_known_text(config, known, watcher)
        if not known:  # its first program was killed before it could note it
            if list_checkpoints(path):
                raise Unreadable(path / DATABASE_FILE, "its content is gone")
            database.set_meta(created=time.time(), corpus=corpus_facts(corpus))
    except BaseException:
        database.close()
        lock.release()
        raise
    return RunFiles(path, config, corpus, tokenizer, split, database, lock, is_new=False)


def look_at_run(path: Path, watcher: Watcher) -> RunFiles:
    """Open an existing run without the right to write it; some other program may.

    Raises:
        InputError: Its files are damaged, or its text has changed.
    """
    config = read_run_config(path)
    database = RunDatabase(path / DATABASE_FILE, read_only=True)
    try:
        known = database.meta().get("corpus")
        config, corpus, tokenizer, split = _load_known_text(config, known, watcher)
    except BaseException:
        database.close()
        raise
    return RunFiles(path, config, corpus, tokenizer, split, database, None, is_new=False)


def read_run_config(path: Path) -> Config:
    """The settings of a run.

    Raises:
        InputError: They cannot be read; the sentence says how they come back, if they can.
    """
    try:
        return read_config(path / CONFIG_FILE)
    except InputError as error:
        if not list_checkpoints(path):
            raise
        hint = f"{program()} verify {typed_name(path)} --repair writes it anew from a checkpoint"
        raise InputError("; ".join((*error.problems, hint))) from None


def _load_known_text(
    config: Config, known: dict[str, Any] | None, watcher: Watcher
) -> tuple[Config, Corpus, Tokenizer, Split]:
    if known:
        config = _with_recorded_corpus(config, known)
    corpus, tokenizer, split = load_text(config, watcher)
    if known and known["sha256"] != corpus.sha256:
        raise InputError(
            f"the text {known['name']!r} is not the one this run was trained on "
            f"(its hash differs): put the old text back, or begin a new run"
        )
    return config, corpus, tokenizer, split


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """What is worth recording of a text."""
    facts = {field.name: getattr(corpus, field.name) for field in dataclasses.fields(corpus)}
    text = facts.pop("text")
    return facts | {"characters": len(text)}


def _with_recorded_corpus(config: Config, known: dict[str, Any]) -> Config:
    """A run that began on a stand-in text goes on with it."""
    if known["note"] and known["name"] != config.data.corpus:
        return config.replace({"data.corpus": known["name"]})
    return config


def load_text(config: Config, watcher: Watcher) -> tuple[Corpus, Tokenizer, Split]:
    """The text of a configuration, and what its characters become.

    Raises:
        InputError: It cannot be used, is too short, or the model cannot fit the memory.
    """
    corpus, tokenizer, split = read_text(config.data, watcher)
    check_fit(config.model, tokenizer, split)
    return corpus, tokenizer, split


def read_text(data: DataConfig, watcher: Watcher) -> tuple[Corpus, Tokenizer, Split]:
    """A text, and what its characters become.

    Raises:
        InputError: It cannot be used.
    """
    watcher.report(f"reading {data.corpus}")
    corpus = load_corpus(
        data.corpus,
        report=watcher.report,
        progress=watcher.progress,
        cancelled=watcher.cancelled,
    )
    tokenizer = TOKENIZERS[data.tokenizer].train(corpus.text)
    split = split_tokens(tokenizer.encode(corpus.text))
    return corpus, tokenizer, split


def check_fit(model: ModelConfig, tokenizer: Tokenizer, split: Split) -> None:
    """Refuse a model that a text or the memory is too small for.

    Raises:
        InputError: It does not fit.
    """
    check_long_enough(split, model.block_size)
    check_memory(model, tokenizer.vocab_size)
