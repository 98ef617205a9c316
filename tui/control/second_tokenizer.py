"""A typed text as two tokenizers cut it: that of the text which is shown, and a second one."""

from __future__ import annotations

from dataclasses import replace

from data.download import Watcher
from data.errors import InputError
from data.program import named
from data.tokenizers import Tokenizer, make_tokenizer
from data.tokenizers.kinds import KINDS, needs_text
from engine.config.schema import SETTINGS, Config, DataConfig
from engine.config.setting import Value
from tui.control.text_look import TextLook, with_files
from tui.corpus.tokenized import Tokenized

BPE = "bpe"


def usual_second(kind: str) -> str:
    """Return what a tokenizer is compared with until another is chosen: what costs nothing."""
    return "bytes" if kind != "bytes" else "char"


def parse_tokenizer(typed: str) -> dict[str, Value]:
    """Return what to set for a tokenizer that was typed, as ``bpe 4096``.

    Raises:
        ValueError: There is none such.
    """
    kind, _, size = typed.strip().partition(" ")
    if kind == BPE and size:
        wanted: dict[str, Value] = {"data.tokenizer": BPE}
        wanted["data.vocab_size"] = SETTINGS["data.vocab_size"].parse(size.strip())
    else:
        wanted = {"data.tokenizer": SETTINGS["data.tokenizer"].parse(typed.strip())}
    return wanted


def parse_second(typed: str, config: Config) -> DataConfig:
    """Return the settings of a tokenizer that was typed.

    Raises:
        InputError: There is none such.
    """
    return config.replace(parse_tokenizer(typed)).data


def second_name(data: DataConfig) -> str:
    """Return what a tokenizer is called, and typed as."""
    return f"{BPE} {data.vocab_size}" if data.tokenizer == BPE else data.tokenizer


def second_tokenizer(
    text: TextLook, data: DataConfig, config: Config, watcher: Watcher
) -> Tokenizer:
    """Make a tokenizer for a text; nothing is downloaded for it.

    Args:
        config: With which the text was found.

    Raises:
        InputError: It cannot be had.
        Cancelled: ``watcher.cancelled`` returned true.
    """
    corpus = text.corpus
    if needs_text(data.tokenizer):
        try:
            corpus = with_files(corpus, config, watcher)
        except InputError as error:
            raise InputError(
                f"{data.tokenizer} is made of the text, and only its tokens are here ({error})"
            ) from None
    return make_tokenizer(data, corpus, replace(watcher, may_download=False))


def tokenized(tokenizer: Tokenizer, text: str, name: str = "") -> Tokenized:
    """Return a text as a tokenizer cuts it, without characters that it does not know."""
    text = tokenizer.typed(text)
    ids = tuple(tokenizer.encode(text, drop_unknown=True).tolist())
    return Tokenized(
        named(name or tokenizer.kind),
        tokenizer.vocab_size,
        tuple(map(tokenizer.token_text, ids)),
        ids,
        sum(len(tokenizer.token_bytes(one)) for one in ids),
        tuple(tokenizer.unknown(text)),
    )


def choices() -> str:
    """Return what can be typed."""
    return ", ".join(f"{BPE} 4096" if one == BPE else one for one in KINDS) + " or a path"
