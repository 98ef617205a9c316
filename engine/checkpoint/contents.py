"""What the files of a checkpoint must hold, checked before anything is built of it.

Fitting hashes do not make a checkpoint one of ours: whoever can write the files can write the
hashes, too.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta
from safetensors import safe_open
from torch import Tensor

from data.errors import InputError, shortage_of_files
from data.paths import utf8_path
from data.reading import check_regular, convert, parse_json, read_regular
from data.tokenizers import load_tokenizer
from engine.config.schema import SETTINGS, Config, config_from_dict
from engine.config.setting import Value
from engine.model import LanguageModel
from engine.model.empty import build_empty_model
from engine.optim.optimizer import block_matrices
from engine.runs.checkpoint_names import STATE_FILE
from engine.runs.records import (
    BranchId,
    Count,
    Loss,
    ResolvedRuntime,
    Seconds,
    Step,
    Word,
    check_facts,
)

TRAINED = "trained_weight"  # beside an average, which is then the model
LOSS_SCALE = "loss_scale"
LARGEST_STATE = 2**26  # bytes; a vocabulary of all of Unicode takes a quarter of it
MOMENTS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}

Shape = tuple[int, ...]


class LossFigures(TypedDict):
    """The fields of ``engine.session.run_state.Losses``."""

    train_loss: Loss
    val_loss: Loss
    val_measured: Word
    evaluated_step: Step
    best_val_loss: Loss
    best_step: Step | None
    final_step: Step | None


class Record(TypedDict):
    """What ``engine.checkpoint.restore_database.remember`` returns."""

    meta: dict[str, Any]
    branches: list[tuple[BranchId, BranchId | None, Step, Seconds]]


class CheckpointState(TypedDict):
    """``state.json``. Keys that are not here are kept: another version may have written them."""

    format: int
    step: Step
    tokens: Count
    config: dict[str, str | dict[str, Value]]
    runtime: ResolvedRuntime
    tokenizer: dict[str, Any]
    corpus_sha256: Word
    train_seconds: Seconds
    journal_id: Annotated[int, Meta(ge=0, le=2**62)]
    unapplied: list[tuple[Step, dict[Word, Value]]]
    standing: LossFigures
    branch: BranchId
    versions: dict[str, Word]
    record: NotRequired[Record]
    created: NotRequired[Seconds]
    diverged: NotRequired[bool]


def read_state(path: Path) -> dict[str, Any]:
    """Read and check a ``state.json``.

    Raises:
        OSError: It is missing, no regular file, or cannot be read.
        ValueError: It is not one that gpt-tui wrote.
    """
    state: dict[str, Any] = parse_json(read_regular(path, LARGEST_STATE))
    convert(state, CheckpointState, path.name)
    if "record" in state:
        check_facts(state["record"]["meta"])
    return state


def unknown_settings(state: Mapping[str, Any]) -> list[str]:
    """Return the settings that this version does not know."""
    sections = {name: one for name, one in state["config"].items() if isinstance(one, dict)}
    keys = [f"{section}.{name}" for section, fields in sections.items() for name in fields]
    return [key for key in keys if key not in SETTINGS]


def model_of(state: Mapping[str, Any]) -> tuple[Config, LanguageModel]:
    """Return the settings of a checkpoint, and its model without memory for its weights.

    Raises:
        ValueError: The settings, or the tokenizer, are invalid.
    """
    try:
        config = config_from_dict(state["config"])
        vocab_size = load_tokenizer(state["tokenizer"]).vocab_size
    except InputError as error:
        raise ValueError(error.problems[0]) from None
    return config, build_empty_model(config.model, vocab_size)


def optimizer_shapes(config: Config, model: LanguageModel, names: Set[str]) -> dict[str, Shape]:
    """Return the shapes of an optimizer's state, of which some tensors may not exist yet.

    Args:
        names: Of the tensors that there are.
    """
    kind = config.optim.optimizer
    matrices = {id(weight) for weight, _ in block_matrices(model)} if kind == "muon" else set()
    kinds = {name.rpartition("/")[2] for name in names}
    averaged, has_momentum = TRAINED in kinds, "momentum_buffer" in kinds
    shapes: dict[str, Shape] = {}
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        moments = MOMENTS["sgd" if kind == "sgd" or id(parameter) in matrices else "adamw"]
        # a parameter without a gradient has none in AdamW
        if has_momentum if len(moments) == 1 else any(f"{name}/{one}" in names for one in moments):
            shapes |= {f"{name}/{one}": () if one == "step" else shape for one in moments}
        if averaged or config.optim.ema_decay:
            shapes[f"{name}/{TRAINED}"] = shape
    if any(name.startswith(f"{LOSS_SCALE}/") for name in names):
        shapes |= {f"{LOSS_SCALE}/{one}": () for one in ("scale", "good_steps")}
    return shapes


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        file = safe_open(path, framework="pt")
    except RuntimeError as error:
        if shortage_of_files(error):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path)) from None
        raise
    with file:
        yield file


def read_tensors(
    path: Path, expected: Callable[[Set[str]], Mapping[str, Shape]]
) -> dict[str, Tensor]:
    """Read a file of tensors, all of which are fp32.

    Args:
        expected: Returns the shapes of all that should be there, given the names that are.

    Raises:
        OSError: It is missing, no regular file, or cannot be read.
        ValueError: It holds other tensors.
        SafetensorError: It is no such file.
    """
    check_regular(path)
    with utf8_path(path.parent) as folder, _opened(folder / path.name) as file:
        names = set(file.keys())
        shapes = expected(names)
        if names ^ shapes.keys():
            raise ValueError(f"{path.name} has other tensors than the model in its {STATE_FILE}")
        for name, shape in shapes.items():
            found = file.get_slice(name)
            if found.get_dtype() != "F32" or tuple(found.get_shape()) != shape:
                raise ValueError(f"{name} in {path.name} is of another shape or type")
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
