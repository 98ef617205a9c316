"""A corpus of gigabytes, in a memory that holds a part of it alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SIZE = 2_200_000_000  # bytes
MOST_RESIDENT = 500_000  # kB, mapped files included
ROOM = 4 * SIZE

MEASURED = """
import sys
from tui.cli import main
code = main(sys.argv[1:])
status = open("/proc/self/status").read()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
sys.exit(code)
"""


def rows(lines: list[str]) -> str:
    return "".join(f"{json.dumps({'text': line})}\n" for line in lines)


def one_line(lines: list[str]) -> str:
    return " ".join(lines)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Deleted at once: pytest would keep it."""
    if shutil.disk_usage(tmp_path).free < ROOM:
        pytest.skip(f"{ROOM / 1e9:.0f} GB of disk are needed")
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc has the memory")
@pytest.mark.parametrize(
    ("name", "form", "tokenizer"),
    [("rows.jsonl", rows, "bytes"), ("line.txt", one_line, "char")],
    ids=["millions of documents", "a single line"],
)
def test_gigabytes_are_prepared_in_little_memory(
    name: str, form: Callable[[list[str]], str], tokenizer: str, folder: Path, cache: Path
) -> None:
    draw = random.Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 9))) for _ in range(5000)]
    lines = [" ".join(draw.choices(words, k=40)) for _ in range(8000)]
    path, written = folder / name, 0
    with path.open("w") as file:
        while written < SIZE:
            draw.shuffle(lines)
            written += file.write(form(lines))
    command = ["data", "prepare", str(path), "--set", f"data.tokenizer={tokenizer}", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "GPT_TUI_CACHE": str(cache)},
    )
    assert done.returncode == 0, done.stderr[-1000:]
    facts, resident = done.stdout.splitlines()[-2:]
    assert json.loads(facts)["tokens"] > 0.9 * SIZE * (1 if form is one_line else 0.9)
    assert int(resident) < MOST_RESIDENT
