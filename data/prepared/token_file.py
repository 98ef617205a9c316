"""Files of tokens, as nanoGPT writes them: ``train.bin``, with ``val.bin`` and ``meta.pkl`` beside.

Their ids have 16 bits each, little-endian, behind the header of llm.c if they have one. What they
mean stands in ``meta.pkl`` if they are characters, or in a ``tokenizer.json``; else they are of
GPT-2, or of the tokenizer that ``data.tokenizer`` names. A file is the text that its tokens stand
for, and keeps them.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import pickle
import struct
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.corpora.corpus import Corpus, Document
from data.corpora.file_kinds import kind_of
from data.download import NotHere, Watcher
from data.errors import InputError, reason_of
from data.program import named
from data.reading import read_regular
from data.sources.files import PIECE_BYTES, FileSource
from data.sources.meter import Meter
from data.sources.tally import Tally
from data.specs import anchored_path
from data.tokenizers import ByteTokenizer, CharTokenizer, Tokenizer
from data.tokenizers.kinds import FILE, KINDS, from_standard

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIX = ".bin"
TRAIN, VAL, META = "train.bin", "val.bin", "meta.pkl"
TOKENIZER = "tokenizer.json"  # beside them, for tokens that nanoGPT does not know
ID = "<u2"
IDS = 1 << 16
ID_BYTES = 2
HEADER = struct.pack("<ii", 20240520, 1)  # of llm.c: its magic number and version
HEADER_BYTES = 1024
MOST_META_BYTES = 1 << 24
GPT2, GPT2_TOKENS = "gpt2", 50_257


def is_token_file(spec: str, kind: str = "char") -> bool:
    """Return whether a path names a file of tokens: a ``.bin`` with bytes that no text has.

    A folder with nanoGPT's files names its ``train.bin``. Where nothing says what the tokens mean,
    they are GPT-2's: other binary files have larger numbers.

    Args:
        kind: The setting ``data.tokenizer``, which may name a file of more tokens.
    """
    with suppress(InputError, OSError, ValueError):
        file = _source(spec)
        if not file.name.lower().endswith(SUFFIX):
            return False
        head = file.head()
        if b"\0" not in head or file.size % ID_BYTES or kind_of(head):
            return False
        beside = (file.path.with_name(name) for name in (META, TOKENIZER))
        if head.startswith(HEADER) or kind not in KINDS or any(one.exists() for one in beside):
            return True
        import numpy as np

        return bool(np.frombuffer(head[: len(head) // ID_BYTES * ID_BYTES], ID).max() < GPT2_TOKENS)
    return False


def validation_beside(spec: str, kind: str = "char") -> str:
    """Return the path of the ``val.bin`` beside a ``train.bin``; empty if there is none.

    Args:
        kind: The setting ``data.tokenizer``.
    """
    with suppress(InputError):
        path = token_path(spec)
        beside = path.with_name(VAL)
        both = spec, str(beside)
        if path.name == TRAIN and all(is_token_file(one, kind) for one in both):
            return str(beside)
    return ""


def read_token_file(spec: str, kind: str, watcher: Watcher) -> Corpus:
    """Read a file of tokens once.

    Args:
        kind: The setting ``data.tokenizer``; ``char``, its default, takes what ``meta.pkl`` says.

    Raises:
        InputError: It is empty, changes, or it is not known what its tokens mean.
        Cancelled: `watcher.cancelled` returned true.
    """
    import numpy as np

    file = _source(spec)
    skip = HEADER_BYTES if file.head().startswith(HEADER) else 0
    sha256, counts = hashlib.sha256(), np.zeros(IDS, np.int64)
    for ids in _ids(file, skip, Meter("reading", file.name, file.size, watcher)):
        sha256.update(ids.data.cast("B"))
        counts += np.bincount(ids, minlength=IDS)
    if not counts.any():
        raise InputError(f"{named(spec)} is empty: name a file that has tokens")
    tokenizer = _tokenizer(spec, file.path, kind, counts, watcher)
    tokens = TokenFile(file, skip, tokenizer, int(counts.sum()))
    used = counts[: tokenizer.vocab_size]
    bytes_of, begun = tokens.sizes
    end = tokenizer.end_of_text
    return Corpus(
        name=file.name,
        characters=int(used @ begun),
        size=int(used @ bytes_of),
        count=max(1, 0 if end is None else int(counts[end])),
        sha256=sha256.hexdigest(),
        source=str(file.path),
        readers=(tokens,),
        told=(f"the tokens of {named(file.name)} are taken as they are ({tokenizer.kind})",),
        given=tokens,
    )


class TokenFile:
    """The tokens of a file; as a reader of documents, the text that they stand for.

    Args:
        skip: Bytes before them.
        count: How many there are.
    """

    def __init__(self, file: FileSource, skip: int, tokenizer: Tokenizer, count: int) -> None:
        self._file, self._skip, self.tokenizer, self.count = file, skip, tokenizer, count
        self.name = file.name

    @property
    def size(self) -> int:
        return self._file.size

    def ids(self, start: int, meter: Meter) -> Iterator[NDArray[Any]]:
        """Yield the ids from a place on, (n,) each.

        Raises:
            InputError: The file has changed, or cannot be read any more.
            Cancelled: The meter's watcher returned true.
        """
        yield from _ids(self._file, self._skip + start * ID_BYTES, meter)

    def documents(self, meter: Meter, tally: Tally) -> Iterator[Document]:
        end = self.tokenizer.end_of_text
        if end is None:
            yield Document(self.name, partial(self._text, 0, self.count, meter))
            return
        number, start, done = 0, 0, 0
        for ids in self.ids(0, meter):
            for place in (ids == end).nonzero()[0].tolist():
                number, stop = number + 1, done + place
                text = partial(self._text, start, stop, meter)
                yield Document(f"{self.name}:{number}", text)
                start = stop + 1
            done += len(ids)
        if start < done:  # the end is missing, as of a part of a text
            text = partial(self._text, start, done, meter)
            yield Document(f"{self.name}:{number + 1}", text)

    def settle(self, offset: int, meter: Meter) -> None:
        raise NotImplementedError("it has characters already")

    @cached_property
    def sizes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bytes of each token, and how many characters begin in it, (vocab_size,) each."""
        import numpy as np

        begun = [sum(byte & 0xC0 != 0x80 for byte in one) for one in self._bytes]
        return np.array([len(one) for one in self._bytes]), np.array(begun)

    @cached_property
    def _bytes(self) -> list[bytes]:
        return list(map(self.tokenizer.token_bytes, range(self.tokenizer.vocab_size)))

    def _text(self, start: int, stop: int, meter: Meter) -> Iterator[str]:
        decoder, left = codecs.getincrementaldecoder("utf-8")("replace"), stop - start
        watcher = Watcher(cancelled=meter.watcher.cancelled)  # the one around it reports
        for ids in self.ids(start, Meter(meter.doing, self.name, 0, watcher)):
            part = ids[:left].tolist()
            left -= len(part)
            yield decoder.decode(b"".join([self._bytes[one] for one in part]), final=not left)
            if not left:
                break


def token_path(spec: str) -> Path:
    """Return the path that a spec names, and in a folder of nanoGPT's that of ``train.bin``.

    Raises:
        InputError: It cannot be used.
    """
    path = Path(anchored_path(spec))
    inside = path / TRAIN
    return inside if inside.is_file() and (path / VAL).is_file() else path


def _source(spec: str) -> FileSource:
    path = token_path(spec)
    return FileSource(path, spec, path.name)


def _ids(file: FileSource, skip: int, meter: Meter) -> Iterator[NDArray[Any]]:
    import numpy as np

    with file.opened() as opened:
        opened.seek(skip)
        while body := opened.read(PIECE_BYTES):
            meter.tick()
            meter.read += len(body)
            yield np.frombuffer(body[: len(body) // ID_BYTES * ID_BYTES], ID)


def _tokenizer(
    spec: str, path: Path, kind: str, counts: NDArray[np.int64], watcher: Watcher
) -> Tokenizer:
    """Return the tokenizer that made tokens of which each occurs so often, (IDS,)."""
    found = _named(spec, path, kind, counts, watcher)
    highest = int(counts.nonzero()[0][-1])
    if highest >= found.vocab_size:
        raise InputError(
            f"{named(spec)} has the token {highest:,}, and {found.kind} has {found.vocab_size:,} "
            "tokens: name the tokenizer that made the file, as in --set data.tokenizer=PATH"
        )
    return found


def _named(
    spec: str, path: Path, kind: str, counts: NDArray[np.int64], watcher: Watcher
) -> Tokenizer:
    from data.tokenizers.files import find_gpt2, read_tokenizer_file

    if kind == "char" and (characters := _characters(path.with_name(META))):
        return CharTokenizer(characters)
    beside = path.with_name(TOKENIZER)
    if kind == "char" and beside.exists():
        kind = str(beside)
    if kind == "bytes":
        return ByteTokenizer()
    if kind == "bpe":
        raise InputError(
            f"{named(spec)} holds tokens already: name the tokenizer that made them, as in --set "
            "data.tokenizer=PATH"
        )
    if kind in KINDS:
        try:
            saved, kind = find_gpt2(watcher), GPT2
        except NotHere:
            raise
        except InputError as error:
            raise InputError(
                f"what the tokens of {named(spec)} mean is not known: no {META} beside it has "
                f"characters, and {error}"
            ) from None
    else:
        saved, kind = read_tokenizer_file(kind), FILE
    with_ends = from_standard(kind, saved, has_documents=True)
    end = with_ends.end_of_text
    has_documents = end is not None and end < IDS and counts[end] > 0
    return with_ends if has_documents else from_standard(kind, saved)


def meta_of(tokenizer: Tokenizer) -> bytes:
    """Return nanoGPT's ``meta.pkl``, which says what characters are; empty for other tokens."""
    letters = tokenizer.alphabet
    if len(letters) != tokenizer.vocab_size:  # with others, which nanoGPT has not
        return b""
    by_id = dict(enumerate(letters))
    ids = {letter: id for id, letter in by_id.items()}
    return pickle.dumps({"vocab_size": len(by_id), "itos": by_id, "stoi": ids})


class _PlainUnpickler(pickle.Unpickler):
    """Reads numbers, texts, lists and dictionaries; a pickle of anything else could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _characters(meta: Path) -> list[str]:
    """Return the characters that nanoGPT's ``meta.pkl`` has, by id; empty if there are none.

    Raises:
        InputError: It cannot be read, or would run code.
    """
    try:
        found = _PlainUnpickler(io.BytesIO(read_regular(meta, MOST_META_BYTES, follow=True))).load()
    except FileNotFoundError:
        return []
    except (OSError, pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError,
            AttributeError, MemoryError, OverflowError, struct.error) as error:  # fmt: skip
        raise InputError(
            f"{named(str(meta))} is not read ({reason_of(error)}): delete it, or name the "
            "tokenizer with --set data.tokenizer=PATH"
        ) from None
    names = found.get("itos") if isinstance(found, dict) else None
    if not isinstance(names, dict) or set(names) != set(range(len(names))):
        return []
    characters = [names[id] for id in range(len(names))]
    is_plain = all(isinstance(one, str) and len(one) == 1 for one in characters)
    return characters if is_plain and len(set(characters)) == len(characters) else []
