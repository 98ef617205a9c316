"""After training has diverged, whatever one does next begins with weights that are numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from data.errors import InputError
from engine.checkpoint.load import read_good
from engine.checkpoint.retention import Kept, Rules, plan
from engine.checkpoint.store import find_checkpoint
from engine.protocol import Advised, Fork, Forked, Refused, Resume, Rewind, Save, State, Warned
from engine.repair.verify import verify_files
from engine.runs.checkpoint_names import has_diverged, list_checkpoints, list_snapshots, step_of
from engine.session.session import Session
from tests.engine.conftest import MakeConfig, Rig

SETTINGS: dict[str, Any] = {"checkpoint__interval": 5, "checkpoint__keep": 2}


def die(rig: Rig, session: Session) -> None:
    """Let the weights become infinite, and train on until the run pauses."""
    with torch.no_grad():
        session.trainer.model.get_parameter("norm.weight").fill_(math.inf)
    rig.until(session, lambda: session.outlet.state is State.PAUSED)
    rig.rest(session)


def dead_at(path: Path) -> list[int]:
    return [step_of(one) for one in list_snapshots(path) if has_diverged(one)]


@pytest.fixture
def dead(rig: Rig, make_config: MakeConfig) -> Path:
    """A run that diverged soon after the checkpoint of step 5, and was saved as it is."""
    session = rig.new(make_config(**SETTINGS))
    rig.to_step(session, 5)
    rig.until(session, lambda: session.status.saved_step == 5)
    die(rig, session)
    return rig.close(session)


def test_the_ways_on_are_those_that_work(rig: Rig, dead: Path) -> None:
    (advised,) = rig.said(Advised)
    assert advised.has_diverged and advised.rewind_to == 5
    (name,) = [one.name for one in list_snapshots(dead) if has_diverged(one)]
    assert list_checkpoints(dead)[-1].name == "step-00000005"
    assert find_checkpoint(dead, "latest").name == "step-00000005"
    assert (dead / "checkpoints/latest").read_text() == "step-00000005\n"
    session = rig.open(dead, optim__learning_rate=0.002)
    assert session.trainer.step == 5
    (told,) = [one.message for one in rig.said(Warned) if "not finite" in one.message]
    assert f"the weights of {name} are not finite" in told and "from step-00000005" in told
    rig.to_step(session, 6)
    rig.send(session, Fork({"optim.learning_rate": 0.001}, "another", 5))
    rig.to_step(session, 12)
    assert math.isfinite(session.run_state.losses.train_loss or math.nan)
    (forked,) = rig.said(Forked)
    rig.to_step(rig.open(Path(forked.path)), 8)
    assert dead_at(rig.close(session)) == []
    assert all(check.is_fine for check in verify_files(dead))


def test_dead_weights_take_no_other_checkpoints_place(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(**SETTINGS))
    rig.to_step(session, 5)
    rig.until(session, lambda: session.status.saved_step == 5)
    whole = [one.name for one in list_checkpoints(session.files.path)]
    die(rig, session)
    for _ in range(4):
        rig.send(session, Resume())
        rig.until(session, lambda: session.outlet.state is State.PAUSED)
        rig.send(session, Save())
        rig.rest(session)
    path = rig.close(session)
    assert [one.name for one in list_checkpoints(path)] == whole
    assert len(dead_at(path)) == 1


def test_going_back_from_dead_weights_and_giving_it_up(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(**SETTINGS))
    rig.to_step(session, 7)
    die(rig, session)
    rig.send(session, Fork({}, "dead"))
    (refused,) = rig.said(Refused)
    assert "the weights of step 8 are not finite" in refused.message
    assert not (session.files.path.parent / "dead").exists()
    rig.send(session, Fork({}, "alive", 6))  # by way of step 5, and back
    rig.rest(session)
    assert session.trainer.step == 8
    rig.send(session, Rewind(6))
    rig.rest(session)
    assert session.trainer.step == 6
    assert session.run_state.has_diverged() is False


def test_a_batch_alone_does_not_make_a_checkpoint_useless(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**SETTINGS))
    rig.to_step(session, 5)
    session.run_state.losses.train_loss = math.nan
    path = rig.close(session)
    assert dead_at(path) == [] and step_of(list_checkpoints(path)[-1]) == 5


def test_dead_weights_of_an_older_version_are_found_as_they_are_read(rig: Rig, dead: Path) -> None:
    (newest,) = [one for one in list_snapshots(dead) if has_diverged(one)]
    manifest = newest / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"diverged": False}))
    assert read_good(dead, "latest").path.name == "step-00000005"
    assert rig.open(dead).trainer.step == 5
    assert newest.with_name(f"damaged-{newest.name}").is_dir()


def test_a_run_of_dead_weights_alone_begins_anew(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 2)
    die(rig, session)
    path = rig.close(session)
    with pytest.raises(InputError, match=r"no checkpoint .* finite: gpt-tui train --resume run-1"):
        find_checkpoint(path, "best")
    assert find_checkpoint(path, "3").name == "step-00000003"
    session = rig.open(path)
    assert session.trainer.step == 0
    assert any("the run begins anew" in one.message for one in rig.said(Warned))
    rig.to_step(session, 4)


def test_the_rules_of_retention_do_not_count_them() -> None:
    kept = [Kept(f"{step}", step, True, 1, diverged=step > 20) for step in range(10, 60, 10)]
    decided = plan(kept, {"50"}, Rules(2, keep_every=10, history_bytes=100))
    assert decided.drop == ("30", "40") and decided.lighten == ()
