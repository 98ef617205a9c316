"""What the next run will be, as far as it can be told without PyTorch and without its text."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from data.errors import InputError
from data.specs import called, is_path, is_pattern, specs_of
from data.tokenizers.kinds import vocabulary_size
from engine.config.model_size import flops_per_token, parameter_count, training_bytes
from engine.config.presets import probably_has_cuda
from engine.config.schema import Config, tokens_per_step, total_steps

FLOPS_PER_CORE = 40e9  # a second, of a usual core in training; within a factor of three
NOBODY_WAITS = 48 * 3600.0  # seconds of training that is for other machines
SECONDS_PER_STEP = 1e-3  # at least, however small the model
KNOWN_TEXTS = {"tinyshakespeare": (65, 1_003_854)}  # distinct characters, tokens to train on


class NextRun(Struct, frozen=True):
    """Sizes of a run that does not exist yet.

    Attributes:
        parameters: Of the model, as the status bar counts them.
        is_exact: Whether the characters of the text are known.
        steps: None if they depend on a text that is not known.
        tokens: In all steps.
        bytes: That training keeps, without activations.
        seconds: Of training on this machine's CPU, roughly; None for an unknown number of steps.
    """

    parameters: int
    is_exact: bool
    steps: int | None
    tokens_per_step: int
    tokens: int | None
    bytes: int
    seconds: float | None


class Surroundings(Struct, frozen=True):
    """What is there for the next run."""

    device: str  # a guess: only PyTorch can tell
    on_cpu: bool
    text: str  # and whether it is here
    runs: int  # earlier ones


def next_run(config: Config, vocab_size: int = 0) -> NextRun:
    """Return the sizes of a run with these settings.

    Args:
        vocab_size: Of its text, 0 if that is not known.
    """
    known = KNOWN_TEXTS.get(config.data.corpus)
    characters, train_tokens = known or (KNOWN_TEXTS["tinyshakespeare"][0], 0)
    if not known:
        val_share = 0.0 if config.data.val else config.data.val_share
        with suppress(OSError, ValueError):
            train_tokens = round(os.path.getsize(config.data.corpus) * (1 - val_share))
    if config.data.tokenizer not in ("char", "bytes") or config.data.within_documents:
        train_tokens = 0  # how many letters a token or a window has depends on the text
    by_kind = vocabulary_size(config.data)
    size = vocab_size or by_kind or characters
    is_exact = bool(vocab_size or by_kind or (known and config.data.tokens == ("char", 1)))
    parameters = parameter_count(config.model, size, positions=False)
    kept = training_bytes(config.model, config.optim, size)
    each = tokens_per_step(config)
    if config.train.max_epochs and not train_tokens:
        return NextRun(parameters, is_exact, None, each, None, kept, None)
    steps = total_steps(config, train_tokens)
    flops = flops_per_token(config.model, size) * each
    seconds = steps * (SECONDS_PER_STEP + flops / (FLOPS_PER_CORE * _cores(config)))
    seconds = config.train.max_minutes * 60 or seconds
    return NextRun(parameters, is_exact, steps, each, steps * each, kept, seconds)


def surroundings(config: Config, runs_dir: Path) -> Surroundings:
    """Look at machine, text and runs; it may take a second, and is called in a thread."""
    from engine.runs.folder import list_runs

    device, on_cpu = guessed_device(config)
    runs = 0
    with suppress(OSError):
        runs = len(list_runs(runs_dir))
    return Surroundings(device, on_cpu, _text(config.data.corpus), runs)


def guessed_device(config: Config) -> tuple[str, bool]:
    """Return what the run will train on, in words, and whether that is the CPU."""
    wanted = config.system.device
    if wanted == "cuda" or (wanted == "auto" and probably_has_cuda()):
        return "NVIDIA GPU", False
    apple = platform.system() == "Darwin" and platform.machine() == "arm64"
    if wanted == "mps" or (wanted == "auto" and apple):
        return "Apple's GPU", False
    cores = _cores(config)
    return f"CPU, {cores} core{'' if cores == 1 else 's'}", True


def _cores(config: Config) -> int:
    with suppress(AttributeError):  # macOS has none
        return config.system.threads or len(os.sched_getaffinity(0))
    return config.system.threads or os.cpu_count() or 1


def _text(spec: str) -> str:
    from data.corpora.catalogue import CATALOGUE, KNOWN_NAMES  # not needed before the first paint
    from data.corpora.obtain import outlook

    if spec in KNOWN_NAMES:
        try:
            name = outlook(spec)
        except InputError:  # no cache folder: what trains will say so
            return spec
        is_here = "(" in name or not CATALOGUE[spec].size
        return name if is_here else f"{name} (downloaded)"
    try:
        size = os.path.getsize(spec)
    except (OSError, ValueError):
        missing = is_path(spec) and not is_pattern(spec) and len(specs_of(spec)) == 1
        return f"{called(spec)} (there is no such file)" if missing else called(spec)
    is_large = size >= 1e5 and os.path.isfile(spec)
    return f"{called(spec)} ({size / 1e6:,.1f} MB)" if is_large else called(spec)
