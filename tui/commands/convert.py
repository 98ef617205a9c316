"""``gpt-tui convert FILE NEW``: a plain text in UTF-8 of a text in another encoding."""

from __future__ import annotations

from data.corpora.convert import Converted, convert
from data.download import Watcher
from data.errors import InputError
from data.paths import quoted_path
from data.program import named, program
from tui import EXIT_DONE
from tui.commands.options import Parser, say_started
from tui.terminal.stdout import print_last


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    if args.new == "-":
        raise InputError(
            "the new text is written to a file, not to standard output: name one, such as "
            f"{quoted_path(f'{args.file}.utf8.txt')} (./- is a file of that name)"
        )
    done = convert(args.file, args.new, args.encoding, Watcher(say_started))
    print_last(
        f"{named(args.new)}: {done.characters:,} characters in UTF-8, from {_described(done)}\n"
        f"  train    {program()} train --data {quoted_path(args.new)}"
    )
    return EXIT_DONE


def _described(done: Converted) -> str:
    replaced = f"; {done.replaced:,} invalid places are � now" if done.replaced else ""
    return f"{done.encoding}{replaced}{'; its cut last letter is left out' if done.is_cut else ''}"


def _parser() -> Parser:
    parser = Parser(
        "gpt-tui convert",
        "Write a plain text in UTF-8 of a text in another encoding. Line ends become \\n, byte "
        "order marks are left out, and letters in two parts (e and an accent) are joined.",
    )
    parser.add_argument("file", metavar="FILE", help="the text; it stays as it is")
    parser.add_argument("new", metavar="NEW", help="the file to write, which must not exist")
    parser.add_argument(
        "--from",
        dest="encoding",
        default="",
        metavar="ENCODING",
        help="its encoding, such as cp1252 or gbk (default: recognised)",
    )
    return parser
