"""``gpt-tui sample RUN``: text that a trained model writes."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import InputError
from engine.config import SETTINGS, SampleConfig, config_from_dict
from engine.protocol import Event, SampleText
from engine.run.folder import find_run
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer
    from engine.model import LanguageModel


def main(argv: list[str]) -> int:
    """Print the prompt and what the model makes of it, as it is written."""
    args = _parser().parse_args(argv)
    run = find_run(args.run, runs_dir_of(args))
    changes = _changes(args)
    model, defaults = _load(run, args.checkpoint)
    assert model.tokenizer is not None  # a checkpoint holds its tokenizer
    settings = dataclasses.replace(defaults, **changes)
    prompt = _known(settings.prompt, model.tokenizer, args.drop_unknown)
    _stream(model, model.tokenizer, dataclasses.replace(settings, prompt=prompt))
    return EXIT_DONE


def _parser() -> Parser:
    parser = Parser("gpt-tui sample", "Print text that a run's model writes, and only that.")
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    for name in _setting_names():
        one = SETTINGS[f"sample.{name}"]
        words = one.help.replace("%", "%%")
        parser.add_argument(f"--{name.replace('_', '-')}", metavar=name[0].upper(), help=words)
    parser.add_argument(
        "--checkpoint", default="best", metavar="WHICH", help="best (default), latest or a step"
    )
    parser.add_argument(
        "--drop-unknown", action="store_true", help="leave out characters the model never saw"
    )
    return parser


def _setting_names() -> list[str]:
    return [field.name for field in dataclasses.fields(SampleConfig)]


def _changes(args: argparse.Namespace) -> dict[str, Any]:
    """The settings given, checked; the others are the run's own."""
    changes, problems = {}, []
    for name in _setting_names():
        text = getattr(args, name)
        if text is None:
            continue
        try:
            changes[name] = SETTINGS[f"sample.{name}"].check(text)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise InputError(*problems)
    return changes


def _load(run: Path, which: str) -> tuple[LanguageModel, SampleConfig]:
    """The model of a checkpoint and the run's own sample settings."""
    import torch

    from engine.checkpoint import find_checkpoint, read_checkpoint, rebuild_model

    path = find_checkpoint(run, which)
    checkpoint = read_checkpoint(path, with_optimizer=False)
    model = rebuild_model(path, checkpoint)
    torch.set_num_threads(checkpoint.state["runtime"]["threads"])  # so that the text is the app's
    return model, config_from_dict(checkpoint.state["config"]).sample


def _known(prompt: str, tokenizer: Tokenizer, drop_unknown: bool) -> str:
    unknown = tokenizer.unknown(prompt)
    if unknown and not drop_unknown:
        named = ", ".join(map(repr, unknown))
        raise InputError(
            f"the prompt has characters that this model never saw ({named}): "
            f"leave them out, or have it done with --drop-unknown"
        )
    return "".join(character for character in prompt if character not in unknown)


def _stream(model: LanguageModel, tokenizer: Tokenizer, settings: SampleConfig) -> None:
    from engine.sampler import Sampler

    sampler = Sampler(tokenizer, emit=_print_text, keep=lambda job: None)
    sampler.request(model, 0, settings, automatic=False)
    print(settings.prompt, end="", flush=True)
    while sampler.active:
        sampler.run_for(1.0)
    if sys.stdout.isatty():
        print()


def _print_text(event: Event) -> None:
    if isinstance(event, SampleText):
        print(event.text, end="", flush=True)
