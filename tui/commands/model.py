"""``gpt-tui model``: the modules and the cost of a model, and a trace of a forward pass."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from tui import EXIT_DONE
from tui.commands.options import (
    AlsoText,
    Parser,
    add_set_option,
    config_of,
    path_argument,
    runs_dir_of,
    warn_of_unused,
    whole_number,
)
from tui.terminal.stdout import complain, put
from tui.text.tables import format_json

if TYPE_CHECKING:
    from engine.config.schema import Config
    from engine.model import LanguageModel


MOST_TOKENS = 10**9  # with the widest model, the numbers of a table still fit 64 bits


@dataclass(frozen=True)
class Subject:
    """The model to describe."""

    config: Config
    vocab_size: int
    vocabulary: str  # where it comes from
    model: LanguageModel | None = None  # with weights, for --trace
    weights: str = ""  # where they come from


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    subject = _of_run(args) if args.run is not None else _of_config(args)

    from engine.inspect.summary import summarize
    from engine.inspect.trace import trace_text
    from tui.text.model import format_model, format_trace

    known = summarize(subject.config, subject.vocab_size)
    told: dict[str, Any] = {
        "preset": subject.config.preset,
        "vocab_size": subject.vocab_size,
        "vocabulary": subject.vocabulary,
        **dataclasses.asdict(known),
    }
    words = [format_model(known, subject.config, subject.vocabulary)]
    if subject.model:
        assert subject.model.tokenizer is not None
        seen = trace_text(subject.model, args.trace)
        told |= {"weights": subject.weights, "trace": dataclasses.asdict(seen)}
        words.append(format_trace(seen, args.trace, subject.weights, subject.model.tokenizer))
    put(format_json(told) if args.json else "\n\n".join(words))
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui model",
        "Show the modules, parameters, FLOPs and memory of a model, untrained or of a run.",
    )
    parser.add_argument("preset", nargs="?", metavar="PRESET", help="gpt-tui presets lists them")
    parser.add_argument(
        "--config", type=path_argument, metavar="FILE", help="settings in a TOML file"
    )
    parser.add_argument(
        "--data", action=AlsoText, metavar="SPEC", help="take the vocabulary of this text"
    )
    add_set_option(parser)
    parser.add_argument(
        "--vocab-size",
        type=whole_number,
        metavar="N",
        help="size of the vocabulary, instead of a text's",
    )
    parser.add_argument(
        "--trace", metavar="TEXT", help="trace a forward pass of this text, tensor by tensor"
    )
    parser.add_argument("--run", metavar="RUN", help="show the model of a run, with its weights")
    parser.add_argument(
        "--checkpoint", metavar="WHICH", help="of RUN: best (default), latest or a step"
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    parser.set_defaults(name=None)
    return parser


def _of_run(args: argparse.Namespace) -> Subject:
    from engine.checkpoint.load import read_good
    from engine.checkpoint.store import rebuild_model
    from engine.config.schema import config_from_dict
    from engine.runs.folder import find_run

    given = {
        "PRESET": args.preset,
        "--config": args.config,
        "--data": args.data,
        "--set": args.set,
        "--vocab-size": args.vocab_size,
    }
    extra = [name for name, value in given.items() if value]
    if extra:
        raise InputError(f"a run has its own settings and text: leave {' and '.join(extra)} out")
    run = find_run(args.run, runs_dir_of(args))
    found = read_good(run, args.checkpoint or "best", with_optimizer=False)
    found.tell(complain)
    model, checkpoint = rebuild_model(found.path, found.snapshot), found.snapshot
    return Subject(
        config_from_dict(checkpoint.state["config"]),
        model.vocab_size,
        f"of the run {args.run}",
        model if args.trace is not None else None,
        f"the run {args.run} at step {checkpoint.step:,}",
    )


def _of_config(args: argparse.Namespace) -> Subject:
    from data.download import NOBODY, Watcher
    from data.tokenizers import make_tokenizer
    from engine.inspect.trace import initial_model
    from engine.runs.text import corpus_of
    from tui.control.own_presets import find_preset

    if args.checkpoint is not None:
        raise InputError("--checkpoint belongs to a run: name it with --run")
    if args.vocab_size is not None and not 1 <= args.vocab_size <= MOST_TOKENS:
        raise InputError(f"--vocab-size must be 1 to {MOST_TOKENS:,}, not {args.vocab_size:,}")
    config = config_of(args)
    warn_of_unused(config, args.set)
    preset = find_preset(config.preset)
    published = preset.vocab_size if preset else None
    if args.trace is None:
        if args.vocab_size is not None:
            return Subject(config, args.vocab_size, "as asked for")
        if published and args.data is None:
            return Subject(config, published, "as published")
    elif args.vocab_size is not None:
        raise InputError("--trace needs the vocabulary of a text: leave --vocab-size out")
    corpus = corpus_of(config.data, NOBODY)
    for sentence in filter(None, (corpus.note, *corpus.told)):
        complain(sentence)
    tokenizer = make_tokenizer(config.data, corpus, Watcher(complain))
    subject = Subject(config, tokenizer.vocab_size, f"of {corpus.name}")
    if args.trace is None:
        return subject
    if published:
        complain(
            f"{config.preset} was published with {published:,} tokens: to trace a text, it gets "
            f"the {tokenizer.vocab_size:,} of {corpus.name}"
        )
    weights = f"a new model, train.seed {config.train.seed}"
    return replace(subject, model=initial_model(config, tokenizer), weights=weights)
