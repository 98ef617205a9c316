"""A process that trains a run together with process 0, which has the session."""

from __future__ import annotations

import dataclasses
import mmap
from functools import partial
from typing import Any

import numpy as np
import torch

from data.batches import Split, Tokens
from data.errors import InputError
from engine.checkpoint.store import restore_as_told
from engine.config.schema import Config, config_from_dict
from engine.distributed.environment import local_processes
from engine.distributed.team import TEAM, Instead, Message
from engine.model import build_model
from engine.model.empty import WithoutValues
from engine.training.runtime import use_threads
from engine.training.trainer import Runtime, Trainer

Tensors = dict[str, torch.Tensor]


def check_team(config: Config, device: str) -> None:
    """Check that a step can be divided among the processes.

    Raises:
        InputError: It cannot, or there are more of them than GPUs.
    """
    shards, here = config.train.shards, local_processes()
    if shards % TEAM.size:
        fewer = f"{shards} processes at most" if shards > 1 else "one process"
        raise InputError(
            f"the steps of this run are divided into {shards} parts (train.shards), so {TEAM.size} "
            f"processes cannot share them: use {fewer}, or begin a new run with "
            f"--set train.shards={1 << (TEAM.size - 1).bit_length()}"
        )
    if config.system.shard and TEAM.size > 1 and device not in ("cpu", "cuda"):
        raise InputError(
            f"system.shard divides a model among CPUs or NVIDIA GPUs, and not on {device}: use "
            f"--set system.device=cpu, or leave it off"
        )
    if device == "cuda" and here > torch.cuda.device_count():
        raise InputError(
            f"{here} processes want a GPU each, and this machine has {torch.cuda.device_count()}: "
            f"use --procs {torch.cuda.device_count()}, or --set system.device=cpu"
        )


def tell_begin(trainer: Trainer) -> None:
    """Have the other processes build the trainer that process 0 has built."""
    split = {name: one for name, one in vars(trainer.split).items() if len(one)}
    where = {name: place for name, one in split.items() if (place := _place_of(one))}
    in_memory = {name: one for name, one in split.items() if name not in where}  # small, then
    trainer.team.tell(
        "begin",
        {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in in_memory.items()},
        config=trainer.config.to_dict(),
        runtime=dataclasses.asdict(trainer.runtime),
        vocab_size=trainer.model.vocab_size,
        where=where,
    )


def follow() -> None:
    """Do what process 0 tells until it ends.

    Raises:
        ProcessLost: It has ended without a word.
        InputError: What it tells cannot be done here.
    """
    trainer: Trainer | None = None
    message, tensors = TEAM.hear()
    while message["do"] != "end":
        try:
            trainer = _carry_out(message, tensors, trainer)
            # while process 0 does nothing, the next gradients are computed already; of a sharded
            # model no process can compute any alone
            while trainer and not trainer.sharding:
                trainer.train_step()
            message, tensors = TEAM.hear()
        except Instead as told:
            message, tensors = told.message, told.tensors


def _carry_out(message: Message, tensors: Tensors, trainer: Trainer | None) -> Trainer | None:
    if message["do"] == "begin":
        return _build(message, tensors)
    if message["do"] == "group":
        TEAM.form_group()
        return trainer
    assert trainer
    if message["do"] == "adjust":
        trainer.adjust(config_from_dict(message["config"]))
    elif message["do"] == "evaluate":
        model = trainer.model
        with WithoutValues():  # process 0 sends them
            other = build_model(model.config, model.vocab_size) if message["other"] else None
        trainer.evaluate(message["whole"], other)
    elif message["do"] == "gather":
        assert trainer.sharding
        trainer.sharding.gather(message["names"], trainer.optimizer)
    elif message["do"] == "train":
        trainer.train_step()
    elif message["do"] == "load":
        restore_as_told(trainer, message, tensors)
    else:
        raise AssertionError(message["do"])
    return trainer


def _build(message: Message, tensors: Tensors) -> Trainer:
    runtime = Runtime(**message["runtime"])
    use_threads(runtime.threads)
    tokens = {name: tensor.numpy() for name, tensor in tensors.items()}
    tokens |= {name: _open(where) for name, where in message["where"].items()}
    config, split = config_from_dict(message["config"]), Split(**tokens)
    trainer = Trainer(config, runtime, split, message["vocab_size"], TEAM)
    if runtime.compile:
        trainer.compile()
    if trainer.sharding:  # they give up no step: process 0 does them between two passes, too
        for do in ("adjust", "evaluate", "gather"):
            TEAM.in_passing[do] = partial(_carry_out, trainer=trainer)
    return trainer


def _place_of(tokens: Tokens) -> dict[str, Any]:
    """Return where an array is in the file that it is mapped from; nothing if it is in memory."""
    whole: Any = tokens
    while isinstance(whole, np.ndarray) and not isinstance(whole.base, mmap.mmap):
        whole = whole.base
    if not isinstance(whole, np.memmap) or not tokens.flags.c_contiguous:
        return {}
    before = tokens.ctypes.data - whole.ctypes.data
    return {
        "path": str(whole.filename),
        "dtype": tokens.dtype.str,
        "offset": whole.offset + before,
        "count": len(tokens),
    }


def _open(where: dict[str, Any]) -> Tokens:
    try:
        return np.memmap(where["path"], where["dtype"], "r", where["offset"], where["count"])
    except (OSError, ValueError) as error:
        raise InputError(
            f"process {TEAM.rank} of {TEAM.size} cannot read the prepared text {where['path']} "
            f"({error}): set GPT_TUI_CACHE to a folder that all machines share"
        ) from None
