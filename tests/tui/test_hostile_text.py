"""Strings that somebody else wrote, full of control characters: none reaches the terminal.

They are planted wherever a run folder, a text, a file name, an option or the environment can carry
one; then every screen is opened and every command is called, on a terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rich.cells import cell_len
from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip

from engine.config.escapes import escape
from engine.config.presets import preset_config
from engine.runs.database import RunDatabase
from engine.sweeps.grid import Trial
from engine.sweeps.queue import Queue
from tests.engine.run_folders import write_run
from tests.tui.conftest import SMALL
from tests.tui.test_terminal import OURS, ROOT, Terminal, plain
from tui.terminal.visible import protect_screen, visible_line
from tui.widgets.runs_table import _fit

# a title, colours, a C1 sequence, a link, a bell, the carriage's return, the direction of text,
# markup of Rich and Textual, right and wrong
NAME = "a\x1b]0;own\x07\x1b[7777m\x9b7777m\x1b]8;;own\x1b\\\r\x7f\x08\u202e\u2066[red]x[bold"
PLANT = f"{NAME}[/red][/]"
SHOWN = "a␛]0;own␇␛[7777m�7777m␛]8;;own␛\\␍␡␈��[red]x[bold"

OWN_SEQUENCES = re.compile(
    r"\x1b\[(?!7777)[0-9;?<>=]*[$ ]?[@-~]"  # colours, places, modes
    r"|\x1b\]22;[a-z-]*\x07"  # the pointer's shape
    r"|\x1b\]2;[^\x00-\x1f\x7f-\x9f]*\x07"  # the title, in which nothing may be obeyed
    r"|\x1b\]11;\?\x1b\\"  # the question for the background
    r"|\r\x1b\[K|\r\n"
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def assert_harmless(output: bytes) -> None:
    """Nothing but the program's own control sequences was sent."""
    text = output.decode()
    rest = OWN_SEQUENCES.sub("", text)
    found = CONTROL.search(rest)
    assert not found, repr(rest[max(0, found.start() - 200) : found.start() + 50])


def hostile_run(runs_dir: Path, name: str) -> Path:
    """A run that was never trained, with a plant in every string."""
    strings = ("preset", "corpus", "corpus_note", "device", "precision")
    summary: dict[str, Any] = dict.fromkeys(strings, PLANT)
    run = write_run(runs_dir, name, steps=30, **summary)
    config = preset_config("tiny").to_dict()
    config["preset"] = config["data"]["corpus"] = config["sample"]["prompt"] = PLANT
    (run / "config.toml").write_text(tomli_w.dumps(config))
    notes = {"tags": [PLANT, "[/]"], "note": PLANT, "formerly": [PLANT]}
    (run / "notes.toml").write_text(tomli_w.dumps(notes))
    database = RunDatabase(run / "run.db")
    database.set_meta(parent={"run": PLANT, "step": 3, "branch": 0}, command_line=PLANT)
    database.add_sample(0, 10, None, config["sample"], PLANT)
    database.add_journal(0, 10, "note", {"message": PLANT})
    database.close()
    return run.rename(runs_dir / f"{name}{NAME}")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """An honest log of a terminal, under a name that is less honest."""
    path = tmp_path / f"{NAME}.txt"
    path.write_text(f"\x1b[32mINFO\x1b[0m {PLANT}\x1b]0;building\x07 50%\r 100%\x1b[K\n" * 60)
    return path


def fill_queue(runs_dir: Path) -> None:
    """Two entries, one of which has failed."""
    queue = Queue(runs_dir)
    config = preset_config("tiny").replace({"sample.prompt": PLANT})
    trials = [Trial({"sample.prompt": PLANT}, config)] * 2
    queue.add(trials, PLANT, "sweep")
    with sqlite3.connect(runs_dir / ".queue/queue.db") as db:
        db.execute("UPDATE entries SET sweep = ?, command_line = ?", (PLANT, PLANT))
        failed = "UPDATE entries SET state = 'failed', run = ?, problem = ? WHERE id = 1"
        db.execute(failed, (NAME, PLANT))


ESCAPE, ENTER, DELETE = "\x1b", "\r", "\x7f"
UP, LEFT = "\x1b[A", "\x1b[D"
WALK = [  # keys, and what they bring to the screen
    *((" ", "Resume"), ("s", "sample at step"), ("w", "saved step")),
    *(("b", "timeline"), (LEFT, "step"), (ESCAPE, "Resume")),
    *(("r", "onea␛"), (UP, "␛"), (UP, "␛")),
    *(("t", "tags"), (ESCAPE, "Open"), ("n", "note"), (ESCAPE, "Open"), ("R", "name")),
    *((ESCAPE, "Open"), ("  ", "2 marked"), ("c", "compare"), ("s", "␛"), (ESCAPE, "Open")),
    *((DELETE, "to the trash"), ("u", ""), (ESCAPE, "Resume")),
    *(("Q", "queue · 1"), (UP, "␛"), (ESCAPE, "Resume")),
    *(("?", "Back"), (ESCAPE, "Resume"), ("e", "sample"), (ESCAPE, "Resume")),
    *(("\x10", "Search for"), ("showlog", "Show log"), (ENTER, "log ·"), (ESCAPE, "Resume")),
    ("q", "continue"),
]
NATIVE_CHATTER = f"""
import os, tui.app
load = tui.app._import_heavy_modules

def load_and_write():
    os.write(2, {PLANT.encode()!r})
    load()

tui.app._import_heavy_modules = load_and_write
"""


def commands_on(run: str, untrained: str, text: str) -> list[list[str]]:
    """Every command, on runs and with options of somebody else."""
    return [
        *(["runs"], ["runs", "show", run], ["runs", "show", untrained], ["runs", "tag", untrained]),
        *(["runs", "note", run, PLANT], ["runs", "export", run], ["runs", "copy", untrained]),
        *(["runs", "rm", untrained], ["runs", "trash"], ["runs", "--filter", PLANT]),
        *(["runs", PLANT], ["runs", "show", PLANT], ["runs", "--runs-dir", text]),
        *(["queue"], ["queue", "--all", "--json"], ["queue", PLANT]),
        *(["diff", run, untrained], ["verify", run, "--replay"], ["verify", untrained]),
        *(["sample", run, "--max-tokens", "200"], ["sample", run, "--prompt", f"{PLANT}?"]),
        *(["fork", run], ["fork", untrained], ["model", run], ["presets"]),
        *(["train", "--resume", run, "--set", "train.max_steps=1"], ["train", "--resume", PLANT]),
        *(["train", "--data", PLANT], ["train", "--set", f"{PLANT}=1"], ["train", f"--{PLANT}"]),
        *(["train", "--preset", PLANT], ["train", "--name", PLANT], ["train", "--config", text]),
        *(["sweep", "--resume", PLANT], ["lr-finder", "--data", PLANT], ["open", PLANT], [PLANT]),
    ]


CALL_ALL = """
import sys
sys.path.insert(0, sys.argv[1])
from tui.cli import main
for words in open(sys.argv[2], newline="").read().split("\\0\\0"):
    try:
        code = main(words.split("\\0"))
    except SystemExit as end:
        code = end.code
    assert code in (0, 1, 2), (words, code)
"""


def call_all(folder: Path, commands: list[list[str]], **environment: str) -> bytes:
    """Call commands one after the other, on a terminal; returns what they send to it."""
    (folder / "commands").write_text("\0\0".join(map("\0".join, commands)), newline="")
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CALL_ALL, str(ROOT), "commands"],
        cwd=folder,
        env={**os.environ, "GPT_TUI_OFFLINE": "1", **environment},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    output = bytearray()
    with contextlib.suppress(OSError):  # the error of a terminal that nobody has open
        while more := os.read(master, 65536):
            output += more
    os.close(master)
    assert process.wait(60) == 0, plain(bytes(output))[-3000:]
    return bytes(output)


def test_no_screen_and_no_command_obeys_them(tmp_path: Path, corpus: Path) -> None:
    runs = tmp_path / "runs"
    untrained = hostile_run(runs, "one")
    fill_queue(runs)
    # a text has no carriage return, so that a prompt with one is refused
    settings = SMALL | {"sample.prompt": escape(PLANT.replace("\r", ""))}
    options = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    options += ["--preset", "tiny", "--data", str(corpus)]
    terminal = Terminal(tmp_path, options, OURS + NATIVE_CHATTER, (200, 50))
    try:
        terminal.until_written(b"Start")
        terminal.press(" ")
        terminal.until(lambda: terminal.step_shown >= 3, "a few steps")
        for keys, words in WALK:
            seen = len(terminal.output)
            terminal.press(keys)
            terminal.until(partial(terminal.shows, words, seen), f"{words!r} after {keys!r}")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert_harmless(bytes(terminal.output))
    assert SHOWN in terminal.text

    run = next(runs.glob("tiny-*")).rename(runs / f"tiny{NAME}")
    commands = commands_on(str(run), str(untrained), str(corpus))
    cache = str(tmp_path / NAME)
    assert_harmless(call_all(tmp_path, commands, GPT_TUI_RUNS=str(runs), GPT_TUI_CACHE=cache))
    assert_harmless(call_all(tmp_path, [["runs"], [PLANT]], GPT_TUI_RUNS=str(runs / PLANT)))


MANY = 50_000
FLOODS = {"marks": "a" + "\u0301" * MANY, "wide": "漢" * MANY, "nothing": "\u200d" * MANY}


@pytest.mark.parametrize("text", FLOODS.values(), ids=FLOODS)
def test_a_flood_of_wide_or_empty_characters_costs_little(text: str) -> None:
    protect_screen()
    began = time.perf_counter()
    assert len(Content(text).wrap(80)) >= 1
    assert Strip([Segment(visible_line(text))]).crop(0, 80).cell_length <= 80
    assert cell_len(_fit(text, 24, right=False)) == 24
    assert time.perf_counter() - began < 2.0
