"""``gpt-tui learn``: the models of the lecture in the app, or as text."""

from __future__ import annotations

from data.errors import InputError, suggest
from engine.config.presets import preset_config
from tui import EXIT_DONE
from tui.commands.app import has_terminal, launch_app
from tui.commands.options import (
    AlsoText,
    Parser,
    add_theme_option,
    command_line,
    runs_dir_of,
    theme_of,
)
from tui.terminal.stdout import put


def main(argv: list[str]) -> int:
    from tui.text.lecture import BY_NAME, LESSONS

    parser = Parser(
        "gpt-tui learn",
        "The models of Karpathy's lecture, from bigram to GPT: what is new in each, the code that "
        "does it, and a key that trains it.",
    )
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help=f"begin at it: {', '.join(BY_NAME)}"
    )
    parser.add_argument(
        "--text", action="store_true", help="print it instead, as it does without a terminal"
    )
    parser.add_argument(
        "--data",
        action=AlsoText,
        metavar="SPEC",
        help="in the app: train on this text, not the lecture's",
    )
    add_theme_option(parser)
    args = parser.parse_args(argv)
    if args.model is not None and args.model not in BY_NAME:
        raise InputError(
            f"the lecture has no model {args.model!r}: {suggest(args.model, list(BY_NAME))}"
        )
    runs_dir = runs_dir_of(args)
    if args.text or not has_terminal():
        from engine.runs.summary import read_summaries
        from tui.control.lecture import progress_of
        from tui.text.lesson import format_lesson

        runs = read_summaries(runs_dir)
        lessons = [BY_NAME[args.model]] if args.model else LESSONS
        told = (format_lesson(one, progress_of(one.preset, runs).told()) for one in lessons)
        put("\n\n\n".join(told))
        return EXIT_DONE
    from tui.control.run import Launch

    config = preset_config(args.model or LESSONS[0].name)
    if args.data is not None:
        config = config.replace({"data.corpus": args.data})
    typed = command_line("gpt-tui learn", argv)
    return launch_app(
        Launch(config, runs_dir, command_line=typed, theme=theme_of(args), lesson=args.model or "")
    )
