"""``gpt-tui data``: list the texts that have a name, look at one, download, prepare, delete."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from data.download import Watcher
from data.errors import InputError, brief, suggest
from data.paths import quoted
from data.program import named, program
from data.specs import HUB, STREAMED, called, is_hub, is_streamed
from tui import EXIT_DONE
from tui.commands.data_info import info
from tui.commands.data_prepare import prepare, prepared_facts
from tui.commands.options import Parser, say_started
from tui.terminal.stdout import put
from tui.text.numbers import format_unit
from tui.text.tables import format_columns, format_json

USAGE = "gpt-tui data ACTION [options]"


def main(argv: list[str]) -> int:
    if argv and argv[0] in ACTIONS:
        return ACTIONS[argv[0]](argv[1:])
    if argv and not argv[0].startswith("-"):
        hint = suggest(argv[0], list(ACTIONS))
        raise InputError(f"'gpt-tui data' has no action {brief(argv[0])}: {hint}")
    listed = "; ".join(f"{name}: {ACTION_HELP[name]}" for name in ACTIONS)
    parser = Parser("gpt-tui data", f"The texts to train on. {listed}.", usage=USAGE)
    parser.parse_args(argv)
    return list_texts([])


def list_texts(argv: list[str]) -> int:
    """``gpt-tui data list``."""
    from data.corpora.catalogue import CATALOGUE
    from data.prepared.texts import known_texts

    parser = _parser("list")
    parser.add_argument(
        "--prepared", action="store_true", help="list the texts whose tokens are in the cache"
    )
    args = parser.parse_args(argv)
    if args.prepared:
        return _list_prepared(args.json)
    listed = [one for one in known_texts() if one.in_catalogue]
    keys = ("name", "described", "licence", "size", "url", "sha256")
    if args.json:
        facts = [
            {key: getattr(CATALOGUE[one.name], key, "") for key in keys}
            | {"here": one.is_here, "prepared": one.bytes_prepared}
            for one in listed
        ]
        put(format_json(facts))
        return EXIT_DONE
    rows = [("name", "download", "licence", "what it is")]
    for one in listed:
        size = "here" if one.is_here else format_unit(one.size, "B")
        rows.append((one.name, size, one.licence, one.described))
    put(format_columns(rows, wrap=True))
    put(f"  train    {program()} train --data counting")
    return EXIT_DONE


def _list_prepared(as_json: bool) -> int:
    from data.prepared.store import entries

    if as_json:
        put(format_json([prepared_facts(one) for one in entries()]))
        return EXIT_DONE
    if not entries():
        put(f"no text is prepared: {program()} data prepare TEXT makes its tokens")
        return EXIT_DONE
    rows = [("text", "tokenizer", "tokens", "size")]
    rows += [
        (named(one.name), one.tokenizer_named, f"{one.tokens:,}", format_unit(one.size, "B"))
        for one in entries()
    ]
    put(format_columns(rows, wrap=True))
    put(f"  delete   {program()} data rm --prepared")
    return EXIT_DONE


def fetch(argv: list[str]) -> int:
    """``gpt-tui data fetch NAME``."""
    from data.corpora import obtain
    from data.sources import hub

    args = _parser("fetch", with_name=True).parse_args(argv)
    if is_streamed(args.name):
        kept = HUB + args.name[len(STREAMED) :]
        raise InputError(f"{args.name} is not kept: train on it, or download {kept}, which is kept")
    if is_hub(args.name):
        tables = hub.tables_of(args.name, Watcher(say_started))
        place: Path | None = tables[0].path.parent
    else:
        _check_known(args.name)
        place = obtain.fetch(args.name, Watcher(say_started))
    if args.json:
        put(format_json({"name": args.name, "path": str(place or "")}))
    else:
        put(f"{args.name} is {f'in {place}' if place else 'part of the installation'}")
        put(f"  train    {program()} train --data {args.name}")
    return EXIT_DONE


def remove(argv: list[str]) -> int:
    """``gpt-tui data rm NAME``, ``gpt-tui data rm --prepared [NAME]``."""
    from data.corpora import obtain
    from data.corpora.catalogue import CATALOGUE
    from data.sources import hub

    parser = _parser("rm")
    parser.add_argument("name", nargs="?", metavar="NAME", help="of the text")
    parser.add_argument(
        "--prepared", action="store_true", help="delete its tokens, or those of all texts"
    )
    args = parser.parse_args(argv)
    if args.prepared:
        size = _remove_prepared(args.name)
    elif args.name is None:
        parser.error("name a text of the catalogue, or add --prepared")
    elif is_hub(args.name):
        size = hub.remove(args.name)
    else:
        if args.name not in CATALOGUE and (name := called(args.name)) in _prepared():
            again = f"{program()} data rm --prepared {quoted(name)}"
            raise InputError(
                f"{named(args.name)} is no text of the catalogue: {again} deletes its tokens"
            )
        _check_known(args.name)
        size = obtain.remove(CATALOGUE[args.name])
    if args.json:
        put(format_json({"name": args.name, "bytes": size}))
    else:
        what = (
            f"the tokens of {args.name or 'all texts'} are" if args.prepared else f"{args.name} is"
        )
        put(f"{what} deleted from the cache: {format_unit(size, 'B')}")
    return EXIT_DONE


def _remove_prepared(name: str | None) -> int:
    from data.prepared import known, store

    names = _prepared()
    if name is None:
        return store.remove_of(names) + store.remove_unfinished() + known.forget()
    if name not in names:
        hint = suggest(name, names) if names else "nothing is prepared"
        raise InputError(f"there are no tokens of {brief(name)} in the cache: {hint}")
    return store.remove_of([name])


def _prepared() -> list[str]:
    """Return the names of the texts whose tokens are in the cache."""
    from data.prepared.store import entries

    return list(dict.fromkeys(one.name for one in entries()))


def _parser(action: str, with_name: bool = False) -> Parser:
    help = ACTION_HELP[action]
    parser = Parser(f"gpt-tui data {action}", f"{help[:1].upper()}{help[1:]}.")
    if with_name:
        parser.add_argument("name", metavar="NAME", help="of the catalogue, or hf:OWNER/NAME")
    parser.add_argument("--json", action="store_true", help="print one line of JSON instead")
    return parser


def _check_known(name: str) -> None:
    from data.corpora.catalogue import KNOWN_NAMES

    if name not in KNOWN_NAMES:
        hint = suggest(name, KNOWN_NAMES)
        raise InputError(f"there is no text {brief(name)} in the catalogue: {hint}")


ACTIONS: dict[str, Callable[[list[str]], int]] = {
    "list": list_texts,
    "info": info,
    "fetch": fetch,
    "prepare": prepare,
    "rm": remove,
}
ACTION_HELP = {
    "list": "list the texts that have a name",
    "info": "read a text, and show what is in it",
    "fetch": "download a text of the catalogue to the cache",
    "prepare": "make the tokens of a text before it is trained on",
    "rm": "delete a text of the catalogue, or tokens, from the cache",
}
