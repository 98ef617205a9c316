from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from data.errors import InputError
from engine.program import install_command
from engine.runs.database import Curve, RunDatabase
from engine.runs.export import Curves, read_curves, write_csv, write_jsonl, write_parquet
from tests.engine.run_folders import write_run


@pytest.fixture
def run(runs_dir: Path) -> Path:
    """A run of 2,000 steps, validated every tenth, with one value that is no number."""
    run = write_run(runs_dir, "first", steps=2000)
    database = RunDatabase(run / "run.db")
    database.add_metrics(0, [("grad_norm", 2000, math.nan)])
    database.close()
    return run


def as_csv(curves: Curves, long: bool = False) -> list[dict[str, str]]:
    file = io.StringIO()
    write_csv(curves, file, long)
    return list(csv.DictReader(io.StringIO(file.getvalue())))


def as_jsonl(curves: Curves, long: bool = False) -> list[dict[str, object]]:
    file = io.StringIO()
    write_jsonl(curves, file, long)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def as_parquet(curves: Curves, long: bool = False) -> list[dict[str, object]]:
    file = io.BytesIO()
    write_parquet(curves, file, long)
    file.seek(0)
    return list(parquet.read_table(file).to_pylist())


def test_a_wide_table_has_a_row_for_each_step(run: Path) -> None:
    curves = read_curves(run)
    rows = as_csv(curves)
    assert [int(row["step"]) for row in rows] == list(range(1, 2001))
    assert rows[8] == {"step": "9", "grad_norm": "", "train_loss": str(4 / 9), "val_loss": ""}
    assert rows[-1] == {"step": "2000", "grad_norm": "nan", "train_loss": "0.002"} | {
        "val_loss": "0.0025"
    }
    lines = as_jsonl(curves)
    assert lines[8] == {"step": 9, "train_loss": 4 / 9}
    last = {"step": 2000, "grad_norm": None, "train_loss": 0.002, "val_loss": 0.0025}
    assert lines[-1] == last
    table = as_parquet(curves)
    assert table[8] == {"step": 9, "grad_norm": None, "train_loss": 4 / 9, "val_loss": None}
    assert math.isnan(table[-1].pop("grad_norm"))  # type: ignore[arg-type]
    del last["grad_norm"]
    assert table[-1] == last


def test_tokens_are_given_at_every_step_and_no_metric_hides_the_steps(run: Path) -> None:
    database = RunDatabase(run / "run.db")
    database.add_metrics(0, [("tokens", step, step * 384.0) for step in (700, 900, 1500)])
    database.add_metrics(0, [("step", 5, 0.5)])
    database.close()
    curves = read_curves(run)
    rows = as_csv(curves)
    assert [float(row["tokens"]) for row in rows] == [step * 384.0 for step in range(1, 2001)]
    assert (rows[4]["step"], rows[4]["metric_step"], rows[5]["metric_step"]) == ("5", "0.5", "")
    assert sum(row["metric"] == "tokens" for row in as_csv(curves, long=True)) == 3


def test_a_long_table_has_a_row_for_each_value(run: Path) -> None:
    curves = read_curves(run, ["val_loss", "train_loss"])
    lines = as_jsonl(curves, long=True)
    assert len(lines) == 2200
    assert lines[0] == {"step": 10, "metric": "val_loss", "value": 0.5}
    assert lines[-1] == {"step": 2000, "metric": "train_loss", "value": 0.002}
    assert as_parquet(curves, long=True) == lines
    assert as_csv(curves, long=True)[0] == {"step": "10", "metric": "val_loss", "value": "0.5"}


def test_what_the_run_went_back_from_is_left_out(run: Path) -> None:
    database = RunDatabase(run / "run.db")
    branch = database.add_branch(0, 3)
    database.add_metrics(branch, [("train_loss", 4, 9.0)])
    database.close()
    assert len(read_curves(run, ["train_loss"]).steps) == 2000  # until it is saved there
    (run / f"checkpoints/step-00000003-b{branch}").mkdir()
    assert as_jsonl(read_curves(run, ["train_loss"])) == [
        {"step": 1, "train_loss": 4.0},
        {"step": 2, "train_loss": 2.0},
        {"step": 3, "train_loss": 4 / 3},
        {"step": 4, "train_loss": 9.0},
    ]


def test_a_wide_table_too_large_for_memory_is_refused_and_the_long_one_is_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.runs.export.MOST_CELLS", 10)
    with pytest.raises(InputError, match="name some with --metric, or take --long"):
        write_csv(read_curves(run), io.StringIO())
    write_csv(read_curves(run), io.StringIO(), long=True)


def test_all_metrics_are_read_as_of_one_moment(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, curve = read_curves(run), RunDatabase.curve
    with closing(RunDatabase(run / "run.db")) as writer:
        writer.add_metrics(0, [("train_loss", 9001, 1.0)])

        def written_meanwhile(database: RunDatabase, *of: Any) -> Curve:
            found = curve(database, *of)
            writer.add_metrics(0, [(name, 9002, 1.0) for name in before.by_name])
            return found

        monkeypatch.setattr(RunDatabase, "curve", written_meanwhile)
        assert read_curves(run).steps.tolist() == [*before.steps.tolist(), 9001]


def test_a_metric_that_is_none(run: Path) -> None:
    with pytest.raises(InputError, match="no metric 'loss': did you mean 'val_loss'"):
        read_curves(run, ["loss"])


def test_a_run_without_metrics_gives_a_header(runs_dir: Path) -> None:
    run = write_run(runs_dir, "empty")
    (run / "run.db").unlink()
    shutil.rmtree(run / "checkpoints")
    curves = read_curves(run)
    assert as_csv(curves) == as_jsonl(curves) == as_parquet(curves) == []
    assert as_parquet(curves, long=True) == []


def test_without_the_library_parquet_says_how_to_get_it(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=re.escape(install_command("parquet"))):
        as_parquet(read_curves(run))


def test_what_charts_derive_is_exported_if_it_is_named(run: Path) -> None:
    rows = as_csv(read_curves(run, ["train_perplexity", "train_loss"]))
    assert float(rows[0]["train_perplexity"]) == pytest.approx(math.exp(4.0))
    assert float(rows[-1]["train_perplexity"]) == pytest.approx(math.exp(0.002))


def test_what_would_be_derived_from_nothing_is_unknown(run: Path) -> None:
    with pytest.raises(InputError, match="no metric 'mfu'"):
        read_curves(run, ["mfu"])


def test_the_beginning_of_names_stands_for_all_of_them(run: Path) -> None:
    names = [f"health/{one}/blocks.{n}" for one in ("dead_units", "grad_norm") for n in (0, 1)]
    database = RunDatabase(run / "run.db")
    database.add_metrics(0, [(name, 100, 0.5) for name in names])
    database.close()
    assert [*read_curves(run, ["health/grad_norm"]).by_name] == names[2:]
    assert [*read_curves(run, ["health", names[0], "val_loss"]).by_name] == [*names, "val_loss"]
    assert {*names} < read_curves(run).by_name.keys()
    with pytest.raises(InputError) as refused:
        read_curves(run, ["zzz"])
    assert "health/dead_units/…, health/grad_norm/…" in str(refused.value)
