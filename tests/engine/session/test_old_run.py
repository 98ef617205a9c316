"""A run made by an earlier version (commit 7c189fb) opens, goes on, goes back and forks.

``tests/old_run`` holds the run after 40 steps, and what that version recorded up to step 60.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint.store import find_checkpoint, read_checkpoint
from engine.protocol import Fork, Forked, Resume, Rewind, Rewound, State, Warned
from engine.repair.replay import replay
from engine.session.session import Session
from engine.training.runtime import hardware, versions
from tests.engine.conftest import Rig

KEPT = Path(__file__).parents[2] / "old_run"
EXPECTED: dict[str, Any] = json.loads((KEPT / "expected.json").read_text())
SAME_MACHINE = (EXPECTED["cpu"], EXPECTED["cpu_kind"], EXPECTED["torch"]) == (
    hardware("cpu")["cpu"],
    hardware("cpu").get("cpu_kind"),
    versions()["torch"],
)


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    """A copy, whose text is where it says."""
    shutil.copy(KEPT / "text.txt", tmp_path)
    run = Path(shutil.copytree(KEPT / "made-by-7c189fb", tmp_path / "runs" / "old"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace("/tmp/fix/text.txt", str(tmp_path / "text.txt")))
    return run


def losses(session: Session) -> list[float]:
    """Of training, from the first step on, as they are recorded."""
    database, branch = session.files.database, session.recorder.branch
    session.outlet.flush()
    _, values = database.curve("train_loss", database.lineage(branch))
    return [float(value) for value in values]


def check(found: list[float]) -> None:
    """To the bit where it was made; elsewhere another processor rounds otherwise."""
    expected = EXPECTED["train_loss"][: len(found)]
    assert found == (expected if SAME_MACHINE else pytest.approx(expected, rel=1e-4))


def test_it_opens_with_all_it_recorded_and_goes_on_to_the_same_bits(
    rig: Rig, old_run: Path
) -> None:
    session = rig.open(old_run, train__max_steps=60)
    assert (session.trainer.step, session.status.state) == (40, State.RUNNING)
    assert session.run_state.losses.best_step == 40
    assert len(session.files.database.samples()) == 5
    rig.until(session, lambda: session.status.state is State.FINISHED)
    check(losses(session))
    assert len(losses(session)) == 60
    assert not [warned for warned in rig.said(Warned) if SAME_MACHINE]
    rig.close(session)
    weights = read_checkpoint(find_checkpoint(old_run, "latest")).model
    digest = hashlib.sha256(b"".join(weights[name].numpy().tobytes() for name in sorted(weights)))
    if SAME_MACHINE:
        assert digest.hexdigest() == EXPECTED["weights_sha256_of_step_60"]


@pytest.mark.parametrize("step", [30, 35, 12])
def test_it_goes_back(rig: Rig, old_run: Path, step: int) -> None:
    """To a checkpoint; past one; and before all that hold the optimizer's state."""
    session = rig.open(old_run, running=False)
    rig.send(session, Rewind(step))
    rig.until(session, lambda: bool(rig.said(Rewound)))
    assert session.trainer.step == step
    assert not [warned for warned in rig.said(Warned) if SAME_MACHINE]
    rig.send(session, Resume())
    rig.to_step(session, 40)
    check(losses(session))


def test_it_forks(rig: Rig, old_run: Path) -> None:
    session = rig.open(old_run, running=False)
    rig.send(session, Fork({}, "young", 30))
    rig.until(session, lambda: bool(rig.said(Forked)))
    fork = rig.open(Path(rig.said(Forked)[-1].path))
    rig.to_step(fork, 40)
    check(losses(fork))


def test_it_is_replayed_from_its_settings(old_run: Path) -> None:
    found = replay(old_run, lambda message: None)
    if SAME_MACHINE:
        assert (found.last_step, found.differs_at) == (40, None)
