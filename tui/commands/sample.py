"""``gpt-tui sample RUN``: generate text with a trained model."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from data.errors import InputError, brief
from engine.config.schema import SampleConfig
from engine.config.setting import parse_number
from tui import EXIT_DONE
from tui.commands.options import (
    RunParser,
    add_drop_unknown_option,
    add_sample_options,
    gathering,
    known_text,
    sample_changes,
)
from tui.terminal.stdout import complain, print_last, put, say
from tui.text.tables import format_json

if TYPE_CHECKING:
    from engine.model import LanguageModel
    from engine.sampling.frozen import Frozen
    from engine.sampling.generate import Text

MOST_SAMPLES = 10_000
NAMES = [field.name for field in dataclasses.fields(SampleConfig)]


def main(argv: list[str]) -> int:
    args, run = _parser().parse_run(argv)
    changes, count = _asked(args)
    import torch

    from engine.sampling.from_run import load_sampler

    run_sampler = load_sampler(run, args.checkpoint, complain)
    torch.set_num_threads(run_sampler.threads)
    model, defaults = run_sampler.model, run_sampler.settings
    assert model.tokenizer is not None  # a checkpoint holds its tokenizer
    settings = dataclasses.replace(defaults, **changes)
    prompt = known_text("the prompt", settings.prompt, model.tokenizer, args.drop_unknown)
    settings = dataclasses.replace(settings, prompt=prompt)
    if sys.stderr.isatty():  # for a person; --json has it, too
        say(f"the weights of step {run_sampler.step:,}")
    try:
        _write(model, settings, count, run_sampler.step, args.json)
    except FloatingPointError:
        raise InputError(
            "this model's weights are not finite, as after training that diverged: choose "
            "an earlier checkpoint with --checkpoint STEP"
        ) from None
    return EXIT_DONE


def _parser() -> RunParser:
    parser = RunParser("gpt-tui sample", "Print text that a run's model generates, and only that.")
    add_sample_options(parser, NAMES)
    parser.add_argument(
        "--num-samples",
        default="1",
        metavar="N",
        help="number of texts, generated together; each has the seed after the one before",
    )
    parser.add_argument(
        "--checkpoint", default="best", metavar="WHICH", help="best (default), latest or a step"
    )
    add_drop_unknown_option(parser)
    return parser


def _asked(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """Return the settings that were given (the others are the run's), and the number of texts."""
    changes: dict[str, Any] = {}
    problems: list[str] = []
    with gathering(problems):
        changes = sample_changes(args, NAMES)
    asked = args.num_samples
    count = 0
    with suppress(ValueError):
        count = int(parse_number(asked, "--num-samples", whole=True))
    if not 1 <= count <= MOST_SAMPLES:
        problems.append(f"--num-samples must be 1 to {MOST_SAMPLES:,}, not {brief(asked)}")
    if problems:
        raise InputError(*problems)
    return changes, count


def _write(
    model: LanguageModel, settings: SampleConfig, count: int, step: int, as_json: bool
) -> None:
    from engine.sampling.frozen import freeze
    from engine.sampling.generate import seeds_from, write

    assert model.tokenizer is not None
    frozen, seeds = freeze(model), seeds_from(settings.seed, count)
    streams = count == 1 and not as_json
    if streams:
        put(settings.prompt, end="")

    def show(_: int, piece: str) -> None:
        put(piece, end="")

    began = time.perf_counter()
    texts = write(frozen, model.tokenizer, settings, seeds, show if streams else None)
    seconds = time.perf_counter() - began
    for text in texts:
        if not text.text and text.stop:
            complain(
                f"seed {text.seed}: the stop string {text.stop!r} came first, so that the text is "
                f"empty: change --stop or --seed"
            )
    if as_json:
        print_last(format_json({"step": step, **_facts(settings, texts, seconds, frozen)}))
    elif streams:
        put("", end="\n" if sys.stdout.isatty() else "")
    else:
        for text in texts:
            put(f"--- seed {text.seed} ---\n{settings.prompt}{text.text}")


def _facts(
    settings: SampleConfig, texts: list[Text], seconds: float, frozen: Frozen
) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    from engine.training.precision import DTYPES

    return {
        "prompt": settings.prompt,
        "precision": next(name for name, dtype in DTYPES.items() if dtype == frozen.dtype),
        "tokens_per_second": sum(text.tokens for text in texts) / seconds,
        "samples": [
            {
                "text": text.text,
                "seed": text.seed,
                "tokens": text.tokens,
                "stopped_by": text.stopped_by,
                "stop": text.stop,
                "tokens_per_second": text.tokens / text.seconds,
            }
            for text in texts
        ],
    }
