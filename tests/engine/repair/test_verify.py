"""Verifying: what is whole is said to be so, and one bit that is not is found."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from data.errors import InputError
from engine.protocol import Adjust, Fork, Forked, Pause, Resume, Rewind, Save
from engine.repair.repair import repair
from engine.repair.replay import replay
from engine.repair.verify import verify_files
from engine.runs.checkpoint_names import list_checkpoints
from engine.session.session import Session
from tests.engine.conftest import MakeConfig, Rig
from tests.engine.session.test_resume import CHANGES, HARD, KINDS, train

SAVED = {"checkpoint__interval": 5, "eval__interval": 6}


def silent(_: str) -> None:
    """Nobody listens."""


def problems(path: Path) -> list[str]:
    return [check.found for check in verify_files(path) if not check.is_fine]


def trained(rig: Rig, make_config: MakeConfig, to: int = 12, **kind: Any) -> Path:
    """A run with changes before and after its checkpoints, closed."""
    session = rig.new(make_config(**HARD | SAVED | kind))
    train(rig, session, to, CHANGES)
    return rig.close(session)


def change(path: Path, statement: str) -> None:
    """Tamper with a run's database."""
    database = sqlite3.connect(path / "run.db")
    with database:
        database.execute(statement)
    database.close()


# What is whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_comes_out_the_same_from_its_settings_and_its_journal(
    rig: Rig, make_config: MakeConfig, kind: str
) -> None:
    """Every optimizer, dropout, accumulation, averages; changed, killed and opened on the way."""
    session = rig.new(make_config(**HARD | SAVED | KINDS[kind]))
    train(rig, session, 9, CHANGES)
    rig.until(session, lambda: session.status.saved_step >= 5)
    session = rig.open(rig.crash(session))
    train(rig, session, 14, {11: CHANGES[11]})
    path = rig.close(session)
    assert problems(path) == []
    result = replay(path, silent)
    assert (result.first_step, result.last_step, result.differs_at) == (1, 14, None)
    assert {5, 10, 14} <= set(result.checkpoints)
    assert result.caveats == ()


def test_a_run_that_went_back_and_its_fork_come_out_the_same(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config(**HARD | SAVED))
    train(rig, session, 12, CHANGES)
    session.handle(Rewind(8))
    rig.rest(session)
    session.handle(Adjust({"optim.learning_rate": 2e-3}))
    session.handle(Resume())
    rig.to_step(session, 13)
    session.handle(Pause())
    rig.rest(session)
    session.handle(Fork({"optim.weight_decay": 0.2}, "child"))
    rig.until(session, lambda: bool(rig.said(Forked)))
    path = rig.close(session)
    child = rig.open(path.with_name("child"))
    rig.to_step(child, 17)
    rig.close(child)
    for run, first, last in ((path, 1, 13), (path.with_name("child"), 14, 17)):
        assert problems(run) == []
        result = replay(run, silent)
        assert (result.first_step, result.last_step, result.differs_at) == (first, last, None)


def test_what_a_run_computed_with_changes_again_at_its_step(
    rig: Rig, make_config: MakeConfig
) -> None:
    """Other micro-batches add up in another order."""
    path = trained(rig, make_config, to=6)
    session = rig.open(path, system__micro_batch_size=1)
    rig.to_step(session, 12)
    rig.close(session)
    result = replay(path, silent)
    assert (result.last_step, result.differs_at) == (12, None)


def test_a_run_in_training_can_be_verified(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(**HARD | SAVED))
    train(rig, session, 8, CHANGES)
    session.handle(Save())
    rig.until(session, lambda: session.status.saved_step >= 8)
    assert problems(session.files.path) == []
    assert replay(session.files.path, silent).differs_at is None
    rig.to_step(session, 9)


def test_a_run_that_never_began_is_whole(rig: Rig, make_config: MakeConfig) -> None:
    path = rig.close(rig.new(make_config(), running=False))
    assert problems(path) == []
    assert replay(path, silent).described == "nothing is trained yet"


# What is not


def test_one_bit_of_one_weight_behind_a_hash_that_fits_is_found(
    rig: Rig, make_config: MakeConfig
) -> None:
    path = trained(rig, make_config)
    checkpoint = next(one for one in list_checkpoints(path) if one.name == "step-00000010")
    file = checkpoint / "model.safetensors"
    tensors = load_file(file)
    bits = tensors["token_embedding.weight"].view(-1).numpy().view(np.uint32)
    bits[7] ^= 1
    save_file(tensors, file)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["sha256"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))
    assert problems(path) == []
    result = replay(path, silent)
    assert result.differs_at == 10
    assert result.difference == "token_embedding.weight in its checkpoint"


def test_one_bit_of_one_loss_is_found(rig: Rig, make_config: MakeConfig) -> None:
    path = trained(rig, make_config)
    change(
        path,
        "UPDATE metric_tail SET value = value + 1e-7 WHERE metric = 'train_loss' AND step = 7",
    )
    result = replay(path, silent)
    assert result.differs_at == 7
    assert result.difference.startswith("its loss is ")


def test_other_settings_or_a_change_that_is_not_in_the_journal_are_found(
    rig: Rig, make_config: MakeConfig
) -> None:
    path = trained(rig, make_config)
    change(path, "DELETE FROM journal WHERE kind = 'adjusted' AND step = 6")
    assert replay(path, silent).differs_at == 7
    config = path / "config.toml"
    config.write_text(config.read_text().replace("dropout = 0.2", "dropout = 0.3"))
    assert replay(path, silent).differs_at == 1


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_a_flipped_bit_in_a_checkpoint_is_named(
    rig: Rig, make_config: MakeConfig, name: str
) -> None:
    path = trained(rig, make_config)
    file = list_checkpoints(path)[0] / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (found,) = problems(path)
    assert file.parent.name in found and f"{name} does not match its hash" in found


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM metric_tail WHERE metric = 'train_loss' AND step IN (4, 5)", "2 steps are"),
        ("DELETE FROM metric_tail WHERE step > 11", "1 steps are missing: 12"),
        (
            "INSERT INTO metric_blocks SELECT 0, 'train_loss', 0, "
            "x'0300000000000000', x'0000000000000000'",
            "some steps are recorded twice",
        ),
    ],
)
def test_holes_and_doubles_are_found(
    rig: Rig, make_config: MakeConfig, statement: str, words: str
) -> None:
    path = trained(rig, make_config)
    change(path, statement)
    (found,) = problems(path)
    assert words in found


def test_a_database_cut_short_or_scratched_is_found(rig: Rig, make_config: MakeConfig) -> None:
    path = trained(rig, make_config)
    whole = (path / "run.db").read_bytes()
    for damaged in (
        b"",
        whole[:50],
        whole[: len(whole) // 2],
        whole[:4096] + bytes(4096) + whole[8192:],
    ):
        (path / "run.db").write_bytes(damaged)
        assert problems(path), len(damaged)


def test_settings_that_cannot_be_read_are_found(rig: Rig, make_config: MakeConfig) -> None:
    path = trained(rig, make_config)
    (path / "config.toml").write_text("[model\n")
    (found,) = problems(path)
    assert "config.toml" in found
    with pytest.raises(InputError, match=r"config\.toml"):
        replay(path, silent)


def test_where_the_same_bits_cannot_be_promised_it_says_why(
    rig: Rig, make_config: MakeConfig
) -> None:
    session: Session = rig.new(make_config(**HARD))
    rig.to_step(session, 2)
    known = session.files.database.meta()["versions"]
    session.files.database.set_meta(versions=known | {"torch": "1.0"})
    path = rig.close(session)
    (caveat,) = replay(path, silent).caveats
    assert caveat.startswith("torch was 1.0 and is ")


# What verify and its repair are for never ends them


def in_place(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of the database's file, as a disk does."""
    assert len(old) == len(new)
    body = (path / "run.db").read_bytes()
    assert old in body
    (path / "run.db").write_bytes(body.replace(old, new))


def a_folder_for(file: Path) -> None:
    file.unlink()
    file.mkdir()


def foreign_checkpoint(path: Path) -> None:
    newest = list_checkpoints(path)[-1]
    shutil.copytree(newest, newest.with_name("step-1000000000000"))
    shutil.copytree(newest, newest.with_name("step-" + "9" * 200))
    (newest / "state.json").write_text('{"format": 1}')
    hashes = {
        one.name: hashlib.sha256(one.read_bytes()).hexdigest()
        for one in newest.iterdir()
        if one.name != "manifest.json"
    }
    (newest / "manifest.json").write_text(json.dumps({"format": 1, "sha256": hashes}))


HURT: dict[str, Callable[[Path], object]] = {
    "no row in branches": lambda path: change(path, "DELETE FROM branches"),
    "a third column": lambda path: change(path, "ALTER TABLE meta ADD COLUMN third"),
    "an entry without detail": lambda path: change(
        path, "INSERT INTO journal VALUES (999, 0, 3, 'adjusted', '{}', 1)"
    ),
    "an empty block": lambda path: change(
        path, "INSERT INTO metric_blocks VALUES (0, 'train_loss', 0, x'', x'')"
    ),
    "step 2^62": lambda path: change(
        path, f"INSERT INTO metric_tail VALUES (0, 'train_loss', {2**62}, 1.0)"
    ),
    "step 10^9": lambda path: change(
        path, f"INSERT INTO metric_tail VALUES (0, 'train_loss', {10**9}, 1.0)"
    ),
    "a branch that leaves itself": lambda path: change(
        path, "UPDATE branches SET parent = 0 WHERE id = 0"
    ),
    "a flipped bit in a text": lambda path: in_place(path, b"train_loss", b"trai\xee_loss"),
    "a checkpoint that is none": foreign_checkpoint,
    "a database that is a folder": lambda path: a_folder_for(path / "run.db"),
    "settings that are a folder": lambda path: a_folder_for(path / "config.toml"),
}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One run, to be copied by each case."""
    yield tmp_path_factory.mktemp("whole") / "run"


@pytest.mark.parametrize("kind", HURT)
def test_what_is_hurt_is_told_and_repaired(
    rig: Rig, make_config: MakeConfig, whole_run: Path, runs_dir: Path, kind: str
) -> None:
    if not whole_run.exists():
        shutil.copytree(trained(rig, make_config), whole_run)
    path = runs_dir / "hurt"
    shutil.copytree(whole_run, path)
    HURT[kind](path)
    started = time.perf_counter()
    told = problems(path)
    assert told and all("\n" not in one for one in told)
    repair(path, silent)
    left = problems(path)
    assert not left or kind in ("a checkpoint that is none", "step 10^9"), left
    assert time.perf_counter() - started < 10
    rig.to_step(rig.open(path), 13)


def test_a_copy_made_file_by_file_while_it_was_trained_keeps_what_is_whole(
    rig: Rig, make_config: MakeConfig
) -> None:
    """The checkpoint that was just being written, or dropped, is the only whole one in the copy."""
    path = trained(rig, make_config)
    *older, newest = list_checkpoints(path)
    for one in older:
        (one / "model.safetensors").write_bytes(b"half")
    newest.rename(newest.with_name(f".{newest.name}.123.tmp"))
    shutil.copytree(older[0], newest)
    (path / "checkpoints/latest").write_text(older[0].name)
    (path / "run.db").write_bytes((path / "run.db").read_bytes()[:5000])
    said: list[str] = []
    repair(path, said.append)
    assert f"{newest.name} is whole, and was not in its place yet: it is now" in said
    assert "restored from its copy in " + newest.name in "".join(said)
    session = rig.open(path)
    assert session.trainer.step == 12
    rig.to_step(session, 13)
