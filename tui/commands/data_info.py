"""``gpt-tui data info SPEC``: what a text is, before a model is trained on it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

from data.download import Watcher
from data.errors import InputError
from data.paths import quoted
from data.program import named, program
from data.specs import join_specs, specs_of
from tui import EXIT_DONE
from tui.commands.options import (
    Parser,
    add_set_option,
    add_val_option,
    parse_assignments,
    say_started,
)
from tui.terminal.stdout import put
from tui.text.numbers import format_unit
from tui.text.tables import format_columns, format_json

if TYPE_CHECKING:
    from data.corpora.corpus import Corpus
    from data.corpora.describe import Description
    from engine.config.schema import Config, DataConfig

MOST_SHOWN = 200  # distinct characters


def info(argv: list[str]) -> int:
    """``gpt-tui data info SPEC …``."""
    from data.corpora.describe import describe
    from engine.runs.text import longest_context

    args = spec_parser("info", "Read a text, and show what is in it.").parse_args(argv)
    settings, watcher = settings_of(args), Watcher(say_started)
    corpus = corpus_to_read(args, settings.data, watcher)
    texts = [corpus, *([corpus.validation] if corpus.validation else [])]
    described = [(one, describe(one, watcher)) for one in texts]
    if args.json:
        facts, *of_val = (_facts(*one) for one in described)
        put(format_json(facts | ({"val": of_val[0]} if of_val else {})))
        return EXIT_DONE
    rows = _rows("text", *described[0])
    rows += [row for one in described[1:] for row in _rows("validation", *one)]
    longest = longest_context(corpus, settings.data, watcher)
    put(f"{format_columns(rows, wrap=True)}\n{train_command(args, settings, longest)}")
    return EXIT_DONE


def spec_parser(action: str, help: str) -> Parser:
    """Return the parser of an action that reads texts."""
    parser = Parser(f"gpt-tui data {action}", help)
    parser.add_argument(
        "specs", nargs="+", metavar="SPEC", help="a name, file, folder, pattern, address or -"
    )
    add_val_option(parser)
    add_set_option(parser)
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    return parser


def settings_of(args: argparse.Namespace) -> Config:
    """Return the settings of a run on the texts that are named, with those of ``--set``."""
    from engine.config.schema import Config

    assignments, problems = parse_assignments(args.set)
    config, more = Config().check(assignments)
    if problems or more:
        raise InputError(*problems, *more)
    data = config.data
    texts = dataclasses.replace(data, corpus=join_specs(args.specs), val=args.val or data.val)
    return dataclasses.replace(config, data=texts)


def corpus_to_read(args: argparse.Namespace, data: DataConfig, watcher: Watcher) -> Corpus:
    """Load the texts that are named.

    Raises:
        InputError: They cannot be used, or another text would stand in for one.
    """
    from engine.runs.text import corpus_of

    corpus = corpus_of(data, watcher)
    if corpus.note:  # another text stands in for it
        raise InputError(f"{corpus.note.partition(': ')[0]}: name another text")
    return corpus


def train_command(args: argparse.Namespace, settings: Config, longest: int | None) -> str:
    """Return the command that trains on the texts that are named.

    Args:
        longest: The largest context that they are long enough for, if they are short.
    """
    if longest == 0:
        return "  train    on a longer text: this one has no window to train or to validate on"
    words = " ".join(f"--data {quoted(one)}" for one in args.specs)
    words += "".join(f" --val {quoted(one)}" for one in specs_of(args.val or ()))
    words += "".join(f" --set {quoted(one)}" for one in args.set)
    if longest is not None and longest < settings.model.block_size:
        words += f" --set model.block_size={longest}"  # the last one counts
    return f"  train    {program()} train {words}"


def _facts(corpus: Corpus, found: Description) -> dict[str, Any]:
    name, characters = found.longest
    return {
        "name": corpus.name,
        "source": corpus.source,
        "sha256": corpus.sha256,
        "bytes": corpus.size,
        "characters": corpus.characters,
        "documents": corpus.count,
        "distinct_characters": len(found.distinct),
        "longest_document": {"name": name, "characters": characters},
        "odd_characters": dict(found.odd.counts),
        "told": list(corpus.told),
    }


def _rows(label: str, corpus: Corpus, found: Description) -> list[tuple[str, str]]:
    longest = f"{found.longest[1]:,} characters ({named(found.longest[0])})"
    characters = "".join(sorted(found.distinct)[:MOST_SHOWN])
    more = " …" if len(found.distinct) > MOST_SHOWN else ""
    return [
        (label, named(corpus.name)),
        ("size", f"{format_unit(corpus.size, 'B')} in UTF-8"),
        ("documents", _documents(corpus)),
        ("characters", f"{corpus.characters:,}"),
        ("distinct", f"{len(found.distinct):,}: {_printable(characters)}{more}"),
        *([("longest", longest)] if corpus.count > 1 else []),
        ("odd", found.odd.described() or "none"),
        *(("note", one) for one in corpus.told),
    ]


def _documents(corpus: Corpus) -> str:
    if corpus.count == 1:
        return "1"
    return f"{corpus.count:,}, each learned with an end-of-text token after it"


def _printable(characters: str) -> str:
    """Return characters that can be printed; of the others there is the line on odd ones."""
    return "".join(one for one in characters if one.isprintable())
