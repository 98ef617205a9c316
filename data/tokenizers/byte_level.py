"""One token per byte of the text in UTF-8: any text, 256 tokens, nothing to be trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from data.tokenizers.base import (
    END_OF_TEXT,
    Tokenizer,
    TokenStream,
    decode_around,
    lone_surrogates,
    not_in_utf8,
    shown_bytes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES = 256


class ByteTokenizer(Tokenizer):
    """The bytes of UTF-8 are the ids.

    Args:
        has_end_of_text: Whether a last token stands after each document.
    """

    kind = "bytes"

    def __init__(self, has_end_of_text: bool = False) -> None:
        self.end_of_text = BYTES if has_end_of_text else None

    @property
    def vocab_size(self) -> int:
        return BYTES + (self.end_of_text is not None)

    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        import numpy as np

        body = bytearray(utf8_of(text, drop_unknown))  # which can be written
        return np.frombuffer(body, dtype=np.uint8)

    def encode_chunk(self, chunk: str) -> NDArray[Any]:
        import numpy as np

        return np.frombuffer(utf8_of(chunk, drop_unknown=False), dtype=np.uint8)

    def encode_together(self, chunks: Sequence[str]) -> tuple[NDArray[Any], list[int]]:
        return self.encode_chunk("".join(chunks)), [
            len(one) if one.isascii() else len(one.encode()) for one in chunks
        ]

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        import numpy as np

        positions = np.asarray(ids, dtype=np.int64)
        check_within(positions, self.vocab_size)
        return decode_around(
            positions,
            self.end_of_text,
            lambda part: part.astype(np.uint8).tobytes().decode("utf-8", "replace"),
        )

    def unknown(self, text: str) -> list[str]:
        return lone_surrogates(text)

    def token_text(self, token: int) -> str:
        return shown_bytes(self.token_bytes(token))

    def token_bytes(self, token: int) -> bytes:
        return END_OF_TEXT.encode() if token == self.end_of_text else bytes((token,))

    def stream(self) -> TokenStream:
        return TokenStream(self.token_bytes)

    def to_dict(self) -> dict[str, Any]:
        ends = {} if self.end_of_text is None else {"end_of_text": True}
        return {"kind": self.kind, **ends}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> ByteTokenizer:
        return cls(saved.get("end_of_text") is True)

    def standard(self) -> dict[str, Any]:
        vocabulary = {letter: byte for byte, letter in letters_of_bytes().items()}
        if self.end_of_text is None:
            return standard_bpe(vocabulary, byte_level=True)
        vocabulary[END_OF_TEXT] = self.end_of_text
        return standard_bpe(vocabulary, byte_level=True, special=[END_OF_TEXT])


def utf8_of(text: str, drop_unknown: bool) -> bytes:
    """Return the bytes of a text.

    Raises:
        InputError: It has characters without any, and they are not to be dropped.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        if drop_unknown:
            return text.encode("utf-8", "ignore")
        raise InputError(not_in_utf8(lone_surrogates(text))) from None


def check_within(ids: NDArray[Any], vocab_size: int) -> None:
    """Check that all ids are in a vocabulary.

    Raises:
        ValueError: One is not.
    """
    outside = (ids < 0) | (ids >= vocab_size)
    if outside.any():
        raise ValueError(f"id {ids[outside][0]} is outside 0 … {vocab_size - 1}, the vocabulary")


@cache
def letters_of_bytes() -> dict[int, str]:
    """Return the printable letter that stands for each byte in the vocabulary of byte-level BPE.

    As in GPT-2: bytes that are printable in Latin-1 stand for themselves, the others for the code
    points from 256 on.
    """
    own = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(BYTES) if byte not in own]
    letters = {byte: chr(byte) for byte in own}
    return letters | {byte: chr(0x100 + number) for number, byte in enumerate(others)}


def standard_bpe(
    vocabulary: Mapping[str, int],
    byte_level: bool,
    merges: Sequence[Sequence[str]] = (),
    special: Sequence[str] = (),
) -> dict[str, Any]:
    """Return a ``tokenizer.json`` of BPE.

    Args:
        byte_level: Whether the names of tokens stand for bytes; see `letters_of_bytes`.
        merges: The pairs that become one token, the first ones first.
        special: Names in the vocabulary that no text gives.
    """
    # without merges no regular expression is needed: nothing has to be kept apart
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": bool(merges),
    }
    added = [
        {
            "id": vocabulary[name],
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for name in special
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": level if byte_level else None,
        "post_processor": None,
        "decoder": level if byte_level else {"type": "Fuse"},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(vocabulary),
            "merges": [list(pair) for pair in merges],
        },
    }
