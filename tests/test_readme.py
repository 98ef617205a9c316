"""What the README and the pages behind it show is there, and works as shown."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks import BENCHMARKS
from engine.config.presets import PRESETS
from engine.config.schema import SETTINGS
from engine.sweeps.grid import parse_axes
from tui.cli import main
from tui.commands import COMMANDS
from tui.commands.options import Parser, parse_assignments
from tui.commands.runs import ACTIONS
from tui.control.keymap import GROUPS, display

ROOT = Path(__file__).parents[1]
FOLDERS = (ROOT, ROOT / "docs", ROOT / "examples")
PAGES = sorted(page for folder in FOLDERS for page in folder.glob("*.md"))
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
ALL_TEXT = "\n".join(TEXTS.values())
FENCED = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^()\s]+)\)")

RUNS = {None, "first", "RUN"}  # what the pages call a run; any other word is a mistyped command
PLACEHOLDERS = {"STEP": "1", "ID": "1", "N": "1", "S": "1"}
QUICK = [
    "--data=python-docs",
    "--set=train.max_steps=4",
    "--set=system.threads=1",
    "--set=system.micro_batch_size=16",
    "--set=sample.max_tokens=5",
]

every_page = pytest.mark.parametrize("page", TEXTS)
every_page_of_today = pytest.mark.parametrize(
    "page", [page for page in TEXTS if page != "CHANGELOG.md"]
)


# -- commands ----------------------------------------------------------------------------------


class Parsed(Exception):
    """A command line was understood; nothing of it was carried out."""


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends once its line is understood."""
    parse = argparse.ArgumentParser.parse_known_args

    def parse_known_args(
        self: Parser, argv: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> None:
        args, unknown = parse(self, argv, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        raise Parsed(self.prog, args)

    monkeypatch.setattr(Parser, "parse_known_args", parse_known_args)


def shown_in(text: str) -> Iterator[str]:
    """The command lines of a page, without what stands before them and their comments."""
    lines = [line for block in FENCED.findall(text) for line in block.splitlines()]
    lines += [" ".join(code.split()) for code in INLINE.findall(FENCED.sub("", text))]
    for line in lines:
        yield re.sub(r"^([A-Z_]+=\S+ )+", "", line.strip().replace(r"\|", "|"))


def calls_of(program: str, text: str) -> list[list[str]]:
    """The arguments of each call of a program, as a shell splits them."""
    lines = [line for line in shown_in(text) if f"{line} ".startswith(f"{program} ")]
    calls = [shlex.split(line, comments=True)[len(program.split()) :] for line in lines]
    return [[PLACEHOLDERS.get(word, word) for word in call] for call in calls]


@every_page_of_today
def test_every_command_line_is_understood(page: str, only_parse: None) -> None:
    for argv in calls_of("gpt-tui", TEXTS[page]):
        if argv in (["--help"], ["--version"]) or (len(argv) == 1 and argv[0] in COMMANDS):
            continue  # a command may be called by its name alone
        with pytest.raises(Parsed) as parsed:
            raise AssertionError(f"gpt-tui {shlex.join(argv)} ends with {main(argv)}")
        program, args = parsed.value.args
        assert program != "gpt-tui" or args.run in RUNS, argv
        check_settings(args)


def check_settings(args: argparse.Namespace) -> None:
    """The presets, settings and values in a command line exist."""
    assert getattr(args, "preset", None) in {None, *PRESETS}
    pairs = [pair for pair in getattr(args, "set", ()) if not pair.startswith(("section.", "..."))]
    assignments, problems = parse_assignments(pairs)
    for key, value in assignments.items():
        SETTINGS[key].check(value)
    axes = [text for text in getattr(args, "settings", None) or () if "=" in text]
    assert not [*problems, *parse_axes(axes)[1]]


@every_page
def test_every_benchmark_exists(page: str) -> None:
    named = [call[0] for call in calls_of("python -m benchmarks", TEXTS[page]) if call]
    assert set(named) <= {*BENCHMARKS, "NAME", "--help"}


@every_page
def test_every_make_target_exists(page: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    asked = [word for call in calls_of("make", TEXTS[page]) for word in call if "=" not in word]
    assert set(asked) <= targets


def test_the_pages_know_every_command_and_every_option_of_the_environment() -> None:
    code = [INLINE.findall(FENCED.sub("", ALL_TEXT)), FENCED.findall(ALL_TEXT)]
    shown = "\n".join(piece for pieces in code for piece in pieces)
    assert not [name for name in COMMANDS if name != "open" and f"gpt-tui {name}" not in shown]
    assert not [name for name in ACTIONS if f"gpt-tui runs {name}" not in shown]
    sources = [file for room in ("data", "engine", "tui") for file in (ROOT / room).rglob("*.py")]
    read = {
        name
        for file in sources
        for name in re.findall(r"GPT_TUI_[A-Z]+", file.read_text(encoding="utf-8"))
    }
    assert not [name for name in read if name not in shown]


def test_the_commands_without_a_screen_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--preset", "tiny", "--name", "first", *QUICK]) == 0
    assert main(["train", "--resume", "first", "--set", "train.max_steps=6"]) == 0
    capsys.readouterr()
    assert main(["sample", "first", "--prompt", "ROMEO:", "--max-tokens", "20"]) == 0
    assert capsys.readouterr().out.startswith("ROMEO:")
    assert main(["runs"]) == 0
    assert "first" in capsys.readouterr().out


# -- tables and examples -----------------------------------------------------------------------


@pytest.mark.parametrize("command", ["settings", "preferences"])
def test_a_table_is_that_of_its_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--markdown"]) == 0
    table = capsys.readouterr().out.strip()
    made_by = f"<!-- made by: gpt-tui {command} --markdown -->"
    shown = TEXTS[f"docs/{command}.md"].split(made_by)[1]
    assert shown.split("<!-- end -->")[0].strip() == table


def test_the_tables_of_keys_are_those_of_the_app(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "--markdown"]) == 0
    tables = capsys.readouterr().out.strip()
    shown = TEXTS["docs/keys.md"].split("<!-- made by: gpt-tui keys --markdown -->")[1]
    assert shown.strip() == tables


def test_the_page_of_the_cockpit_names_keys_that_there_are() -> None:
    page = TEXTS["docs/cockpit.md"].split("## Keys")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", page, re.MULTILINE)[1:]
    told = {key.strip("`") for row in rows for key in re.split(r",? ", row) if "-" not in key}
    keys = (*GROUPS["cockpit"].keys, *GROUPS["app"].keys)
    assert not told - {display(one) for key in keys for one in key.keys.split(",")}


def test_the_library_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    trained, new = re.findall(r"```python\n(.*?)```", TEXTS["docs/library.md"], re.DOTALL)
    assert main(["train", "--preset", "tiny", "--name", "first", *QUICK]) == 0
    capsys.readouterr()
    names: dict[str, object] = {}
    exec(trained, names)
    text = capsys.readouterr().out
    assert text.startswith("ROMEO:")
    assert len(text) == len("ROMEO:") + 100 + 1  # and the end of the line
    vocab_size = names["model"].vocab_size  # type: ignore[attr-defined]
    assert names["logits"].shape == (1, 32, vocab_size)  # type: ignore[attr-defined]
    weights = names["weights"]
    assert isinstance(weights, list)
    assert [one.shape for one in weights] == [(1, 2, 32, 32)] * 2
    exec(new, names)
    vocab_size = names["model"].vocab_size  # type: ignore[attr-defined]
    assert names["logits"].shape == (1, len("ROMEO:"), vocab_size)  # type: ignore[attr-defined]
    (inside,) = re.findall(r"```python\n(.*?)```", TEXTS["docs/inside.md"], re.DOTALL)
    exec(inside, names)
    T = len("ROMEO: But soft")
    shown = [one.shape for one in names["patterns"]]  # type: ignore[attr-defined]
    assert [one.shape[1:] for one in names["weights"]] == shown == [(2, T, T)] * 2  # type: ignore[attr-defined]
    assert names["lens"].likeliest.shape == (3, T)  # type: ignore[attr-defined]
    assert names["cost"].bits.shape == (T,)  # type: ignore[attr-defined]


# -- links -------------------------------------------------------------------------------------


def anchors_of(text: str) -> set[str]:
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@every_page
def test_every_relative_link_and_picture_is_there(page: str) -> None:
    for link in LINK.findall(TEXTS[page]):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target.read_text(encoding="utf-8")), link


def test_every_picture_is_shown() -> None:
    assert not [
        one.name for one in (ROOT / "docs/pictures").iterdir() if f"/{one.name})" not in ALL_TEXT
    ]


def test_every_page_is_linked_from_the_readme() -> None:
    readme = TEXTS["README.md"]
    hidden = [page for page in TEXTS if page != "README.md" and f"]({page})" not in readme]
    assert hidden == ["examples/README.md"]  # which the link to its folder shows
