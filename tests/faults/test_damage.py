"""Files that are damaged: named in a sentence; the newest whole checkpoint is taken."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from data.errors import InputError
from engine.checkpoint.load import read_good
from engine.checkpoint.store import find_checkpoint, read_checkpoint
from engine.config.schema import Config
from engine.protocol import Rewind, Warned
from engine.repair.repair import find_damage
from engine.runs.checkpoint_names import is_full, list_checkpoints, list_snapshots, step_of
from tests.engine.conftest import SMALL, MakeConfig, Rig, assert_same_bits, bits, recorded_losses

SAVED: dict[str, Any] = {
    "model__dropout": 0.1,
    "train__max_steps": 100,
    "checkpoint__interval": 5,
    "checkpoint__keep": 3,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, small_text_file: Path) -> Path:
    """A run with full checkpoints of the steps 10, 15 and 17 and a light one of step 5."""
    rig, threads = Rig(tmp_path_factory.mktemp("runs")), torch.get_num_threads()
    named = {key.replace("__", "."): value for key, value in SAVED.items()}
    session = rig.new(Config().replace(SMALL | {"data.corpus": str(small_text_file)} | named))
    rig.to_step(session, 17)
    path = rig.close(session)
    torch.set_num_threads(threads)
    assert [step_of(one) for one in list_checkpoints(path)] == [10, 15, 17]
    return path


@pytest.fixture
def run(template: Path, runs_dir: Path) -> Path:
    """Such a run, to be hurt."""
    return Path(shutil.copytree(template, runs_dir / "run"))


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("model.safetensors", flip_a_bit),
        ("optimizer.safetensors", flip_a_bit),
        ("optimizer.safetensors", Path.unlink),
        ("state.json", lambda file: file.write_text("")),
        ("manifest.json", Path.unlink),
        ("manifest.json", lambda file: file.write_text("{")),
    ],
)
def test_a_run_goes_on_from_the_newest_whole_checkpoint_and_keeps_the_damaged_one(
    rig: Rig, make_config: MakeConfig, run: Path, name: str, how: Any
) -> None:
    how(run / "checkpoints/step-00000017" / name)
    damaged = sorted(file.name for file in (run / "checkpoints/step-00000017").iterdir())
    session = rig.open(run)
    assert session.trainer.step == session.status.saved_step == 15
    (told,) = [one.message for one in rig.said(Warned)]
    assert told.startswith("the checkpoint step-00000017 is damaged (")
    assert "moved to damaged-step-00000017, and the run continues from step-00000015" in told
    aside = run / "checkpoints/damaged-step-00000017"
    assert sorted(file.name for file in aside.iterdir()) == damaged
    rig.to_step(session, 20)
    alone = rig.new(make_config(**SAVED))
    rig.to_step(alone, 20)
    assert_same_bits(bits(session), bits(alone))
    assert recorded_losses(session) == recorded_losses(alone)


def test_several_damaged_ones_are_all_passed_over_and_named(rig: Rig, run: Path) -> None:
    for step in (17, 15):
        flip_a_bit(run / f"checkpoints/step-{step:08}/model.safetensors")
    (run / "checkpoints/damaged-step-00000017").mkdir()  # from another time
    session = rig.open(run)
    assert session.trainer.step == 10
    assert len(rig.said(Warned)) == 2
    assert (run / "checkpoints/damaged-step-00000017-2/model.safetensors").is_file()


def test_whoever_only_looks_is_warned_and_moves_nothing(run: Path) -> None:
    flip_a_bit(run / "checkpoints/step-00000017/model.safetensors")
    before = sorted(run.rglob("*"))
    with pytest.warns(UserWarning, match="step-00000017 is damaged .* step-00000015 is used"):
        model = engine.load(run, "latest")
    assert model.tokenizer is not None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        engine.load(run, "15")
        with pytest.raises(InputError, match="there are also those of steps 5, 10, 15"):
            engine.load(run, "17")
    assert sorted(run.rglob("*")) == before


def test_what_is_not_damaged_is_not_called_so(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer program's checkpoint, and one this person may not read, stay where they are."""
    manifest = run / "checkpoints/step-00000017/manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(InputError, match="use the version that wrote it"):
        read_good(run, "latest")

    def forbidden(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("engine.checkpoint.store._sha256", forbidden)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        read_good(run, "15")


def test_a_fork_without_the_checkpoint_it_began_with_is_not_begun_anew(rig: Rig, run: Path) -> None:
    from engine.session.fork import fork
    from engine.session.rewind import visit

    with visit(run, 15, lambda message: None) as run_state:
        child = fork(run_state, {}, "child")
    shutil.rmtree(child / "checkpoints")
    with pytest.raises(InputError, match="is a fork, and the checkpoint that it began with"):
        rig.open(child)


def test_a_damaged_checkpoint_does_not_become_a_light_one_with_hashes_that_fit(
    rig: Rig, run: Path
) -> None:
    flip_a_bit(run / "checkpoints/step-00000010/model.safetensors")
    session = rig.open(run)
    rig.to_step(session, 32)  # by now it is no longer one of the newest
    rig.close(session)
    (found,) = [path for path in list_snapshots(run) if step_of(path) == 10]
    with pytest.raises(InputError, match="does not match its hash"):
        read_checkpoint(found, with_optimizer=False)


def test_there_are_always_two_whole_checkpoints_while_one_is_written(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at before every change to the folder, from the second checkpoint on."""
    session = rig.new(make_config(**SAVED | {"checkpoint__keep": 2, "eval__interval": 3}))
    rig.to_step(session, 12)
    rig.until(session, lambda: not session.saving.busy)
    looked = []

    def before(change: Any) -> Any:
        def changed(*arguments: Any, **named: Any) -> Any:
            whole = [one for one in list_checkpoints(session.files.path) if is_whole(one)]
            looked.append(len(whole))
            return change(*arguments, **named)

        return changed

    for owner, name in ((Path, "rename"), (Path, "replace"), (shutil, "rmtree")):
        monkeypatch.setattr(owner, name, before(getattr(owner, name)))
    rig.to_step(session, 30)
    rig.until(session, lambda: not session.saving.busy)
    assert len(looked) > 10
    assert min(looked) >= 2


def is_whole(path: Path) -> bool:
    try:
        return is_full(path) and bool(read_checkpoint(path))
    except InputError:
        return False


def test_going_back_passes_over_damage(rig: Rig, make_config: MakeConfig, run: Path) -> None:
    session = rig.open(run, running=False)
    flip_a_bit(run / "checkpoints/step-00000015/model.safetensors")
    session.handle(Rewind(16))
    rig.rest(session)
    alone = rig.new(make_config(**SAVED))
    rig.to_step(alone, 16)
    assert_same_bits(bits(session), bits(alone))


@pytest.mark.parametrize("size", [0.0, 0.001, 0.3, 0.7, 0.99])
def test_a_truncated_database_is_one_sentence_and_the_weights_can_still_be_used(
    rig: Rig, run: Path, size: float
) -> None:
    content = (run / "run.db").read_bytes()
    (run / "run.db").write_bytes(content[: int(len(content) * size)])
    damage = find_damage(run)
    assert damage
    (told,) = damage.problems
    assert "run.db" in told and "gpt-tui verify run --repair" in told and "\n" not in told
    assert engine.load(run).tokenizer is not None
    assert find_checkpoint(run, "latest").name == "step-00000017"
    assert rig.open(run).trainer.step == 17
    (warned,) = [one.message for one in rig.said(Warned)]
    assert "run.db is restored from its copy in step-00000017" in warned
