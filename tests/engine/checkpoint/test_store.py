"""Checkpoints: exact, whole or not there at all, and honest about damage."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from data.errors import InputError
from data.tokenizers import CharTokenizer
from engine.checkpoint import store
from engine.checkpoint.load import load_model
from engine.checkpoint.retention import Rules
from engine.checkpoint.store import (
    Snapshot,
    find_checkpoint,
    optimizer_tensors,
    read_checkpoint,
    restore,
    take_snapshot,
    tidy_checkpoints,
    write_checkpoint,
)
from engine.runs.checkpoint_names import checkpoint_name, list_checkpoints, step_of
from engine.training.trainer import Trainer
from tests.engine.conftest import MakeTrainer, assert_same_bits, checkpoint_state, weights

FILES = ["manifest.json", "model.safetensors", "optimizer.safetensors", "state.json"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "a-run"
    path.mkdir()
    return path


def snapshot_of(trainer: Trainer, tokenizer: CharTokenizer) -> Snapshot:
    state = checkpoint_state(trainer, tokenizer)
    return take_snapshot(trainer, state)


@pytest.fixture
def snapshot(make_trainer: MakeTrainer, tokenizer: CharTokenizer) -> Snapshot:
    trainer = make_trainer()
    trainer.train_step()
    return snapshot_of(trainer, tokenizer)


def at(snapshot: Snapshot, step: int) -> Snapshot:
    return Snapshot(step, snapshot.model, snapshot.optimizer, snapshot.state | {"step": step})


def steps_in(run: Path) -> list[int]:
    return [step_of(path) for path in list_checkpoints(run)]


def numpy(tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


# Exactness


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("steps", [0, 3])
def test_a_trainer_comes_back_to_the_bit(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer, run: Path, tied: bool, steps: int
) -> None:
    changes: dict[str, Any] = {"model__tie_weights": tied, "model__bias": True}
    trainer = make_trainer(**changes)
    for _ in range(steps):
        trainer.train_step()
    write_checkpoint(run, snapshot_of(trainer, tokenizer), Rules(3), None)
    other = make_trainer(**changes, train__seed=1)
    restore(other, read_checkpoint(find_checkpoint(run, "latest")))
    assert (other.step, other.tokens) == (trainer.step, trainer.tokens)
    assert_same_bits(weights(other.model), weights(trainer.model))
    assert_same_bits(numpy(optimizer_tensors(other)), numpy(optimizer_tensors(trainer)))
    head = other.model.get_parameter("head.weight")
    assert (head is other.model.get_parameter("token_embedding.weight")) is tied


def test_a_snapshot_does_not_change_while_training_goes_on(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer
) -> None:
    trainer = make_trainer()
    trainer.train_step()
    snapshot = snapshot_of(trainer, tokenizer)
    assert snapshot.optimizer is not None
    before = {name: tensor.clone() for name, tensor in snapshot.model.items()}
    state = {name: tensor.clone() for name, tensor in snapshot.optimizer.items()}
    trainer.train_step()
    assert_same_bits(numpy(snapshot.model), numpy(before))
    assert_same_bits(numpy(snapshot.optimizer), numpy(state))


def test_a_model_alone_is_ready_to_use(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer, run: Path
) -> None:
    trainer = make_trainer(model__dropout=0.5)
    trainer.train_step()
    write_checkpoint(run, snapshot_of(trainer, tokenizer), Rules(3), None)
    model = load_model(run, "1")
    assert_same_bits(weights(model), weights(trainer.model))
    assert not model.training
    assert model.tokenizer is not None and model.tokenizer.decode([0]) == tokenizer.decode([0])


# Damage


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_found(run: Path, snapshot: Snapshot, name: str) -> None:
    path = write_checkpoint(run, snapshot, Rules(3), None)
    whole = (path / name).read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << (place % 8)
        (path / name).write_bytes(damaged)
        with pytest.raises(InputError) as error:
            read_checkpoint(path)
        assert len(error.value.problems) == 1 and "\n" not in str(error.value)
        assert "step-00000001" in str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_or_emptied_file_is_named(run: Path, snapshot: Snapshot, name: str) -> None:
    path = write_checkpoint(run, snapshot, Rules(3), None)
    (path / name).write_bytes(b"")
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(path)
    (path / name).unlink()
    with pytest.raises(InputError, match=rf"is damaged \({name} is missing\)"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "content", [b"[]", b"{}", b'{"format": 1}', b'"x"', b'{"sha256": 1}', b"\xff"]
)
def test_a_foreign_manifest_is_refused(run: Path, snapshot: Snapshot, content: bytes) -> None:
    path = write_checkpoint(run, snapshot, Rules(3), None)
    (path / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(path)


def test_a_newer_format_names_the_way_out(run: Path, snapshot: Snapshot) -> None:
    path = write_checkpoint(run, snapshot, Rules(3), None)
    manifest = json.loads((path / "manifest.json").read_text()) | {"format": 2}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="has format 2, this gpt-tui reads format 1"):
        read_checkpoint(path)


def test_damage_names_the_checkpoint_to_go_back_to(run: Path, snapshot: Snapshot) -> None:
    write_checkpoint(run, at(snapshot, 5), Rules(3), None)
    path = write_checkpoint(run, at(snapshot, 9), Rules(3), None)
    (path / "state.json").write_text("{}")
    with pytest.raises(InputError, match="there are also those of steps 5"):
        read_checkpoint(path)


def test_weights_of_another_shape_are_refused(
    make_trainer: MakeTrainer, tokenizer: CharTokenizer, snapshot: Snapshot
) -> None:
    with pytest.raises(InputError, match="not those of the model"):
        restore(make_trainer(model__n_embd=8), snapshot)


# Finding and keeping


def test_pointers_name_the_latest_and_the_best(run: Path, snapshot: Snapshot) -> None:
    for step, best in ((2, 2), (4, 2), (6, 6), (8, 6)):
        write_checkpoint(run, at(snapshot, step), Rules(3), checkpoint_name(best))
    folder = run / "checkpoints"
    assert (folder / "latest").read_text() == "step-00000008\n"
    assert (folder / "best").read_text() == "step-00000006\n"
    found = {which: find_checkpoint(run, which).name for which in ("latest", "best", "4", "04")}
    assert found == {
        "latest": "step-00000008",
        "best": "step-00000006",
        "4": "step-00000004",
        "04": "step-00000004",
    }


def test_pruning_keeps_the_newest_and_the_best(run: Path, snapshot: Snapshot) -> None:
    for step in range(1, 9):
        write_checkpoint(run, at(snapshot, step), Rules(2), checkpoint_name(min(step, 3)))
    assert steps_in(run) == [3, 7, 8]


def test_without_a_best_one_the_newest_stands_in(run: Path, snapshot: Snapshot) -> None:
    write_checkpoint(run, at(snapshot, 5), Rules(3), None)
    assert find_checkpoint(run, "best").name == "step-00000005"


def test_a_pointer_to_what_is_gone_falls_back_to_the_newest(run: Path, snapshot: Snapshot) -> None:
    for step in (5, 6):
        write_checkpoint(run, at(snapshot, step), Rules(3), None)
    (run / "checkpoints" / "latest").write_text("step-00000099\n")
    assert find_checkpoint(run, "latest").name == "step-00000006"


def test_a_checkpoint_that_is_not_there_is_one_sentence(run: Path, snapshot: Snapshot) -> None:
    with pytest.raises(InputError, match="has no checkpoint yet"):
        find_checkpoint(run, "latest")
    write_checkpoint(run, at(snapshot, 5), Rules(3), None)
    (run / "checkpoints" / "step-of-mine").mkdir()
    for which in ("7", "newest", "../x", "-5"):
        with pytest.raises(InputError, match="it has best, latest and steps 5"):
            find_checkpoint(run, which)


def test_the_same_step_again_takes_the_place_of_the_old_one(run: Path, snapshot: Snapshot) -> None:
    write_checkpoint(run, snapshot, Rules(3), None)
    newer = Snapshot(1, snapshot.model, snapshot.optimizer, snapshot.state | {"newer": True})
    path = write_checkpoint(run, newer, Rules(3), None)
    assert read_checkpoint(path).state["newer"]
    assert everything_in(run) == ["latest", "step-00000001"]


def everything_in(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


# Failing


@pytest.mark.parametrize("failing", ["_write_files", "_put_in_place", "_sha256", "save_file"])
def test_a_write_that_fails_leaves_the_older_ones_whole_and_nothing_else(
    run: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    write_checkpoint(run, at(snapshot, 5), Rules(3), None)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, failing, full)
    with pytest.raises(OSError, match="No space left"):
        write_checkpoint(run, at(snapshot, 9), Rules(3), checkpoint_name(9))
    monkeypatch.undo()
    assert everything_in(run) == ["latest", "step-00000005"]
    assert read_checkpoint(find_checkpoint(run, "latest")).step == 5


FULL_DISK = """
import resource, sys, torch
from pathlib import Path
from engine.checkpoint.store import Snapshot, write_checkpoint
from engine.checkpoint.retention import Rules
run = Path(sys.argv[1])
state = {"format": 1, "step": 9}
big = {"a": torch.zeros(100_000)}
small = {"a": torch.zeros(10)}
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for model, optimizer in ((big, small), (small, big)):
    try:
        write_checkpoint(run, Snapshot(9, model, optimizer, state), Rules(3), None)
    except OSError as error:
        print("OSError", error)
"""


def test_a_disk_that_takes_no_more_is_an_os_error_and_leaves_the_older_ones_whole(
    run: Path, snapshot: Snapshot
) -> None:
    write_checkpoint(run, at(snapshot, 5), Rules(3), None)
    command = [sys.executable, "-c", FULL_DISK, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.count("OSError") == 2, done
    assert everything_in(run) == ["latest", "step-00000005"]
    read_checkpoint(find_checkpoint(run, "latest"))


def test_what_a_killed_writer_left_is_tidied_away_and_a_half_replaced_one_put_back(
    run: Path, snapshot: Snapshot
) -> None:
    for step in (5, 9):
        write_checkpoint(run, at(snapshot, step), Rules(3), None)
    folder = run / "checkpoints"
    (folder / "step-00000009").rename(folder / ".step-00000009.123.old")
    (folder / ".step-00000009.123.tmp").mkdir()
    (folder / ".step-00000009.123.tmp" / "state.json").write_text("half")
    (folder / ".latest.0123abcd.tmp").write_text("half")
    (folder / ".step-00000005.77.old").mkdir()
    tidy_checkpoints(run)
    assert everything_in(run) == ["latest", "step-00000005", "step-00000009"]
    assert read_checkpoint(find_checkpoint(run, "latest")).step == 9


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o002, 0o077])
def test_the_files_of_a_checkpoint_follow_the_umask(
    run: Path, snapshot: Snapshot, umask: int
) -> None:
    before = os.umask(umask)
    try:
        path = write_checkpoint(run, snapshot, Rules(3), None)
    finally:
        os.umask(before)
    assert {one.stat().st_mode & 0o777 for one in path.iterdir()} == {0o666 & ~umask}


def test_a_checkpoint_holds_no_code(run: Path, snapshot: Snapshot) -> None:
    path = write_checkpoint(run, snapshot, Rules(3), None)
    assert sorted(one.name for one in path.iterdir()) == FILES
    for name in FILES[1:3]:
        header = (path / name).read_bytes()
        length = int.from_bytes(header[:8], "little")
        assert isinstance(json.loads(header[8 : 8 + length]), dict)


def test_a_prune_that_is_cut_off_leaves_no_half_a_checkpoint_under_its_name(
    run: Path, snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        write_checkpoint(run, at(snapshot, step), Rules(2), None)

    def cut_off(path: Path, *_: Any) -> None:
        for one in list(path.glob("*"))[:2]:
            one.unlink()

    monkeypatch.setattr(store, "remove_own_folder", cut_off)
    write_checkpoint(run, at(snapshot, 3), Rules(2), None)
    monkeypatch.undo()
    assert steps_in(run) == [2, 3]
    tidy_checkpoints(run)
    assert everything_in(run) == ["latest", "step-00000002", "step-00000003"]
