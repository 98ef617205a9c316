"""One token per distinct character of the training text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from data.tokenizers.base import (
    END_OF_TEXT,
    Tokenizer,
    TokenStream,
    decode_around,
    without_token,
)
from data.tokenizers.byte_level import check_within, standard_bpe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CODE_POINTS = 0x110000
CHUNK_CHARACTERS = 1 << 20  # processed at a time, to limit the memory a long text needs
UNKNOWN = "<unk>"  # as the token of rare characters is shown
REPLACEMENT = "\ufffd"  # as it is written


class CharTokenizer(Tokenizer):
    """One token per distinct character, numbered in code point order.

    Args:
        characters: The position of a character is its id.
        has_unknown: Whether a token after them stands for all other characters.
        has_end_of_text: Whether a last token stands after each document.

    Raises:
        InputError: The vocabulary is empty, or has duplicates or longer strings.
    """

    kind = "char"

    def __init__(
        self, characters: Iterable[str], has_unknown: bool = False, has_end_of_text: bool = False
    ) -> None:
        self.characters = tuple(characters)
        self.has_unknown = has_unknown
        if not self.characters:
            raise InputError("A tokenizer needs at least one character: give a longer text.")
        if any(not isinstance(c, str) or len(c) != 1 for c in self.characters):
            raise InputError("The vocabulary of a character tokenizer has single characters only.")
        if len(set(self.characters)) != len(self.characters):
            raise InputError("The vocabulary of a character tokenizer has each character once.")
        if has_end_of_text:
            self.end_of_text = len(self.characters) + has_unknown

    @classmethod
    def train(
        cls, text: Iterable[str], min_count: int = 1, has_end_of_text: bool = False
    ) -> CharTokenizer:
        """Create the tokenizer of a text, given as a whole or in pieces.

        Args:
            min_count: Characters that are rarer have no token of their own.

        Raises:
            InputError: No character is as frequent as that.
        """
        pieces = (text,) if isinstance(text, str) else text
        if min_count <= 1:
            return cls(sorted(_distinct(pieces)), has_end_of_text=has_end_of_text)
        counts = _counts(pieces)
        frequent = [chr(code) for code in (counts >= min_count).nonzero()[0]]
        if not frequent:
            raise InputError(
                f"no character occurs {min_count:,} times in the text: set data.min_count to "
                f"{int(counts.max()):,} or less"
            )
        has_unknown = bool(((counts > 0) & (counts < min_count)).any())
        return cls(frequent, has_unknown, has_end_of_text)

    @property
    def vocab_size(self) -> int:
        return len(self.characters) + self.has_unknown + (self.end_of_text is not None)

    @property
    def alphabet(self) -> str:
        return "".join(self.characters)

    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        """Return one id per character, in the smallest integer type that PyTorch can index with."""
        ids = self._ids_of(text)
        no_token = ids == self._id_of[-1]
        if not no_token.any():
            return ids
        if not drop_unknown:
            raise InputError(without_token(self.unknown(text)))
        known: NDArray[Any] = ids[~no_token]
        return known

    def encode_chunk(self, chunk: str) -> NDArray[Any]:
        if not self.has_unknown:
            return self.encode(chunk)
        ids = self._ids_of(chunk).copy()
        ids[ids == self._id_of[-1]] = len(self.characters)
        return ids

    def encode_together(self, chunks: Sequence[str]) -> tuple[NDArray[Any], list[int]]:
        return self.encode_chunk("".join(chunks)), list(map(len, chunks))

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        import numpy as np

        positions = np.asarray(ids, dtype=np.int64)
        check_within(positions, self.vocab_size)
        return decode_around(
            positions,
            self.end_of_text,
            lambda part: self._code_of[part].tobytes().decode("utf-32-le", "surrogatepass"),
        )

    def unknown(self, text: str) -> list[str]:
        return sorted(set(text) - set(self.characters), key=text.index)

    def token_text(self, token: int) -> str:
        is_unknown = self.has_unknown and token == len(self.characters)
        return UNKNOWN if is_unknown else self.decode([token])

    def stream(self) -> TokenStream:
        return _CharStream(self)

    def to_dict(self) -> dict[str, Any]:
        # A list, not a string: JSON would merge two adjacent lone surrogates into one character.
        saved: dict[str, Any] = {"kind": self.kind, "characters": list(self.characters)}
        saved |= {"unknown": True} if self.has_unknown else {}
        return saved | ({} if self.end_of_text is None else {"end_of_text": True})

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> CharTokenizer:
        """Return the tokenizer that `to_dict` was called on.

        Raises:
            InputError: The values are invalid.
        """
        characters = saved.get("characters")
        if not isinstance(characters, list):
            raise InputError("The saved tokenizer is damaged: it has no list of characters.")
        has = [saved.get(name) is True for name in ("unknown", "end_of_text")]
        return cls(characters, *has)

    def standard(self) -> dict[str, Any]:
        unknown = (UNKNOWN,) if self.has_unknown else ()
        special = () if self.end_of_text is None else (END_OF_TEXT,)
        ids = {name: id for id, name in enumerate((*self.characters, *unknown, *special))}
        made = standard_bpe(ids, byte_level=False, special=special)
        if self.has_unknown:
            made["model"]["unk_token"] = UNKNOWN
        return made

    def _ids_of(self, text: str) -> NDArray[Any]:
        """Return one id per character, (n,); the last one of `_id_of` where there is no token."""
        import numpy as np

        if text.isascii() and self._ascii_ids is not None:
            ids = bytearray(text.encode().translate(self._ascii_ids))  # can be written
            return np.frombuffer(ids, np.uint8)
        looked_up = np.empty(len(text), self._id_of.dtype)
        done = 0
        for codes in _code_points(text):
            looked_up[done : done + len(codes)] = self._look_up(codes)
            done += len(codes)
        return looked_up

    def _look_up(self, codes: NDArray[np.uint32]) -> NDArray[Any]:
        import numpy as np

        ids: NDArray[Any] = self._id_of[np.minimum(codes, len(self._id_of) - 1)]
        return ids

    @cached_property
    def _code_of(self) -> NDArray[np.uint32]:
        """Map the ids of characters and of the unknown one to code points."""
        import numpy as np

        characters = (*self.characters, REPLACEMENT) if self.has_unknown else self.characters
        return np.array([ord(c) for c in characters], dtype="<u4")

    @cached_property
    def _id_of(self) -> NDArray[Any]:
        """Map code points to ids; the last entry, for all higher code points, means no token."""
        import numpy as np

        dtypes = (np.uint8, np.int16, np.int32)
        dtype = next(one for one in dtypes if self.vocab_size <= np.iinfo(one).max)
        no_token = np.iinfo(dtype).max  # not an id, because of the line above
        codes = self._code_of[: len(self.characters)]
        table = np.full(int(codes.max()) + 2, no_token, dtype=dtype)
        table[codes] = np.arange(len(codes))
        return table

    @cached_property
    def _ascii_ids(self) -> bytes | None:
        """The ids of the first 256 code points, if a byte holds each id: the fastest way."""
        import numpy as np

        if self._id_of.dtype != np.uint8:
            return None
        return bytes(self._look_up(np.arange(256, dtype=np.uint32)))


class _CharStream(TokenStream):
    """A token is a whole character, which may be one that UTF-8 has no bytes for."""

    def __init__(self, tokenizer: CharTokenizer) -> None:
        self._tokenizer = tokenizer

    def feed(self, token: int) -> str:
        return self._tokenizer.decode([token])

    def rest(self) -> str:
        return ""


def _distinct(pieces: Iterable[str]) -> set[str]:
    import numpy as np

    ascii_seen = b""
    others = np.zeros(CODE_POINTS, dtype=bool)
    for piece in pieces:
        if piece.isascii():
            # deleting what is known is much faster than looking at each
            ascii_seen += bytes(set(piece.encode().translate(None, ascii_seen)))
            continue
        for codes in _code_points(piece):
            others[codes] = True
    return set(ascii_seen.decode()) | {chr(code) for code in np.flatnonzero(others)}


def _counts(pieces: Iterable[str]) -> NDArray[np.int64]:
    """Return how often each code point occurs, (CODE_POINTS,)."""
    import numpy as np

    counts = np.zeros(CODE_POINTS, dtype=np.int64)
    for piece in pieces:
        for codes in _code_points(piece):
            counts += np.bincount(codes, minlength=CODE_POINTS)
    return counts


def _code_points(text: str) -> Iterator[NDArray[np.uint32]]:
    """Yield the code points of `text` in chunks; lone surrogates are allowed."""
    import numpy as np

    for start in range(0, len(text), CHUNK_CHARACTERS):
        chunk = text[start : start + CHUNK_CHARACTERS]
        yield np.frombuffer(chunk.encode("utf-32-le", "surrogatepass"), dtype="<u4")
