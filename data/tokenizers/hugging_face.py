"""Tokenizers of Hugging Face ``tokenizers``: BPE trained on the text, GPT-2's, or any from a file.

The package is imported where it is first needed: it belongs to the extra ``bpe``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from data.errors import InputError, reason_of
from data.program import install_command
from data.tokenizers.base import (
    END_OF_TEXT,
    Tokenizer,
    TokenStream,
    lone_surrogates,
    shown_bytes,
)
from data.tokenizers.byte_level import check_within, letters_of_bytes, utf8_of

if TYPE_CHECKING:
    import tokenizers
    from numpy.typing import NDArray

CHUNK_CHARACTERS = 1 << 20
BATCH_CHARACTERS = 1 << 11  # a text for each core at a time: the fastest of 512 to 16,384
LONGEST_CHUNK = 1 << 24  # characters; without a place to cut it is cut anywhere
ENDS_OF_TEXT = (END_OF_TEXT, "<|end_of_text|>", "<|eos|>", "<eos>", "</s>")  # as files name it
# Between a letter or mark and one line end or space before another: no token reaches across, in the
# rules of GPT-2 and those after it.
_PLACES = re.compile(r"(?<=\S\n)(?=\S)|(?<=\S)(?= \S)")


class PackageMissing(InputError):
    """The package is not installed that tokenizers of this kind need."""


class HuggingFaceTokenizer(Tokenizer):
    """A tokenizer in the format of ``tokenizer.json``.

    Args:
        kind: "bpe", "gpt2" or "file".
        saved: The content of a ``tokenizer.json``.
        has_documents: Whether its token for the end of a text, if it has one, stands after each
            document.

    Raises:
        InputError: The package is missing, or it cannot read this.
    """

    def __init__(self, kind: str, saved: Mapping[str, Any], has_documents: bool = False) -> None:
        self.kind = kind
        self._saved = dict(saved)
        self._inner = _read(self._saved)
        if has_documents:
            self.end_of_text = self._found_end_of_text()

    @cached_property
    def vocab_size(self) -> int:
        # ids may have gaps: what counts is the largest
        return int(max(self._inner.get_vocab(with_added_tokens=True).values())) + 1

    def encode(self, text: str, *, drop_unknown: bool = False) -> NDArray[Any]:
        if not text.isascii():
            text = utf8_of(text, drop_unknown).decode()
        return self._ids_of([text])[0]

    def encode_chunks(self, chunks: Sequence[str]) -> list[NDArray[Any]]:
        return self._ids_of(
            [one if one.isascii() else utf8_of(one, drop_unknown=False).decode() for one in chunks]
        )

    def _ids_of(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """Return the ids of each text, (n,); all of them have bytes in UTF-8."""
        import numpy as np

        cut = [
            list(cut_text((one,), BATCH_CHARACTERS)) if self._can_cut else [one] for one in texts
        ]
        # one batch of all, so that short documents keep all cores busy, too
        batch = [part for parts in cut for part in parts]
        done = iter(self._inner.encode_batch_fast(batch, add_special_tokens=False))
        ids = [[np.array(next(done).ids, dtype=np.int32) for _ in parts] for parts in cut]
        return [np.concatenate(one) if one else np.zeros(0, np.int32) for one in ids]

    def chunks(self, pieces: Iterable[str]) -> Iterator[str]:
        if self._can_cut:
            yield from cut_text(pieces, CHUNK_CHARACTERS)
        elif text := "".join(pieces):
            yield text

    def decode(self, ids: Sequence[int] | NDArray[Any]) -> str:
        import numpy as np

        positions = np.asarray(ids, dtype=np.int64)
        check_within(positions, self.vocab_size)
        if self.is_byte_level:
            return b"".join(map(self._bytes_of, positions.tolist())).decode("utf-8", "replace")
        return str(self._inner.decode(positions.tolist(), skip_special_tokens=False))

    def unknown(self, text: str) -> list[str]:
        lone = lone_surrogates(text)
        if lone or self.is_byte_level or self._returns(text):
            return lone
        return [one for one in dict.fromkeys(text) if not self._returns(one)]

    def check_returns(self, text: str) -> None:
        """Check that a text can be had back from its tokens.

        Raises:
            InputError: It cannot.
        """
        if self.is_byte_level or self._returns(text):
            return
        lost = self.unknown(text)
        what = f"such as {lost[0]!r}" if lost else "such as spaces or capitals"
        raise InputError(
            f"this tokenizer does not give the text back ({what}, is lost): use one that does, "
            f"such as data.tokenizer bpe"
        )

    def _returns(self, text: str) -> bool:
        return self.decode(self.encode(text)) == text

    def token_text(self, token: int) -> str:
        if self.is_byte_level:
            return shown_bytes(self._bytes_of(token))
        return str(self._inner.id_to_token(token) or "")

    def token_bytes(self, token: int) -> bytes:
        return self._bytes_of(token) if self.is_byte_level else super().token_bytes(token)

    def stream(self) -> TokenStream:
        if self.is_byte_level:
            return TokenStream(self._bytes_of)
        return _WholeStream(self._inner)

    def to_dict(self) -> dict[str, Any]:
        ends = {} if self.end_of_text is None else {"end_of_text": True}
        return {"kind": self.kind, "standard": self._saved, **ends}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> HuggingFaceTokenizer:
        """Return the tokenizer that `to_dict` was called on.

        Raises:
            InputError: The values are invalid, or the package is missing.
        """
        standard = saved.get("standard")
        if not isinstance(standard, dict):
            raise InputError("The saved tokenizer is damaged: it has no tokenizer.json.")
        return cls(str(saved["kind"]), standard, saved.get("end_of_text") is True)

    def standard(self) -> dict[str, Any]:
        return self._saved

    def _found_end_of_text(self) -> int | None:
        """Return the id of the token that ends a text, if the file has one that no text gives."""
        special = {
            one.content: id
            for id, one in self._inner.get_added_tokens_decoder().items()
            if one.special
        }
        name = next((one for one in ENDS_OF_TEXT if one in special), None)
        if name is None or special[name] in self.encode(name):
            return None
        return int(special[name])

    @cached_property
    def is_byte_level(self) -> bool:
        """Whether each token is a sequence of bytes, all of which are there."""
        parts = [self._saved.get("decoder"), self._saved.get("pre_tokenizer")]
        level = all("ByteLevel" in _types(one) for one in parts)
        changed = self._saved.get("normalizer") or _adds_space(parts[1])
        whole = self._bytes_of_letters.keys() <= self._inner.get_vocab().keys()
        return level and whole and not changed

    @cached_property
    def _can_cut(self) -> bool:
        """Whether no token reaches across `_PLACES`."""
        if not self.is_byte_level:
            return False  # it may treat the beginning of a text in its own way
        parts = self._inner.pre_tokenizer.pre_tokenize_str("ab cd\nef")
        return {2, 6} <= {begin for _, (begin, _) in parts}

    @cached_property
    def _bytes_of_letters(self) -> dict[str, int]:
        return {letter: byte for byte, letter in letters_of_bytes().items()}

    @cached_property
    def _cached_bytes(self) -> dict[int, bytes]:
        return {}

    def _bytes_of(self, token: int) -> bytes:
        body = self._cached_bytes.get(token)
        if body is None:
            name = self._inner.id_to_token(token) or ""
            if token in self._added:
                body = name.encode()
            else:
                body = bytes(self._bytes_of_letters.get(one, 0x3F) for one in name)
            self._cached_bytes[token] = body
        return body

    @cached_property
    def _added(self) -> frozenset[int]:
        """The ids of special tokens, whose names are text."""
        return frozenset(self._inner.get_added_tokens_decoder())


class _WholeStream(TokenStream):
    """Decodes by the rules of the file, which may look at several tokens at once."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        from tokenizers.decoders import DecodeStream

        self._inner, self._stream = inner, DecodeStream(skip_special_tokens=False)
        self._ids: list[int] = []
        self._shown = 0

    def feed(self, token: int) -> str:
        self._ids.append(token)
        text = str(self._stream.step(self._inner, token) or "")
        self._shown += len(text)
        return text

    def rest(self) -> str:
        if not self._ids:
            return ""
        return str(self._inner.decode(self._ids, skip_special_tokens=False))[self._shown :]


def cut_text(pieces: Iterable[str], characters: int) -> Iterator[str]:
    """Yield a text in parts of about this length that are encoded apart as together."""
    held = ""
    for piece in pieces:
        held += piece
        start = 0
        while len(held) - start > characters:
            found = _PLACES.search(held, start + characters)
            # the last place is uncertain: what comes next may be a space
            if not found or found.start() >= len(held) - 1:
                break
            yield held[start : found.start()]
            start = found.start()
        held = held[start:]
        if len(held) > LONGEST_CHUNK:
            yield held
            held = ""
    if held:
        yield held


def _types(part: Any) -> set[str]:
    """Return the types of a part of a ``tokenizer.json``, those in a sequence included."""
    if not isinstance(part, dict):
        return set()
    inner = [*(part.get("pretokenizers") or ()), *(part.get("decoders") or ())]
    return {str(part.get("type"))}.union(*map(_types, inner))


def _adds_space(part: Any) -> bool:
    """Return whether a pre-tokenizer puts a space before the text."""
    if not isinstance(part, dict):
        return False
    own = part.get("type") == "ByteLevel" and part.get("add_prefix_space") is True
    return own or any(map(_adds_space, part.get("pretokenizers") or ()))


def _read(saved: Mapping[str, Any]) -> tokenizers.Tokenizer:
    package = tokenizers_package()
    try:
        inner = package.Tokenizer.from_str(json.dumps(saved))
    except Exception as error:  # the package raises nothing more special
        raise InputError(
            f"this tokenizer.json cannot be read: {reason_of(error)}: use another one"
        ) from None
    inner.no_truncation()
    inner.no_padding()
    # a text that has the name of a special token is still a text
    inner.encode_special_tokens = True
    found: tokenizers.Tokenizer = inner
    return found


def tokenizers_package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise PackageMissing(
            f"this tokenizer needs the package tokenizers: {install_command('bpe')}, or choose "
            "data.tokenizer char or bytes"
        ) from None
    return tokenizers
