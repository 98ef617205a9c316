"""All kinds of tokenizers: made for a text, or read again."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from data.errors import InputError
from data.program import named
from data.tokenizers.base import END_OF_TEXT, Tokenizer
from data.tokenizers.byte_level import BYTES, ByteTokenizer
from data.tokenizers.char import CharTokenizer

if TYPE_CHECKING:
    from data.corpora.corpus import Corpus
    from data.download import Watcher

KINDS = ("char", "bytes", "bpe", "gpt2")
"""What ``data.tokenizer`` may be, besides the path of a file."""

FILE = "file"
NO_VOCABULARY = "the file tokenizer.json is damaged: it has no vocabulary"


class Wanted(Protocol):
    """The settings that choose a tokenizer."""

    @property
    def tokenizer(self) -> str: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def min_count(self) -> int: ...


def make_tokenizer(wanted: Wanted, corpus: Corpus, watcher: Watcher) -> Tokenizer:
    """Return the tokenizer that the settings ask for, trained on a text if need be.

    That of a text that was given as tokens is the one that made them.
    Of several documents it has a token for the end of each; one from a file may have none.

    Raises:
        InputError: It cannot be had, or the text cannot be read.
        Cancelled: `watcher.cancelled` returned true.
    """
    kind, has_documents = wanted.tokenizer, corpus.count > 1
    if corpus.given:
        made_by: Tokenizer = corpus.given.tokenizer
        return made_by
    if kind == "char":
        doing, validation = "counting the characters of", corpus.validation
        pieces = corpus.pieces(doing, watcher)
        if validation:  # whose loss could not be measured without a token for each character
            pieces = chain(pieces, validation.pieces(doing, watcher))
        return CharTokenizer.train(pieces, wanted.min_count, has_documents)
    if kind == "bytes":
        return ByteTokenizer(has_documents)
    # these import a package that is an extra
    from data.tokenizers.files import find_gpt2, read_tokenizer_file
    from data.tokenizers.hugging_face import HuggingFaceTokenizer
    from data.tokenizers.train_bpe import train_bpe

    if kind == "bpe":
        pieces = corpus.pieces("reading", watcher)
        name = named(corpus.name)
        size = wanted.vocab_size
        return train_bpe(pieces, corpus.characters, size, name, watcher, has_documents)
    if kind == "gpt2":
        return HuggingFaceTokenizer("gpt2", find_gpt2(watcher), has_documents)
    saved = read_tokenizer_file(kind)
    made = from_standard(FILE, saved, has_documents)
    if isinstance(made, HuggingFaceTokenizer):
        made.check_returns(next(corpus.pieces("trying the tokenizer on", watcher), ""))
    return made


def check_tokenizer(kind: str) -> None:
    """Check that there is a tokenizer that ``data.tokenizer`` names.

    Raises:
        InputError: It is neither a kind nor the path of one.
    """
    if kind not in KINDS:
        from data.tokenizers.files import read_tokenizer_file

        read_tokenizer_file(kind)


def _is_of_characters(saved: Mapping[str, Any]) -> bool:
    """Return whether a ``tokenizer.json`` is one that `CharTokenizer.standard` returned."""
    model = saved.get("model")
    if not isinstance(model, dict) or model.get("merges") != [] or saved.get("pre_tokenizer"):
        return False
    names = model.get("vocab")
    unknown = model.get("unk_token")
    known = (unknown, END_OF_TEXT)
    return isinstance(names, dict) and all(len(one) == 1 or one in known for one in names)


def _has_end_of_text(saved: Mapping[str, Any]) -> bool:
    """Return whether a ``tokenizer.json`` of our own has a token for the end of a text."""
    added = saved.get("added_tokens")
    return isinstance(added, list) and any(
        isinstance(one, dict) and one.get("content") == END_OF_TEXT for one in added
    )


def needs_text(kind: str) -> bool:
    """Return whether a tokenizer of a kind is made of the training text."""
    return kind in ("char", "bpe")


def vocabulary_size(wanted: Wanted) -> int | None:
    """Return the size of a vocabulary that is known without the text; None if it is not."""
    return {"bytes": 256, "bpe": wanted.vocab_size, "gpt2": 50_257}.get(wanted.tokenizer)


def load_tokenizer(saved: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that `to_dict` was called on.

    Raises:
        InputError: Its kind is unknown, the values are invalid, or a package is missing.
    """
    kind = saved.get("kind")
    if kind == "char":
        return CharTokenizer.from_dict(saved)
    if kind == "bytes":
        return ByteTokenizer.from_dict(saved)
    if kind in ("bpe", "gpt2", FILE):
        from data.tokenizers.hugging_face import HuggingFaceTokenizer

        return HuggingFaceTokenizer.from_dict(saved)
    raise InputError(
        f"The saved tokenizer is of kind {kind!r}, and this version knows only: "
        f"{', '.join(KINDS)}. A newer version of gpt-tui may have written it."
    )


def from_standard(kind: str, saved: Mapping[str, Any], has_documents: bool = False) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json`` that `Tokenizer.standard` returned.

    Args:
        kind: As in the setting ``data.tokenizer``.
        has_documents: Whether the end of a text is a token where the file always has one: GPT-2's,
            or another's. Our own have one only where it is used.

    Raises:
        InputError: It is damaged, or a package is missing.
    """
    if kind == "bytes":
        model = saved.get("model")
        names = model.get("vocab") if isinstance(model, dict) else None
        if not isinstance(names, dict) or len(names) < BYTES:
            raise InputError(NO_VOCABULARY)
        return ByteTokenizer(_has_end_of_text(saved))
    if kind == "char" or (kind not in KINDS and _is_of_characters(saved)):
        try:
            model = saved["model"]
            names = sorted(model["vocab"], key=model["vocab"].__getitem__)
            has_unknown = model.get("unk_token") is not None
        except (KeyError, TypeError, AttributeError):
            raise InputError(NO_VOCABULARY) from None
        has_end_of_text = _has_end_of_text(saved)
        count = len(names) - has_unknown - has_end_of_text
        return CharTokenizer(names[:count], has_unknown, has_end_of_text)
    from data.tokenizers.hugging_face import HuggingFaceTokenizer

    has_documents = _has_end_of_text(saved) if kind == "bpe" else has_documents
    found = HuggingFaceTokenizer(kind if kind in KINDS else FILE, saved, has_documents)
    if kind == "bpe" and not found.is_byte_level:
        raise InputError("the file tokenizer.json is damaged: it lacks some bytes")
    return found
