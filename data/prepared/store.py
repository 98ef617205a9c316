"""Find, check, list and delete what was prepared.

A prepared text is a folder of the cache, named by the hashes of the text and of the tokenizer:

- ``tokens.bin``: the ids, little-endian, in the smallest of `DTYPES`. With ids of 16 bits it is
  what nanoGPT reads.
- ``documents.bin``: where each document begins among them, int64; only if there are several, each
  of which ends with the token for the end of a text.
- ``about.json``: what it was made of. It is written last, so that a folder with one is whole.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from data.files import remove_tree, write_atomically
from data.paths import cache_folder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


FORMAT = 1
DTYPES = ("u1", "<u2", "<u4")  # NumPy's names
TOKENS_FILE, DOCUMENTS_FILE, ABOUT_FILE = "tokens.bin", "documents.bin", "about.json"
START_DTYPE = "<i8"  # of the documents
LOCK_SUFFIX = ".lock"  # of the file that the program holds that prepares a text
KEY_DIGITS = 12  # of each hash
STARTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Prepared:
    """A prepared text.

    Attributes:
        name: Of the text.
        corpus_sha256: Its hash.
        characters: Its length.
        tokenizer: The kind.
        fingerprint: The hash of the tokenizer.
        tokens: How many there are.
        dtype: One of `DTYPES`.
        sha256: The hash of the tokens' file.
        written: The time of that file, in ns since 1970, as long as nobody has touched it.
        documents: How many there are, each with its end; 0 if they are not kept apart.
        vocab_size: Of the tokenizer; 0 if it was not noted.
    """

    name: str
    corpus_sha256: str
    characters: int
    tokenizer: str
    fingerprint: str
    tokens: int
    dtype: str
    sha256: str
    written: int
    format: int = FORMAT
    documents: int = 0
    vocab_size: int = 0

    @property
    def tokenizer_named(self) -> str:
        """The tokenizer, with the size of the vocabulary where texts can have several."""
        is_sized = self.tokenizer == "bpe" and self.vocab_size
        return f"{self.tokenizer} {self.vocab_size}" if is_sized else self.tokenizer

    @property
    def folder(self) -> Path:
        return folder_of(self.corpus_sha256, self.fingerprint)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(one.stat().st_size for one in self.folder.iterdir() if one.is_file())

    def load(self) -> NDArray[Any]:
        """Return the tokens, (n,), as a memory map."""
        import numpy as np

        # Copy on write: nobody writes, but PyTorch warns of tensors that could not be written.
        return np.memmap(self.folder / TOKENS_FILE, self.dtype, "c", shape=(self.tokens,))

    def starts(self) -> NDArray[np.int64]:
        """Return where each document begins, (documents,), as a memory map.

        Raises:
            OSError: They cannot be read.
            ValueError: They are damaged.
        """
        import numpy as np

        if not self.documents:
            return np.zeros(0, np.int64)
        found = np.memmap(self.folder / DOCUMENTS_FILE, START_DTYPE, "c").astype(
            np.int64, copy=False
        )
        blocks = range(0, len(found), STARTS_AT_ONCE)
        rises = all((np.diff(found[at : at + STARTS_AT_ONCE + 1]) > 0).all() for at in blocks)
        is_within = len(found) == self.documents and found[0] == 0 and found[-1] < self.tokens
        if not (rises and is_within):
            raise ValueError(f"{DOCUMENTS_FILE} is damaged")
        return found


def prepared_folder() -> Path:
    """Return the folder of all prepared texts, which may not exist yet.

    Raises:
        InputError: The cache cannot be used.
    """
    return cache_folder() / "prepared"


def folder_of(corpus_sha256: str, fingerprint: str) -> Path:
    """Return where a text is kept once it is prepared."""
    return prepared_folder() / f"{corpus_sha256[:KEY_DIGITS]}-{fingerprint[:KEY_DIGITS]}"


def dtype_of(vocab_size: int) -> str:
    """Return the smallest of `DTYPES` that holds all ids."""
    import numpy as np

    return next(one for one in DTYPES if vocab_size - 1 <= np.iinfo(one).max)


def find(corpus_sha256: str, fingerprint: str) -> Prepared | None:
    """Return what was prepared of a text with a tokenizer; None if nothing was, or it is damaged.

    The content is compared with its hash if the file was touched since it was written.
    """
    try:
        folder = folder_of(corpus_sha256, fingerprint)
    except InputError:  # there is no cache
        return None
    found = _read(folder)
    wanted = corpus_sha256, fingerprint, FORMAT
    if found is None or (found.corpus_sha256, found.fingerprint, found.format) != wanted:
        return None
    tokens = folder / TOKENS_FILE
    try:
        there = tokens.stat()
        if there.st_size != found.tokens * int(found.dtype[-1]):
            return None
        if there.st_mtime_ns != found.written:
            if hash_of(tokens) != found.sha256:
                return None
            found = replace(found, written=there.st_mtime_ns)
            with suppress(OSError):  # the cache of another user; it is compared again
                note(found)
        found.starts()
    except (OSError, ValueError, TypeError):  # a file is gone, or the description is damaged
        return None
    return found


def note(prepared: Prepared) -> None:
    """Write what is known of a prepared text beside it.

    Raises:
        OSError: It could not be written.
    """
    body = json.dumps(asdict(prepared), indent=1, ensure_ascii=False)
    write_atomically(prepared.folder / ABOUT_FILE, body.encode())


def entries() -> list[Prepared]:
    """Return all that is prepared, the latest first."""
    try:
        found = [_read(one) for one in prepared_folder().iterdir()]
    except OSError:
        return []
    return sorted((one for one in found if one), key=lambda one: -one.written)


def unfinished() -> Iterator[Path]:
    """Yield the folders of what is being prepared, or was when it was interrupted."""
    with suppress(OSError):
        for one in prepared_folder().iterdir():
            if one.is_dir() and not (one / ABOUT_FILE).exists():
                yield one


def remove(prepared: Prepared) -> None:
    """Delete a prepared text; a run that reads it at this moment keeps it until its end."""
    (prepared.folder / ABOUT_FILE).unlink(missing_ok=True)  # first: half of it is nothing
    remove_tree(prepared.folder)


def remove_of(names: Collection[str]) -> int:
    """Delete what was prepared of the texts with some names; return how many bytes that freed."""
    found = [one for one in entries() if one.name in names]
    size = sum(one.size for one in found)
    for one in found:
        remove(one)
    return size


def remove_unfinished() -> int:
    """Delete what was interrupted, unless a program is at it; return how many bytes that freed."""
    freed = 0
    for folder in unfinished():
        with suppress(OSError), folder.with_name(folder.name + LOCK_SUFFIX).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            freed += sum(one.stat().st_size for one in folder.iterdir())
            remove_tree(folder)
            os.unlink(lock.name)
    return freed


def hash_of(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(folder: Path) -> Prepared | None:
    try:
        about = json.loads((folder / ABOUT_FILE).read_text(encoding="utf-8"))
        return Prepared(**about)
    except (OSError, ValueError, TypeError):
        return None
