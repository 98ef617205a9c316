"""The one schema: every setting exists here once.

The command line, ``config.toml``, the panels of the app, the validation and the table in
docs/settings.md are all made from these classes. Adding a hyperparameter is one edit in this file.
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
from engine.config.setting import Setting, Value, When, setting, settings_of
from engine.config.stop_strings import parse_stops
from engine.program import program

LIVE, RESUME, NEW_RUN = When.LIVE, When.RESUME, When.NEW_RUN


GPT2_STD = 0.02  # of all weights at the start
SAME = -1.0  # of a dropout of its own: "as model.dropout"


def _own_dropout(help: str) -> Any:
    return setting(SAME, help, LIVE, minimum=0, maximum=0.95, unset="as dropout", seldom=True)


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the network."""

    architecture: str = setting(
        "gpt",
        "bigram is a table of which token follows which.",
        NEW_RUN,
        seldom=True,
        choices=("gpt", "bigram"),
        source="Karpathy 2023, Let's build GPT",
    )
    n_layer: int = setting(
        4, "Transformer blocks on top of each other.", NEW_RUN, minimum=1, maximum=200
    )
    n_head: int = setting(
        4, "Attention heads in a block; they share n_embd.", NEW_RUN, minimum=1, maximum=200
    )
    n_kv_head: int = setting(
        0,
        "Heads of keys and values; fewer than n_head are shared.",
        NEW_RUN,
        seldom=True,
        minimum=1,
        maximum=200,
        zero="n_head",
        source="GQA: Ainslie et al. 2023",
    )
    n_embd: int = setting(128, "Width of the residual stream.", NEW_RUN, minimum=1, maximum=32768)
    mlp_ratio: float = setting(
        4.0,
        "Width of the feed-forward over n_embd.",
        NEW_RUN,
        seldom=True,
        above=0,
        maximum=64,
        zero="off",
        source="Vaswani et al. 2017, section 3.3",
    )
    block_size: int = setting(
        64,
        "Context: how many tokens the model sees at once.",
        NEW_RUN,
        minimum=1,
        maximum=131072,
        unit="tokens",
    )
    position: str = setting(
        "learned",
        "How the model knows where a token stands.",
        NEW_RUN,
        choices=("learned", "sinusoidal", "rotary", "none"),
        source="Vaswani et al. 2017; RoPE: Su et al. 2021",
    )
    rope_theta: float = setting(
        10_000.0,
        "Longest wavelength of rotary positions, over 2 pi.",
        NEW_RUN,
        seldom=True,
        above=1,
        maximum=1e9,
        unit="tokens",
        source="Su et al. 2021",
    )
    n_gram: int = setting(
        1,
        "Tokens each embedding sums: its own and those just before.",
        NEW_RUN,
        seldom=True,
        minimum=1,
        maximum=16,
        source="docs/experiments.md",
    )
    norm: str = setting(
        "layer",
        "Norm of the stream.",
        NEW_RUN,
        choices=("layer", "rms", "none"),
        source="Ba et al. 2016; RMS: Zhang & Sennrich 2019",
    )
    norm_place: str = setting(
        "pre",
        "Norm before each sublayer, or after its addition.",
        NEW_RUN,
        seldom=True,
        choices=("pre", "post"),
        source="Xiong et al. 2020",
    )
    qk_norm: bool = setting(
        False, "Normalise queries and keys.", NEW_RUN, seldom=True, source="Henry et al. 2020"
    )
    activation: str = setting(
        "gelu",
        "What bends inside the feed-forward.",
        NEW_RUN,
        choices=("gelu", "relu", "relu2", "swiglu"),
        source="GELU: Hendrycks & Gimpel 2016; ReLU²: So et al. 2021; SwiGLU: Shazeer 2020",
    )
    residual: bool = setting(
        True,
        "Sublayers add to the stream they read from.",
        NEW_RUN,
        seldom=True,
        source="He et al. 2015",
    )
    output_proj: bool = setting(
        True, "A linear layer after the heads and after the activation.", NEW_RUN, seldom=True
    )
    init: str = setting(
        "gpt2",
        "Weights begin as N(0, 0.02), GPT-2's, or as torch's layers do.",
        NEW_RUN,
        seldom=True,
        choices=("gpt2", "torch"),
        source="Radford et al. 2019 (GPT-2); torch.nn",
    )
    zero_init: bool = setting(
        False,
        "Output projections and an untied head begin at zero.",
        NEW_RUN,
        seldom=True,
        source="Zhang et al. 2019 (Fixup)",
    )
    logit_softcap: float = setting(
        0.0,
        "Logits are bent to stay within this.",
        NEW_RUN,
        seldom=True,
        above=0,
        maximum=1000,
        zero="off",
        source="Gemma 2, 2024",
    )
    embd_std: float = setting(
        GPT2_STD,
        "Spread of the token embeddings at the start.",
        NEW_RUN,
        seldom=True,
        above=0,
        maximum=10,
        source="Radford et al. 2019 (GPT-2)",
    )
    dropout: float = setting(
        0.0,
        "Share of activations and attention weights dropped.",
        LIVE,
        minimum=0,
        maximum=0.95,
        source="Srivastava et al. 2014",
    )
    embd_dropout: float = _own_dropout("Dropout of the embeddings.")
    attn_dropout: float = _own_dropout("Dropout of the attention weights.")
    resid_dropout: float = _own_dropout("Dropout of what joins the stream.")
    bias: bool = setting(
        False, "Biases in linear layers and layer norms, as in GPT-2.", NEW_RUN, seldom=True
    )
    tie_weights: bool = setting(
        True,
        "The output head shares the token embedding's weights.",
        NEW_RUN,
        seldom=True,
        source="Press & Wolf 2017",
    )

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def d_ff(self) -> int:
        """Hidden width of the feed-forward; SwiGLU's is 2/3 of it, for as many parameters."""
        width = self.mlp_ratio * self.n_embd
        return max(1, round(width * 2 / 3 if self.activation == "swiglu" else width))

    def dropout_of(self, kind: str) -> float:
        """The rate for ``embd``, ``attn`` or ``resid``: its own, or the common one."""
        own: float = getattr(self, f"{kind}_dropout")
        return self.dropout if own == SAME else own

    @property
    def drops(self) -> bool:
        """Whether anything is dropped at all."""
        return any(self.dropout_of(kind) for kind in ("embd", "attn", "resid"))

    def conflicts(self) -> list[str]:
        """Combinations that cannot be, one sentence each."""
        if self.architecture == "bigram":
            return []
        problems = []
        if self.n_embd % self.n_head:
            problems.append(
                f"model.n_embd {self.n_embd} is not divisible by model.n_head {self.n_head}: "
                f"try n_embd {_nearest_multiple(self.n_embd, self.n_head)}"
            )
        elif self.position == "rotary" and self.head_size % 2:
            problems.append(
                f"model.position rotary turns pairs of numbers, and a head of n_embd / n_head = "
                f"{self.head_size} is odd: choose an even size"
            )
        if self.n_head % self.kv_heads:
            problems.append(
                f"model.n_head {self.n_head} is not divisible by model.n_kv_head "
                f"{self.n_kv_head}: every key head must serve as many query heads"
            )
        if self.position == "sinusoidal" and self.n_embd % 2:
            problems.append(
                f"model.position sinusoidal pairs sines with cosines: model.n_embd {self.n_embd} "
                f"must be even"
            )
        if not self.output_proj and self.mlp_ratio and self.d_ff != self.n_embd:
            problems.append(
                f"without model.output_proj the feed-forward must be as wide as the stream: set "
                f"model.mlp_ratio so that its width {self.d_ff} becomes n_embd {self.n_embd}"
            )
        if self.zero_init and not self.residual:
            problems.append(
                "model.zero_init starts every block at zero, and without model.residual nothing "
                "gets past one: turn one of them off"
            )
        if self.init == "torch" and self.embd_std != GPT2_STD:
            problems.append(
                "model.embd_std belongs to model.init gpt2, torch's embeddings begin as N(0, 1): "
                f"leave it at {GPT2_STD}, or set model.init to gpt2"
            )
        if self.norm == "none" and self.norm_place == "post":
            problems.append("model.norm is none, so model.norm_place must stay pre")
        return problems


@dataclass(frozen=True)
class DataConfig:
    """What is learned."""

    corpus: str = setting(
        "tinyshakespeare", "tinyshakespeare, python-docs or a text file.", NEW_RUN
    )
    tokenizer: str = setting("char", "How text becomes tokens.", NEW_RUN, choices=("char",))


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its learning-rate schedule."""

    optimizer: str = setting(
        "adamw",
        "muon: Muon for the blocks' matrices, AdamW for the rest.",
        NEW_RUN,
        choices=("adamw", "muon", "sgd"),
        source="Loshchilov & Hutter 2019; Muon: Jordan et al. 2024",
    )
    learning_rate: float = setting(
        1e-3, "Peak learning rate, after warm-up.", LIVE, above=0, maximum=10
    )
    muon_lr: float = setting(
        2e-2, "Peak learning rate of Muon's matrices.", LIVE, above=0, maximum=10
    )
    min_lr: float = setting(
        1e-4, "Learning rate at the end of the decay.", LIVE, minimum=0, maximum=10
    )
    schedule: str = setting(
        "cosine",
        "Shape of the decay after warm-up; wsd: stable, then a cool-down.",
        LIVE,
        choices=("cosine", "linear", "constant", "wsd"),
        source="cosine: Loshchilov & Hutter 2017; wsd: Hu et al. 2024",
    )
    decay_steps: int = setting(
        0,
        "Step at which the decay ends.",
        LIVE,
        seldom=True,
        minimum=1,
        maximum=10**9,
        unit="steps",
        zero="max_steps",
    )
    cooldown_steps: int = setting(
        0,
        "Steps of wsd's decay, at its end.",
        LIVE,
        seldom=True,
        minimum=1,
        maximum=10**9,
        unit="steps",
        zero="a fifth",
    )
    warmup_steps: int = setting(
        100, "Steps of linear warm-up.", LIVE, minimum=0, maximum=10**9, unit="steps"
    )
    weight_decay: float = setting(
        0.1, "Decay of matrices and embeddings; decoupled but for sgd.", LIVE, minimum=0, maximum=10
    )
    beta1: float = setting(
        0.9, "AdamW: memory of the gradient's mean.", LIVE, seldom=True, minimum=0, maximum=0.9999
    )
    beta2: float = setting(
        0.99,
        "AdamW: memory of the gradient's square.",
        LIVE,
        seldom=True,
        minimum=0,
        maximum=0.99999,
    )
    momentum: float = setting(
        0.95, "Muon and SGD: memory of the gradient.", LIVE, seldom=True, minimum=0, maximum=0.9999
    )
    grad_clip: float = setting(
        1.0, "Largest norm of the gradient.", LIVE, minimum=0, maximum=1e6, zero="off"
    )
    ema_decay: float = setting(
        0.0,
        "Average the weights; evaluations and samples use the average.",
        NEW_RUN,
        seldom=True,
        above=0,
        maximum=0.99999,
        zero="off",
        source="Polyak & Juditsky 1992",
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
    patience: int = setting(
        0,
        "Evaluations without a lower validation loss that end the run.",
        LIVE,
        minimum=1,
        maximum=10**6,
        unit="evals",
        zero="off",
        source="early stopping: Prechelt 1998",
    )


@dataclass(frozen=True)
class SampleConfig:
    """How text is generated."""

    prompt: str = setting(
        "", r"Text to continue, \n breaks a line; empty starts on a new line.", LIVE, escaped=True
    )
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
    min_p: float = setting(
        0.0,
        "Choose among tokens this likely, as a share of the likeliest.",
        LIVE,
        seldom=True,
        above=0,
        maximum=1,
        zero="off",
        source="Nguyen et al. 2024",
    )
    repetition_penalty: float = setting(
        1.0,
        "Above 1, tokens the text already has are less likely.",
        LIVE,
        seldom=True,
        above=0,
        maximum=10,
        source="CTRL: Keskar et al. 2019",
    )
    stop: str = setting(
        "",
        r"Text that ends a sample; \n is a new line, | stands between several.",
        LIVE,
        seldom=True,
    )
    max_tokens: int = setting(
        300, "Tokens to generate.", LIVE, minimum=1, maximum=10**6, unit="tokens"
    )
    seed: int = setting(1, "Same seed and weights, same text.", LIVE, minimum=0, maximum=2**31 - 1)

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end a sample."""
        return parse_stops(self.stop)

    def conflicts(self) -> list[str]:
        """What cannot be, one sentence each."""
        try:
            parse_stops(self.stop)
        except ValueError as error:
            return [str(error)]
        return []


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
    keep_every: int = setting(
        0,
        "Those of every so many steps are kept, too.",
        LIVE,
        seldom=True,
        minimum=1,
        maximum=10**9,
        unit="steps",
        zero="none",
    )
    history_mb: int = setting(
        512,
        "Room for weights of the past, the denser the newer.",
        LIVE,
        seldom=True,
        minimum=1,
        maximum=10**7,
        unit="MB",
        zero="none",
    )


@dataclass(frozen=True)
class SystemConfig:
    """What it runs on. Every "auto" is resolved once, when the run is created."""

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
        choices=("auto", "fp32", "tf32", "bf16", "fp16"),
    )
    compile: bool = setting(False, "Compile the model (slow to start, then faster).", RESUME)
    cuda_graph: bool = setting(
        True,
        "On CUDA: replay each step as one graph, faster and to the bit the same.",
        RESUME,
        seldom=True,
    )
    kernels: str = setting(
        "auto",
        "PyTorch's, or our own by g++ (on CUDA by Triton); auto takes these, on Linux.",
        RESUME,
        choices=("auto", "torch", "native"),
    )
    threads: int = setting(
        0, "CPU threads; auto measures.", RESUME, minimum=1, maximum=1024, zero="auto"
    )
    micro_batch_size: int = setting(
        0,
        "Sequences in one forward pass; auto lets a pause come at once.",
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
        optim = self.optim
        problems = self.model.conflicts() + self.sample.conflicts()
        if optim.schedule != "constant" and optim.min_lr > optim.learning_rate:
            problems.append(
                f"optim.min_lr {optim.min_lr:g} is above optim.learning_rate "
                f"{optim.learning_rate:g}: lower optim.min_lr too"
            )
        if self.system.compile and self.system.kernels == "native":
            problems.append(
                "system.compile brings kernels of its own: turn it off for system.kernels native"
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
    hint = f"did you mean {near[0]!r}?" if near else f"{program()} settings lists them all."
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
