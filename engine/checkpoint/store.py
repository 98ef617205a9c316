"""Write and read checkpoints; a crash at any moment leaves the older ones intact.

A checkpoint is a folder: ``model.safetensors``, ``optimizer.safetensors``, ``state.json`` and
``manifest.json`` with the hash of each, and in full ones ``run.db``, a copy of the run's database
that is there for the day that one is damaged. It is written beside its final place, flushed to the
disk and then renamed. None of the formats can carry code.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from data.errors import InputError, brief
from data.files import sync_to_disk, write_atomically
from data.paths import utf8_path
from data.reading import open_regular
from data.tokenizers import load_tokenizer
from engine.checkpoint.contents import (
    LOSS_SCALE,
    TRAINED,
    model_of,
    optimizer_shapes,
    read_state,
    read_tensors,
    unknown_settings,
)
from engine.checkpoint.retention import Kept, Rules, plan
from engine.config.schema import config_from_dict
from engine.machine.memory import memory_ran_out
from engine.model import LanguageModel, build_model
from engine.model.empty import WithoutValues
from engine.program import program
from engine.runs.checkpoint_names import (
    BEST,
    CHECKPOINTS_FOLDER,
    LATEST,
    MANIFEST_FILE,
    MODEL_FILE,
    OPTIMIZER_FILE,
    PIN_FILE,
    STATE_FILE,
    checkpoint_name,
    has_diverged,
    is_checkpoint,
    is_checkpoint_name,
    is_full,
    is_pinned,
    list_checkpoints,
    list_snapshots,
    read_manifest,
    read_pointer,
    step_of,
)
from engine.runs.database import back_up
from engine.runs.folder import DATABASE_FILE, typed_name
from engine.runs.own_files import check_own_files, has_only, remove_own_folder
from engine.runs.sqlite import BESIDE
from engine.training.sharding import Sharding
from engine.training.trainer import Trainer

FORMAT = 1
CONTENTS = (MODEL_FILE, STATE_FILE)  # of every checkpoint
HASHED = (*CONTENTS, OPTIMIZER_FILE, DATABASE_FILE)
OWN_FILES = (*HASHED, MANIFEST_FILE, PIN_FILE, *(f"{DATABASE_FILE}{end}" for end in BESIDE))
UNFINISHED = re.compile(r"\.(step-[0-9b-]+)\.[0-9]+\.(tmp|old)")
UNFINISHED_POINTER = re.compile(rf"\.({LATEST}|{BEST})\.[0-9a-f]{{8}}\.tmp")
# of the files, not of who reads them
READ_FAILURES = (
    *(errno.ENOENT, errno.EIO, errno.EISDIR, errno.ENOTDIR, errno.EINVAL, errno.ELOOP, errno.EFBIG),
)
ASIDE = "damaged-"
MODEL_PREFIX = "model:"  # in messages to other processes
LONGEST_REASON = 300  # characters


class Damaged(InputError):
    """A file of a checkpoint is missing or does not match its hash."""

    def __init__(self, path: Path, why: str) -> None:
        others = [other for other in list_snapshots(path.parent.parent) if other != path]
        steps = ", ".join(str(step_of(other)) for other in others)
        hint = "it is the only one, so put it back from a copy"
        if others:
            hint = f"there are also those of steps {steps}"
        self.path, self.why, self.what = path, why, f"the checkpoint {path} is damaged ({why})"
        super().__init__(f"{self.what}: {hint}")


@dataclass(frozen=True)
class Snapshot:
    """All that is needed to resume a run, copied from the trainer between two steps."""

    step: int
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor] | None  # None for a light one, only to look at
    state: dict[str, Any]
    copied: torch.cuda.Event | None = None  # on a GPU: after it, the tensors hold the copy

    @property
    def has_diverged(self) -> bool:
        """Whether there is no use in continuing from it."""
        found = self.state.get("diverged") or not all(map(_is_finite, self.model.values()))
        return bool(found)

    def on_host(self) -> Snapshot:
        """Copy the tensors to the CPU; a GPU continues training meanwhile."""
        if self.copied is None:
            return self
        beside: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(beside):
            beside.wait_event(self.copied)
            model = {name: tensor.cpu() for name, tensor in self.model.items()}
            rest = self.optimizer and {k: tensor.cpu() for k, tensor in self.optimizer.items()}
        return Snapshot(self.step, model, rest, self.state)


def take_snapshot(trainer: Trainer, state: dict[str, Any], light: bool = False) -> Snapshot:
    """Copy weights and optimizer state; training may continue while they are written.

    On a GPU the copy stays there, which takes a moment, unless there is no room for it.
    """
    state = {"format": FORMAT, "step": trainer.step, "tokens": trainer.tokens, **state}
    if trainer.sharding:
        return Snapshot(trainer.step, *_gathered(trainer, trainer.sharding, light), state)
    model = model_tensors(trainer.evaluated_model)
    optimizer = None if light else optimizer_tensors(trainer)
    if trainer.device.type == "cuda":
        try:
            copies = _clone(model), optimizer and _clone(optimizer)
        except RuntimeError as error:
            if not memory_ran_out(error):
                raise
        else:
            copied: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
            return Snapshot(trainer.step, *copies, state, copied)
    return Snapshot(trainer.step, _copy(model), optimizer and _copy(optimizer), state)


def _gathered(
    trainer: Trainer, sharding: Sharding, light: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """Return weights and optimizer state of a sharded model, whole and on the CPU."""
    of_model = sharding.names
    of_optimizer = [] if light else sharding.state_names(trainer.optimizer)
    tensors = sharding.gather([*of_model, *of_optimizer], trainer.optimizer)
    model = {name: tensors.pop(name) for name in of_model}
    if light:
        return model, None
    numbers = sharding.numbers(trainer.optimizer) | _loss_scale_tensors(trainer)
    return model, tensors | _copy(numbers)


def model_tensors(model: LanguageModel) -> dict[str, Tensor]:
    """Return the weights by name, without a head that is tied to the token embedding."""
    tensors = dict(model.state_dict())
    if "head.weight" in tensors and model.config.tie_weights:
        del tensors["head.weight"]
    return tensors


def optimizer_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Return the state of the optimizer, as ``<parameter name>/<what>``."""
    named = dict(trainer.model.named_parameters())
    tensors = {
        f"{name}/{what}": tensor
        for name, parameter in named.items()
        for what, tensor in trainer.optimizer.state_of(parameter).items()
    }
    if trainer.average:  # the model of a checkpoint is what was evaluated
        tensors |= {f"{name}/{TRAINED}": weight for name, weight in named.items()}
    return tensors | _loss_scale_tensors(trainer)


def _loss_scale_tensors(trainer: Trainer) -> dict[str, Tensor]:
    state = trainer.loss_scale.state() if trainer.loss_scale else {}
    return {f"{LOSS_SCALE}/{name}": tensor for name, tensor in state.items()}


def restore(trainer: Trainer, snapshot: Snapshot) -> None:
    assert snapshot.optimizer is not None
    if trainer.sharding:
        tensors = snapshot.model | snapshot.optimizer
        numbers = {name: tensor for name, tensor in tensors.items() if not tensor.dim()}
        of_run = {"step": snapshot.state["step"], "tokens": snapshot.state["tokens"]}
        trainer.team.tell("load", numbers, names=list(tensors), **of_run)
        _restore_parts(trainer, trainer.sharding, list(tensors), tensors)
        trainer.step, trainer.tokens = of_run["step"], of_run["tokens"]
        return
    own = optimizer_tensors(trainer)
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in snapshot.optimizer.items():
        name, what = key.rsplit("/", 1)
        states.setdefault(name, {})[what] = _into(own.get(key), tensor, trainer.device, what)
    scale = states.pop(LOSS_SCALE, None)
    if scale and trainer.loss_scale:
        trainer.loss_scale.restore(scale)
    load_weights(trainer.model, snapshot.model)
    if trainer.average:
        load_weights(trainer.average.model, snapshot.model)
        trained = {name: state.pop(TRAINED) for name, state in states.items()}
        load_weights(trainer.model, trained)
    parameters = dict(trainer.model.named_parameters())
    trainer.optimizer.restore({parameters[name]: state for name, state in states.items() if state})
    trainer.forget_graph()
    trainer.step, trainer.tokens = snapshot.state["step"], snapshot.state["tokens"]
    tensors = {f"{MODEL_PREFIX}{name}": tensor for name, tensor in snapshot.model.items()}
    trainer.team.tell(
        "load", tensors | snapshot.optimizer, step=trainer.step, tokens=trainer.tokens
    )


def restore_as_told(trainer: Trainer, message: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Restore what another process has restored, and told with "load"."""
    if trainer.sharding:
        _restore_parts(trainer, trainer.sharding, message["names"], tensors)
        trainer.step, trainer.tokens = message["step"], message["tokens"]
        return
    parts: tuple[dict[str, Tensor], dict[str, Tensor]] = {}, {}
    for name, tensor in tensors.items():
        parts[not name.startswith(MODEL_PREFIX)][name.removeprefix(MODEL_PREFIX)] = tensor
    restore(trainer, Snapshot(message["step"], *parts, message))


def _restore_parts(
    trainer: Trainer, sharding: Sharding, names: list[str], tensors: dict[str, Tensor]
) -> None:
    """Restore this process's part of a sharded model.

    Args:
        tensors: All of them in process 0; in the others single numbers alone.
    """
    of_scale = [name for name in names if name.startswith(f"{LOSS_SCALE}/")]
    if of_scale and trainer.loss_scale:
        trainer.loss_scale.restore({name.rpartition("/")[2]: tensors[name] for name in of_scale})
    names = [name for name in names if name not in of_scale]
    sharding.load(names, tensors, trainer.optimizer)
    trainer.forget_whole()


def _into(own: Tensor | None, saved: Tensor, device: torch.device, what: str) -> Tensor:
    """Copy a saved tensor, into the trainer's own one if possible: memory may have run out."""
    if own is None or what == TRAINED or own.shape != saved.shape or own.dtype != saved.dtype:
        return saved.to(device, copy=True)
    return own.detach().copy_(saved)


def load_weights(model: LanguageModel, tensors: dict[str, Tensor]) -> None:
    own = model_tensors(model)
    if own.keys() != tensors.keys() or any(own[n].shape != tensors[n].shape for n in own):
        raise InputError("the checkpoint's weights are not those of the model in its state.json")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)


def write_checkpoint(
    run: Path,
    snapshot: Snapshot,
    rules: Rules,
    best: str | None,
    database: Path | None = None,
) -> Path:
    """Write a snapshot, point ``latest`` (and ``best``) at it and drop what is not kept.

    A light one, without the optimizer's state, is history and not the latest; nor is one whose
    weights are not finite, which takes no other's place.

    Args:
        best: The name of the best checkpoint so far, if there is one.
        database: Copied beside it; what it records may be ahead of the snapshot, and not behind.

    Raises:
        OSError: The disk is full, or the folder gone; the older checkpoints are as they were.
        InputError: Something in the run is no file of its own.
        Unreadable: The database is damaged; the older checkpoints keep their copies of it.
    """
    snapshot = snapshot.on_host()
    check_own_files(run)
    folder = run / CHECKPOINTS_FOLDER
    folder.mkdir(exist_ok=True)
    final = folder / checkpoint_name(snapshot.step, snapshot.state.get("branch", 0))
    with _beside(final) as temporary:
        if database:
            back_up(database, temporary / DATABASE_FILE)
        _write_files(temporary, snapshot)
        _put_in_place(temporary, final)
    if snapshot.optimizer is not None and not has_diverged(final):
        write_atomically(folder / LATEST, f"{final.name}\n".encode())
    if best is not None and (folder / best).is_dir():
        write_atomically(folder / BEST, f"{best}\n".encode())
    elif snapshot.optimizer is not None:
        (folder / BEST).unlink(missing_ok=True)  # what the run went back from is not its best
    _prune(run, rules, final.name)
    return final


def tidy_checkpoints(run: Path) -> list[Path]:
    """Remove unfinished files of a killed writer; the caller holds the lock of the run.

    Only what has exactly our names and contents: anything else may be somebody's. What is whole
    takes its place if there is none, or a damaged one, as in a copy that was made file by file
    while the run was trained.

    Returns:
        The checkpoints that were put in their place.
    """
    folder, rescued = run / CHECKPOINTS_FOLDER, []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for name in names:
        if (found := UNFINISHED.fullmatch(name)) and is_checkpoint_name(found[1]):
            left, final = folder / name, folder / found[1]
            if has_only(left, OWN_FILES) and not _rescue(left, final):
                remove_own_folder(left, OWN_FILES)
            elif not os.path.lexists(left):
                rescued.append(final)
        elif UNFINISHED_POINTER.fullmatch(name) and os.path.isfile(folder / name):
            (folder / name).unlink()
    return rescued


def _rescue(left: Path, final: Path) -> bool:
    """Put a checkpoint under its name, if it is whole and the one that has the name is not."""
    there = os.path.lexists(final)
    if left.suffix == ".old" and not there:  # killed between the two renames of a replacement
        left.rename(final)
        return True
    if not is_checkpoint(left) or not _is_whole(left, final.name):
        return False
    if there:
        if _is_whole(final, final.name):
            return False
        set_aside(final)
    left.rename(final)
    return True


def _is_whole(path: Path, name: str) -> bool:
    try:
        _read(path, is_full(path), name)
    except OSError as error:
        if error.errno not in READ_FAILURES:
            raise
        return False
    except (InputError, ValueError, SafetensorError):
        return False
    return True


def set_aside(path: Path) -> Path:
    """Rename a damaged checkpoint, so that it is no longer used; return its new path."""
    aside = place_aside(path)
    path.rename(aside)
    return aside


def place_aside(path: Path) -> Path:
    """Return a free path for a damaged file or folder that is kept."""
    names = (f"{ASIDE}{path.name}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
    return next(one for name in names if not os.path.lexists(one := path.with_name(name)))


def find_checkpoint(run: Path, which: str) -> Path:
    """Find the folder of a checkpoint: ``latest``, ``best`` or a step.

    Raises:
        InputError: There is none; the sentence says which there are.
    """
    there, full = list_snapshots(run), list_checkpoints(run)
    resume = f"{program()} train --resume {typed_name(run)}"
    if not full and any(map(has_diverged, there)) and which in (LATEST, BEST):
        raise InputError(
            f"no checkpoint of the run {run.name!r} has weights that are finite: {resume} begins "
            f"it anew, best with a lower optim.learning_rate"
        )
    if not full and not any(map(has_diverged, there)):
        raise InputError(f"the run {run.name!r} has no checkpoint yet: train it with {resume}")
    if which == LATEST:
        return full[-1]  # not what the pointer says: a kill may have come before it was written
    if which == BEST:
        best = read_pointer(run, BEST)
        return next((path for path in there if path.name == best), full[-1])  # maybe a light one
    of_step = [path for path in there if (which.lstrip("0") or "0") == str(step_of(path))]
    if of_step:
        return of_step[-1]
    kept = sorted({step_of(path) for path in there})
    # int refuses thousands of digits
    is_step = which.isascii() and which.isdigit() and len(which) <= 18
    wanted = int(which) if is_step else None
    near = ""
    if wanted is not None and len(kept) > 1:
        near = f", of which {min(kept, key=lambda step: abs(step - wanted))} is the nearest"
    raise InputError(
        f"the run {run.name!r} has no checkpoint {brief(which)}: it has best, latest and "
        f"steps {', '.join(map(str, kept))}{near}"
    )


def read_checkpoint(path: Path, with_optimizer: bool = True) -> Snapshot:
    """Read a checkpoint after comparing every file with its hash.

    Raises:
        Damaged: A file is missing, damaged or foreign.
        InputError: It was written by a newer version, or the permissions do not allow to read it.
    """
    try:
        return _read(path, with_optimizer, path.name)
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else "a file"
        raise Damaged(path, f"{missing} is missing") from None
    except OSError as error:
        if error.errno in READ_FAILURES:
            name = Path(error.filename or path).name
            raise Damaged(path, f"{name} cannot be read: {error.strerror}") from None
        raise InputError(f"the checkpoint {path} cannot be read ({error.strerror})") from None
    except (ValueError, SafetensorError) as error:
        told = f": {error}" if str(error) else ""
        raise Damaged(path, f"it is not one that gpt-tui wrote{told}"[:LONGEST_REASON]) from None


def _read(path: Path, with_optimizer: bool, name: str) -> Snapshot:
    """Read a checkpoint whose folder should have a name; as ``read_checkpoint``."""
    manifest = read_manifest(path)
    if manifest.format != FORMAT:
        raise InputError(
            f"{path.name} has format {manifest.format}, this gpt-tui reads format "
            f"{FORMAT}: use the version that wrote it"
        )
    hashes = manifest.sha256
    if with_optimizer and OPTIMIZER_FILE not in hashes:
        raise InputError(
            f"the checkpoint {path} holds the weights alone: sample from it, or continue "
            f"from a full one"
        )
    for file in (*CONTENTS, OPTIMIZER_FILE) if OPTIMIZER_FILE in hashes else CONTENTS:
        if _sha256(path / file) != hashes.get(file):
            raise Damaged(path, f"{file} does not match its hash")
    state = read_state(path / STATE_FILE)
    if unknown := unknown_settings(state):
        raise InputError(
            f"the checkpoint {path} has the setting {unknown[0]!r}, which this version does not "
            f"know: use the version that wrote it"
        )
    if checkpoint_name(state["step"], state["branch"]) != name:
        raise Damaged(path, f"its {STATE_FILE} is of step {state['step']:,}")
    config, empty = model_of(state)
    weights = {name: tuple(tensor.shape) for name, tensor in model_tensors(empty).items()}
    model = read_tensors(path / MODEL_FILE, lambda names: weights)
    optimizer = None
    if with_optimizer:
        optimizer = read_tensors(path / OPTIMIZER_FILE, partial(optimizer_shapes, config, empty))
    return Snapshot(state["step"], model, optimizer, state)


def copy_of_database(path: Path) -> Path | None:
    """Return the path of the copy of the database in a checkpoint; None if it has none.

    Raises:
        Damaged: It is not what was written.
    """
    try:
        expected = read_manifest(path).sha256.get(DATABASE_FILE)
        if expected and _sha256(path / DATABASE_FILE) != expected:
            raise Damaged(path, f"its copy of {DATABASE_FILE} does not match its hash")
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in READ_FAILURES:
            raise
        raise Damaged(path, f"its copy of {DATABASE_FILE} cannot be read") from None
    return path / DATABASE_FILE if expected else None


def read_model(path: Path) -> LanguageModel:
    """Read the model of a checkpoint, in eval mode on the CPU, with its tokenizer.

    Raises:
        InputError: The checkpoint is damaged.
    """
    return rebuild_model(path, read_checkpoint(path, with_optimizer=False))


def rebuild_model(path: Path, snapshot: Snapshot) -> LanguageModel:
    """Build the model of a checkpoint that was read; see ``read_model``."""
    tokenizer = load_tokenizer(snapshot.state["tokenizer"])
    config = config_from_dict(snapshot.state["config"]).model
    with WithoutValues():  # all of them are loaded
        model = build_model(config, tokenizer.vocab_size)
    load_weights(model, snapshot.model)
    model.tokenizer = tokenizer
    return model.eval()


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _clone(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _copy(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}


def _write_files(folder: Path, snapshot: Snapshot) -> None:
    try:
        with utf8_path(folder) as place:
            save_file(snapshot.model, place / MODEL_FILE)
            if snapshot.optimizer is not None:
                save_file(snapshot.optimizer, place / OPTIMIZER_FILE)
    except SafetensorError as error:  # which is how it says that the disk is full
        raise OSError(str(error)) from error
    state = folder / STATE_FILE
    state.write_text(json.dumps(snapshot.state, indent=1), encoding="utf-8")
    for path in folder.glob("*.safetensors"):  # which are their owner's alone, whatever the umask
        shutil.copymode(state, path)
    _seal(folder, snapshot.has_diverged)


def _seal(folder: Path, diverged: bool) -> None:
    """Write the manifest with the hashes of all files, and flush everything to the disk."""
    files = [path for path in folder.iterdir() if path.name in HASHED]
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "sha256": {path.name: _sha256(path) for path in files},
    }
    if diverged:
        manifest["diverged"] = True
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in (*files, folder / MANIFEST_FILE, folder):
        sync_to_disk(path)


@contextmanager
def _beside(final: Path) -> Iterator[Path]:
    """Make a temporary folder next to a checkpoint; it is deleted unless it is renamed."""
    temporary = final.with_name(f".{final.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
    finally:
        remove_own_folder(temporary, OWN_FILES)


def _put_in_place(temporary: Path, final: Path) -> None:
    """Rename a finished checkpoint; it replaces one of the same step, as after a rewind."""
    old = temporary.with_suffix(".old")
    if final.exists():
        final.rename(old)
    temporary.rename(final)
    sync_to_disk(final.parent)
    remove_own_folder(old, OWN_FILES)


def _prune(run: Path, rules: Rules, newest: str) -> None:
    """Carry out what ``engine.checkpoint.retention`` decides; the newest one stays."""
    folder, there = run / CHECKPOINTS_FOLDER, list_snapshots(run)
    # with something of somebody else in it, a checkpoint is kept, too
    untouchable = {path.name for path in there if is_pinned(path) or not has_only(path, OWN_FILES)}
    untouchable |= {name for which in (LATEST, BEST) if (name := read_pointer(run, which))}
    if has_diverged(folder / newest):  # to look at what went wrong, until the next one
        untouchable.add(newest)
    decided = plan([_kept(path) for path in there], untouchable, rules)
    for name in decided.drop:
        # renamed first: killed half-way through, it must not look like a damaged checkpoint
        doomed = folder / f".{name}.{os.getpid()}.tmp"
        (folder / name).rename(doomed)
        remove_own_folder(doomed, OWN_FILES)
    for name in decided.lighten:
        _lighten(folder / name)


def _kept(path: Path) -> Kept:
    size = sum((path / name).stat().st_size for name in CONTENTS if (path / name).exists())
    return Kept(path.name, step_of(path), is_full(path), size, has_diverged(path))


def _lighten(path: Path) -> None:
    """Replace a full checkpoint by its weights."""
    try:
        read_checkpoint(path, with_optimizer=False)
    except InputError:
        return  # damaged: new hashes would hide that
    with _beside(path) as temporary:
        for name in CONTENTS:
            shutil.copyfile(path / name, temporary / name)
        _seal(temporary, has_diverged(path))
        _put_in_place(temporary, path)


def _sha256(path: Path) -> str:
    with open(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
