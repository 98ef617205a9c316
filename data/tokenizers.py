"""Tokenizers: text to token ids and back. Checkpoints keep them as JSON.

NumPy is imported where it is first needed, so that the app can start without it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from data.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODE_POINTS = 0x110000
CHUNK_CHARACTERS = 1 << 20  # processed at a time, to limit the memory a long text needs
SHOWN_UNKNOWN = 10


class CharTokenizer:
    """One token per distinct character, numbered in code point order."""

    kind: ClassVar[str] = "char"

    def __init__(self, characters: Iterable[str]) -> None:
        """Create a tokenizer in which the position of a character is its id.

        Raises:
            InputError: The vocabulary is empty, or has duplicates or longer strings.
        """
        self.characters = tuple(characters)
        if not self.characters:
            raise InputError("A tokenizer needs at least one character: give a longer text.")
        if any(not isinstance(c, str) or len(c) != 1 for c in self.characters):
            raise InputError("The vocabulary of a character tokenizer has single characters only.")
        if len(set(self.characters)) != len(self.characters):
            raise InputError("The vocabulary of a character tokenizer has each character once.")

    @classmethod
    def train(cls, text: Iterable[str]) -> CharTokenizer:
        """Create the tokenizer of a text, given as a whole or in pieces."""
        import numpy as np

        seen = np.zeros(CODE_POINTS, dtype=bool)
        for piece in (text,) if isinstance(text, str) else text:
            for codes in _code_points(piece):
                seen[codes] = True
        return cls(chr(code) for code in np.flatnonzero(seen))

    @property
    def vocab_size(self) -> int:
        """Number of characters; ids are 0 to `vocab_size - 1`."""
        return len(self.characters)

    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        """Return one id per character, in the smallest integer type that PyTorch can index with.

        Args:
            drop_unknown: Drop characters without a token, instead of raising.

        Raises:
            InputError: Characters have no token; the message lists them.
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
            raise InputError(without_token(self.unknown(text)))
        return ids[:written]

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Return the characters of `ids`.

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
        """Return the distinct characters of `text` without a token, in order of appearance."""
        return sorted(set(text) - set(self.characters), key=text.index)

    def to_dict(self) -> dict[str, Any]:
        """Return the tokenizer as JSON-compatible values, for `load_tokenizer`."""
        # A list, not a string: JSON would merge two adjacent lone surrogates into one character.
        return {"kind": self.kind, "characters": list(self.characters)}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> CharTokenizer:
        """Return the tokenizer that `to_dict` was called on.

        Raises:
            InputError: The values are invalid.
        """
        characters = saved.get("characters")
        if not isinstance(characters, list):
            raise InputError("The saved tokenizer is damaged: it has no list of characters.")
        return cls(characters)

    @cached_property
    def _code_of(self) -> NDArray[np.uint32]:
        """Map ids to code points: (vocab_size,)."""
        import numpy as np

        return np.array([ord(c) for c in self.characters], dtype="<u4")

    @cached_property
    def _id_of(self) -> NDArray[Any]:
        """Map code points to ids; the last entry, for all higher code points, means no token."""
        import numpy as np

        dtypes = (np.uint8, np.int16, np.int32)
        dtype = next(one for one in dtypes if self.vocab_size <= np.iinfo(one).max)
        no_token = np.iinfo(dtype).max  # not an id, because of the line above
        table = np.full(int(self._code_of.max()) + 2, no_token, dtype=dtype)
        table[self._code_of] = np.arange(self.vocab_size)
        return table


Tokenizer = CharTokenizer  # the only kind so far; another one has the same methods
TOKENIZERS: dict[str, type[CharTokenizer]] = {CharTokenizer.kind: CharTokenizer}


def load_tokenizer(saved: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that `to_dict` was called on.

    Raises:
        InputError: Its kind is not one of `TOKENIZERS`, or the values are invalid.
    """
    kind = saved.get("kind")
    if not isinstance(kind, str) or kind not in TOKENIZERS:
        raise InputError(
            f"The saved tokenizer is of kind {kind!r}, and this version knows only: "
            f"{', '.join(TOKENIZERS)}. A newer version of gpt-tui may have written it."
        )
    return TOKENIZERS[kind].from_dict(saved)


def _code_points(text: str) -> Iterator[NDArray[np.uint32]]:
    """Yield the code points of `text` in chunks; lone surrogates are allowed."""
    import numpy as np

    for start in range(0, len(text), CHUNK_CHARACTERS):
        chunk = text[start : start + CHUNK_CHARACTERS]
        yield np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def without_token(characters: Sequence[str]) -> str:
    """Return two sentences on characters that a tokenizer does not know."""
    shown = ", ".join(repr(c) for c in characters[:SHOWN_UNKNOWN])
    more = len(characters) - SHOWN_UNKNOWN
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"The model's training text has no {shown}{rest}. "
        "Remove them: a character model knows only the characters it was trained on."
    )
