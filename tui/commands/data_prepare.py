"""``gpt-tui data prepare SPEC``: make the tokens of a text before it is trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from data.download import Watcher
from data.errors import InputError, reason_of
from data.paths import typed_path
from data.program import named
from tui import EXIT_DONE
from tui.commands.data_info import corpus_to_read, settings_of, spec_parser, train_command
from tui.commands.options import say_started
from tui.terminal.stdout import put
from tui.text.numbers import format_path, format_unit
from tui.text.tables import format_columns, format_json

if TYPE_CHECKING:
    from data.batches import Split
    from data.prepared.store import Prepared
    from data.tokenizers import Tokenizer

NANOGPT_TOKENS = 1 << 16  # its files have 16 bits for each


def prepare(argv: list[str]) -> int:
    """``gpt-tui data prepare SPEC …``."""
    from data.prepared.prepare import prepare as prepare_text
    from data.tokenizers import make_tokenizer
    from engine.runs.text import split_texts, told_of_texts

    parser = spec_parser("prepare", "Make the tokens of a text, and keep them in the cache.")
    parser.add_argument(
        "--bin", metavar="FOLDER", help="also write nanoGPT's train.bin and val.bin there"
    )
    args = parser.parse_args(argv)
    config, watcher = settings_of(args), Watcher(say_started)
    settings = config.data
    corpus = corpus_to_read(args, settings, watcher)
    tokenizer = make_tokenizer(settings, corpus, watcher)
    if args.bin and tokenizer.vocab_size > NANOGPT_TOKENS:
        raise InputError(
            f"nanoGPT's files hold {NANOGPT_TOKENS:,} different tokens, and these are "
            f"{tokenizer.vocab_size:,}: leave --bin out, or choose other tokens"
        )
    made = prepare_text(corpus, tokenizer, watcher)
    split = split_texts(corpus, tokenizer, settings, watcher)
    told = list(told_of_texts(corpus, tokenizer, split, settings))
    written = _write_for_nanogpt(split, tokenizer, typed_path(args.bin)) if args.bin else ()
    facts = prepared_facts(made) | {
        "name": corpus.name,  # its tokens may be there already, made of an equal text
        "bytes_per_token": corpus.size / max(made.tokens, 1),
        "vocab_size": tokenizer.vocab_size,
        "path": str(made.folder),
        "train_tokens": len(split.train),
        "val_tokens": len(split.val),
        "told": told,
    }
    if args.json:
        put(format_json(facts))
        return EXIT_DONE
    rows = [
        ("text", named(corpus.name)),
        ("tokenizer", f"{made.tokenizer}, {tokenizer.vocab_size:,} different tokens"),
        ("documents", _documents(made, corpus.count)),
        ("tokens", f"{made.tokens:,}, of {facts['bytes_per_token']:.3g} bytes of text on average"),
        ("split", f"{len(split.train):,} tokens to train on, {len(split.val):,} for validation"),
        ("size", format_unit(made.size, "B")),
        ("kept in", format_path(made.folder)),
        *(
            [("written", f"{format_path(typed_path(args.bin))}: {', '.join(written)}")]
            if args.bin
            else []
        ),
        *(("note", one) for one in told),
    ]
    put(f"{format_columns(rows, wrap=True)}\n{train_command(args, config, split.longest_context)}")
    return EXIT_DONE


def _documents(made: Prepared, count: int) -> str:
    if made.documents:
        return f"{count:,}, an end-of-text token after each"
    if count == 1:
        return "1"
    return f"{count:,}, run together: this tokenizer has no end-of-text token"


def prepared_facts(one: Prepared) -> dict[str, object]:
    """Return a prepared text for ``--json``."""
    return {
        "name": one.name,
        "sha256": one.corpus_sha256,
        "tokenizer": one.tokenizer,
        "vocab_size": one.vocab_size,
        "characters": one.characters,
        "tokens": one.tokens,
        "documents": max(one.documents, 1),
        "bytes": one.size,
    }


def _write_for_nanogpt(split: Split, tokenizer: Tokenizer, folder: Path) -> tuple[str, ...]:
    """Write nanoGPT's files to a folder; return their names."""
    from data.files import write_atomically
    from data.prepared.token_file import META, TOKENIZER, meta_of

    files: dict[str, bytes] = {}
    if meta := meta_of(tokenizer):
        files[META] = meta
    elif tokenizer.kind != "gpt2":  # nanoGPT cannot say what these tokens are
        files[TOKENIZER] = json.dumps(tokenizer.standard()).encode()
    files["train.bin"] = split.train.astype("<u2").tobytes()
    files["val.bin"] = split.val.astype("<u2").tobytes()
    try:
        for name, body in files.items():
            write_atomically(folder / name, body)
    except OSError as error:
        raise InputError(
            f"{named(str(folder))} cannot be written ({reason_of(error)}): name another folder"
        ) from None
    return tuple(files)
