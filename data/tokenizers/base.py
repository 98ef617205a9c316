"""What every tokenizer does."""

from __future__ import annotations

import codecs
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN_UNKNOWN = 10
END_OF_TEXT = "<|endoftext|>"  # the name of the token after each of several documents, as GPT-2's


class Tokenizer(ABC):
    """Turns text into token ids, from 0 to `vocab_size - 1`, and back.

    Attributes:
        kind: As in the setting ``data.tokenizer``; "file" for one that was read from a file.
        end_of_text: The id of the token that stands after each document, and that no text gives;
            None where the training text is one document, or the file has no such token.
    """

    kind: str
    end_of_text: int | None = None

    @property
    @abstractmethod
    def vocab_size(self) -> int: ...

    @property
    def alphabet(self) -> str:
        """The characters that a text may have; empty if it may have any."""
        return ""

    @abstractmethod
    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        """Return the ids of a text, (n,), of an integer type.

        Args:
            drop_unknown: Drop characters without a token, instead of raising.

        Raises:
            InputError: Characters have no token; the message lists them.
        """

    @abstractmethod
    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        """Return the text of `ids`; bytes that are no whole character become U+FFFD.

        Raises:
            ValueError: An id is outside the vocabulary.
        """

    @abstractmethod
    def unknown(self, text: str) -> list[str]:
        """Return the distinct characters of `text` without a token, in order of appearance."""

    def typed(self, text: str) -> str:
        """Return a typed text with the line ends that training texts have, which is ``\\n``."""
        if "\r" not in text or "\r" in self.alphabet:  # as of runs until 0.9
            return text
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @abstractmethod
    def token_text(self, token: int) -> str:
        """Return one token as it is shown: bytes that are no whole character as ``<E2>``."""

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token, in UTF-8."""
        return self.token_text(token).encode("utf-8", "surrogatepass")

    @abstractmethod
    def stream(self) -> TokenStream:
        """Return a decoder of tokens that come one after another."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the tokenizer as JSON-compatible values, for `load_tokenizer`."""

    @abstractmethod
    def standard(self) -> dict[str, Any]:
        """Return the content of a ``tokenizer.json`` that Hugging Face ``tokenizers`` reads."""

    def encode_chunk(self, chunk: str) -> NDArray[Any]:
        """Return the ids of a part of the training text; rare characters may share one.

        Raises:
            InputError: As `encode`.
        """
        return self.encode(chunk)

    def encode_chunks(self, chunks: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of several parts of the training text; see `encode_chunk`."""
        return [self.encode_chunk(one) for one in chunks]

    def encode_together(self, chunks: Sequence[str]) -> tuple[NDArray[Any], list[int]]:
        """Return the ids of several parts, one after another, (n,), and how many each part has."""
        import numpy as np

        ids = self.encode_chunks(chunks)
        return (ids[0] if len(ids) == 1 else np.concatenate(ids)), list(map(len, ids))

    def chunks(self, pieces: Iterable[str]) -> Iterator[str]:
        """Yield a text anew in parts whose ids, one after another, are those of the whole text."""
        yield from pieces

    @cached_property
    def fingerprint(self) -> str:
        """A hash that tells tokenizers apart: equal ones encode every text the same."""
        from hashlib import sha256  # not for the first paint

        return sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()


class TokenStream:
    """Turns tokens that come one after another into text, whole characters only.

    Args:
        bytes_of: Returns the bytes of a token, in UTF-8.
    """

    def __init__(self, bytes_of: Callable[[int], bytes]) -> None:
        self._bytes_of = bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """Return the text that is certain now."""
        return self._decoder.decode(self._bytes_of(token))

    def rest(self) -> str:
        """Return what is left at the end: U+FFFD for a character that was not finished."""
        return self._decoder.decode(b"", final=True)


def decode_around(
    ids: NDArray[Any], end_of_text: int | None, decode: Callable[[NDArray[Any]], str]
) -> str:
    """Decode ids, (n,), by `decode`, all but the ends of texts, which are written by their name."""
    if end_of_text is None:
        return decode(ids)
    ends = (ids == end_of_text).nonzero()[0].tolist()
    starts = [0, *(one + 1 for one in ends)]
    parts = zip(starts, [*ends, len(ids)], strict=True)
    return END_OF_TEXT.join(decode(ids[start:end]) for start, end in parts)


def shown_bytes(body: bytes) -> str:
    """Return bytes as text, those that are no whole character as ``<E2>``."""
    return body.decode("utf-8", "surrogateescape").translate(_ESCAPED)


# surrogateescape turns the byte 0x80 into U+DC80, and so on
_ESCAPED = {0xDC00 + byte: f"<{byte:02X}>" for byte in range(0x80, 0x100)}


def without_token(characters: Sequence[str]) -> str:
    """Return two sentences on characters that a tokenizer does not know."""
    shown = ", ".join(repr(c) for c in characters[:SHOWN_UNKNOWN])
    more = len(characters) - SHOWN_UNKNOWN
    rest = f" and {more} more" if more > 0 else ""
    return (
        f"The model's training text has no {shown}{rest}. "
        "Remove them: a character model knows only the characters it was trained on."
    )


def lone_surrogates(text: str) -> list[str]:
    """Return the distinct characters of `text` that UTF-8 has no bytes for."""
    return list(dict.fromkeys(c for c in text if "\ud800" <= c <= "\udfff"))


def not_in_utf8(characters: Sequence[str]) -> str:
    """Return two sentences on characters that a tokenizer of bytes cannot encode."""
    shown = ", ".join(repr(c) for c in characters[:SHOWN_UNKNOWN])
    return f"{shown} is no character of a text in UTF-8. Remove it."
