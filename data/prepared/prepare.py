"""Make the tokens of a text, in bounded memory, once for all runs.

It can be interrupted at any moment and goes on where it was: what is written is cut back to the
last note of how far it had come, and the text is read on from there.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import operator
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from data.download import Watcher
from data.errors import Cancelled, InputError, reason_of
from data.files import remove_tree
from data.paths import quoted_path
from data.prepared.encode import Part, Place, encoded
from data.prepared.store import (
    ABOUT_FILE,
    DOCUMENTS_FILE,
    LOCK_SUFFIX,
    START_DTYPE,
    TOKENS_FILE,
    Prepared,
    dtype_of,
    find,
    folder_of,
    hash_of,
    note,
    prepared_folder,
)
from data.program import named

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from data.corpora.corpus import Corpus
    from data.tokenizers import Tokenizer

PROGRESS_FILE = "progress.json"
NOTE_SECONDS = 2.0  # of work that an interruption loses at most
REPORT_SECONDS = 0.5
LOCK_SECONDS = 0.1
MOST_IN_MEMORY = 1 << 28  # bytes of tokens, where the cache cannot be written
SYNC_BYTES = 1 << 24  # written to the disk while more is encoded, not all of it at the end
MARGIN_BYTES = 1 << 24  # left free on the disk


class Tokenized(NamedTuple):
    """The tokens of a text.

    Attributes:
        tokens: (n,) of one of `DTYPES`.
        starts: Where each document begins, (documents,); empty if they are not kept apart.
        folder: Where they are kept; None if they are in memory.
    """

    tokens: NDArray[Any]
    starts: NDArray[np.int64]
    folder: Path | None = None


def tokens_of(corpus: Corpus, tokenizer: Tokenizer, watcher: Watcher) -> Tokenized:
    """Return the tokens of a text: from the cache if they are there, else prepare them.

    Where the cache cannot be written, the tokens of a text that is not large stay in memory.

    Raises:
        InputError: The text cannot be read or encoded, or there is no place for the tokens.
        Cancelled: `watcher.cancelled` returned true.
    """
    try:
        return loaded(prepare(corpus, tokenizer, watcher))
    except CannotWrite:
        if _needed(corpus, tokenizer) > MOST_IN_MEMORY:
            raise
    return in_memory(corpus, tokenizer, watcher)


def in_memory(corpus: Corpus, tokenizer: Tokenizer, watcher: Watcher) -> Tokenized:
    """Return the tokens of a text that is not large, which are not kept.

    Raises:
        InputError: The text cannot be read or encoded.
        Cancelled: `watcher.cancelled` returned true.
    """
    import numpy as np

    dtype, parts, ends, done = dtype_of(tokenizer.vocab_size), [], list[int](), 0
    for part in encoded(corpus, tokenizer, Place(), watcher):
        ends += [done + end for end in part.ends]
        parts.append(part.ids.astype(dtype, copy=False))
        done += len(part.ids)
    # a document begins where the one before it ends
    starts = np.array([0, *ends][: len(ends)], np.int64)
    return Tokenized(np.concatenate(parts), starts)


def loaded(prepared: Prepared) -> Tokenized:
    """Return the tokens of a prepared text, as a memory map."""
    return Tokenized(prepared.load(), prepared.starts(), prepared.folder)


class CannotWrite(InputError):
    """The cache has no place for the tokens, or may not be written."""


def prepare(corpus: Corpus, tokenizer: Tokenizer, watcher: Watcher) -> Prepared:
    """Prepare a text, unless it is already; only one program does so at a time, others wait.

    Raises:
        CannotWrite: The cache has no place for it, or may not be written.
        InputError: The text cannot be read, or has something that cannot be encoded.
        Cancelled: `watcher.cancelled` returned true; the next call goes on from there.
    """
    fingerprint = tokenizer.fingerprint
    if found := find(corpus.sha256, fingerprint):
        return found
    try:
        folder = folder_of(corpus.sha256, fingerprint)
    except InputError as error:  # there is no home folder
        raise CannotWrite(*error.problems) from None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.with_name(folder.name + LOCK_SUFFIX), corpus.name, watcher):
            found = find(corpus.sha256, fingerprint)  # another program may have done it meanwhile
            return found or _prepared(corpus, tokenizer, fingerprint, folder, watcher)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            remove_tree(folder)
            raise _no_room(corpus, tokenizer) from None
        raise CannotWrite(
            f"the tokens of {named(corpus.name)} cannot be kept in {prepared_folder()} "
            f"({reason_of(error)}): allow it, or set GPT_TUI_CACHE to a folder that can be written"
        ) from None


def _prepared(
    corpus: Corpus, tokenizer: Tokenizer, fingerprint: str, folder: Path, watcher: Watcher
) -> Prepared:
    if not corpus.readers:  # only its tokens were known, and they were there a moment ago
        raise InputError(f"the tokens of {named(corpus.name)} were deleted meanwhile: try again")
    if (folder / ABOUT_FILE).exists():  # `find` has refused it
        watcher.report(
            f"the prepared tokens of {named(corpus.name)} are damaged: making them again"
        )
        remove_tree(folder)
    folder.mkdir(exist_ok=True)
    dtype = dtype_of(tokenizer.vocab_size)
    _check_room(corpus, tokenizer)
    names = [TOKENS_FILE, *([] if tokenizer.end_of_text is None else [DOCUMENTS_FILE])]
    with ExitStack() as stack:
        files = [stack.enter_context((folder / name).open("a+b")) for name in names]
        work = _Work(corpus, tokenizer, dtype, files, folder / PROGRESS_FILE)
        work.do(watcher)
        work.flush()
        written = os.fstat(files[0].fileno()).st_mtime_ns
    made = Prepared(
        name=corpus.name,
        corpus_sha256=corpus.sha256,
        characters=corpus.characters,
        tokenizer=tokenizer.kind,
        fingerprint=fingerprint,
        tokens=work.done.tokens,
        dtype=dtype,
        sha256=work.sha256(),
        written=written,
        documents=work.done.starts,
        vocab_size=tokenizer.vocab_size,
    )
    (folder / PROGRESS_FILE).unlink(missing_ok=True)
    note(made)
    return made


# -- the work --------------------------------------------------------------------------------------


@dataclass
class _Progress:
    """How far it has come, as noted beside the tokens.

    Attributes:
        documents, inside: The place in the text.
        starts: How many documents were written to their end.
        next_start: Where the one after them begins among the tokens.
    """

    characters: int
    tokens: int
    documents: int
    inside: int
    starts: int
    next_start: int


NOTHING = (0, 0, 0, 0, 0, 0)


class _Work:
    """Appends the tokens of a text to a file, after those of an earlier try.

    Args:
        files: Of the tokens, and of where documents begin if they are kept apart.
        notes: The file of the progress.
    """

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: Tokenizer,
        dtype: str,
        files: Sequence[IO[bytes]],
        notes: Path,
    ) -> None:
        self._corpus, self._tokenizer, self._dtype = corpus, tokenizer, dtype
        self._files, self._notes = files, notes
        self._width = int(dtype[-1])
        self.done = self._read_progress()
        for file, size in zip(files, self._sizes(self.done), strict=False):
            file.truncate(size)
        files[0].seek(0)
        self._sha256 = None if _is_the_text(corpus, tokenizer) else hashlib.sha256()
        while self._sha256 and (part := files[0].read(1 << 20)):
            self._sha256.update(part)

    def do(self, watcher: Watcher) -> None:
        """Encode what is left."""
        begun, noted, reported = self.done.characters, time.monotonic(), 0.0
        start = noted
        place = Place(self.done.documents, self.done.inside)
        with _Syncing(self._files[0]) as syncing:
            for part in encoded(self._corpus, self._tokenizer, place, watcher):
                syncing.note(self._write(part))
                now = time.monotonic()
                if now - noted > NOTE_SECONDS:
                    self._note_progress()
                    noted = now
                if now - reported > REPORT_SECONDS:
                    watcher.report(self._told(self.done.characters - begun, now - start))
                    reported = now

    def flush(self) -> None:
        """Have everything on the disk."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())

    def sha256(self) -> str:
        """Return the hash of all tokens, once they are on the disk."""
        if self._sha256:
            return self._sha256.hexdigest()
        is_whole = self.done.tokens == self._corpus.size
        return self._corpus.sha256 if is_whole else hash_of(self._notes.with_name(TOKENS_FILE))

    def _write(self, part: Part) -> int:
        """Append some tokens; return how many bytes they are."""
        import numpy as np

        body = part.ids.astype(self._dtype, copy=False).data.cast("B")
        self._files[0].write(body)
        if self._sha256:
            self._sha256.update(body)
        done = self.done
        if part.ends:
            ends = [done.tokens + end for end in part.ends]
            self._files[1].write(np.array([done.next_start, *ends[:-1]], START_DTYPE).tobytes())
            done.next_start = ends[-1]
            done.starts += len(ends)
        done.characters += part.characters
        done.tokens += len(part.ids)
        done.documents, done.inside = part.place.documents, part.place.inside
        return len(body)

    def _told(self, characters: int, seconds: float) -> str:
        total, done = self._corpus.characters, self.done.characters
        if not seconds or not characters or not total:
            return f"tokenizing {named(self._corpus.name)}"
        rate = characters / seconds
        return (
            f"tokenizing {named(self._corpus.name)}: {done / total:.0%}, "
            f"{rate / 1e6:.1f} million characters/s, {(total - done) / rate:.0f} s left"
        )

    def _sizes(self, progress: _Progress) -> tuple[int, int]:
        """Return the bytes of the files at a moment."""
        return progress.tokens * self._width, progress.starts * int(START_DTYPE[-1])

    def _read_progress(self) -> _Progress:
        try:
            found = _Progress(**json.loads(self._notes.read_text(encoding="utf-8")))
            there = [os.fstat(one.fileno()).st_size for one in self._files]
            whole = all(map(operator.le, self._sizes(found), there))
            return found if whole else _Progress(*NOTHING)
        except (OSError, ValueError, TypeError):
            return _Progress(*NOTHING)

    def _note_progress(self) -> None:
        self.flush()  # a power cut must not leave the note without the tokens
        self._notes.write_text(json.dumps(vars(self.done)), encoding="utf-8")


def _is_the_text(corpus: Corpus, tokenizer: Tokenizer) -> bool:
    """Return whether the tokens are the text in UTF-8, of which the hash is known: a third less."""
    has_ends = tokenizer.end_of_text is not None
    return tokenizer.kind == "bytes" and corpus.count == 1 and not (has_ends or corpus.given)


class _Syncing:
    """Writes a file to the disk while more is appended, so that little is left for the end."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._bytes = file, 0
        self._pool = ThreadPoolExecutor(1, "sync")
        self._under_way: Future[None] | None = None

    def note(self, count: int) -> None:
        """Note that bytes were appended.

        Raises:
            OSError: Earlier ones could not be written.
        """
        self._bytes += count
        if self._bytes < SYNC_BYTES or (self._under_way and not self._under_way.done()):
            return
        self._check()
        self._file.flush()
        self._under_way, self._bytes = self._pool.submit(os.fsync, self._file.fileno()), 0

    def _check(self) -> None:
        if self._under_way:
            self._under_way.result()  # an error is told once: a later call might succeed

    def __enter__(self) -> _Syncing:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pool.shutdown()
        if kind is None:
            self._check()


# -- the cache -------------------------------------------------------------------------------------


@contextmanager
def _locked(path: Path, name: str, watcher: Watcher) -> Iterator[None]:
    """Hold a lock; the operating system releases it with the process.

    Raises:
        Cancelled: While another program held it.
        OSError: It cannot be made.
    """
    with path.open("ab") as file:
        told = False
        while True:
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if not told:
                watcher.report(f"another program prepares {named(name)}: waiting for it")
                told = True
            if watcher.cancelled():
                raise Cancelled
            time.sleep(LOCK_SECONDS)
        yield
        path.unlink(missing_ok=True)


def _check_room(corpus: Corpus, tokenizer: Tokenizer) -> None:
    if shutil.disk_usage(prepared_folder()).free < _needed(corpus, tokenizer) + MARGIN_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _needed(corpus: Corpus, tokenizer: Tokenizer) -> int:
    # a token for each character, and one for the end of each document
    most = corpus.given.count if corpus.given else corpus.characters + corpus.count
    return most * int(dtype_of(tokenizer.vocab_size)[-1])


def _no_room(corpus: Corpus, tokenizer: Tokenizer) -> CannotWrite:
    folder, needed = prepared_folder(), _needed(corpus, tokenizer)
    free = shutil.disk_usage(folder).free
    return CannotWrite(
        f"the tokens of {named(corpus.name)} need up to {needed / 1e6:,.0f} MB in "
        f"{quoted_path(folder)}, and {free / 1e6:,.0f} MB are free: make room, or set "
        f"GPT_TUI_CACHE to a folder that has more"
    )
