"""The metrics of a run as a table that other programs read: CSV, JSON lines, Parquet.

Wide tables have a row for each step and a column for each metric; long ones a row for each value.
Both follow the run's present course: what it went back from is left out.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from data.errors import InputError
from engine.runs.summary import open_database, present_branch

ROWS_AT_ONCE = 10_000
LONG_HEADER = ("step", "metric", "value")


@dataclass(frozen=True)
class Curves:
    """Every metric of a run: steps (n,) int64, rising, and values (n,) float64."""

    by_name: dict[str, tuple[np.ndarray, np.ndarray]]

    @cached_property
    def steps(self) -> np.ndarray:
        """Every step at which anything was measured, (n,) int64, rising."""
        if not self.by_name:
            return np.array([], np.int64)
        return np.unique(np.concatenate([steps for steps, _ in self.by_name.values()]))

    def columns(self) -> dict[str, np.ndarray]:
        """The wide table: ``step`` and each metric, NaN where it was not measured."""
        steps = self.steps
        table: dict[str, np.ndarray] = {"step": steps}
        for name, (at, values) in self.by_name.items():
            table[name] = np.full(len(steps), np.nan)
            table[name][np.searchsorted(steps, at)] = values
        return table

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """The wide table by rows; a metric that was not measured at a step is None."""
        steps = self.steps
        measured = {name: np.isin(steps, at) for name, (at, _) in self.by_name.items()}
        columns = self.columns()
        for begin in range(0, len(steps), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            cells = [
                [value if there else None for value, there in zip(*both, strict=True)]
                for both in (
                    (columns[name][part].tolist(), measured[name][part].tolist())
                    for name in self.by_name
                )
            ]
            yield from zip(steps[part].tolist(), *cells, strict=True)

    def long_rows(self) -> Iterator[tuple[int, str, float]]:
        """The long table by rows, metric after metric."""
        for name, (steps, values) in self.by_name.items():
            for begin in range(0, len(steps), ROWS_AT_ONCE):
                part = slice(begin, begin + ROWS_AT_ONCE)
                for step, value in zip(steps[part].tolist(), values[part].tolist(), strict=True):
                    yield step, name, value


def read_curves(run: Path, metrics: Sequence[str] = ()) -> Curves:
    """The metrics of a run, live or not.

    Args:
        run: Its folder.
        metrics: Which; none means all.

    Raises:
        InputError: The run's database is damaged, or it has no such metric.
    """
    with open_database(run) as database:
        if database is None:
            return Curves({})
        way = database.lineage(present_branch(run))
        names = dict.fromkeys(n for one in way for n in database.metric_names(one.branch))
        unknown = [name for name in metrics if name not in names]
        if unknown:
            raise InputError(
                f"the run {run.name!r} has no metric {unknown[0]!r}: "
                f"there are {', '.join(names) or 'none yet'}"
            )
        return Curves({name: database.curve(name, way) for name in metrics or names})


def write_csv(curves: Curves, file: IO[str], long: bool = False) -> None:
    """Write a table as CSV with a header; what was not measured is empty."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(LONG_HEADER if long else ("step", *curves.by_name))
    rows: Iterable[tuple[Any, ...]] = curves.long_rows() if long else curves.rows()
    writer.writerows(rows)


def write_jsonl(curves: Curves, file: IO[str], long: bool = False) -> None:
    """Write a JSON object a line; what was not measured is left out, what is not finite is null."""
    header = LONG_HEADER if long else ("step", *curves.by_name)
    for row in curves.long_rows() if long else curves.rows():
        pairs = zip(header, row, strict=True)
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
            "Parquet needs the library pyarrow: install it with pip install 'gpt-tui[parquet]', "
            "or take --to csv"
        ) from None
    parquet.write_table(pyarrow.table(_long_arrays(curves) if long else _wide_arrays(curves)), file)


WRITERS: dict[str, Callable[[Curves, IO[Any], bool], None]] = {
    "csv": write_csv,
    "jsonl": write_jsonl,
    "parquet": write_parquet,
}


def _wide_arrays(curves: Curves) -> dict[str, Any]:
    import pyarrow

    columns, steps = curves.columns(), curves.steps
    arrays = {"step": steps}
    for name, (at, _) in curves.by_name.items():
        arrays[name] = pyarrow.array(columns[name], mask=~np.isin(steps, at))
    return arrays


def _long_arrays(curves: Curves) -> dict[str, Any]:
    import pyarrow

    lengths = [len(steps) for steps, _ in curves.by_name.values()]
    names = pyarrow.array(list(curves.by_name), pyarrow.string())
    metrics = pyarrow.DictionaryArray.from_arrays(
        np.repeat(np.arange(len(lengths), dtype=np.int32), lengths), names
    )
    none = (np.array([], np.int64), np.array([], np.float64))
    steps, values = zip(none, *curves.by_name.values(), strict=True)
    return {"step": np.concatenate(steps), "metric": metrics, "value": np.concatenate(values)}


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
