"""Runs beside each other: exactly what differs, what came of it, and over what."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data.errors import InputError
from engine.config.schema import SETTINGS
from engine.protocol import Adjust, Resume, Rewind
from engine.runs.comparison import (
    band_of,
    cautions,
    described,
    differing_settings,
    read_compared,
    seed_groups,
)
from engine.runs.curves import Axis, ghost_of_parent, read_loss_curves, read_parent
from engine.runs.database import Curve
from engine.runs.notes import change_notes
from engine.session.fork import fork
from engine.session.rewind import visit
from tests.engine.conftest import MakeConfig, Rig
from tests.engine.run_folders import write_run

TOKENS_A_STEP = 4 * 8  # batch_size · block_size


def train(rig: Rig, make_config: MakeConfig, steps: int = 6, **changes: object) -> Path:
    session = rig.new(make_config(**changes))
    rig.to_step(session, steps)
    return rig.close(session)


def test_comparing_needs_neither_torch_nor_a_screen() -> None:
    check = (
        "import engine.runs.curves, sys;"
        "assert not {'torch', 'textual'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)


# Settings


def test_exactly_the_settings_that_differ(rig: Rig, make_config: MakeConfig) -> None:
    runs = [
        read_compared(train(rig, make_config, optim__learning_rate=rate, model__n_embd=width))
        for rate, width in ((1e-2, 16), (2e-3, 16), (2e-3, 32))
    ]
    assert differing_settings(runs) == {
        "model.n_embd": [(16,), (16,), (32,)],
        "optim.learning_rate": [(0.01,), (0.002,), (0.002,)],
    }
    assert differing_settings(runs[:1]) == {}
    assert differing_settings([runs[0], runs[0]]) == {}


def test_a_setting_changed_on_the_way_shows_all_its_values(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(optim__learning_rate=1e-3, optim__min_lr=1e-4))
    for step, rate in ((2, 3e-4), (4, 1e-3)):
        rig.to_step(session, step)
        session.handle(Adjust({"optim.learning_rate": rate}))
    rig.to_step(session, 6)
    changed = read_compared(rig.close(session))
    plain = read_compared(train(rig, make_config, optim__learning_rate=1e-3, optim__min_lr=1e-4))
    key = "optim.learning_rate"
    assert differing_settings([plain, changed]) == {key: [(1e-3,), (1e-3, 3e-4, 1e-3)]}
    assert described(key, changed.values(key)) == "0.001→0.0003→0.001"


def test_what_was_changed_on_an_abandoned_stretch_does_not_count(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 4)
    session.handle(Adjust({"optim.learning_rate": 5e-3}))
    rig.to_step(session, 8)
    session.handle(Rewind(3))
    rig.until(session, lambda: session.trainer.step == 3 and not session.saving.busy)
    session.handle(Resume())
    rig.to_step(session, 9)
    run = read_compared(rig.close(session))
    assert run.values("optim.learning_rate") == (0.01,)
    steps = read_loss_curves(run).losses["train_loss"].steps
    assert steps.tolist() == list(range(1, 10)), "one line of history, without holes"


def test_what_the_program_settled_on_counts_and_not_that_it_was_left_to_it(
    rig: Rig, make_config: MakeConfig
) -> None:
    asked = read_compared(train(rig, make_config, system__micro_batch_size=4))
    left = read_compared(train(rig, make_config, system__precision="auto"))
    (settled,) = left.values("system.precision")
    assert settled in ("fp32", "bf16")
    differs = {"system.precision": [("fp32",), (settled,)]} if settled != "fp32" else {}
    assert differing_settings([asked, left]) == differs


# Figures


def test_figures_are_those_of_the_summary(rig: Rig, make_config: MakeConfig) -> None:
    run = read_compared(train(rig, make_config, eval__interval=3))
    figures = run.figures()
    assert figures["steps"] == 6 and figures["tokens"] == 6 * TOKENS_A_STEP
    assert figures["best_val_loss"] == run.summary.best_val_loss is not None
    assert figures["best_step"] in (3, 6)
    assert figures["parent"] is None
    assert figures["tokens_per_second"] == pytest.approx(
        figures["tokens"] / figures["train_seconds"]
    )


def test_a_damaged_run_is_named(rig: Rig, make_config: MakeConfig) -> None:
    path = train(rig, make_config)
    (path / "run.db").write_bytes(b"nothing of the kind" * 99)
    with pytest.raises(InputError, match=f"{path.name}.* cannot be compared"):
        read_compared(path)


def test_a_run_that_never_began_has_nothing_to_show(rig: Rig, make_config: MakeConfig) -> None:
    path = train(rig, make_config)
    (path / "run.db").unlink()
    shutil.rmtree(path / "checkpoints")
    run = read_compared(path)
    assert run.figures()["steps"] == 0
    for axis in Axis:
        assert [len(part) for part in read_loss_curves(run).along(axis, "train_loss")] == [0, 0]


def test_cautions_where_losses_do_not_compare(
    rig: Rig, make_config: MakeConfig, tmp_path: Path
) -> None:
    other = tmp_path / "other.txt"
    other.write_text("another text altogether, " * 400)
    one = read_compared(train(rig, make_config))
    two = read_compared(train(rig, make_config, optim__learning_rate=5e-3))
    three = read_compared(train(rig, make_config, data__corpus=str(other)))
    assert cautions([one, two]) == []
    (told,) = cautions([one, two, three])
    assert "different texts" in told


# Courses


def test_tokens_follow_changes_of_the_batch(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    session.handle(Adjust({"train.batch_size": 8}))
    rig.to_step(session, 5)
    run = read_compared(rig.close(session))
    places, values = read_loss_curves(run).along(Axis.TOKENS, "train_loss")
    assert (places / TOKENS_A_STEP).tolist() == [1, 2, 3, 5, 7]
    assert len(values) == 5 and run.summary.tokens == 7 * TOKENS_A_STEP


def test_time_never_falls_and_ends_with_the_figures(rig: Rig, make_config: MakeConfig) -> None:
    run = read_compared(train(rig, make_config, eval__interval=2))
    curves = read_loss_curves(run)
    for metric in ("train_loss", "val_loss"):
        places, _ = curves.along(Axis.SECONDS, metric)
        assert (np.diff(places) >= 0).all() and places[0] >= 0
        assert 0 < places[-1] <= 1000 * run.summary.train_seconds + 1


# Forks


def test_a_fork_knows_its_parent_and_how_that_went_on(rig: Rig, make_config: MakeConfig) -> None:
    parent = train(rig, make_config, steps=9, checkpoint__interval=3)
    with visit(parent, 6, lambda message: None) as there:
        child = fork(there, {"train.batch_size": 8}, "child")
    session = rig.open(child)
    rig.to_step(session, 8)
    rig.close(session)
    origin = read_parent(child)
    assert origin is not None and (origin.path, origin.step) == (parent, 6)
    run = read_compared(child)
    assert (run.figures()["parent"], run.figures()["parent_step"]) == (parent.name, 6)
    places, _ = read_loss_curves(run).along(Axis.TOKENS, "train_loss")
    assert (places / TOKENS_A_STEP).tolist() == [1, 2, 3, 4, 5, 6, 8, 10]
    assert differing_settings([read_compared(parent), run]) == {"train.batch_size": [(4,), (8,)]}
    assert read_parent(parent) is None


def test_a_parent_is_found_under_its_new_name_and_missed_quietly(
    rig: Rig, make_config: MakeConfig
) -> None:
    parent = train(rig, make_config, steps=6, checkpoint__interval=3)
    with visit(parent, 3, lambda message: None) as there:
        child = fork(there, {}, "child")
    old, renamed = parent.name, parent.with_name("renamed")
    change_notes(parent, lambda notes: type(notes)(formerly=(old,)))
    parent.rename(renamed)
    origin = read_parent(child)
    assert origin is not None and origin.path == renamed
    renamed.rename(rig.runs_dir.parent / "elsewhere")
    origin = read_parent(child)
    assert origin is not None and (origin.name, origin.path) == (old, None)
    assert ghost_of_parent(child) == ("", None)


def test_a_chart_of_a_fork_marks_where_it_began_and_shows_its_parents_way(
    rig: Rig, make_config: MakeConfig
) -> None:
    parent = train(rig, make_config, steps=9, checkpoint__interval=3)
    with visit(parent, 6, lambda message: None) as there:
        child = fork(there, {}, "child")
    session = rig.open(child)
    (mark,) = session.recorder.metrics.marks
    assert (mark.step, mark.label) == (6, f"forked from {parent.name}")
    name, ghost = ghost_of_parent(child)
    assert name == parent.name and ghost is not None
    assert ghost.snapshot()[0].tolist() == [7, 8, 9]
    assert ghost_of_parent(parent) == ("", None)
    (parent / "run.db").write_bytes(b"nothing of the kind" * 99)
    assert ghost_of_parent(child) == ("", None)


def test_every_setting_can_be_put_in_words() -> None:
    assert all(described(key, [one.default]) for key, one in SETTINGS.items() if one.default != "")


def test_runs_that_differ_in_the_seed_alone_are_a_group(runs_dir: Path) -> None:
    settings: list[dict[str, Any]] = [
        {"train.seed": 1},
        {"train.seed": 2, "sample.seed": 7, "system.threads": 1},
        {"train.seed": 1, "model.n_layer": 3},
        {"train.seed": 3},
    ]
    runs = [
        read_compared(write_run(runs_dir, f"run-{i}", settings=one))
        for i, one in enumerate(settings)
    ]
    assert seed_groups(runs) == [[0, 1, 3]]
    assert seed_groups(runs[:1]) == []


def test_a_band_reaches_as_far_as_all_curves() -> None:
    long = Curve(np.array([1, 2, 3, 4]), np.array([4.0, 3.0, 2.0, 1.0]))
    sparse = Curve(np.array([1, 3]), np.array([8.0, 4.0]))
    mean, low, high = band_of([long, sparse])
    assert mean.steps.tolist() == [1, 2, 3]
    assert mean.values.tolist() == [6.0, 4.5, 3.0]
    assert low.values.tolist() == [4.0, 3.0, 2.0]
    assert high.values.tolist() == [8.0, 6.0, 4.0]
    nothing = Curve(np.array([], np.int64), np.array([], np.float64))
    assert len(band_of([nothing])[0].steps) == 0
