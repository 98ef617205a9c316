"""Create and open the files of a run: everything that does not need PyTorch.

Problems with the text, the settings or the folder are found here, before the first slow import,
and before a run folder exists.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path

from data.batches import Split
from data.corpora.corpus import Corpus
from data.download import Watcher
from data.errors import InputError
from data.paths import check_storable
from data.specs import has_place, specs_of
from data.tokenizers import Tokenizer
from data.tokenizers.kinds import KINDS
from data.windows import windows_of
from engine.config.schema import Config, total_steps
from engine.config.setting import Value
from engine.config.unused import beyond_the_run
from engine.runs.checkpoint_names import list_checkpoints
from engine.runs.database import RunDatabase, Unreadable
from engine.runs.folder import (
    DATABASE_FILE,
    LOG_FILE,
    RunLock,
    cannot_write,
    check_name,
    create_run,
    delete_run,
    read_run_config,
)
from engine.runs.known_text import NOWHERE_ELSE, Places, load_known_text, places_now, places_of
from engine.runs.own_files import check_own_files, unshare
from engine.runs.records import CorpusFacts
from engine.runs.text import corpus_facts, load_text, told_of_texts, where_now
from engine.runs.tokenizer_file import TOKENIZER_FILE, mend_tokenizer, write_tokenizer


@dataclass
class RunFiles:
    """An open run: its folder, its text and, unless it is read-only, its lock."""

    path: Path
    config: Config
    corpus: Corpus
    tokenizer: Tokenizer
    split: Split
    database: RunDatabase
    lock: RunLock | None
    is_new: bool
    told: tuple[str, ...] = ()  # what the user should know of it
    text_was: str = ""  # where the text was before, if it was found elsewhere now

    def close(self) -> None:
        self.database.close()
        if self.lock:
            self.lock.release()

    def discard(self) -> None:
        """Close the run, and delete it if it is new."""
        self.close()
        if self.is_new:
            delete_run(self.path)


def new_run(
    config: Config,
    runs_dir: Path,
    name: str | None,
    command_line: str,
    watcher: Watcher,
    like: str = "",
) -> RunFiles:
    """Create a run: load the text, then make the folder.

    Args:
        like: The folder of a run whose measured precision and threads to use.

    Raises:
        InputError: The text, the name or the folder cannot be used; nothing was made.
    """
    if name:
        check_name(name, runs_dir)
    corpus, tokenizer, split = load_text(config, watcher)
    # refuses unknown characters before there is a run
    tokenizer.encode(tokenizer.typed(config.sample.prompt))
    if tokenizer.kind in KINDS:
        config = config.replace({"data.tokenizer": tokenizer.kind})  # which need not be named
    for text in (corpus, corpus.validation):
        if text and has_place(text.source):
            check_storable(*specs_of(text.source))
    config = where_now(config, corpus)  # the run is opened from any folder later
    path = create_run(config, runs_dir, name)
    try:
        lock = RunLock(path)
        write_tokenizer(path, tokenizer)
        database = RunDatabase(path / DATABASE_FILE)
        database.set_meta(
            created=time.time(),
            command_line=command_line,
            preset=config.preset,
            corpus=corpus_facts(corpus),
            # from here, as a path of its own may have bytes that are not UTF-8
            **({"like": os.path.relpath(like, path)} if like else {}),
        )
    except (OSError, sqlite3.Error, Unreadable) as error:  # the disk's fault: the file is new
        delete_run(path)
        raise cannot_write(runs_dir, error) from None
    except BaseException:
        delete_run(path)
        raise
    of_training, _ = windows_of(split, config.data, config.model.block_size)
    misfit = beyond_the_run(config, total_steps(config, of_training.per_epoch))
    told = told_of_texts(corpus, tokenizer, split, config.data)
    told += (misfit,) if misfit else ()
    return RunFiles(path, config, corpus, tokenizer, split, database, lock, is_new=True, told=told)


def open_run(
    path: Path,
    watcher: Watcher,
    places: Places = NOWHERE_ELSE,
    changes: Mapping[str, Value] | None = None,
) -> RunFiles:
    """Open an existing run for writing.

    Args:
        places: Where its texts are now, if they are not where they were; remembered.
        changes: Of its settings, which a command that is suggested repeats.

    Raises:
        TextMissing: Its text is not there, or has changed.
        InputError: It is being written elsewhere, or its files are damaged.
    """
    check_own_files(path)
    config = read_run_config(path)
    with ExitStack() as undo:
        lock = undo.enter_context(RunLock(path))
        _unshare(path)
        file, is_saved = path / DATABASE_FILE, bool(list_checkpoints(path))
        if is_saved and not (file.exists() and file.stat().st_size):
            raise Unreadable(file, "it is empty" if file.exists() else "it does not exist")
        database = undo.enter_context(closing(RunDatabase(file)))
        database.present_lineage()  # an older copy may have been put in its place
        database.check_content()  # now, when it can be restored, and not hours into a training
        known = database.meta().get("corpus")
        config = _as_it_began(config, known)
        corpus, tokenizer, split = load_known_text(path, config, known, watcher, places, changes)
        if not known:  # its first program was killed before it could note it
            if is_saved:
                raise Unreadable(file, "its content is gone")
            database.set_meta(created=time.time(), corpus=corpus_facts(corpus))
        was, now = places_of(known, config.data.corpus)[0], corpus.source
        config = where_now(config, corpus)
        files = RunFiles(path, config, corpus, tokenizer, split, database, lock, is_new=False)
        if has_place(now) and now != was:
            files.text_was = was
        if known and (here := places_now(known, corpus)) != known:
            database.set_meta(corpus=here)
        files.told = _mended(path, tokenizer, config)
        undo.pop_all()
    return files


def _mended(path: Path, tokenizer: Tokenizer, config: Config) -> tuple[str, ...]:
    """Write a damaged ``tokenizer.json`` anew; return what to say of that."""
    kind, has_documents = config.data.tokenizer, tokenizer.end_of_text is not None
    with suppress(OSError):  # it is not needed to go on
        if mend_tokenizer(path, tokenizer, kind, has_documents):
            return (f"{TOKENIZER_FILE} was damaged: it was written again from what the run knows",)
    return ()


def _unshare(path: Path) -> None:
    """Give a copy of a run that was made of hard links its own copy of what is written in place."""
    try:
        for name in (DATABASE_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-journal", LOG_FILE):
            unshare(path / name)
        memory = path / f"{DATABASE_FILE}-shm"
        if memory.exists() and memory.stat().st_nlink > 1:
            memory.unlink()  # SQLite makes it anew of the log
    except OSError as error:
        raise InputError(
            f"{path} shares its files with another folder (hard links), and they cannot be copied "
            f"({error.strerror}): make room"
        ) from None


def look_at_run(path: Path, watcher: Watcher, places: Places = NOWHERE_ELSE) -> RunFiles:
    """Open an existing run to read; another program may be writing it.

    Args:
        places: Where its texts are now, if they are not where they were.

    Raises:
        TextMissing: Its text is not there, or has changed.
        InputError: Its files are damaged.
    """
    config = read_run_config(path)
    with ExitStack() as undo:
        database = undo.enter_context(closing(RunDatabase(path / DATABASE_FILE, read_only=True)))
        known = database.meta().get("corpus")
        config = _as_it_began(config, known)
        corpus, tokenizer, split = load_known_text(path, config, known, watcher, places)
        undo.pop_all()
    return RunFiles(path, config, corpus, tokenizer, split, database, None, is_new=False)


def _as_it_began(config: Config, known: CorpusFacts | None) -> Config:
    """A run that began on a substitute text keeps it."""
    return config.replace({"data.corpus": known["name"]}) if known and known["note"] else config
