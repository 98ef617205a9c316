"""Stage: the tests that need a GPU, and those alone are collected."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from benchmarks.gpu.runner import ROOT
from tui.cli import exit_code
from tui.terminal.stdout import put
from tui.text.tables import format_json

ON_A_GPU = re.compile(r'pytest\.mark\.gpu|"device", DEVICES')
COUNT = re.compile(r"(\d+) (passed|failed|skipped|error)")
# one plugin: those that a machine happens to have may not suit this version of pytest
OPTIONS = ("-q", "-m", "gpu", "-p", "pytest_asyncio.plugin", "-p", "no:cacheprovider")


def run(argv: list[str]) -> int:
    """Run pytest; print how many tests passed, failed and were skipped."""
    files = [
        str(path.relative_to(ROOT))
        for path in sorted(ROOT.glob("tests/**/test_*.py"))
        if ON_A_GPU.search(path.read_text(encoding="utf-8"))
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *OPTIONS, *(files[:1] if "--dry" in argv else files)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    put(done.stdout)
    put(format_json(counts(done.stdout)))
    return done.returncode


def counts(said: str) -> dict[str, int]:
    """From the last line of pytest."""
    found = {what: int(number) for number, what in COUNT.findall((said.splitlines() or [""])[-1])}
    return {what: found.get(what, 0) for what in ("passed", "failed", "error", "skipped")}


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
