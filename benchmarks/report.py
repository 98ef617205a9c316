"""Statistics of noisy measurements, and the two ways to tell them: a table and a line of JSON."""

from __future__ import annotations

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tui.terminal.stdout import print_last
from tui.text.tables import format_json, format_table

RESAMPLES = 10_000
PARAMETERS_APART = 0.05  # more, and a comparison is none


@dataclass(frozen=True)
class Spread:
    """A median and how far the values lie apart."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise some values, at least one."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def to_dict(self, digits: int = 4) -> dict[str, float | int]:
        """As JSON has it."""
        low, high = round(self.low, digits), round(self.high, digits)
        return {
            "median": round(self.median, digits), "min": low, "max": high, "count": self.count
        }  # fmt: skip

    def described(self, unit: str, digits: int = 2) -> str:
        """``0.41 s (0.39 to 0.47, 5 runs)``."""
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        runs = "1 run" if self.count == 1 else f"{self.count} runs"
        return f"{self.median:.{digits}f} {unit} ({low} to {high}, {runs})"


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """The percentile-bootstrap interval of the median; the same for the same values.

    Args:
        values: What was measured, at least one.
        confidence: Share of the resampled medians that lie within.
        seed: Of the resampling.
    """
    generator = random.Random(seed)
    medians = sorted(
        statistics.median(generator.choices(values, k=len(values))) for _ in range(RESAMPLES)
    )
    cut = round((1 - confidence) / 2 * (RESAMPLES - 1))
    return medians[cut], medians[-1 - cut]


def abba(rounds: int, arms: int = 2) -> list[tuple[int, ...]]:
    """The order of arms 0, 1 … in each round, every other one backwards: drift favours none."""
    order = tuple(range(arms))
    return [order if number % 2 == 0 else order[::-1] for number in range(rounds)]


@dataclass(frozen=True)
class Row:
    """One figure: what was wished for and what it is; ``reached`` is None where nothing was."""

    figure: str
    goal: str
    measured: str
    reached: bool | None = None


def parameters_row(ours: int, peer: str, theirs: int) -> Row:
    """Whether two models are of one size, position embeddings left out on both sides.

    Args:
        ours: Parameters.
        peer: Whose model the other is.
        theirs: Its parameters; 0 if it did not say.
    """
    figure, goal = f"parameters, ours and {peer}", f"within {PARAMETERS_APART:.0%}"
    if not theirs:
        return Row(figure, goal, f"{ours:,} and an unknown number")
    apart = ours / theirs - 1
    told = f"{ours:,} and {theirs:,} ({apart:+.1%})"
    return Row(figure, goal, told, abs(apart) <= PARAMETERS_APART)


def tell(rows: Sequence[Row], result: Mapping[str, Any], as_json: bool) -> None:
    """Print the last words of a benchmark."""
    if as_json:
        print_last(format_json(dict(result)))
        return
    verdicts = {True: "reached", False: "not reached", None: ""}
    cells = [(row.figure, row.goal, row.measured, verdicts[row.reached]) for row in rows]
    print_last(format_table(("figure", "goal", "measured", ""), cells))
