"""A checkpoint that somebody else wrote, with fitting hashes: read whole, or refused as damaged."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from data.errors import InputError
from data.tokenizers import CharTokenizer
from engine.checkpoint.retention import Rules
from engine.checkpoint.store import Damaged, read_checkpoint, take_snapshot, write_checkpoint
from tests.engine.conftest import MakeConfig, MakeTrainer, Rig, checkpoint_state

NESTED: list[Any] = []
for _ in range(500):
    NESTED = [NESTED]
EXTREMES: tuple[Any, ...] = (
    None, True, -1, 10**400, 2**63, 1e300, float("nan"), float("-inf"), "", "x", "\0", [], [[]],
    {}, {"": {}}, NESTED,
)  # fmt: skip
NEUTRAL = ("corpus_sha256", "created", "tokens", "train_seconds", "versions")  # any value of a type


@pytest.fixture
def path(make_trainer: MakeTrainer, tokenizer: CharTokenizer, tmp_path: Path) -> Path:
    trainer = make_trainer(optim__optimizer="muon", optim__ema_decay=0.9)
    trainer.train_step()
    state = checkpoint_state(trainer, tokenizer)
    state["record"] = {"meta": {"created": 1.0}, "branches": [[0, None, 0, 0.0]]}
    return write_checkpoint(tmp_path, take_snapshot(trainer, state), Rules(3), None)


def seal(path: Path) -> None:
    """Write the hashes that the files have now."""
    names = [one.name for one in path.iterdir() if one.name != "manifest.json"]
    hashes = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    (path / "manifest.json").write_text(json.dumps({"format": 1, "sha256": hashes}))


def write_state(path: Path, state: Any) -> None:
    (path / "state.json").write_text(json.dumps(state))
    seal(path)


def places(value: Any) -> Iterator[tuple[Any, ...]]:
    """The way to every key and to the first and last of every list in a tree of JSON."""
    keys = list(value) if isinstance(value, dict) else []
    if isinstance(value, list) and value:
        keys = [0, len(value) - 1]
    for key in keys:
        yield (key,)
        yield from ((key, *rest) for rest in places(value[key]))


def changed(state: Any, place: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Any:
    copy = json.loads(json.dumps(state))
    at = copy
    for key in place[:-1]:
        at = at[key]
    change(at, place[-1])
    return copy


def read_or_refused(path: Path) -> str:
    """Why it is refused, in one sentence; empty if it is read."""
    started = time.perf_counter()
    try:
        read_checkpoint(path)
    except InputError as error:
        (told,) = error.problems
        assert "\n" not in told and len(told) < 1000
        return told
    finally:
        assert time.perf_counter() - started < 5
    return ""


def test_every_value_of_a_state_may_be_anything(path: Path) -> None:
    whole = json.loads((path / "state.json").read_text())
    deep = [place for place in places(whole) if place[0] != "config" or len(place) < 3]
    deep += [("config", "model", name) for name in ("n_layer", "n_embd", "architecture", "bias")]
    for number, place in enumerate(deep):
        write_state(path, changed(whole, place, lambda at, key: at.pop(key)))
        read_or_refused(path)
        # all of them at a few places, a different one at each of the others
        values = EXTREMES if len(place) == 1 else EXTREMES[number % 5 :: 5]
        for value in values:

            def put(at: Any, key: Any, value: Any = value) -> None:
                at[key] = value

            write_state(path, changed(whole, place, put))
            told = read_or_refused(path)
            if len(place) == 1 and place[0] not in NEUTRAL:
                assert "is damaged" in told or not told, (place, value)
    write_state(path, whole | {"new": NESTED})  # of another version
    assert read_or_refused(path) == ""


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("n_layer", 10**9),
        ("n_layer", 200),
        ("n_embd", 32768),
        ("block_size", 10**9),
        ("block_size", 131072),
        ("n_layer", "2"),
        ("tie_weights", False),
    ],
)
def test_a_model_that_is_not_in_the_file_is_never_built(path: Path, key: str, value: Any) -> None:
    state = json.loads((path / "state.json").read_text())
    assert state["config"]["model"][key] != value
    state["config"]["model"][key] = value
    write_state(path, state)
    told = read_or_refused(path)
    assert "is damaged" in told or (key, value) == ("n_layer", "2")


def test_a_setting_of_a_newer_version_is_no_damage(path: Path) -> None:
    state = json.loads((path / "state.json").read_text())
    state["config"]["model"]["n_experts"] = 8
    write_state(path, state)
    told = read_or_refused(path)
    assert "'model.n_experts', which this version does not know" in told


@pytest.mark.parametrize(
    "characters",
    [[], ["a", "a"], ["ab"], [1], [10**300], "abc", {"a": 1}, [None], [["a"]], ["\ud800"]],
    ids=repr,
)
def test_a_tokenizer_that_is_none(path: Path, characters: Any) -> None:
    state = json.loads((path / "state.json").read_text())
    state["tokenizer"]["characters"] = characters
    write_state(path, state)
    assert "is damaged" in read_or_refused(path)


@pytest.mark.parametrize(
    "manifest",
    [
        b"[" * 100_000,
        b'{"format": ' + b"1" * 5000 + b', "sha256": {}}',
        b'{"format": "1", "sha256": {"model.safetensors": ""}}',
        b'{"format": 1, "sha256": {"model.safetensors": 1}}',
        b'{"format": 1, "sha256": ["model.safetensors"]}',
        b" " * 10**6,
    ],
    ids=range(6),
)
def test_a_manifest_may_be_anything(path: Path, manifest: bytes) -> None:
    (path / "manifest.json").write_bytes(manifest)
    assert "is damaged" in read_or_refused(path)


Tensors = dict[str, torch.Tensor]
CHANGES: dict[str, Callable[[Tensors], object]] = {
    "missing": lambda tensors: tensors.pop(min(tensors)),
    "more": lambda tensors: tensors.update(other=torch.zeros(2)),
    "no slash": lambda tensors: tensors.update({"": torch.zeros(2)}),
    "another shape": lambda tensors: tensors.update({min(tensors): torch.zeros(3, 5, 7)}),
    "another type": lambda tensors: tensors.update(
        {name: tensor.long() for name, tensor in tensors.items()}
    ),
    "fp16": lambda tensors: tensors.update({k: t.half() for k, t in tensors.items()}),
    "none": lambda tensors: tensors.clear(),
    "half a loss scale": lambda tensors: tensors.update({"loss_scale/scale": torch.zeros(())}),
}


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("change", CHANGES)
def test_tensors_are_those_of_the_model(path: Path, name: str, change: str) -> None:
    tensors = load_file(path / name)
    CHANGES[change](tensors)
    save_file(tensors, path / name)
    seal(path)
    assert "is damaged" in read_or_refused(path)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
@pytest.mark.parametrize("body", [b"", b"\0" * 8, b"\xff" * 8 + b"{}", b"{}", b'{"a":1}'], ids=repr)
def test_a_file_may_be_anything(path: Path, name: str, body: bytes) -> None:
    (path / name).write_bytes(body)
    seal(path)
    assert "is damaged" in read_or_refused(path)


def test_a_checkpoint_under_another_name_is_not_taken(path: Path) -> None:
    other = path.rename(path.with_name("step-00000007"))
    with pytest.raises(Damaged, match="is of step 1"):
        read_checkpoint(other)


def test_a_run_goes_on_from_the_newest_that_is_ours(rig: Rig, make_config: MakeConfig) -> None:
    session = rig.new(make_config(checkpoint__interval=2))
    rig.to_step(session, 5)
    run = rig.close(session)
    newest = run / "checkpoints/step-00000005"
    state = json.loads((newest / "state.json").read_text())
    write_state(newest, state | {"standing": []})
    session = rig.open(run)
    assert session.trainer.step == 4
    rig.to_step(session, 6)
    newest = (rig.close(session) / "checkpoints/step-00000006").rename(
        run / "checkpoints/step-00000006-b5"
    )
    write_state(newest, state | {"step": 6, "branch": 5})
    with pytest.raises(InputError, match="its branch 5 is gone"):  # the database does not know it
        rig.open(run)
