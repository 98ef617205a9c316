"""``gpt-tui inspect RUN``: what a run's model does with a text, as pictures or as numbers."""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import InputError
from engine.program import install_command
from tui import EXIT_DONE
from tui.commands.inspect_views import (
    HEALTH,
    TEXT_VIEWS,
    VIEWS,
    HealthLook,
    Look,
    Subject,
    TextLook,
)
from tui.commands.options import (
    RunParser,
    add_drop_unknown_option,
    add_sample_options,
    characters_of,
    is_coloured,
    known_text,
    path_argument,
    whole_number,
)
from tui.inside.words import WORDS
from tui.terminal.stdout import complain, output_to, print_last, standard_output
from tui.terminal.visible import Control, visible_line
from tui.text.tables import format_json

if TYPE_CHECKING:
    from rich.color import ColorSystem

    from engine.inspect.moments import Excerpts
    from tui.charts.heatmap import Ink

WIDTH, HEIGHT = 80, 40  # of a picture that is not printed on a terminal
LOWEST = 20
PICTURE_WIDTH, PICTURE_HEIGHT = 120, 44  # characters of one in a file
FILTERS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
OF_TEXTS = ("text", "excerpt", "step")  # what all views but health are of
FILES = ("svg", "png", "html")


def main(argv: list[str]) -> int:
    args, run = _parser().parse_run(argv)
    _check(args)
    look = _look(args, run)
    if args.json:
        print_last(format_json(_facts(run, args.view, look)))
        return EXIT_DONE
    written = [(kind, path) for kind in FILES if (path := getattr(args, kind))]
    for kind, path in written:
        _write(kind, path, run, args.view, look)
    if not written:
        _print(look)
    return EXIT_DONE


def _look(args: argparse.Namespace, run: Path) -> Look:
    if args.view == HEALTH:
        return HealthLook(run)
    return TEXT_VIEWS[args.view].look(_subject(args, run), args)


def _parser() -> RunParser:
    parser = RunParser(
        "gpt-tui inspect",
        "Show what a run's model does with a text: whom it attends to, what it predicts, what "
        "surprises it.",
    )
    parser.add_argument(
        "--view",
        choices=tuple(VIEWS),
        default="prediction",
        help=f"what to look at: {', '.join(VIEWS)} (%(default)s)",
    )
    parser.add_argument("--text", metavar="T", help="what the model is given")
    parser.add_argument(
        "--excerpt",
        type=whole_number,
        metavar="N",
        help="instead of --text: an excerpt of the validation split, counted from 1 (1)",
    )
    parser.add_argument(
        "--step",
        metavar="S",
        help="of the weights: best (default), latest, untrained or a step",
    )
    parser.add_argument("--layer", type=whole_number, metavar="L", help="one layer, counted from 0")
    parser.add_argument("--head", type=whole_number, metavar="H", help="one head of --layer")
    parser.add_argument(
        "--position",
        type=whole_number,
        metavar="P",
        help="one token of the text, counted from 0; -1 is the last (default)",
    )
    parser.add_argument(
        "--top",
        type=whole_number,
        metavar="K",
        help="of prediction, with --json: only the K most likely tokens, with their ids",
    )
    add_sample_options(parser, FILTERS, "of prediction: ")
    add_drop_unknown_option(parser)
    for kind in FILES:
        parser.add_argument(
            f"--{kind}", type=path_argument, metavar="F", help=f"write a picture as {kind.upper()}"
        )
    return parser


def _misplaced(args: argparse.Namespace) -> list[str]:
    """Return what is wrong with options that have no effect on the view."""
    view, problems = VIEWS[args.view], []
    for option in ("layer", "head", "position", "top", *FILTERS):
        if getattr(args, option) is not None and option not in view.options:
            fit = [one for one, other in TEXT_VIEWS.items() if option in other.options]
            name = f"--{option.replace('_', '-')}"
            problems.append(f"{name} belongs to --view {' or '.join(fit)}: leave it out")
    for option in OF_TEXTS:
        if getattr(args, option) is not None and args.view == HEALTH:
            problems.append(f"--{option} has no effect on what was recorded: leave it out")
    return problems


def _check(args: argparse.Namespace) -> None:
    """Check what can be checked before the model is read.

    Raises:
        InputError: All problems at once.
    """
    problems = _misplaced(args)
    if args.head is not None and args.layer is None:
        problems.append("--head needs --layer: heads are counted in each layer")
    if args.text is not None and args.excerpt is not None:
        problems.append("--text and --excerpt are two texts: leave one out")
    if args.text == "":
        problems.append(
            "there is no text to look at: give --text at least one character, or leave it out"
        )
    if args.excerpt is not None and args.excerpt < 1:
        problems.append(f"--excerpt counts from 1: it cannot be {args.excerpt}")
    if args.top is not None and args.top < 1:
        problems.append(f"--top must be at least 1, not {args.top}")
    outputs = [f"--{kind}" for kind in ("json", *FILES) if getattr(args, kind)]
    if args.json and len(outputs) > 1:
        problems.append(f"{' and '.join(outputs)} are different outputs: leave one out")
    if problems:
        raise InputError(*problems)


def _subject(args: argparse.Namespace, run: Path) -> Subject:
    """Load the model and choose the text.

    Raises:
        InputError: There are no such weights, or the text cannot be used.
    """
    import numpy as np
    import torch

    from engine.inspect.background import Subject as Inspected
    from engine.inspect.moments import load_moment
    from engine.inspect.surprise import token_texts
    from engine.runs.known_text import TextMissing

    found = load_moment(run, args.step or "best", complain)
    torch.set_num_threads(found.threads)
    model, tokenizer = found.model, found.model.tokenizer
    assert tokenizer is not None  # a checkpoint holds its tokenizer
    longest = model.config.block_size
    if args.text is None:
        try:
            ids = _excerpts(run).at((args.excerpt or 1) - 1)
        except TextMissing as error:
            raise InputError(f"{error}, or give a text of your own with --text") from None
    else:
        text = known_text("the text", args.text, tokenizer, args.drop_unknown)
        ids = tokenizer.encode(text).astype(np.int64)
        if not len(ids):
            raise InputError("the model knows no character of the text: give another --text")
    if len(ids) > longest:
        complain(
            f"the text is {len(ids):,} tokens long, and the model's context is {longest:,}: the "
            f"last {longest:,} are looked at"
        )
    left_out = max(0, len(ids) - longest)
    ids = ids[left_out:]
    tokens = token_texts(tokenizer, ids)
    inside = Inspected(model, tokenizer, found.step, lambda: _excerpts(run).val)
    return Subject(run, inside, found.settings, ids, tokens, left_out)


@functools.cache
def _excerpts(run: Path) -> Excerpts:
    from engine.inspect.moments import read_excerpts

    return read_excerpts(run)


def _facts(run: Path, view: str, look: Look) -> dict[str, object]:
    given: dict[str, object] = {"run": run.name, "view": view, "step": look.step}
    if isinstance(look, TextLook):
        given |= {"tokens": list(look.subject.tokens), "left_out": look.subject.left_out}
    return given | look.facts()


def _print(look: Look) -> None:
    """Print the picture, in the colours and characters that standard output has."""
    from tui.charts.characters import translated
    from tui.inside.export import terminal_lines
    from tui.inside.looks import DARK, LIGHT
    from tui.terminal.colors import has_light_background

    terminal = sys.stdout.isatty()
    characters, depth = characters_of(terminal), _depth() if is_coloured(terminal) else None
    few = depth is None or depth.name == "STANDARD"
    ink: Ink = "ascii" if characters == "ascii" else "blocks" if few else "pixels"
    width, height = shutil.get_terminal_size((WIDTH, HEIGHT)) if terminal else (WIDTH, HEIGHT)
    picture = look.draw(width, max(height - 1, LOWEST), ink)
    colours = LIGHT if has_light_background() else DARK
    lines = list(terminal_lines(picture.rows, colours, depth))
    if ink == "ascii":  # the dots and dashes of sentences, too
        lines = [translated(line, "ascii") for line in lines]
    while lines and not lines[-1].strip():
        lines.pop()
    with standard_output() as out:
        out.write(Control("\n".join(lines) + "\n"))


def _depth() -> ColorSystem:
    from rich.color import ColorSystem

    from tui.terminal.colors import DEPTHS, correct_colorterm

    environ = dict(os.environ)
    correct_colorterm(environ)
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return DEPTHS["truecolor"]
    return DEPTHS["256"] if "256" in environ.get("TERM", "") else ColorSystem.STANDARD


def _write(kind: str, path: Path, run: Path, view: str, look: Look) -> None:
    """Write the picture to a file.

    Raises:
        InputError: The library for PNG is not there, or the file cannot be written.
    """
    from tui.charts.export import png
    from tui.inside.export import page, svg
    from tui.inside.layout import Picture, below

    title = f"{view} · {visible_line(run.name)} at step {look.step:,}"
    heading = Picture([] if kind == "html" else [[(title, "title")], []])
    picture = below(heading, look.draw(PICTURE_WIDTH, PICTURE_HEIGHT, "pixels"))
    while picture.rows and not "".join(text for text, _ in picture.rows[-1]).strip():
        picture.rows.pop()
    drawn = svg(picture.rows, PICTURE_WIDTH)
    if kind == "html":
        facts = format_json(_facts(run, view, look))
        drawn = page(title, [WORDS[view].explanation], drawn, facts)
    if kind == "png":
        try:
            dots = png(drawn)
        except ImportError:
            raise InputError(
                "a PNG needs a library that is not installed: "
                f"{install_command('pictures')}, or write an SVG with --svg"
            ) from None
        with output_to(path, binary=True) as file:
            file.write(dots)
        return
    with output_to(path) as file:
        file.write(drawn)
