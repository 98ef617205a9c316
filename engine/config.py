"""The one schema: every setting exists here once.

The command line, ``config.toml``, the panels of the app, the validation and the table in the
README are all made from these classes. Adding a hyperparameter is one edit in this file.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import InputError
from engine.settings import Setting, Value, When, setting, settings_of

LIVE, RESUME, NEW_RUN = When.LIVE, When.RESUME, When.NEW_RUN


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network."""

    n_layer: int = setting(
        4, "Transformer blocks on top of each other.", NEW_RUN, minimum=1, maximum=200
    )
    n_head: int = setting(
        4, "Attention heads in a block; they share n_embd.", NEW_RUN, minimum=1, maximum=200
    )
    n_embd: int = setting(128, "Width of the residual stream.", NEW_RUN, minimum=1, maximum=32768)
    block_size: int = setting(
        64,
        "Context: how many tokens the model sees at once.",
        NEW_RUN,
        minimum=1,
        maximum=131072,
        unit="tokens",
    )
    dropout: float = setting(
        0.0, "Share of activations and attention weights dropped.", LIVE, minimum=0, maximum=0.95
    )
    bias: bool = setting(False, "Biases in linear layers and layer norms, as in GPT-2.", NEW_RUN)
    tie_weights: bool = setting(
        True, "The output head shares the token embedding's weights.", NEW_RUN
    )


@dataclass(frozen=True)
class DataConfig:
    """What is learned."""

    corpus: str = setting(
        "tinyshakespeare", "tinyshakespeare, python-docs or a text file.", NEW_RUN
    )
    tokenizer: str = setting("char", "How text becomes tokens.", NEW_RUN, choices=("char",))


@dataclass(frozen=True)
class OptimConfig:
    """AdamW and its learning-rate schedule."""

    learning_rate: float = setting(
        1e-3, "Peak learning rate, after warm-up.", LIVE, above=0, maximum=10
    )
    min_lr: float = setting(
        1e-4, "Learning rate at the end of the decay.", LIVE, minimum=0, maximum=10
    )
    schedule: str = setting(
        "cosine",
        "Shape of the decay after warm-up.",
        LIVE,
        choices=("cosine", "linear", "constant"),
    )
    decay_steps: int = setting(
        0,
        "Step at which the decay ends.",
        LIVE,
        minimum=1,
        maximum=10**9,
        unit="steps",
        zero="max_steps",
    )
    warmup_steps: int = setting(
        100, "Steps of linear warm-up.", LIVE, minimum=0, maximum=10**9, unit="steps"
    )
    weight_decay: float = setting(
        0.1, "Decoupled decay of matrices and embeddings.", LIVE, minimum=0, maximum=10
    )
    beta1: float = setting(
        0.9, "AdamW: memory of the gradient's mean.", LIVE, minimum=0, maximum=0.9999
    )
    beta2: float = setting(
        0.99, "AdamW: memory of the gradient's square.", LIVE, minimum=0, maximum=0.99999
    )
    grad_clip: float = setting(
        1.0, "Largest norm of the gradient.", LIVE, minimum=0, maximum=1e6, zero="off"
    )


@dataclass(frozen=True)
class TrainConfig:
    """How long, on how much at a time."""

    batch_size: int = setting(
        12, "Sequences in a batch.", LIVE, minimum=1, maximum=65536, unit="seqs"
    )
    max_steps: int = setting(
        2000, "Stop after this many steps.", LIVE, minimum=1, maximum=10**9, unit="steps"
    )
    max_epochs: float = setting(
        0.0,
        "If set, stop after this many epochs instead.",
        LIVE,
        minimum=0,
        maximum=1e6,
        unit="epochs",
        zero="off",
    )
    grad_accum_steps: int = setting(
        1, "Batches whose gradients make one step.", LIVE, minimum=1, maximum=65536
    )
    seed: int = setting(
        1337, "Seed of the weights, the batches and dropout.", NEW_RUN, minimum=0, maximum=2**31 - 1
    )


@dataclass(frozen=True)
class EvalConfig:
    """How the validation loss is measured."""

    interval: int = setting(
        250,
        "Steps between evaluations.",
        LIVE,
        minimum=1,
        maximum=10**9,
        unit="steps",
        zero="end only",
    )
    batches: int = setting(
        20,
        "Evenly spaced batches on the way; the end takes the whole split.",
        LIVE,
        minimum=1,
        maximum=10**6,
    )


@dataclass(frozen=True)
class SampleConfig:
    """How text is generated."""

    prompt: str = setting("", "Text to continue; empty starts on a new line.", LIVE)
    temperature: float = setting(
        0.8, "Below 1 safer, above 1 wilder; 0 takes the likeliest.", LIVE, minimum=0, maximum=10
    )
    top_k: int = setting(
        0, "Choose among the k likeliest tokens.", LIVE, minimum=1, maximum=10**6, zero="off"
    )
    top_p: float = setting(
        1.0,
        "Choose among the likeliest tokens of this total probability.",
        LIVE,
        above=0,
        maximum=1,
    )
    max_tokens: int = setting(
        300, "Tokens to generate.", LIVE, minimum=1, maximum=10**6, unit="tokens"
    )
    seed: int = setting(1, "Same seed and weights, same text.", LIVE, minimum=0, maximum=2**31 - 1)


@dataclass(frozen=True)
class CheckpointConfig:
    """When the run is saved."""

    interval: int = setting(
        500,
        "Steps between checkpoints.",
        LIVE,
        minimum=1,
        maximum=10**9,
        unit="steps",
        zero="end only",
    )
    keep: int = setting(
        3, "Newest checkpoints kept, besides the best.", LIVE, minimum=2, maximum=1000
    )


@dataclass(frozen=True)
class SystemConfig:
    """What it runs on. Every ``auto`` is resolved once, when the run is created."""

    device: str = setting(
        "auto",
        "auto takes CUDA, then Apple's MPS, then the CPU.",
        RESUME,
        choices=("auto", "cpu", "cuda", "mps"),
    )
    precision: str = setting(
        "auto",
        "auto: bf16 on CUDA; on a CPU what measures faster.",
        RESUME,
        choices=("auto", "fp32", "bf16"),
    )
    compile: bool = setting(False, "Compile the model (slow to start, then faster).", RESUME)
    threads: int = setting(
        0, "CPU threads; auto measures.", RESUME, minimum=1, maximum=1024, zero="auto"
    )
    micro_batch_size: int = setting(
        0,
        "Sequences in one forward pass; auto keeps pause prompt.",
        RESUME,
        minimum=1,
        maximum=65536,
        unit="seqs",
        zero="auto",
    )


@dataclass(frozen=True)
class Config:
    """A whole configuration: what a run is asked to do."""

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    system: SystemConfig = field(default_factory=SystemConfig)
    preset: str = ""

    def get(self, key: str) -> Value:
        """The value of ``section.name``."""
        section, name = key.split(".")
        value: Value = getattr(getattr(self, section), name)
        return value

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as in ``config.toml``."""
        return {"preset": self.preset} | {
            name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS
        }

    def differences(self, other: Config) -> dict[str, tuple[Value, Value]]:
        """Settings whose values differ: key -> (here, there)."""
        return {
            key: (self.get(key), other.get(key))
            for key in SETTINGS
            if self.get(key) != other.get(key)
        }

    def replace(self, values: Mapping[str, object]) -> Config:
        """A new configuration with some settings changed, checked as a whole.

        Values may be typed or text. Saying ``train.max_steps`` without ``train.max_epochs`` turns
        the latter off: the last word on the length of a run counts.

        Raises:
            InputError: One or more problems, all reported at once.
        """
        config, problems = self.check(values)
        if problems:
            raise InputError(*problems)
        return config

    def check(self, values: Mapping[str, object]) -> tuple[Config, list[str]]:
        """As ``replace``, but the problems are returned; settings with a problem keep theirs."""
        problems = []
        changed: dict[str, dict[str, Value]] = {}
        values = dict(values)
        if "train.max_steps" in values:
            values.setdefault("train.max_epochs", 0.0)
        for key, value in values.items():
            if key not in SETTINGS:
                problems.append(unknown_setting(key))
                continue
            try:
                section, name = key.split(".")
                changed.setdefault(section, {})[name] = SETTINGS[key].check(value)
            except ValueError as error:
                problems.append(str(error))
        sections = {
            section: dataclasses.replace(getattr(self, section), **fields)
            for section, fields in changed.items()
        }
        config = dataclasses.replace(self, **sections)
        return config, problems + config.conflicts()

    def conflicts(self) -> list[str]:
        """Combinations of settings that cannot be, one sentence each."""
        problems = []
        model, optim = self.model, self.optim
        if model.n_embd % model.n_head:
            problems.append(
                f"model.n_embd {model.n_embd} is not divisible by model.n_head {model.n_head}: "
                f"try n_embd {_nearest_multiple(model.n_embd, model.n_head)}"
            )
        if optim.schedule != "constant" and optim.min_lr > optim.learning_rate:
            problems.append(
                f"optim.min_lr {optim.min_lr:g} is above optim.learning_rate "
                f"{optim.learning_rate:g}: lower optim.min_lr too"
            )
        return problems


def _nearest_multiple(number: int, of: int) -> int:
    return max(of, round(number / of) * of)


SECTIONS: dict[str, type] = {
    "model": ModelConfig,
    "data": DataConfig,
    "optim": OptimConfig,
    "train": TrainConfig,
    "eval": EvalConfig,
    "sample": SampleConfig,
    "checkpoint": CheckpointConfig,
    "system": SystemConfig,
}

SETTINGS: dict[str, Setting] = {
    key: one for section, cls in SECTIONS.items() for key, one in settings_of(section, cls).items()
}


NAMES_ELSEWHERE = {  # what people know from nanoGPT, the lecture and Hugging Face
    "lr": "learning_rate",
    "max_iters": "max_steps",
    "epochs": "max_epochs",
    "warmup_iters": "warmup_steps",
    "lr_decay_iters": "decay_steps",
    "gradient_accumulation_steps": "grad_accum_steps",
    "eval_interval": "interval",
    "d_model": "n_embd",
    "context": "block_size",
    "max_new_tokens": "max_tokens",
    "dataset": "corpus",
    "dtype": "precision",
}


def unknown_setting(key: str) -> str:
    """One sentence for a setting that does not exist, with the nearest that does."""
    name = key.split(".")[-1]
    name = NAMES_ELSEWHERE.get(name, name)
    by_name = [known for known in SETTINGS if known.split(".")[1] == name]
    near = by_name[:1] or difflib.get_close_matches(key, SETTINGS, 1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else "'gpt-tui settings' lists them all."
    return f"there is no setting {key!r}: {hint}"


def config_from_dict(values: Mapping[str, Any], base: Config | None = None) -> Config:
    """Build a configuration from nested values, on top of a base.

    Raises:
        InputError: Unknown sections or settings, or values that cannot be, all at once.
    """
    base = base or Config()
    if "preset" in values:
        base = dataclasses.replace(base, preset=str(values["preset"]))
    flat, problems = flatten(values)
    config, found = base.check(flat)
    if problems + found:
        raise InputError(*problems, *found)
    return config


def flatten(values: Mapping[str, Any]) -> tuple[dict[str, object], list[str]]:
    """Nested values as ``section.name`` -> value, and what is wrong with the nesting."""
    flat: dict[str, object] = {}
    problems = []
    for section, fields in values.items():
        if isinstance(fields, Mapping):
            flat |= {f"{section}.{name}": value for name, value in fields.items()}
        elif section != "preset":
            problems.append(f"{section!r} must be a section such as [model], not a value")
    return flat, problems


def read_config(path: Path, base: Config | None = None) -> Config:
    """Read a ``config.toml``.

    Raises:
        InputError: The file cannot be read, is not TOML or holds values that cannot be.
    """
    values = read_toml(path)
    try:
        return config_from_dict(values, base)
    except InputError as error:
        raise InputError(*(f"{path}: {problem}" for problem in error.problems)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises:
        InputError: The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def total_steps(config: Config, train_tokens: int) -> int:
    """Steps the run is to take: ``max_epochs`` of the training split, if set, or ``max_steps``."""
    if not config.train.max_epochs:
        return config.train.max_steps
    return max(1, math.ceil(config.train.max_epochs * train_tokens / tokens_per_step(config)))


def tokens_per_step(config: Config) -> int:
    """Tokens whose loss makes one optimizer step."""
    train = config.train
    return train.batch_size * train.grad_accum_steps * config.model.block_size
