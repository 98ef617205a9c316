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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.batches import Split, check_long_enough
from data.corpora.corpus import Corpus, Options
from data.corpora.load import load_corpus
from data.download import NotHere, Watcher
from data.errors import InputError, NotFound
from data.paths import check_storable
from data.prepared import store
from data.prepared.likeness import told_of
from data.prepared.prepare import loaded, tokens_of
from data.prepared.split import split_of
from data.program import named
from data.specs import STANDARD_INPUT, called, has_place, specs_of
from data.tokenizers import Tokenizer, make_tokenizer
from engine.config.changes import format_options
from engine.config.schema import Config, DataConfig, ModelConfig, total_steps
from engine.config.setting import Value
from engine.config.unused import beyond_the_run
from engine.machine.memory import check_memory
from engine.program import program
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
    typed_name,
)
from engine.runs.own_files import check_own_files, unshare
from engine.runs.records import CorpusFacts, TextFacts
from engine.runs.tokenizer_file import read_tokenizer, write_tokenizer


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
    tokenizer.encode(config.sample.prompt)  # refuses unknown characters before there is a run
    for key, text in (("data.corpus", corpus), ("data.val", corpus.validation)):
        if text and has_place(text.source):  # files: the run is opened from any folder later
            check_storable(*specs_of(text.source))
            config = config.replace({key: text.source})
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
    misfit = beyond_the_run(config, total_steps(config, len(split.train)))
    of_validation = corpus.validation.told if corpus.validation else ()
    told = (*corpus.told, *of_validation, *told_of(split, tokenizer), *([misfit] if misfit else []))
    return RunFiles(path, config, corpus, tokenizer, split, database, lock, is_new=True, told=told)


class TextMissing(InputError):
    """The text of a run is not where it was, or is another one now."""


def open_run(
    path: Path,
    watcher: Watcher,
    data: str = "",
    val: str = "",
    changes: Mapping[str, Value] | None = None,
) -> RunFiles:
    """Open an existing run for writing.

    Args:
        data: Where its text is now, if it is not where it was; remembered.
        val: The same of the text it is validated on.
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
        corpus, tokenizer, split = _load_known_text(
            path, config, known, watcher, data, val, changes or {}
        )
        if not known:  # its first program was killed before it could note it
            if is_saved:
                raise Unreadable(file, "its content is gone")
            database.set_meta(created=time.time(), corpus=corpus_facts(corpus))
        was, now = _places(config, known)[0], corpus.source
        files = RunFiles(path, config, corpus, tokenizer, split, database, lock, is_new=False)
        if has_place(now) and now != was:
            files.config = config.replace({"data.corpus": now})
            files.text_was = was
            if known:
                known = {**known, "source": now}
                database.set_meta(corpus=known)
        if (found := corpus.validation) and found.source != config.data.val:
            files.config = files.config.replace({"data.val": found.source})
            if known:
                database.set_meta(corpus={**known, "val": corpus_facts(found)})
        undo.pop_all()
    return files


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


def look_at_run(path: Path, watcher: Watcher, data: str = "") -> RunFiles:
    """Open an existing run to read; another program may be writing it.

    Args:
        data: Where its text is now, if it is not where it was.

    Raises:
        TextMissing: Its text is not there, or has changed.
        InputError: Its files are damaged.
    """
    config = read_run_config(path)
    with ExitStack() as undo:
        database = undo.enter_context(closing(RunDatabase(path / DATABASE_FILE, read_only=True)))
        known = database.meta().get("corpus")
        config = _as_it_began(config, known)
        corpus, tokenizer, split = _load_known_text(path, config, known, watcher, data, "", {})
        undo.pop_all()
    return RunFiles(path, config, corpus, tokenizer, split, database, None, is_new=False)


def _as_it_began(config: Config, known: CorpusFacts | None) -> Config:
    """A run that began on a substitute text keeps it."""
    return config.replace({"data.corpus": known["name"]}) if known and known["note"] else config


def _places(config: Config, known: CorpusFacts | None) -> list[str]:
    """Return where the text of a run may be, the latest place first."""
    return _distinct_places(known, config.data.corpus)


def _distinct_places(known: TextFacts | None, asked: str) -> list[str]:
    source = known.get("source", "") if known else ""
    return list(dict.fromkeys((source, asked))) if has_place(source) else [asked]


def _load_known_text(
    path: Path,
    config: Config,
    known: CorpusFacts | None,
    watcher: Watcher,
    data: str,
    val: str,
    changes: Mapping[str, Value],
) -> tuple[Corpus, Tokenizer, Split]:
    """Load the text that a run was trained on: prepared, where it was, or where it is now."""
    problems = []
    kind, has_documents = config.data.tokenizer, _keeps_documents_apart(known)
    tokenizer = read_tokenizer(path, kind, has_documents)
    if not (data or val) and known and tokenizer and (found := _prepared(known, tokenizer, config)):
        check_fit(config.model, tokenizer, found[2])
        return found
    validation = _known_validation(path, config.data, known, tokenizer, watcher, val)
    for place in [data] if data else _places(config, known):
        if place == STANDARD_INPUT and not data:
            problems.append("standard input cannot be read again")
            continue
        try:
            corpus = _find_corpus(replace(config.data, corpus=place), known, watcher)
            if not known or known["sha256"] == corpus.sha256:
                if not known:  # its first program was killed before it could note it
                    tokenizer = read_tokenizer(path, kind, corpus.count > 1)
                corpus = replace(corpus, validation=validation)
                found = _tokenized(corpus, config.data, watcher, tokenizer)
                check_fit(config.model, found[1], found[2])
                return found
        except NotFound:
            problems.append(f"there is no file {named(place)}")
        except InputError as error:
            if error.is_shortage or isinstance(error, NotHere):
                raise
            problems += error.problems
        else:
            problems.append(corpus.note or f"{named(place)} is another text: its hash differs")
    name = known["name"] if known else called(config.data.corpus)
    if data:
        raise TextMissing(
            f"--data is not the text {named(name)} that the run {path.name!r} is trained on "
            f"({'; '.join(problems)})"
        )
    options = f" {format_options(changes)}" if changes else ""
    raise TextMissing(
        f"the text {named(name)} that the run {path.name!r} is trained on was not found "
        f"({'; '.join(problems)}): put it back, or name where it is: "
        f"{program()} train --resume {typed_name(path)} --data PATH{options}"
    )


def _known_validation(
    path: Path,
    data: DataConfig,
    known: CorpusFacts | None,
    tokenizer: Tokenizer | None,
    watcher: Watcher,
    val: str,
) -> Corpus | None:
    """Return the text that a run is validated on: prepared, where it was, or where it is now.

    Raises:
        TextMissing: It is not there, or is another one now.
    """
    if not data.val:
        if val:
            raise TextMissing(
                f"the run {path.name!r} is validated on a part of its text: leave --val out"
            )
        return None
    facts = known.get("val") if known else None
    if not val and facts and tokenizer and (kept := _kept(facts, tokenizer)):
        return kept[0]
    problems = []
    for place in [val] if val else _distinct_places(facts, data.val):
        try:
            if STANDARD_INPUT in specs_of(place) and not val:
                raise InputError("standard input cannot be read again")
            found = validation_of(replace(data, val=place), watcher)
            if not facts or facts["sha256"] == found.sha256:
                return found
            problems.append(f"{named(place)} is another text: its hash differs")
        except NotFound:
            problems.append(f"there is no file {named(place)}")
        except InputError as error:
            if error.is_shortage or isinstance(error, NotHere):
                raise
            problems += error.problems
    name = named(facts["name"] if facts else called(data.val))
    told = "; ".join(problems)
    if val:
        raise TextMissing(
            f"--val is not the text {name} that the run {path.name!r} is validated on ({told})"
        )
    raise TextMissing(
        f"the text {name} that the run {path.name!r} is validated on was not found ({told}): put "
        f"it back, or name where it is: {program()} train --resume {typed_name(path)} --val PATH"
    )


def _keeps_documents_apart(known: CorpusFacts | None) -> bool:
    return known is not None and known.get("documents", 1) > 1


def _prepared(
    known: CorpusFacts, tokenizer: Tokenizer, config: Config
) -> tuple[Corpus, Tokenizer, Split] | None:
    """Return the text of a run as it was prepared, wherever its files are now."""
    kept = _kept(known, tokenizer)
    if kept is None:
        return None
    corpus, made = kept
    if not config.data.val:
        return corpus, tokenizer, split_of(loaded(made), config.data)
    facts = known.get("val")
    of_validation = _kept(facts, tokenizer) if facts else None
    if of_validation is None:
        return None
    corpus = replace(corpus, validation=of_validation[0])
    return corpus, tokenizer, Split(loaded(made).tokens, loaded(of_validation[1]).tokens)


def _kept(known: TextFacts, tokenizer: Tokenizer) -> tuple[Corpus, store.Prepared] | None:
    found = store.find(known["sha256"], tokenizer.fingerprint)
    if found is None:
        return None
    corpus = Corpus(
        name=known["name"],
        characters=found.characters,
        size=0,
        count=known.get("documents", 0),
        sha256=known["sha256"],
        source=known.get("source", ""),
        readers=(),
        note=known["note"],
    )
    return corpus, found


def _find_corpus(data: DataConfig, known: CorpusFacts | None, watcher: Watcher) -> Corpus:
    """Load the text of a run; where its hash differs, as earlier versions read it."""
    found = _corpus(data, watcher)
    if known and known["sha256"] != found.sha256 and len(specs_of(data.corpus)) == 1:
        with suppress(InputError):
            before = _corpus(data, watcher, as_before=True)
            if known["sha256"] == before.sha256:
                return before
    return found


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    names = ("name", "sha256", "source", "note", "characters")
    facts = {name: getattr(corpus, name) for name in names} | {"documents": corpus.count}
    return facts | ({"val": corpus_facts(corpus.validation)} if corpus.validation else {})


def load_text(config: Config, watcher: Watcher) -> tuple[Corpus, Tokenizer, Split]:
    """Load and tokenize the text of a configuration, and check that it is long enough.

    Raises:
        InputError: It cannot be used, is too short, or the model cannot fit the memory.
    """
    corpus, tokenizer, split = read_text(config.data, watcher)
    check_fit(config.model, tokenizer, split)
    return corpus, tokenizer, split


def read_text(data: DataConfig, watcher: Watcher) -> tuple[Corpus, Tokenizer, Split]:
    """Load and tokenize a text.

    Raises:
        InputError: It cannot be used.
    """
    return _tokenized(corpus_of(data, watcher), data, watcher)


def corpus_of(data: DataConfig, watcher: Watcher) -> Corpus:
    """Load a text, and the one to validate on if that is one of its own.

    Raises:
        InputError: It cannot be used.
    """
    corpus = _corpus(data, watcher)
    return replace(corpus, validation=validation_of(data, watcher)) if data.val else corpus


def validation_of(data: DataConfig, watcher: Watcher) -> Corpus:
    """Load the text to validate on.

    Raises:
        InputError: It cannot be used.
    """
    found = _corpus(replace(data, corpus=data.val), watcher)
    if found.note:  # another text stands in for it
        raise InputError(f"{found.note.partition(': ')[0]}: validate on another text")
    return found


def _corpus(data: DataConfig, watcher: Watcher, as_before: bool = False) -> Corpus:
    """Load a text; see ``Options.as_before``."""
    watcher.report(f"reading {named(called(data.corpus))}")
    return load_corpus(data.corpus, replace(options_of(data), as_before=as_before), watcher)


def _tokenized(
    corpus: Corpus, data: DataConfig, watcher: Watcher, tokenizer: Tokenizer | None = None
) -> tuple[Corpus, Tokenizer, Split]:
    """Tokenize a text, with the tokenizer of its run if there is one already."""
    tokenizer = tokenizer or make_tokenizer(data, corpus, watcher)
    return corpus, tokenizer, split_texts(corpus, tokenizer, data, watcher)


def split_texts(corpus: Corpus, tokenizer: Tokenizer, data: DataConfig, watcher: Watcher) -> Split:
    """Return the tokens to train and to validate on.

    Raises:
        InputError: They cannot be made, or parted as is wanted.
    """
    made = tokens_of(corpus, tokenizer, watcher)
    if corpus.validation is None:
        return split_of(made, data)
    return Split(made.tokens, tokens_of(corpus.validation, tokenizer, watcher).tokens)


def options_of(data: DataConfig) -> Options:
    """Return the settings of how a text is read."""
    return Options(data.encoding, data.normalize, data.field)


def check_fit(model: ModelConfig, tokenizer: Tokenizer, split: Split) -> None:
    """Check that the text is long enough for a model and that the model fits the memory.

    Raises:
        InputError: It does not fit.
    """
    check_long_enough(split, model.block_size)
    check_memory(model, tokenizer.vocab_size)
