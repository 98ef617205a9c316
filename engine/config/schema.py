"""The schema: the single definition of every setting.

The command line, ``config.toml``, the app's panels, the validation and the table in
docs/settings.md are generated from these classes. Adding a hyperparameter is one edit in this file.
"""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from data.errors import InputError, nearest
from data.reading import parse_toml, read_regular
from data.specs import specs_of
from engine.config.escapes import parse_probes, parse_stops
from engine.config.setting import Setting, Value, When, format_float, setting, settings_of
from engine.config.shared_steps import misfits_of_a_divided_model, misfits_of_shards
from engine.program import program

MOST_BYTES = 2**17  # of a config.toml
SECTION_START = re.compile(rb"^(?=\[)", re.MULTILINE)
MOST_PROBLEMS = 20  # that are told at once
LIVE, RESUME, NEW_RUN = When.LIVE, When.RESUME, When.NEW_RUN
MOST_STEPS = 10**9  # of a run
STEPS: dict[str, Any] = {"minimum": 1, "maximum": MOST_STEPS, "unit": "steps"}

MOST_SEQUENCES = 2**24  # in one step; their offsets take half a GB
GPT2_STD = 0.02  # standard deviation of GPT-2's initial weights
SAME = -1.0  # value of embd_, attn_ and resid_dropout: the same as model.dropout


def _own_dropout(help: str) -> Any:
    return setting(SAME, help, when=LIVE, minimum=0, maximum=0.95, unset="as dropout", seldom=True)


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of the model."""

    architecture: str = setting(
        "gpt",
        "gpt is a transformer; bigram is a table of next-token logits.",
        seldom=True,
        choices=("gpt", "bigram"),
        source="Karpathy 2023, Let's build GPT",
    )
    n_layer: int = setting(
        4,
        "Number of transformer blocks: more can learn more, and take longer and more memory.",
        minimum=1,
        maximum=200,
    )
    n_head: int = setting(
        4, "Attention heads per block, each of size n_embd / n_head.", minimum=1, maximum=200
    )
    n_kv_head: int = setting(
        0,
        "Key and value heads; fewer than n_head is grouped-query attention.",
        seldom=True,
        minimum=1,
        maximum=200,
        zero="n_head",
        source="GQA: Ainslie et al. 2023",
    )
    n_embd: int = setting(
        128,
        "Embedding size, the width of the residual stream: "
        "wider can learn more, and costs its square.",
        minimum=1,
        maximum=32768,
    )
    mlp_ratio: float = setting(
        4.0,
        "Hidden size of the MLP, as a multiple of n_embd: "
        "more can learn more, and costs as much more.",
        seldom=True,
        above=0,
        maximum=64,
        zero="off",
        source="Vaswani et al. 2017, section 3.3",
    )
    block_size: int = setting(
        64,
        "Context length: how many tokens the model sees at once; more uses text further "
        "back, and more memory.",
        minimum=1,
        maximum=131072,
        unit="tokens",
    )
    position: str = setting(
        "learned",
        "Position encoding.",
        choices=("learned", "sinusoidal", "rotary", "none"),
        source="Vaswani et al. 2017; RoPE: Su et al. 2021",
    )
    rope_theta: float = setting(
        10_000.0,
        "RoPE base, the longest wavelength being about 2 pi times this: "
        "higher tells far positions apart.",
        seldom=True,
        above=1,
        maximum=1e9,
        unit="tokens",
        source="Su et al. 2021",
    )
    n_gram: int = setting(
        1,
        "Token embeddings summed per position, its own and preceding ones: "
        "more see more letters at once.",
        seldom=True,
        minimum=1,
        maximum=16,
        source="docs/experiments.md",
    )
    norm: str = setting(
        "layer",
        "Normalisation layer.",
        choices=("layer", "rms", "none"),
        source="Ba et al. 2016; RMS: Zhang & Sennrich 2019",
    )
    norm_place: str = setting(
        "pre",
        "Norm before each sublayer, or after its residual addition.",
        seldom=True,
        choices=("pre", "post"),
        source="Xiong et al. 2020",
    )
    qk_norm: bool = setting(
        False, "Normalise queries and keys.", seldom=True, source="Henry et al. 2020"
    )
    activation: str = setting(
        "gelu",
        "Activation function of the MLP.",
        choices=("gelu", "relu", "relu2", "swiglu"),
        source="GELU: Hendrycks & Gimpel 2016; ReLU²: So et al. 2021; SwiGLU: Shazeer 2020",
    )
    residual: bool = setting(
        True, "Residual connections around attention and MLP.", seldom=True, source="He et al. 2015"
    )
    output_proj: bool = setting(True, "Output projections of attention and MLP.", seldom=True)
    init: str = setting(
        "gpt2",
        "Initial weights: GPT-2's N(0, 0.02), or the defaults of torch.nn.",
        seldom=True,
        choices=("gpt2", "torch"),
        source="Radford et al. 2019 (GPT-2); torch.nn",
    )
    zero_init: bool = setting(
        False,
        "Initialise output projections and an untied head to zero.",
        seldom=True,
        source="Zhang et al. 2019 (Fixup)",
    )
    logit_softcap: float = setting(
        0.0,
        "Limit logits smoothly (by tanh) to this magnitude: lower keeps the model less certain.",
        seldom=True,
        above=0,
        maximum=1000,
        zero="off",
        source="Gemma 2, 2024",
    )
    embd_std: float = setting(
        GPT2_STD,
        "Standard deviation of the initial token embeddings: "
        "larger makes tokens more distinct at first.",
        seldom=True,
        above=0,
        maximum=10,
        source="Radford et al. 2019 (GPT-2)",
    )
    dropout: float = setting(
        0.0,
        "Dropout probability of activations and attention weights: "
        "more against overfitting, less to learn faster.",
        when=LIVE,
        minimum=0,
        maximum=0.95,
        source="Srivastava et al. 2014",
    )
    embd_dropout: float = _own_dropout("Dropout of the embeddings.")
    attn_dropout: float = _own_dropout("Dropout of the attention weights.")
    resid_dropout: float = _own_dropout("Dropout of attention and MLP outputs.")
    bias: bool = setting(
        False, "Biases in linear layers and layer norms, as in GPT-2.", seldom=True
    )
    tie_weights: bool = setting(
        True,
        "The output head shares the token embedding's weights.",
        seldom=True,
        source="Press & Wolf 2017",
    )

    @property
    def head_size(self) -> int:
        return self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        return self.n_kv_head or self.n_head

    @property
    def d_ff(self) -> int:
        """Hidden size of the MLP; times 2/3 for SwiGLU, which has a third matrix."""
        width = self.mlp_ratio * self.n_embd
        return max(1, round(width * 2 / 3 if self.activation == "swiglu" else width))

    def dropout_of(self, kind: str) -> float:
        """Return the dropout rate of ``embd``, ``attn`` or ``resid``."""
        own: float = getattr(self, f"{kind}_dropout")
        return self.dropout if own == SAME else own

    @property
    def drops(self) -> bool:
        """Whether any dropout rate is above 0."""
        return any(self.dropout_of(kind) for kind in ("embd", "attn", "resid"))

    def _fitting_width(self) -> int:
        """Return the nearest ``n_embd`` that fits the heads and the position encoding."""
        of = self.n_head
        if self.position == "rotary":
            of *= 2
        elif self.position == "sinusoidal":
            of = math.lcm(of, 2)
        largest = SETTINGS["model.n_embd"].maximum
        assert largest is not None
        return min(max(of, round(self.n_embd / of) * of), int(largest) // of * of)

    def conflicts(self) -> list[str]:
        """Return one sentence for each invalid combination."""
        if self.architecture == "bigram":
            return []
        problems = []
        if self.n_embd % self.n_head:
            problems.append(
                f"model.n_embd {self.n_embd} is not divisible by model.n_head {self.n_head}: "
                f"try n_embd {self._fitting_width()}"
            )
        elif self.position == "rotary" and self.head_size % 2:
            problems.append(
                f"model.position rotary rotates pairs of elements, and head size n_embd / n_head "
                f"= {self.head_size} is odd: try n_embd {self._fitting_width()}"
            )
        if self.n_head % self.kv_heads:
            problems.append(
                f"model.n_head {self.n_head} is not divisible by model.n_kv_head "
                f"{self.n_kv_head}: every key head must have the same number of query heads"
            )
        if self.position == "sinusoidal" and self.n_embd % 2:
            problems.append(
                f"model.position sinusoidal has as many sines as cosines, and model.n_embd "
                f"{self.n_embd} is odd: try n_embd {self._fitting_width()}"
            )
        if not self.output_proj and self.mlp_ratio and self.d_ff != self.n_embd:
            problems.append(
                f"without model.output_proj the MLP must be as wide as the residual stream: set "
                f"model.mlp_ratio so that its width {self.d_ff} becomes n_embd {self.n_embd}"
            )
        if self.zero_init and not self.residual:
            problems.append(
                "model.zero_init makes the output of every block zero at first, and without "
                "model.residual nothing else passes it: turn zero_init off or residual on"
            )
        if self.init == "torch" and self.embd_std != GPT2_STD:
            problems.append(
                "model.embd_std applies to model.init gpt2; torch initialises embeddings as "
                f"N(0, 1): leave it at {GPT2_STD}, or set model.init to gpt2"
            )
        if self.norm == "none" and self.norm_place == "post":
            problems.append("model.norm is none, so model.norm_place must stay pre")
        return problems


@dataclass(frozen=True)
class DataConfig:
    """The text to train on."""

    corpus: str = setting(
        "tinyshakespeare",
        'A name (gpt-tui data list), file, folder, pattern, address or -; several: ["a", "b"].',
        several=True,
    )
    encoding: str = setting(
        "auto", "The encoding of the text, such as cp1252 or gbk; auto recognises it."
    )
    field: str = setting(
        "",
        "The field that has the texts of JSON, CSV and Parquet, or a CSV's column; empty guesses.",
    )
    normalize: str = setting(
        "none",
        "Letters of one form; nfc: é is one character, not two, nfkc: ﬁ is fi, too.",
        choices=("none", "nfc", "nfkc"),
        source="Unicode Standard Annex #15",
    )
    tokenizer: str = setting(
        "char",
        "What tokens are: char, bytes, bpe (learned from the text), gpt2 or a tokenizer.json.",
    )
    vocab_size: int = setting(
        1024,
        "Tokens of bpe: more makes the text shorter and the model larger.",
        minimum=256,
        maximum=1_000_000,
    )
    min_count: int = setting(
        1, "Of char: characters that are rarer share the token <unk>.", minimum=1, maximum=10**9
    )

    val_share: float = setting(
        0.1,
        "Share of the text to measure the validation loss on: more is more exact.",
        above=0,
        maximum=0.5,
    )
    val: str = setting(
        "",
        "A text to validate on, named as data.corpus; empty takes data.val_share of the text.",
        several=True,
    )
    val_split: str = setting(
        "auto",
        "For validation: the end (tail), the last documents or random ones; auto: documents if "
        "there are several.",
        choices=("auto", "tail", "documents", "random"),
    )
    val_seed: int = setting(
        0,
        "Of data.val_split random: another seed draws other documents.",
        seldom=True,
        minimum=0,
        maximum=2**31,
    )
    order: str = setting(
        "random",
        "Of training: random windows anywhere, or in epochs, each window once in random order.",
        choices=("random", "epochs"),
    )
    within_documents: bool = setting(
        False,
        "Each window is of one document, and the rest of it empty; off: on into the next one.",
    )

    @property
    def tokens(self) -> tuple[str, int]:
        """What tells tokenizers of one text apart: losses per token compare only if it is equal."""
        size = {"bpe": self.vocab_size, "char": self.min_count}.get(self.tokenizer, 0)
        return self.tokenizer, size


@dataclass(frozen=True)
class OptimConfig:
    """The optimizer and its learning-rate schedule."""

    optimizer: str = setting(
        "adamw",
        "muon: Muon for the matrices of blocks, AdamW for the rest.",
        when=NEW_RUN,
        choices=("adamw", "muon", "sgd"),
        source="Loshchilov & Hutter 2019; Muon: Jordan et al. 2024",
    )
    learning_rate: float = setting(
        1e-3,
        "Peak learning rate, after warm-up: "
        "higher learns faster until the loss jumps or climbs, lower is slower and safer.",
        above=0,
        maximum=10,
    )
    muon_lr: float = setting(
        2e-2,
        "Peak learning rate of the matrices updated by Muon: "
        "higher learns faster until the loss jumps, lower is safer.",
        above=0,
        maximum=10,
    )
    min_lr: float = setting(
        1e-4,
        "Learning rate at the end of the decay: lower settles further, higher goes on learning.",
        minimum=0,
        maximum=10,
    )
    schedule: str = setting(
        "cosine",
        "Decay after warm-up; wsd: constant, then a cool-down at the end.",
        choices=("cosine", "linear", "constant", "wsd"),
        source="cosine: Loshchilov & Hutter 2017; wsd: Hu et al. 2024",
    )
    decay_steps: int = setting(
        0,
        "Step at which the decay ends: earlier settles sooner, later learns longer at high rates.",
        seldom=True,
        **STEPS,
        zero="max_steps",
    )
    cooldown_steps: int = setting(
        0,
        "Length of wsd's cool-down: "
        "longer settles further, shorter leaves more steps at the peak rate.",
        seldom=True,
        **STEPS,
        zero="a fifth",
    )
    warmup_steps: int = setting(
        100,
        "Steps of linear warm-up: more protect from a jump at the start, fewer lose less time.",
        **(STEPS | {"minimum": 0}),
    )
    weight_decay: float = setting(
        0.1,
        "Weight decay of matrices and embeddings, decoupled except for sgd: "
        "more against overfitting, less fits closer.",
        minimum=0,
        maximum=10,
    )
    beta1: float = setting(
        0.9,
        "AdamW: decay rate of the gradient's running mean; higher averages over more steps.",
        seldom=True,
        minimum=0,
        maximum=0.9999,
    )
    beta2: float = setting(
        0.99,
        "AdamW: decay rate of the squared gradient's running mean; higher is steadier, "
        "lower adapts faster.",
        seldom=True,
        minimum=0,
        maximum=0.99999,
    )
    momentum: float = setting(
        0.95,
        "Momentum of Muon and SGD: higher averages over more steps, lower follows each batch.",
        seldom=True,
        minimum=0,
        maximum=0.9999,
    )
    grad_clip: float = setting(
        1.0,
        "Clip gradients to this norm: "
        "lower protects from jumps and may slow learning, higher clips less.",
        minimum=0,
        maximum=1e6,
        zero="off",
    )
    ema_decay: float = setting(
        0.0,
        "Decay of a moving average of the weights, used to evaluate and sample: "
        "higher averages over more steps.",
        when=NEW_RUN,
        seldom=True,
        above=0,
        maximum=0.99999,
        zero="off",
        source="Polyak & Juditsky 1992",
    )


@dataclass(frozen=True)
class TrainConfig:
    """The length of the run and the batch size."""

    batch_size: int = setting(
        12,
        "Sequences per batch: more give steadier gradients and take longer a step.",
        minimum=1,
        maximum=65536,
        unit="seqs",
    )
    max_steps: int = setting(
        2000,
        "Stop after this many steps: "
        "more train longer, and stretch the decay of the learning rate.",
        **STEPS,
    )
    max_epochs: float = setting(
        0.0,
        "Stop after this many epochs instead of max_steps.",
        minimum=0,
        maximum=1e6,
        unit="epochs",
        zero="off",
    )
    max_minutes: float = setting(
        0.0,
        "Stop after this many minutes of training instead of max_steps, which follows the clock.",
        minimum=0,
        maximum=1e6,
        unit="min",
        zero="off",
        seldom=True,
    )
    grad_accum_steps: int = setting(
        1,
        "Batches whose gradients are accumulated for one step: a larger batch without more memory.",
        minimum=1,
        maximum=65536,
    )
    shards: int = setting(
        1,
        "Parts of a step that are added up pairwise: 1 to N processes give the same bits with N.",
        when=NEW_RUN,
        minimum=1,
        maximum=4096,
        seldom=True,
    )
    seed: int = setting(
        1337,
        "Seed of the initial weights, the batches and dropout.",
        when=NEW_RUN,
        minimum=0,
        maximum=2**31 - 1,
    )


@dataclass(frozen=True)
class EvalConfig:
    """How the validation loss and the health of the layers are measured."""

    interval: int = setting(
        250,
        "Steps between evaluations: fewer show more, more take less time.",
        **STEPS,
        zero="end only",
    )
    batches: int = setting(
        20,
        "Batches per evaluation: "
        "more measure more exactly and take longer; the final one uses the whole split.",
        minimum=1,
        maximum=10**6,
    )
    patience: int = setting(
        0,
        "Stop after this many evaluations without a lower validation loss: more wait longer.",
        minimum=1,
        maximum=10**6,
        unit="evals",
        zero="off",
        source="early stopping: Prechelt 1998",
    )
    health_interval: int = setting(
        100,
        "Steps between measurements of each layer's health: fewer show more, more take less time.",
        seldom=True,
        **STEPS,
        zero="off",
    )


@dataclass(frozen=True)
class SampleConfig:
    """How text is generated."""

    prompt: str = setting(
        "", r"Text to continue, \n breaks a line; empty starts a document, or a line.", escaped=True
    )
    temperature: float = setting(
        0.8, "Below 1 more predictable, above 1 more random; 0 is greedy.", minimum=0, maximum=10
    )
    top_k: int = setting(
        0,
        "Sample among the k most likely tokens: fewer are safer, more are more varied.",
        minimum=1,
        maximum=10**6,
        zero="off",
    )
    top_p: float = setting(
        1.0,
        "Sample among the most likely tokens with this total probability: "
        "lower is safer, higher more varied.",
        above=0,
        maximum=1,
    )
    min_p: float = setting(
        0.0,
        "Sample among tokens at least this likely relative to the top one: "
        "higher is safer, lower more varied.",
        seldom=True,
        above=0,
        maximum=1,
        zero="off",
        source="Nguyen et al. 2024",
    )
    repetition_penalty: float = setting(
        1.0,
        "Above 1, tokens already in the text become less likely.",
        seldom=True,
        above=0,
        maximum=10,
        source="CTRL: Keskar et al. 2019",
    )
    stop: str = setting(
        "", r"Text that ends a sample; \n is a new line, | separates several.", seldom=True
    )
    max_tokens: int = setting(300, "Tokens to generate.", minimum=1, maximum=10**6, unit="tokens")
    seed: int = setting(1, "Same seed and weights, same text.", minimum=0, maximum=2**31 - 1)
    probes: str = setting(
        "",
        "Prompts to sample as well after each evaluation, separated by |.",
        seldom=True,
    )

    @property
    def stops(self) -> tuple[str, ...]:
        return parse_stops(self.stop)

    @property
    def probe_prompts(self) -> tuple[str, ...]:
        return parse_probes(self.probes)

    def conflicts(self) -> list[str]:
        problems = []
        for parse, written in ((parse_stops, self.stop), (parse_probes, self.probes)):
            try:
                parse(written)
            except ValueError as error:
                problems.append(str(error))
        return problems


@dataclass(frozen=True)
class CheckpointConfig:
    """When checkpoints are written and how many are kept."""

    interval: int = setting(500, "Steps between checkpoints.", **STEPS, zero="end only")
    keep: int = setting(3, "Latest checkpoints to keep, besides the best.", minimum=2, maximum=1000)
    keep_every: int = setting(
        0,
        "Also keep checkpoints at multiples of this many steps.",
        seldom=True,
        **STEPS,
        zero="none",
    )
    history_mb: int = setting(
        512,
        "Space for weights of earlier steps; older ones are thinned out.",
        seldom=True,
        minimum=1,
        maximum=10**7,
        unit="MB",
        zero="none",
    )


@dataclass(frozen=True)
class SystemConfig:
    """The hardware to use. Every "auto" is resolved once, when the run is created."""

    device: str = setting(
        "auto",
        "auto: CUDA, else Apple's MPS, else the CPU.",
        choices=("auto", "cpu", "cuda", "mps"),
    )
    precision: str = setting(
        "auto",
        "auto: bf16 on a GPU that has it, else fp32; on a CPU the faster one.",
        choices=("auto", "fp32", "tf32", "bf16", "fp16"),
    )
    compile: bool = setting(False, "Use torch.compile (slow to start, then faster).")
    cuda_graph: bool = setting(
        True, "On CUDA, replay each step as a CUDA graph: the same kernels, faster.", seldom=True
    )
    kernels: str = setting(
        "auto",
        "native: own kernels compiled by g++ or Triton; auto uses them on Linux.",
        choices=("auto", "torch", "native"),
    )
    threads: int = setting(0, "CPU threads; auto measures.", minimum=1, maximum=1024, zero="auto")
    micro_batch_size: int = setting(
        0,
        "Sequences per forward pass; auto keeps pauses prompt.",
        minimum=1,
        maximum=65536,
        unit="seqs",
        zero="auto",
    )
    reduce: str = setting(
        "auto",
        "Sum over processes; exact: bits as with one, fast: as PyTorch; auto: fast above 8.",
        choices=("auto", "exact", "fast"),
        seldom=True,
    )
    shard: bool = setting(
        False, "Divide a model among processes (FSDP2), which it is too large for.", seldom=True
    )


@dataclass(frozen=True)
class Config:
    """The configuration of a run."""

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
        """Return the value of ``section.name``."""
        section, name = key.split(".")
        value: Value = getattr(getattr(self, section), name)
        return value

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, as in ``config.toml``."""
        return {"preset": self.preset} | {
            name: dataclasses.asdict(getattr(self, name)) for name in SECTIONS
        }

    def to_toml(self) -> dict[str, Any]:
        """Return the values of ``config.toml``, where several texts are a list."""
        values = self.to_dict()
        for key, one in SETTINGS.items():
            if one.several and len(specs := specs_of(str(self.get(key)))) > 1:
                values[one.section][one.name] = list(specs)
        return values

    def differences(self, other: Config) -> dict[str, tuple[Value, Value]]:
        """Return the settings whose values differ: key -> (own, other)."""
        return {
            key: (self.get(key), other.get(key))
            for key in SETTINGS
            if self.get(key) != other.get(key)
        }

    def replace(self, values: Mapping[str, object]) -> Config:
        """Return a configuration with some settings changed, validated as a whole.

        Values may have their type or be text.

        Raises:
            InputError: One or more problems, all reported at once.
        """
        config, problems = self.check(values)
        if problems:
            raise InputError(*problems)
        return config

    def check(self, values: Mapping[str, object]) -> tuple[Config, list[str]]:
        """Do as ``replace``, but return the problems; invalid settings keep their old values."""
        problems = []
        changed: dict[str, dict[str, Value]] = {}
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
        """Return one sentence for each invalid combination of settings."""
        optim = self.optim
        problems = self.model.conflicts() + self.sample.conflicts()
        if optim.schedule != "constant" and optim.min_lr > optim.learning_rate:
            problems.append(
                f"optim.min_lr {format_float(optim.min_lr, 6)} is above optim.learning_rate "
                f"{format_float(optim.learning_rate, 6)}: lower optim.min_lr too"
            )
        sequences = self.train.batch_size * self.train.grad_accum_steps
        if sequences > MOST_SEQUENCES:
            problems.append(
                f"train.batch_size times train.grad_accum_steps is {sequences:,} sequences a step, "
                f"and at most {MOST_SEQUENCES:,} can be drawn: lower one of them"
            )
        problems += misfits_of_shards(self.train, sequences)
        problems += misfits_of_a_divided_model(self)
        if self.system.compile and self.system.kernels == "native":
            problems.append(
                "system.compile generates its own kernels: turn it off for system.kernels native"
            )
        return problems


SECTIONS: dict[str, Any] = {
    one.name: one.default_factory for one in dataclasses.fields(Config) if one.name != "preset"
}
WHEN = {"model": NEW_RUN, "data": NEW_RUN, "system": RESUME}  # unless a setting has its own

SETTINGS: dict[str, Setting] = {
    one.key: one
    for section, cls in SECTIONS.items()
    for one in settings_of(section, cls, WHEN.get(section, LIVE))
}

TEXTS = tuple(key for key, one in SETTINGS.items() if one.several)
"""The settings that name texts."""

SHORT_NAMES = {
    "lr": "optim.learning_rate",
    "wd": "optim.weight_decay",
    "warmup": "optim.warmup_steps",
    "clip": "optim.grad_clip",
    "batch": "train.batch_size",
    "accum": "train.grad_accum_steps",
    "layers": "model.n_layer",
    "heads": "model.n_head",
    "width": "model.n_embd",
    "context": "model.block_size",
}
"""What settings are called where there is little room; any other by the part after its section."""


def _keys_by_name() -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for key in SETTINGS:
        names.setdefault(key.partition(".")[2], []).append(key)
    return names | {key: [key] for key in SETTINGS} | {n: [key] for n, key in SHORT_NAMES.items()}


KEYS_BY_NAME = _keys_by_name()
"""The settings that a name is typed for: without its section, in full, or short."""

NAMES_ELSEWHERE = {  # in nanoGPT, the lecture and Hugging Face
    "max_iters": "max_steps",
    "epochs": "max_epochs",
    "warmup_iters": "warmup_steps",
    "lr_decay_iters": "decay_steps",
    "gradient_accumulation_steps": "grad_accum_steps",
    "eval_interval": "interval",
    "d_model": "n_embd",
    "max_new_tokens": "max_tokens",
    "dataset": "corpus",
    "dtype": "precision",
}


def other_names(one: Setting) -> list[str]:
    """Return what a setting is called besides, here or elsewhere: ``lr``, ``dtype``."""
    short = [name for name, key in SHORT_NAMES.items() if key == one.key]
    return short + [name for name, known in NAMES_ELSEWHERE.items() if known == one.name]


def full_key(name: str) -> str:
    """Return the key of a setting that is typed in full, short or without its section.

    A name that none or several have is returned as it is: ``unknown_setting`` says why.
    """
    found = KEYS_BY_NAME.get(name, [])
    return found[0] if len(found) == 1 else name


def unknown_setting(key: str) -> str:
    """Return one sentence on a name that is no setting's, or that of several."""
    if len(several := KEYS_BY_NAME.get(key, [])) > 1:
        return f"{key!r} is the name of several settings: say which, {' or '.join(several)}"
    name = key.lower().split(".")[-1]
    name = SHORT_NAMES.get(name, NAMES_ELSEWHERE.get(name, name)).split(".")[-1]
    by_name = [known for known in SETTINGS if known.split(".")[1] == name]
    near = by_name[0] if by_name else nearest(key, SETTINGS, cutoff=0.5)
    hint = f"did you mean {near!r}?" if near else f"{program()} settings lists them all"
    return f"there is no setting {key!r}: {hint}"


def config_from_dict(values: Mapping[str, Any]) -> Config:
    """Build a configuration from nested values; those that are missing have their defaults.

    Raises:
        InputError: Unknown sections or settings, or invalid values, all reported at once.
    """
    preset = values.get("preset", "")
    flat, problems = flatten(values)
    if not isinstance(preset, str):
        problems.append(f"preset must be text, not {reprlib.repr(preset)}")
    config, found = Config(preset=str(preset) if not problems else "").check(flat)
    if problems + found:
        raise InputError(*problems, *found)
    return config


def flatten(values: Mapping[str, Any]) -> tuple[dict[str, object], list[str]]:
    """Flatten nested values to ``section.name`` -> value; also return problems of the nesting."""
    flat: dict[str, object] = {}
    problems = []
    for section, fields in values.items():
        if isinstance(fields, Mapping):
            flat |= {f"{section}.{name}": value for name, value in fields.items()}
        elif section != "preset":
            problems.append(f"{section!r} must be a section such as [model], not a value")
    return flat, problems


def read_config(path: Path, follow: bool = False) -> Config:
    """Read a ``config.toml``.

    Args:
        follow: Whether it may be a link.

    Raises:
        InputError: The file cannot be read, is not TOML or has invalid values.
    """
    body = _read(path, follow)
    config = _from_sections(body)
    if config:
        return config
    values = _parse(path, body)
    try:
        return config_from_dict(values)
    except InputError as error:
        raise InputError(*(f"{path}: {problem}" for problem in error.problems)) from None


def read_toml(path: Path, follow: bool = False) -> dict[str, Any]:
    """Parse a TOML file.

    Args:
        follow: Whether it may be a link.

    Raises:
        InputError: The file cannot be read or is not TOML.
    """
    return _parse(path, _read(path, follow))


def _read(path: Path, follow: bool) -> bytes:
    try:
        return read_regular(path, MOST_BYTES, follow)
    except OSError as error:
        raise InputError(f"cannot read the configuration {path}: {error.strerror}") from None


def _parse(path: Path, body: bytes) -> dict[str, Any]:
    try:
        return parse_toml(body)
    except ValueError as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def _from_sections(body: bytes) -> Config | None:
    """Build a configuration from the sections of a file, each of which is TOML by itself.

    The runs of a folder have most sections in common, and each of those is parsed and checked once.

    Returns:
        None if something is wrong, or a section is not by itself: only the whole file tells.
    """
    found: dict[str, Any] = {}
    try:
        for part in SECTION_START.split(body):
            fields = _section(part)
            if found.keys() & fields.keys():
                return None
            found |= fields
    except (InputError, ValueError):
        return None
    config = Config(**found)
    return None if config.conflicts() else config


@lru_cache(maxsize=256)
def _section(text: bytes) -> dict[str, Any]:
    """Return the fields of ``Config`` that a part of a ``config.toml`` sets.

    Raises:
        ValueError: It is not TOML.
        InputError: It has invalid values.
    """
    values = parse_toml(text)
    config = config_from_dict(values)
    return {name: getattr(config, name) for name in values}


def total_steps(config: Config, train_tokens: int) -> int:
    """Return the length of the run: ``max_epochs`` in steps, if set, else ``max_steps``.

    With ``max_minutes`` it is what is planned now: see ``engine.session.time_limit``.
    """
    if config.train.max_minutes or not config.train.max_epochs:
        return config.train.max_steps
    return max(1, math.ceil(config.train.max_epochs * train_tokens / tokens_per_step(config)))


def tokens_per_step(config: Config) -> int:
    train = config.train
    return train.batch_size * train.grad_accum_steps * config.model.block_size
