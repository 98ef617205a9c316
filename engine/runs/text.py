"""The text of some settings, and its tokens: found, read, split, and checked against the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from data.batches import Split, check_long_enough
from data.corpora.corpus import Corpus, Options
from data.corpora.load import load_corpus
from data.download import Watcher
from data.errors import InputError
from data.prepared.known import Reading, told_once
from data.prepared.prepare import Tokenized, in_memory, tokens_of
from data.prepared.split import split_of
from data.prepared.token_file import is_token_file, read_token_file, validation_beside
from data.program import named
from data.specs import called, has_place, specs_of
from data.tokenizers import Tokenizer, make_tokenizer
from data.tokenizers.kinds import check_tokenizer
from engine.config.schema import Config, DataConfig, ModelConfig
from engine.machine.memory import check_memory

MOST_SHORT = 1 << 20  # bytes of a text whose tokens are made to see how many they are


def load_text(config: Config, watcher: Watcher) -> tuple[Corpus, Tokenizer, Split]:
    """Load and tokenize the text of a configuration, and check that it is long enough.

    Raises:
        InputError: It cannot be used, is too short, or the model cannot fit the memory.
    """
    corpus, tokenizer, split = read_text(config.data, watcher)
    check_fit(config.model, tokenizer, split, corpus.validation is None)
    return corpus, tokenizer, split


def read_text(data: DataConfig, watcher: Watcher) -> tuple[Corpus, Tokenizer, Split]:
    """Load and tokenize a text; one whose files have not changed is not read again.

    Raises:
        InputError: It cannot be used.
    """
    reading = Reading(data, watcher)
    if known := reading.known():
        return *known, split_texts(*known, data, watcher)
    corpus = corpus_of(data, watcher)
    tokenizer = make_tokenizer(data, corpus, watcher)
    split = split_texts(corpus, tokenizer, data, watcher)
    reading.note(corpus, tokenizer)
    return corpus, tokenizer, split


def corpus_of(data: DataConfig, watcher: Watcher) -> Corpus:
    """Load a text, and the one to validate on if that is one of its own.

    Raises:
        InputError: It cannot be used.
    """
    check_tokenizer(data.tokenizer)  # first: a text may be long
    corpus = text_at(data.corpus, data, watcher)
    val = data.val or validation_beside(data.corpus, data.tokenizer)
    if not val:
        return corpus
    return replace(corpus, validation=validation_of(replace(data, val=val), watcher))


def validation_of(data: DataConfig, watcher: Watcher) -> Corpus:
    """Load the text to validate on.

    Raises:
        InputError: It cannot be used.
    """
    found = text_at(data.val, data, watcher)
    if found.note:  # another text stands in for it
        raise InputError(f"{found.note.partition(': ')[0]}: validate on another text")
    return found


def text_at(spec: str, data: DataConfig, watcher: Watcher, as_before: bool = False) -> Corpus:
    """Load the text that ``spec`` names; see ``Options.as_before``.

    Raises:
        InputError: It cannot be used.
    """
    watcher.report(f"reading {named(called(spec))}")
    if not as_before and is_token_file(spec, data.tokenizer):
        return read_token_file(spec, data.tokenizer, watcher)
    for one in () if as_before else specs_of(spec):
        if is_token_file(one, data.tokenizer):
            raise InputError(
                f"{named(one)} is a file of tokens, which goes with no other text: name it alone"
            )
    return load_corpus(spec, replace(options_of(data), as_before=as_before), watcher)


def split_texts(corpus: Corpus, tokenizer: Tokenizer, data: DataConfig, watcher: Watcher) -> Split:
    """Return the tokens to train and to validate on.

    Raises:
        InputError: They cannot be made, or parted as is wanted.
    """
    return _split(tokens_of, corpus, tokenizer, data, watcher)


def _split(
    made_by: Callable[[Corpus, Tokenizer, Watcher], Tokenized],
    corpus: Corpus,
    tokenizer: Tokenizer,
    data: DataConfig,
    watcher: Watcher,
) -> Split:
    made = made_by(corpus, tokenizer, watcher)
    if corpus.validation is None:
        return split_of(made, data)
    val = made_by(corpus.validation, tokenizer, watcher)
    return Split(made.tokens, val.tokens, made.starts, val.starts)


def longest_context(corpus: Corpus, data: DataConfig, watcher: Watcher) -> int | None:
    """Return the largest ``model.block_size`` that a short text is long enough for.

    None of a text that is not short, or that cannot be tokenized; its tokens are not kept.

    Raises:
        Cancelled: `watcher.cancelled` returned true.
    """
    if corpus.size > MOST_SHORT:
        return None
    try:
        tokenizer = make_tokenizer(data, corpus, watcher)
        return _split(in_memory, corpus, tokenizer, data, watcher).longest_context
    except InputError:  # it is told where the text is trained on
        return None


def told_of_texts(
    corpus: Corpus, tokenizer: Tokenizer, split: Split, data: DataConfig
) -> tuple[str, ...]:
    """Return what a person should know of a text and of the one to validate on, in sentences."""
    of_validation = corpus.validation.told if corpus.validation else ()
    how = (data.val_share, data.val_split, data.val_seed)
    of_tokens = told_once(split, tokenizer, corpus, how)
    of_settings = (*_few_tokens(tokenizer, data), *_no_documents(corpus, split, data))
    return (*corpus.told, *of_validation, *of_settings, *of_tokens)


def _no_documents(corpus: Corpus, split: Split, data: DataConfig) -> tuple[str, ...]:
    """Return what to say if windows cannot be kept within documents."""
    if not data.within_documents or len(split.train_starts):
        return ()
    why = "is one document" if corpus.count == 1 else "has no token between its documents"
    return (f"data.within_documents changes nothing: the text {why}",)


def _few_tokens(tokenizer: Tokenizer, data: DataConfig) -> tuple[str, ...]:
    """Return what to say if BPE found fewer tokens in a text than were asked for."""
    size = tokenizer.vocab_size
    if tokenizer.kind != "bpe" or size >= data.vocab_size:
        return ()
    return (
        f"the text gives {size:,} tokens of bpe, fewer than the {data.vocab_size:,} of "
        "data.vocab_size: each of its words is one token by then",
    )


def options_of(data: DataConfig) -> Options:
    """Return the settings of how a text is read."""
    return Options(data.encoding, data.normalize, data.field)


def check_fit(
    model: ModelConfig, tokenizer: Tokenizer, split: Split, is_one_text: bool = True
) -> None:
    """Check that the text is long enough for a model and that the model fits the memory.

    Args:
        is_one_text: Whether the validation split is a part of the text.

    Raises:
        InputError: It does not fit.
    """
    check_long_enough(split, model.block_size, is_one_text)
    check_memory(model, tokenizer.vocab_size)


def where_now(config: Config, corpus: Corpus) -> Config:
    """Return settings that name texts in files by where they are, from any folder."""
    for key, text in (("data.corpus", corpus), ("data.val", corpus.validation)):
        if text and has_place(text.source):
            config = config.replace({key: text.source})
    return config


def corpus_facts(corpus: Corpus) -> dict[str, Any]:
    """Return what a run records of its text."""
    names = ("name", "sha256", "source", "note", "characters")
    facts = {name: getattr(corpus, name) for name in names} | {"documents": corpus.count}
    return facts | ({"val": corpus_facts(corpus.validation)} if corpus.validation else {})
