"""``gpt-tui plot``: the curves of runs as text, whatever is in them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from engine.runs.database import RunDatabase
from tests.cli.conftest import ROOT, Cli
from tests.engine.run_folders import write_run

STEPS = 200
AXIS = 7  # columns to the left of the canvas, in these charts


def record(runs_dir: Path, name: str, **metrics: Iterable[float]) -> Path:
    """A run with a value of each metric at steps 1, 2, 3 …"""
    run = write_run(runs_dir, name, epoch=96.0)
    database = RunDatabase(run / "run.db")
    rows = [
        (metric, step, float(value))
        for metric, values in metrics.items()
        for step, value in enumerate(values, 1)
    ]
    database.add_metrics(0, rows)
    database.close()
    return run


def canvas(out: str, legend: int = 2) -> list[str]:
    """The rows of the canvas, without axes and labels."""
    rows = out.splitlines()[legend:-2]
    assert all(row[AXIS - 2] in "│┤" for row in rows)
    return [row[AXIS - 1 :] for row in rows]


def places(out: str) -> list[tuple[int, int]]:
    """Column and row of every cell that a curve runs through."""
    return [
        (x, y) for y, row in enumerate(canvas(out)) for x, cell in enumerate(row) if cell != " "
    ]


def test_a_falling_curve_is_drawn_falling_from_corner_to_corner(cli: Cli, runs_dir: Path) -> None:
    record(runs_dir, "a", train_loss=[4.0 - 3.0 * i / STEPS for i in range(STEPS)])
    answer = cli("plot", "a", "--y", "full", "--smoothing", "0", "--width", "60", "--height", "16")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[0] == "loss over steps"
    assert answer.out.splitlines()[1] == "─ train 1.0150"
    lines = answer.out.splitlines()
    assert len(lines) == 16 and max(map(len, lines)) <= 60
    columns = {x: [y for at, y in places(answer.out) if at == x] for x, _ in places(answer.out)}
    assert min(columns) <= 1 and max(columns) >= 52  # no step is left out
    middles = [sum(columns[x]) / len(columns[x]) for x in sorted(columns)]
    assert middles == sorted(middles) and len(set(middles)) > 8
    rows = len(canvas(answer.out))
    for x, ys in columns.items():
        value = 4.0 - 3.0 * x / max(columns)
        row = rows * (4.5 - value) / 4.0  # the axis is from 0.5 to 4.5
        assert abs(sum(ys) / len(ys) + 0.5 - row) < 0.8


def test_several_runs_have_letters_along_their_curves_and_in_the_legend(
    cli: Cli, runs_dir: Path
) -> None:
    for name, level in (("low", 1.0), ("high", 3.0)):
        record(runs_dir, name, train_loss=[level] * STEPS)
    answer = cli("plot", "high", "low", "--y", "full", "--width", "80", "--height", "20")
    assert answer.out.splitlines()[1] == "A high train 3.0000  B low train 1.0000"
    found = {letter: {y for y, row in enumerate(canvas(answer.out)) if letter in row}
             for letter in "AB"}  # fmt: skip
    assert len(found["A"]) == len(found["B"]) == 1
    assert min(found["A"]) < min(found["B"])
    assert sum(row.count("A") for row in canvas(answer.out)) >= 3


def test_the_two_curves_of_each_run_share_a_letter_and_differ_in_the_stroke(
    cli: Cli, runs_dir: Path
) -> None:
    for name, level in (("low", 1.0), ("high", 3.0)):
        record(runs_dir, name, train_loss=[level] * STEPS, val_loss=[level + 0.8] * STEPS)
    answer = cli("plot", "high", "low", "--y", "full", "--width", "90", "--height", "24")
    assert answer.out.splitlines()[1] == (
        "A high ─ train 3.0000, ╌ val 3.8000  B low ─ train 1.0000, ╌ val 1.8000"
    )
    rows = [row for row in canvas(answer.out) if "A" in row]
    assert len(rows) == 2 and not any("C" in row for row in canvas(answer.out))
    dashed, solid = ([cell for cell in row if cell != "A"] for row in rows)
    assert dashed.count(" ") > 15 and solid.count(" ") < 5


@pytest.mark.parametrize(
    ("x", "label"),
    [("step", "200"), ("tokens", "100k"), ("epochs", "20"), ("time", "100 s")],
)
def test_the_axis_counts_steps_tokens_or_time(cli: Cli, runs_dir: Path, x: str, label: str) -> None:
    seconds = [step / 2 for step in range(1, STEPS + 1)]
    record(runs_dir, "a", train_loss=[2.0, 1.0] * (STEPS // 2), train_seconds=seconds)
    answer = cli("plot", "a", "--x", x)
    assert label in answer.out.splitlines()[-1]
    assert len(answer.out.splitlines()) == 28 and max(map(len, answer.out.splitlines())) <= 100


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("perplexity", "perplexity over steps (smoothed, 0.9)"),
        ("val_loss", "loss, val over steps"),
        ("train_bits_per_byte", "bits per byte, train over steps (smoothed, 0.9)"),
        ("tokens", "tokens over steps"),
        ("of_another_version", "of another version over steps"),
        ("health/grad_norm", "gradient norm by layer over steps"),
        ("health/grad_norm/blocks.0.attention.qkv", "grad L0 attention.qkv over steps"),
    ],
)
def test_every_metric_and_every_chart_has_a_name(
    cli: Cli, runs_dir: Path, name: str, title: str
) -> None:
    values = [1.0, 2.0, 3.0]
    layers = {f"health/grad_norm/blocks.0{part}": values for part in ("", ".attention.qkv")}
    record(runs_dir, "a", train_loss=values, val_loss=values, tokens=values,
           of_another_version=values, **layers)  # fmt: skip
    assert cli("plot", "a", "--metric", name).out.splitlines()[0] == title


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--metric", "trainloss"], "there is no metric 'trainloss': did you mean train_loss?"),
        (["--metric", "grad_norm"], "the run 'a' has no values of 'grad_norm' yet: it has "),
        (
            ["--metric", "health/dead_units"],
            "the run 'a' has no values of 'health/dead_units' yet: it has train_loss",
        ),
        (["empty"], "the run 'empty' has no values of 'loss' yet: gpt-tui train --resume "),
        (["damaged"], "the run 'damaged' cannot be drawn: "),
        (["--smoothing", "1"], "--smoothing must be from 0 to 0.99"),
        (["--width", "3"], "--width must be from 20 to 1000, not 3"),
        (["--height", "1001"], "--height must be from 6 to 1000, not 1001"),
        (["--log", "--y", "full"], "--log and --y full contradict each other"),
        (["nothing"], "there is no run 'nothing'"),
    ],
)
def test_bad_input_is_one_sentence(
    cli: Cli, runs_dir: Path, arguments: list[str], problem: str
) -> None:
    record(runs_dir, "a", train_loss=[2.0, 1.0])
    write_run(runs_dir, "empty")
    (write_run(runs_dir, "damaged") / "run.db").write_bytes(b"not a database" * 100)
    assert cli("plot", "a", *arguments).problem.startswith(problem)


def test_values_that_are_not_positive_have_no_logarithm(cli: Cli, runs_dir: Path) -> None:
    record(runs_dir, "a", learning_rate=[0.0, 1.0, 2.0])
    answer = cli("plot", "a", "--metric", "learning_rate", "--log")
    assert answer.code == 0 and "the axis is not logarithmic" in answer.err


@pytest.mark.parametrize("characters", ["block", "ascii"])
def test_other_characters(cli: Cli, runs_dir: Path, characters: str) -> None:
    record(runs_dir, "a", train_loss=[2.0, 1.5, 1.0])
    out = cli("plot", "a", "--characters", characters).out
    assert not re.search("[\u2800-\u28ff]", out)
    assert out.isascii() == (characters == "ascii")


HOSTILE = {
    "nan": [float("nan"), 1.0, float("nan"), 2.0],
    "infinite": [float("inf"), -float("inf"), 1.0],
    "huge": [1e308, -1e308, 5e-324, 0.0],
    "constant": [1.0] * 50,
    "alone": [3.0],
    "spike": [1.0] * 90 + [1e300] + [1.0] * 9,
}


def test_no_value_ends_the_process(runs_dir: Path) -> None:
    """In a process of its own: plotext aborts where a number is not finite."""
    for name, values in HOSTILE.items():
        record(runs_dir, name, train_loss=values, val_loss=values, train_seconds=values)
    record(runs_dir, "none", train_loss=[float("nan")] * 3)
    code = (
        "import json, sys; from tui.cli import main\n"
        "looks = [('--smoothing', s, '--y', y, '--metric', m, *size) for s in ('0', '0.9')\n"
        " for y in ('robust', 'full', 'log') for m in ('loss', 'perplexity')\n"
        " for size in ((), ('--width', '20', '--height', '6'), ('--x', 'time'))]\n"
        f"for run in {[*HOSTILE, 'none']!r}:\n"
        "  print(json.dumps([run, [main(['plot', run, *look]) for look in looks]]), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    codes = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    expected = {name: [0] for name in HOSTILE} | {"none": [2]}
    assert {name: sorted(set(seen)) for name, seen in codes.items()} == expected
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr
    assert not re.search(r"^[^\[]*\b(nan|inf)\b", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals_that_want_them(
    runs_dir: Path, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    """And what a run is called is never an escape sequence."""
    hostile = record(runs_dir, "a", train_loss=[2.0, 1.0]).rename(runs_dir / "a\x1b[31m")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setenv("LINES", "20")
    terminal, ours = os.openpty()
    other = record(runs_dir, "b", train_loss=[1.0, 2.0])
    process = subprocess.Popen(
        [sys.executable, "-m", "tui", "plot", hostile, other], cwd=ROOT, stdout=ours
    )
    os.close(ours)
    shown = b""
    with suppress(OSError):  # EIO: all of it was read
        while part := os.read(terminal, 2**16):
            shown += part
    assert process.wait(timeout=60) == 0
    os.close(terminal)
    assert (b"\x1b[38;5;6m" in shown) is coloured
    assert (b"\x1b" in shown) is coloured
    assert b"\x1b[31m" not in shown and "a␛[31m train".encode() in shown
    lines = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode().splitlines()
    assert len(lines) == 19 and max(map(len, lines)) <= 90  # a line is left for the prompt
