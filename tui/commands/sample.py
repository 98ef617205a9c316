"""``gpt-tui sample RUN``: text that a trained model writes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from engine.config.schema import SETTINGS, SampleConfig
from engine.runs.folder import find_run
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import print_last, put
from tui.text.tables import to_json, warn

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer
    from engine.model import LanguageModel
    from engine.sampling.frozen import Frozen
    from engine.sampling.generate import Text

MOST_SAMPLES = 10_000
METAVARS = {
    "prompt": "TEXT",
    "temperature": "T",
    "top_k": "K",
    "top_p": "P",
    "min_p": "P",
    "repetition_penalty": "R",
    "stop": "TEXT",
    "max_tokens": "N",
    "seed": "SEED",
}


def main(argv: list[str]) -> int:
    """Print the prompt and what the model makes of it, as it is written."""
    args = _parser().parse_args(argv)
    run = find_run(args.run, runs_dir_of(args))
    changes, count = _asked(args)
    model, defaults = _load(run, args.checkpoint)
    assert model.tokenizer is not None  # a checkpoint holds its tokenizer
    settings = dataclasses.replace(defaults, **changes)
    prompt = _known(settings.prompt, model.tokenizer, args.drop_unknown)
    settings = dataclasses.replace(settings, prompt=prompt)
    try:
        _write(model, settings, count, args.json)
    except FloatingPointError:
        raise InputError(
            "this model's weights are not finite, as after training that diverged: choose "
            "an earlier checkpoint with --checkpoint STEP"
        ) from None
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser("gpt-tui sample", "Print text that a run's model writes, and only that.")
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    for name in _setting_names():
        one = SETTINGS[f"sample.{name}"]
        words = one.help.replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=METAVARS[name], help=words)
    parser.add_argument(
        "--num-samples",
        default="1",
        metavar="N",
        help="texts, written side by side; each has the seed after the one before",
    )
    parser.add_argument(
        "--checkpoint", default="best", metavar="WHICH", help="best (default), latest or a step"
    )
    parser.add_argument(
        "--drop-unknown", action="store_true", help="leave out characters the model never saw"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one line of JSON with all texts instead"
    )
    return parser


def _setting_names() -> list[str]:
    return [field.name for field in dataclasses.fields(SampleConfig)]


def _asked(args: argparse.Namespace) -> tuple[dict[str, Any], int]:
    """The settings given, checked (the others are the run's own), and the number of texts."""
    changes: dict[str, Any] = {}
    problems = []
    for name in _setting_names():
        text = getattr(args, name)
        if text is None:
            continue
        try:
            changes[name] = SETTINGS[f"sample.{name}"].parse(text)
        except ValueError as error:
            problems.append(str(error))
    problems += SampleConfig(**changes).conflicts()
    asked = args.num_samples
    count = int(asked) if asked.isascii() and asked.isdecimal() else 0
    if not 1 <= count <= MOST_SAMPLES:
        problems.append(f"--num-samples must be 1 to {MOST_SAMPLES:,}, not {asked!r}")
    if problems:
        raise InputError(*problems)
    return changes, count


def _load(run: Path, which: str) -> tuple[LanguageModel, SampleConfig]:
    """The model of a checkpoint, computing as the run does, and the run's own sample settings."""
    import torch

    from engine.sampling.from_run import load_sampler

    run_sampler = load_sampler(run, which, warn)
    torch.set_num_threads(run_sampler.threads)
    return run_sampler.model, run_sampler.settings


def _known(prompt: str, tokenizer: Tokenizer, drop_unknown: bool) -> str:
    unknown = tokenizer.unknown(prompt)
    if unknown and not drop_unknown:
        named = ", ".join(map(repr, unknown))
        raise InputError(
            f"the prompt has characters that this model never saw ({named}): "
            f"leave them out, or have it done with --drop-unknown"
        )
    return "".join(character for character in prompt if character not in unknown)


def _write(model: LanguageModel, settings: SampleConfig, count: int, as_json: bool) -> None:
    from engine.sampling.frozen import freeze
    from engine.sampling.generate import seeds_from, write

    assert model.tokenizer is not None
    frozen, seeds = freeze(model), seeds_from(settings.seed, count)
    streams = count == 1 and not as_json
    if streams:
        put(settings.prompt, end="")
    began = time.perf_counter()
    texts = write(frozen, model.tokenizer, settings, seeds, _print_piece if streams else None)
    seconds = time.perf_counter() - began
    if as_json:
        print_last(to_json(_facts(settings, texts, seconds, frozen)))
    elif streams:
        put("", end="\n" if sys.stdout.isatty() else "")
    else:
        for text in texts:
            put(f"--- seed {text.seed} ---\n{settings.prompt}{text.text}")


def _print_piece(_: int, piece: str) -> None:
    put(piece, end="")


def _facts(
    settings: SampleConfig, texts: list[Text], seconds: float, frozen: Frozen
) -> dict[str, Any]:
    """What ``--json`` prints."""
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
