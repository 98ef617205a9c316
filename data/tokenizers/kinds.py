"""All kinds of tokenizers: made for a text, or read again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from data.download import Watcher
from data.errors import InputError
from data.program import named
from data.tokenizers.base import Tokenizer
from data.tokenizers.byte_level import ByteTokenizer
from data.tokenizers.char import CharTokenizer

if TYPE_CHECKING:
    from data.corpora.corpus import Corpus

KINDS = ("char", "bytes", "bpe", "gpt2")
"""What ``data.tokenizer`` may be, besides the path of a file."""

FILE = "file"


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

    Raises:
        InputError: It cannot be had, or the text cannot be read.
        Cancelled: `watcher.cancelled` returned true.
    """
    kind = wanted.tokenizer
    if kind == "char":
        pieces = corpus.pieces("counting the characters of", watcher)
        return CharTokenizer.train(pieces, wanted.min_count)
    if kind == "bytes":
        return ByteTokenizer()
    # these import a package that is an extra
    from data.tokenizers.files import find_gpt2, read_tokenizer_file
    from data.tokenizers.hugging_face import HuggingFaceTokenizer, train_bpe

    if kind == "bpe":
        pieces = corpus.pieces("reading", watcher)
        name = named(corpus.name)
        return train_bpe(pieces, corpus.characters, wanted.vocab_size, name, watcher)
    if kind == "gpt2":
        return HuggingFaceTokenizer("gpt2", find_gpt2(watcher))
    saved = read_tokenizer_file(kind)
    made = from_standard(FILE, saved)
    if isinstance(made, HuggingFaceTokenizer):
        made.check_returns(next(corpus.pieces("trying the tokenizer on", watcher), ""))
    return made


def _is_of_characters(saved: Mapping[str, Any]) -> bool:
    """Return whether a ``tokenizer.json`` is one that `CharTokenizer.standard` returned."""
    model = saved.get("model")
    if not isinstance(model, dict) or model.get("merges") != [] or saved.get("pre_tokenizer"):
        return False
    names = model.get("vocab")
    unknown = model.get("unk_token")
    return isinstance(names, dict) and all(len(one) == 1 or one == unknown for one in names)


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


def from_standard(kind: str, saved: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json`` that `Tokenizer.standard` returned.

    Args:
        kind: As in the setting ``data.tokenizer``.

    Raises:
        InputError: It is damaged, or a package is missing.
    """
    if kind == "bytes":
        return ByteTokenizer()
    if kind == "char" or (kind not in KINDS and _is_of_characters(saved)):
        try:
            model = saved["model"]
            names = sorted(model["vocab"], key=model["vocab"].__getitem__)
            has_unknown = model.get("unk_token") is not None
        except (KeyError, TypeError, AttributeError):
            raise InputError("the file tokenizer.json is damaged: it has no vocabulary") from None
        return CharTokenizer(names[:-1] if has_unknown else names, has_unknown)
    from data.tokenizers.hugging_face import HuggingFaceTokenizer

    return HuggingFaceTokenizer(kind if kind in KINDS else FILE, saved)
