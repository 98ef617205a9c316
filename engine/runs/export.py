"""The metrics of a run as a table that other programs read: CSV, JSON lines, Parquet.

Wide tables have a row for each step and a column for each metric; long ones a row for each value.
Both follow the lineage that the run continues with: what it was rewound from is left out.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from data.errors import InputError, suggest
from engine.metric_catalogue import METRICS, short_list
from engine.program import install_command
from engine.runs.database import Curve, reading

ROWS_AT_ONCE = 10_000
TOKENS = "tokens"
MOST_CELLS = 2 * 10**8  # of nine bytes

NOTHING = Curve(np.array([], np.int64), np.array([], np.float64))
Table = dict[str, np.ndarray]  # by column, each (n,); what was not measured is masked


@dataclass(frozen=True)
class Curves:
    by_name: dict[str, Curve]

    @cached_property
    def steps(self) -> np.ndarray:
        """The steps at which any metric has a value, (n,) int64, rising."""
        return np.unique(np.concatenate([NOTHING.steps, *(c.steps for c in self.by_name.values())]))

    def table(self, long: bool) -> Table:
        """Return the columns of the wide or the long table.

        Raises:
            InputError: The wide one would not fit into memory; files of a stranger can have it so.
        """
        if not long:
            rows, columns = len(self.steps), len(self.by_name)
            if rows * columns > MOST_CELLS:
                raise InputError(
                    f"a table of {rows:,} steps and {columns:,} metrics is too large: name some "
                    f"with --metric, or take --long, which has a row for each value"
                )
            table = {"step": self.steps}
            for name, curve in self.by_name.items():
                while name in table:  # a metric that is called "step", say
                    name = f"metric_{name}"
                table[name] = self._column(self._at_every_step(curve) if name == TOKENS else curve)
            return table
        curves = self.by_name.values()
        return {
            "step": np.concatenate([NOTHING.steps, *(one.steps for one in curves)]),
            "metric": np.repeat(
                np.array([*self.by_name], object), [len(one.steps) for one in curves]
            ),
            "value": np.concatenate([NOTHING.values, *(one.values for one in curves)]),
        }

    def _at_every_step(self, tokens: Curve) -> Curve:
        """Tokens are recorded about once a second; in between, each step has as many."""
        steps, values = tokens
        apart = np.diff(steps)
        if not len(apart) or not (apart > 0).all() or not np.isfinite(values).all():
            return tokens
        each = np.diff(values) / apart
        # before the first and after the last as many as beside it
        at = np.clip(np.searchsorted(steps, self.steps, "right") - 1, 0, len(each) - 1)
        return Curve(self.steps, np.rint(values[at] + (self.steps - steps[at]) * each[at]))

    def _column(self, curve: Curve) -> np.ndarray:
        column: np.ndarray = np.ma.MaskedArray(np.zeros(len(self.steps)), mask=True)
        column[np.searchsorted(self.steps, curve.steps)] = curve.values
        return column


def read_curves(run: Path, metrics: Sequence[str] = ()) -> Curves:
    """Read some metrics of a run, or all that are recorded.

    One that charts derive, such as ``val_bits_per_byte``, is computed if it is asked for. The
    beginning of names, such as ``health/grad_norm``, stands for all of them.

    Raises:
        InputError: The run's database is damaged, or it has no such metric.
    """
    with reading(run) as database:
        lineage = database.present_lineage()
        names = dict.fromkeys(database.metric_names(*(one.branch for one in lineage)))
        families = {name: [one for one in names if one.startswith(f"{name}/")] for name in metrics}
        metrics = [one for name in metrics for one in families[name] or [name]]
        derived = {name for name in metrics if _source(name) in names}
        unknown = [name for name in metrics if name not in names and name not in derived]
        if unknown:
            raise InputError(
                f"the run {run.name!r} has no metric {unknown[0]!r}: "
                f"{_suggested(unknown[0], list(names)) if names else 'there are none yet'}"
            )
        references = database.meta().get("references", {})

        def curve(name: str) -> Curve:
            metric = METRICS.get(name)
            if name in names or not (metric and metric.derive):
                return database.curve(name, lineage)
            steps, values = database.curve(metric.source, lineage)
            return Curve(steps, metric.derive(values, references))

        with database.one_moment():
            return Curves({name: curve(name) for name in metrics or names})


def _suggested(name: str, names: list[str]) -> str:
    otherwise = f"there are {', '.join(short_list(names))}"
    return suggest(name, names, otherwise)


def _source(name: str) -> str:
    """Return the metric that another one is derived from; empty if it is not derived."""
    return METRICS[name].source if name in METRICS else ""


def write_csv(curves: Curves, file: IO[str], long: bool = False) -> None:
    """Write a table as CSV with a header; what was not measured is empty."""
    table = curves.table(long)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(_rows(table))


def write_jsonl(curves: Curves, file: IO[str], long: bool = False) -> None:
    """Write a JSON object a line; what was not measured is left out, what is not finite is null."""
    table = curves.table(long)
    for row in _rows(table):
        pairs = zip(table, row, strict=True)
        known = {name: _json(value) for name, value in pairs if value is not None}
        file.write(json.dumps(known) + "\n")


def write_parquet(curves: Curves, file: IO[bytes], long: bool = False) -> None:
    """Write a table as Parquet; what was not measured is null.

    Raises:
        InputError: The library for it is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"Parquet needs the library pyarrow: install it with {install_command('parquet')}, "
            "or take --to csv"
        ) from None
    columns: dict[str, Any] = dict(curves.table(long))
    if long:
        columns["metric"] = pyarrow.array(columns["metric"], pyarrow.string()).dictionary_encode()
    parquet.write_table(pyarrow.table(columns), file)


WRITERS: dict[str, Callable[[Curves, IO[Any], bool], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


def _rows(table: Table) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a table; masked values are None."""
    for begin in range(0, len(table["step"]), ROWS_AT_ONCE):
        part = slice(begin, begin + ROWS_AT_ONCE)
        yield from zip(*(column[part].tolist() for column in table.values()), strict=True)


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
