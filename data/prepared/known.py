"""What is known of texts whose files have not changed since they were read.

A note in the cache says what was found when a text was read: its hash, its tokenizer, and what was
told. It is believed as long as all its files are the same to the operating system, by device,
inode, size and both times of change, of which programs can set only one. Files that were changed
just before they were read are not noted: clocks of file systems are coarse. The tokens have a hash
of their own, and are looked for as ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from data.batches import Split
from data.corpora.catalogue import CATALOGUE, KNOWN_NAMES, AtAddress
from data.corpora.corpus import Corpus
from data.corpora.obtain import place_in_cache
from data.download import NOBODY, Watcher
from data.errors import InputError
from data.files import remove_tree, write_atomically
from data.paths import cache_folder
from data.prepared import store
from data.prepared.likeness import told_of
from data.prepared.token_file import META, TOKENIZER, is_token_file, token_path, validation_beside
from data.sources.find import find_files
from data.sources.hub import files_here, identity_of
from data.sources.tally import Tally
from data.sources.web import place_of
from data.specs import STANDARD_INPUT, anchored, is_address, is_hub, is_streamed, specs_of
from data.tokenizers import Tokenizer, load_tokenizer
from data.tokenizers.kinds import Wanted as WantedTokenizer
from data.tokenizers.kinds import make_tokenizer, needs_text

FORMAT = 3  # of the notes; another where texts are read or tokenizers made in another way
RECENT_NS = 2 * 10**9
FACTS = ("name", "characters", "size", "count", "sha256", "source", "note", "told")


class Wanted(WantedTokenizer, Protocol):
    """The settings by which a text is found, read and tokenized."""

    @property
    def corpus(self) -> str: ...
    @property
    def val(self) -> str: ...
    @property
    def encoding(self) -> str: ...
    @property
    def normalize(self) -> str: ...
    @property
    def field(self) -> str: ...


class Reading:
    """The files of a text, as they are before it is read.

    Raises:
        Cancelled: `watcher.cancelled` returned true, while they were looked for.
    """

    def __init__(self, wanted: Wanted, watcher: Watcher = NOBODY) -> None:
        self._wanted, self._watcher = wanted, watcher
        self._val = wanted.val or validation_beside(wanted.corpus, wanted.tokenizer)
        self._began = time.time_ns()
        self._files = self._look()

    def known(self) -> tuple[Corpus, Tokenizer] | None:
        """Return what was noted, if the files have not changed and their tokens are there.

        The text is without readers then.
        """
        if not self._files:
            return None
        try:
            found = json.loads(self._place.read_text("utf-8"))
            if found["files"] != self._files:
                return None
            corpus = _corpus(found["corpus"])
            if val := found["val"]:
                corpus = replace(corpus, validation=_corpus(val))
            saved = found["tokenizer"]
            tokenizer = load_tokenizer(saved) if saved else None
            tokenizer = tokenizer or make_tokenizer(self._wanted, corpus, NOBODY)
        except (OSError, ValueError, TypeError, LookupError, InputError):  # it is only a note
            return None
        texts = [corpus, *([corpus.validation] if corpus.validation else [])]
        is_here = all(store.find(one.sha256, tokenizer.fingerprint) for one in texts)
        return (corpus, tokenizer) if is_here else None

    def note(self, corpus: Corpus, tokenizer: Tokenizer) -> None:
        """Note what was found, unless the files have changed since, or just before."""
        now = self._look()
        if self._streamed and not self._files:  # they were not known before
            self._files = now
        if not self._files or corpus.note or now != self._files:
            return
        is_made = corpus.given or needs_text(tokenizer.kind)
        facts = {
            "files": self._files,
            "corpus": {name: getattr(corpus, name) for name in FACTS},
            "val": {name: getattr(corpus.validation, name) for name in FACTS}
            if corpus.validation
            else None,
            "tokenizer": tokenizer.to_dict() if is_made else None,
        }
        with suppress(OSError, InputError):
            write_atomically(self._place, json.dumps(facts).encode())

    @property
    def _streamed(self) -> list[str]:
        texts = (self._wanted.corpus, self._val)
        return [spec for one in texts if one for spec in specs_of(one) if is_streamed(spec)]

    @property
    def _place(self) -> Path:
        wanted = self._wanted
        how = [wanted.encoding, wanted.normalize, wanted.field]
        tokens = [wanted.tokenizer, wanted.vocab_size, wanted.min_count]
        texts = [anchored(one, KNOWN_NAMES) if one else "" for one in (wanted.corpus, self._val)]
        return _folder() / f"{_hash([FORMAT, *texts, *how, *tokens])}.json"

    def _look(self) -> str:
        """Return a hash of what the files are; empty if there are other texts, or recent ones."""
        with suppress(OSError, InputError, ValueError):
            texts, kind = (self._wanted.corpus, self._val), self._wanted.tokenizer
            files = [one for spec in texts for one in _files(spec, kind, self._watcher)]
            seen = [os.stat(one) for one in files]
            latest = max((max(one.st_mtime_ns, one.st_ctime_ns) for one in seen), default=0)
            found = [[str(path), *_identity(one)] for path, one in zip(files, seen, strict=True)]
            found += [[spec, identity_of(spec)] for spec in self._streamed]
            if latest < self._began - RECENT_NS:
                return _hash(found)
        return ""


def told_once(
    split: Split, tokenizer: Tokenizer, corpus: Corpus, how: Iterable[object]
) -> list[str]:
    """Return what ``told_of`` says of a split; it is kept, as equal tokens give the same.

    Args:
        how: The settings by which the text was parted.
    """
    val = corpus.validation.sha256 if corpus.validation else ""
    try:
        key = _hash([FORMAT, corpus.sha256, val, tokenizer.fingerprint, *how])
        place = _folder() / f"{key}-told.json"
        found = json.loads(place.read_text("utf-8"))
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return found
    except InputError:  # there is no cache
        return list(told_of(split, tokenizer))
    except (OSError, ValueError):
        pass
    told = list(told_of(split, tokenizer))
    with suppress(OSError):
        write_atomically(place, json.dumps(told).encode())
    return told


def forget() -> int:
    """Delete all notes; return how many bytes that freed."""
    try:
        size = sum(one.stat().st_size for one in _folder().iterdir())
        remove_tree(_folder())
    except (OSError, InputError):
        return 0
    return size


def _folder() -> Path:
    return cache_folder() / "known"


def _files(specs: str, kind: str, watcher: Watcher) -> Iterator[Path]:
    """Yield the files that texts are read from.

    Raises:
        InputError: There are none, or others.
        Cancelled: `watcher.cancelled` returned true.
    """
    for spec in specs_of(specs) if specs else ():
        if spec == STANDARD_INPUT:
            raise InputError("it is not kept")
        if entry := CATALOGUE.get(spec):
            place = place_in_cache(entry) if isinstance(entry, AtAddress) else None
            if place is None:
                raise InputError("it is small, or made anew")
            yield place
        elif is_address(spec):
            yield place_of(spec)
        elif is_streamed(spec):
            pass  # they are not here
        elif is_hub(spec):
            yield from (one.path for one in files_here(spec))
        elif is_token_file(spec, kind):
            path = token_path(spec)
            yield path
            yield from (
                one for one in (path.with_name(n) for n in (META, TOKENIZER)) if one.exists()
            )
        else:
            yield from (one.path for one in find_files(spec, Tally(), watcher).sources)


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _corpus(facts: dict[str, Any]) -> Corpus:
    return Corpus(**facts | {"told": tuple(facts["told"])}, readers=())


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]
