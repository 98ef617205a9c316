"""How a person calls the benchmarks."""

from benchmarks import main
from tui.cli import exit_code


def benchmark(*arguments: str) -> int:
    """``python -m benchmarks ...``; returns the exit code."""
    return exit_code(lambda: main(list(arguments)))
