"""Text to token ids and back; every tokenizer saves and loads itself as JSON.

numpy is imported where it is first needed, because the schema reads `TOKENIZERS` for its choices
before the first paint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from data.download import write_atomically
from data.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODE_POINTS = 0x110000
CHUNK_CHARACTERS = 1 << 20  # what is worked on at a time, so that a long text needs little memory
SHOWN_UNKNOWN = 10


class Tokenizer(Protocol):
    """What the rest of the program may rely on, whatever a token is."""

    kind: ClassVar[str]

    @property
    def vocab_size(self) -> int:
        """How many different tokens there are; ids run from 0 to one less."""

    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        """Returns the ids of `text` as unsigned integers, 16 bits wide where they suffice."""

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Returns the text that `ids` stand for."""

    def unknown(self, text: str) -> list[str]:
        """Returns the distinct characters of `text` that have no token, as they first appear."""

    def to_dict(self) -> dict[str, Any]:
        """Returns all of the tokenizer, ready for JSON; `load_tokenizer` reads it."""

    def save(self, path: Path) -> None:
        """Writes `to_dict()` to `path`, all of it or nothing."""


class CharTokenizer:
    """One token per distinct character, numbered in code point order."""

    kind: ClassVar[str] = "char"

    def __init__(self, characters: Iterable[str]) -> None:
        """Takes the vocabulary; the position of a character is its id.

        Raises:
            InputError: There are none, one twice, or something is not a single character.
        """
        self.characters = tuple(characters)
        if not self.characters:
            raise InputError("A tokenizer needs at least one character: give a longer text.")
        if any(not isinstance(c, str) or len(c) != 1 for c in self.characters):
            raise InputError("A character tokenizer holds single characters only.")
        if len(set(self.characters)) != len(self.characters):
            raise InputError("A character tokenizer holds each character once.")

    @classmethod
    def train(cls, text: str) -> CharTokenizer:
        """Returns the tokenizer of exactly the characters in `text`."""
        import numpy as np

        seen = np.zeros(CODE_POINTS, dtype=bool)
        for codes in _code_points(text):
            seen[codes] = True
        return cls(chr(code) for code in np.flatnonzero(seen))

    @property
    def vocab_size(self) -> int:
        """How many different characters there are."""
        return len(self.characters)

    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        """Returns one id per character.

        Args:
            text: What to encode.
            drop_unknown: Leave out characters without a token, instead of raising.

        Raises:
            InputError: Characters have no token; the message names them.
        """
        import numpy as np

        ids = np.empty(len(text), dtype=self._id_of.dtype)
        no_token = self._id_of[-1]
        written, is_complete = 0, True
        for codes in _code_points(text):
            chunk = self._id_of[np.minimum(codes, len(self._id_of) - 1)]
            known = chunk != no_token
            if not known.all():
                chunk, is_complete = chunk[known], False
            ids[written : written + len(chunk)] = chunk
            written += len(chunk)
        if not is_complete and not drop_unknown:
            raise InputError(_without_token(self.unknown(text)))
        return ids[:written]

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Returns the characters that `ids` stand for.

        Raises:
            ValueError: An id is outside the vocabulary.
        """
        import numpy as np

        positions = np.asarray(ids, dtype=np.int64)
        outside = (positions < 0) | (positions >= self.vocab_size)
        if outside.any():
            raise ValueError(
                f"id {positions[outside][0]} is outside 0 … {self.vocab_size - 1}, the vocabulary"
            )
        return self._code_of[positions].tobytes().decode("utf-32-le", "surrogatepass")

    def unknown(self, text: str) -> list[str]:
        """Returns the distinct characters of `text` that have no token, as they first appear."""
        return sorted(set(text) - set(self.characters), key=text.index)

    def to_dict(self) -> dict[str, Any]:
        """Returns all of the tokenizer, ready for JSON."""
        # A list, not one string: two lone surrogates side by side come back from JSON as one
        # character.
        return {"kind": self.kind, "characters": list(self.characters)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> CharTokenizer:
        """Returns the tokenizer that `to_dict` described.

        Raises:
            InputError: This does not describe one.
        """
        characters = saved.get("characters")
        if not isinstance(characters, list):
            raise InputError("The saved tokenizer is damaged: it has no list of characters.")
        return cls(characters)

    def save(self, path: Path) -> None:
        """Writes the tokenizer to `path` as JSON, all of it or nothing."""
        write_atomically(path, json.dumps(self.to_dict()).encode("ascii"))

    @classmethod
    def load(cls, path: Path) -> CharTokenizer:
        """Returns the tokenizer saved at `path`.

        Raises:
            InputError: The file is missing or does not hold one.
        """
        return cls.from_dict(_read_json(path))

    @cached_property
    def _code_of(self) -> NDArray[np.uint32]:
        """Maps an id to its code point."""
        import numpy as np

        return np.array([ord(c) for c in self.characters], dtype="<u4")

    @cached_property
    def _id_of(self) -> NDArray[Any]:
        """Maps a code point to its id; the last place, for all above the highest, is 'no token'."""
        import numpy as np

        dtype = np.uint16 if self.vocab_size <= 0xFFFF else np.uint32
        no_token = np.iinfo(dtype).max  # which the check above keeps from being an id
        table = np.full(int(self._code_of.max()) + 2, no_token, dtype=dtype)
        table[self._code_of] = np.arange(self.vocab_size)
        return table


TOKENIZERS: dict[str, type[CharTokenizer]] = {CharTokenizer.kind: CharTokenizer}


def load_tokenizer(saved: Mapping[str, Any]) -> Tokenizer:
    """Returns the tokenizer that some `to_dict` described.

    Raises:
        InputError: Its kind is not one of `TOKENIZERS`, or it is damaged.
    """
    kind = saved.get("kind")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise InputError(
            f"The saved tokenizer is of kind {kind!r}, and this version knows only: "
            f"{', '.join(TOKENIZERS)}. A newer version of gpt-tui may have written it."
        )
    return TOKENIZERS[kind].from_dict(saved)


def _code_points(text: str) -> Iterator[NDArray[np.uint32]]:
    """Yields the code points of `text`, some at a time; lone surrogates are as good as any."""
    import numpy as np

    for start in range(0, len(text), CHUNK_CHARACTERS):
        chunk = text[start : start + CHUNK_CHARACTERS]
        yield np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def _without_token(characters: list[str]) -> str:
    shown = ", ".join(repr(c) for c in characters[:SHOWN_UNKNOWN])
    more = len(characters) - SHOWN_UNKNOWN
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"The text the model learned from has no {shown}{rest}. "
        "Leave them out: a character model knows only the characters it was trained on."
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        saved = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"The tokenizer {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"The tokenizer {path} is damaged: it is not JSON.") from error
    if not isinstance(saved, dict):
        raise InputError(f"The tokenizer {path} is damaged: it is not a JSON object.")
    return saved
