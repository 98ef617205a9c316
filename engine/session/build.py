"""Build the trainer of a run, at its latest checkpoint."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from data.errors import Cancelled, InputError
from engine.checkpoint.load import recover_latest
from engine.checkpoint.store import Snapshot, restore, tidy_checkpoints
from engine.config.changes import why_not_now
from engine.config.schema import Config, config_from_dict
from engine.config.setting import When
from engine.distributed.team import TEAM
from engine.machine.memory import keep_freed_memory, memory_now, refusing_failures, why_killed
from engine.machine.processes import ending_with
from engine.runs.checkpoint_names import has_diverged, list_checkpoints, list_snapshots
from engine.runs.database import reading
from engine.runs.open import RunFiles
from engine.runs.records import Facts
from engine.session.follower import check_team, tell_begin
from engine.session.recorder import Recorder
from engine.states import UNCLOSED
from engine.training.exactness import not_promised, processors, what_differs
from engine.training.runtime import (
    hardware,
    has_kernels,
    is_usable,
    no_room,
    resolve_runtime,
    usable_here,
    use_threads,
    versions,
)
from engine.training.trainer import Runtime, Trainer

Say = Callable[[str], None]
COMPILE_SECONDS = 300.0  # timeout of torch.compile
TAKEN_OVER = ("precision", "threads", "kernels")  # by a run that is to be compared with another


def build_trainer(
    files: RunFiles, changes: dict[str, Any], recorder: Recorder, report: Say, warn: Say
) -> tuple[Trainer, Snapshot | None]:
    """Build the trainer of a run, restored from its latest checkpoint if there is one.

    Of the changes, those in ``system`` take effect here.

    Raises:
        InputError: A change is invalid, the device is missing or no checkpoint is intact.
    """
    if problems := [why for key in changes if (why := why_not_now(key, When.RESUME))]:
        raise InputError(*problems)
    keep_freed_memory()
    tidy_checkpoints(files.path)
    snapshot = _latest_snapshot(files, warn)
    config = config_from_dict(snapshot.state["config"]) if snapshot else files.config
    if files.text_was:
        config = config.replace({"data.corpus": files.config.data.corpus})
    config = config.replace({"data.val": files.config.data.val})  # where it is now
    config.replace(changes)  # invalid ones are refused before anything is done
    known = _settled_before(files.database.meta())
    if known:  # newer than the checkpoint
        config = config.replace({f"system.{name}": v for name, v in known["asked"].items()})
    config = config.replace({k: v for k, v in changes.items() if k.startswith("system.")})
    step = snapshot.step if snapshot else 0
    runtime = _settle(files, config, known, recorder, step, report, warn)
    check_team(config, runtime.device)
    use_threads(runtime.threads)
    if runtime.shard:
        TEAM.form_group()
    report("building the model")
    with refusing_failures(no_room(runtime.device)):
        trainer = Trainer(config, runtime, files.split, files.tokenizer.vocab_size, TEAM)
    tell_begin(trainer)
    trainer.graph.tell = lambda reason: warn(
        f"the steps could not be captured as a CUDA graph, so they are slower: {reason}"
    )
    if runtime.compile:
        _compile(trainer, report, warn)
    if snapshot:
        with refusing_failures(no_room(runtime.device)):
            restore(trainer, snapshot)
        _say_what_is_not_promised(files, snapshot, runtime, warn)
    return trainer, snapshot


def described_crash(files: RunFiles, trainer: Trainer) -> str:
    """Return why the run was not closed the last time; empty if it was."""
    database = files.database
    before = database.meta().get("summary", {})
    new_fork = "parent" in database.meta() and not database.journal("opened")
    if files.is_new or new_fork or before.get("state") not in (None, *UNCLOSED):
        return ""
    lost = before.get("step", 0) - trainer.step
    again = f"; {lost:,} steps after it are trained again" if lost > 0 else ""
    size = min(trainer.runtime.micro_batch_size, trainer.config.train.batch_size)
    why = why_killed(before.get("memory"), memory_now(), size)
    return (
        f"this run was not closed the last time ({why or 'a crash, a kill or a power cut'}"
        f"): it continues from step {trainer.step:,}{again}"
    )


def _say_what_is_not_promised(
    files: RunFiles, snapshot: Snapshot, runtime: Runtime, warn: Say
) -> None:
    cpus = processors(files.database.meta().get("hardware", {}), hardware("cpu"))
    sentence = not_promised(what_differs(snapshot.state, runtime, versions(), cpus), runtime.device)
    if sentence:
        warn(sentence)


def _latest_snapshot(files: RunFiles, warn: Say) -> Snapshot | None:
    if list_checkpoints(files.path):
        return recover_latest(files.path, warn)
    if any(map(has_diverged, list_snapshots(files.path))):
        warn("no checkpoint has weights that are finite: the run begins anew")
    if "parent" in files.database.meta():
        raise InputError(
            f"the run {files.path.name!r} is a fork, and the checkpoint that it began with is "
            f"gone: put it back from a copy, or fork its parent again"
        )
    return None


def _settle(
    files: RunFiles,
    config: Config,
    known: dict[str, Any] | None,
    recorder: Recorder,
    step: int,
    report: Say,
    warn: Say,
) -> Runtime:
    """Resolve every ``auto`` once; a run that has a runtime keeps it."""
    asked = dataclasses.asdict(config.system)
    if known and is_usable(known["resolved"]["device"]):
        lost = known["resolved"]["kernels"] == "native" and not has_kernels(
            known["resolved"]["device"], report
        )
        if known["asked"] == asked and not lost:
            before = Runtime(**known["resolved"])
            runtime = usable_here(before, warn)
            if dataclasses.asdict(runtime) != dataclasses.asdict(before):
                _note(files, asked, runtime, recorder, step)
            return runtime
        config = _keep_settled(config, known)
    elif not known:
        config = _as_sibling(files, config)
    runtime = resolve_runtime(config, files.split, files.tokenizer.vocab_size, report, warn)
    _note(files, asked, runtime, recorder, step)
    return runtime


def _note(
    files: RunFiles, asked: dict[str, Any], runtime: Runtime, recorder: Recorder, step: int
) -> None:
    files.database.set_meta(
        runtime={"asked": asked, "resolved": dataclasses.asdict(runtime)},
        versions=versions(),
        hardware=hardware(runtime.device),
    )
    recorder.journal(step, "runtime", **dataclasses.asdict(runtime))


def _settled_before(meta: Facts) -> dict[str, Any] | None:
    """Return what was asked and resolved when a run was last opened, if it was."""
    known = meta.get("runtime")
    if not known:
        return None
    # runs from before there was a choice of kernels, or graphs, continue as they were
    return {
        "asked": {"kernels": "auto", "cuda_graph": True, "reduce": "auto", "shard": False}
        | known["asked"],
        "resolved": {"kernels": "torch", "cuda_graph": False} | known["resolved"],
    }


def _as_sibling(files: RunFiles, config: Config) -> Config:
    """Take over what was measured for another run of the sweep.

    Measured again, one run might get bf16 and the next fp32.
    """
    like = files.database.meta().get("like")
    if not like:
        return config
    with reading(files.path / like) as database:
        meta = database.meta()
    known = _settled_before(meta)
    asked = dataclasses.asdict(config.system)
    if not known or known["asked"] != asked:
        return config
    settled = known["resolved"]
    if meta.get("hardware") != hardware(settled["device"]):
        return config
    return config.replace({f"system.{name}": settled[name] for name in TAKEN_OVER})


def _keep_settled(config: Config, known: dict[str, Any]) -> Config:
    """Replace each ``auto`` that was not changed by what it was resolved to before."""
    asked, before = dataclasses.asdict(config.system), known["asked"]
    if asked["device"] != before["device"]:
        return config
    resolved = {k: v for k, v in known["resolved"].items() if k in asked}  # what can be asked for
    kept = {k: v for k, v in resolved.items() if asked[k] == before.get(k)}
    if asked["compile"] != before["compile"]:
        kept.pop("kernels", None)  # which of them auto takes follows from that
    if asked["shard"] != before["shard"]:
        for follows in ("kernels", "cuda_graph", "reduce"):
            kept.pop(follows, None)
    return config.replace({f"system.{k}": v for k, v in kept.items()})


def _compile(trainer: Trainer, report: Say, warn: Say) -> None:
    doing = "compiling the model (about half a minute the first time)"
    report(doing)
    try:
        with ending_with(report, doing, COMPILE_SECONDS):
            trainer.compile()
    except Cancelled:
        raise
    except Exception as error:  # compilers fail in many ways; training need not
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        chosen = os.environ.get("CXX", "")
        at_fault = f" (CXX is {chosen!r}: set it to a C++ compiler, or unset it)" if chosen else ""
        warn(f"the model could not be compiled, so it trains uncompiled: {reason}{at_fault}")
