"""Train with several processes, started by PyTorch's ``torchrun``."""

from __future__ import annotations

import io
import json
import logging
import os
import shlex
import tempfile
import threading
import uuid
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import tomli_w

from data.errors import InputError
from data.files import write_atomically
from engine.config.presets import gpu_count
from engine.config.schema import Config
from engine.machine.limits import cores
from engine.runs.folder import CONFIG_FILE, LOG_FILE
from tui import EXIT_DONE, EXIT_FAILED, EXIT_SIGNAL
from tui.control.detaching import Background, say_in, start_in_background, tell_ready

LAUNCH = "GPT_TUI_LAUNCH"  # the file in which process 0 tells what came of it
SHUTDOWN_SECONDS = 300  # until a process that saves is killed
LOOK_SECONDS = 0.1


def launch(
    processes: int,
    arguments: Sequence[str],
    options: str = "",
    restarts: int = 3,
    ready: int | None = None,
) -> int:
    """Start ``gpt-tui train`` as several processes, and return the exit code of process 0.

    Args:
        processes: On this machine.
        arguments: Of ``gpt-tui train``.
        options: Of ``torchrun``, in words as in a shell, such as those for several machines.
        restarts: How often all of them are started again when one is lost.
        ready: The descriptor on which another process waits for the run to be open.

    Raises:
        InputError: They could not be started.
    """
    logging.disable()  # of torchrun: what it means for the run, process 0 tells
    here = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", f"--rdzv-id={uuid.uuid4().hex}"]
    each = max(1, cores() // processes)
    # without it, processes that are started again look for those that are gone
    os.environ |= {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    os.environ.setdefault("OMP_NUM_THREADS", str(each))
    command = [
        f"--nproc-per-node={processes}",
        f"--max-restarts={restarts}",
        f"--shutdown-timeout={SHUTDOWN_SECONDS}",
        "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1,SIGUSR2",
        *(_words(options) or here),
        *("-m", "tui", "train", *arguments),
    ]
    with tempfile.TemporaryDirectory(prefix="gpt-tui-") as folder:
        told = Path(folder) / "told.json"
        os.environ[LAUNCH] = str(told)
        _tell(told, detached=ready is not None)
        ended = threading.Event()
        if ready is not None:
            waiting = threading.Thread(target=_pass_on, args=(told, ready, ended), daemon=True)
            waiting.start()
        try:
            code = _run(command)
        finally:
            ended.set()
        return int(_told(told).get("code", code))


def _words(options: str) -> list[str]:
    try:
        return shlex.split(options)
    except ValueError as error:
        raise InputError(f"--torchrun {options!r} cannot be taken apart: {error}") from None


def _run(command: list[str]) -> int:
    """Run torchrun; return the exit code, unless process 0 knows better."""
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    said = io.StringIO()
    try:
        with redirect_stderr(said):  # its usage is longer than the screen
            options = run.parse_args(command)  # type: ignore[no-untyped-call]
    except SystemExit:
        why = said.getvalue().strip().rpartition("error: ")[2]
        raise InputError(f"torchrun does not take these options: {why}") from None
    try:
        run.run(options)  # type: ignore[no-untyped-call]
    except SignalException:
        return EXIT_SIGNAL
    except ChildFailedError:
        return EXIT_FAILED
    except (OSError, RuntimeError, ValueError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"torchrun could not start the processes: {why}") from None
    return EXIT_DONE


def _pass_on(told: Path, ready: int, ended: threading.Event) -> None:
    """Tell who waits that the run is open, once process 0 has told so."""
    while not ended.wait(LOOK_SECONDS):
        facts = _told(told)
        if run := facts.get("run"):
            tell_ready(Path(run), ready, facts["process"])
            return


def processes_for(config: Config) -> int:
    """Return how many GPUs of this machine can share the steps of a new run; 1 if not several."""
    if config.system.device not in ("auto", "cuda"):
        return 1
    sequences, most = config.train.batch_size * config.train.grad_accum_steps, 1
    while most * 2 <= gpu_count() and sequences % (most * 2) == 0:
        most *= 2
    return most


def start_several(config: Config, processes: int, runs_dir: Path, name: str | None) -> Background:
    """Start a new run with several processes in the background."""
    with tempfile.TemporaryDirectory(prefix="gpt-tui-") as folder:
        file = Path(folder) / CONFIG_FILE
        file.write_bytes(tomli_w.dumps(config.to_toml()).encode())
        words = [f"--config={file}", f"--runs-dir={runs_dir}", f"--procs={processes}"]
        return start_in_background([*words, *([f"--name={name}"] if name else [])])


# -- in process 0 ----------------------------------------------------------------------------


def run_before() -> str:
    """Return the run that process 0 opened before all of them were started again, if any."""
    return str(_told(_place()).get("run", "")) if _place() else ""


def tell_opened(run: Path) -> None:
    """Tell the launcher which run is open; if it trains in the background, all goes to its log."""
    if place := _place():
        if _told(place).get("detached"):
            say_in(run / LOG_FILE)
        _tell(place, run=str(run), process=os.getpid())


def tell_code(code: int) -> bool:
    """Tell the launcher the exit code; return whether there is one."""
    place = _place()
    if place:
        _tell(place, code=code)
    return place is not None


def _place() -> Path | None:
    place = os.environ.get(LAUNCH)
    return Path(place) if place else None


def _told(place: Path | None) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if place:
        with suppress(OSError, ValueError):
            facts = json.loads(place.read_text(encoding="utf-8"))
    return facts


def _tell(place: Path, **facts: Any) -> None:
    with suppress(OSError):  # the launcher was killed, and its folder removed
        write_atomically(place, json.dumps(_told(place) | facts).encode())
