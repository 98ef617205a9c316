"""Every metric that a run records or a chart derives: title, unit, format, chart and help.

Charts, the documentation, the status bar and ``runs export`` take their words from here. A metric
that is not in the table, of another version, gets a chart of its own under its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from engine.bits import BYTES_PER_TOKEN, bits_per_byte
from engine.config.setting import format_float
from engine.metrics import Column, MetricStore, Values

References: TypeAlias = Mapping[str, float]
"""What does not change in a run: ``bytes_per_token``, ``uniform_loss``, ``bigram_loss``."""

UNIFORM_LOSS, BIGRAM_LOSS = "uniform_loss", "bigram_loss"
CHARS_PER_TOKEN = "chars_per_token"  # of a run of an older version, which has no bytes

# the phases between which the time of a step is divided; see ``engine.training.phases``
STEP_PHASES = ("data", "forward", "backward", "reduction", "optimizer", "training")
OTHER_PHASES = ("evaluation", "sampling", "saving", "health", "other")


@dataclass(frozen=True)
class Metric:
    """One curve.

    Attributes:
        name: In the metric store and in run.db.
        label: In the legend of its chart.
        unit: Of its values; a key of ``FORMATS``.
        help: What it is, and what more and less of it mean.
        source: The metric it is derived from when it is drawn; empty if it is recorded.
        derive: From values of the source; rising, so that it maps ranges to ranges.
        short: A label for a small chart; empty if ``label`` is short.
    """

    name: str
    label: str
    unit: str
    help: str
    source: str = ""
    derive: Callable[[Values, References], Values] | None = None
    short: str = ""


@dataclass(frozen=True)
class ChartKind:
    """One chart of the grid: metrics of one unit that are read together.

    Attributes:
        name: What it is remembered and filtered by.
        group: ``quality``, ``optimizer``, ``speed`` or ``machine``.
        log: Whether its vertical axis is logarithmic by default.
        dense: Whether it has a value at each step, so that it is drawn smoothed over raw values.
    """

    name: str
    title: str
    group: str
    metrics: tuple[Metric, ...]
    log: bool = False
    dense: bool = False

    @property
    def idea(self) -> str:
        """The idea behind it; empty for a metric of another version."""
        return IDEAS.get(self.name, "")

    @property
    def unit(self) -> str:
        return self.metrics[0].unit


IDEAS: Mapping[str, str] = {
    "loss": "A language model gives every possible next token a probability. The cross-entropy "
    "is -ln of what it gave the token that came, in the mean over all: 0 is certain and right, "
    "ln V is guessing evenly among V tokens. Training follows its gradient downhill. The gap "
    "between training and validation is what was learned by heart.",
    "learning_rate": "A step moves the weights against their gradient, as far as this rate says. "
    "A warm-up begins small, because early gradients are large and the optimizer's averages know "
    "little yet; a decay ends small, because the noise of batches keeps large steps from settling.",
    "grad_norm": "The gradient of a batch has one number for each weight; its norm, the length of "
    "that vector, says how steep the loss is there. optim.grad_clip shortens longer ones, so that "
    "one odd batch cannot throw the weights far away.",
    "speed": "Training is a matter of how many tokens are seen. Larger batches use the processor "
    "better, longer contexts and larger models need more for each token.",
    "step_time": "A step draws a batch, computes its loss (forward), computes the gradient of it "
    "(backward, about twice the work) and changes the weights (optimizer). The largest part is "
    "where time can be won.",
    "load": "A processor that waits learns nothing. If it is not busy, the limit is elsewhere: "
    "reading data, copying it, or too little work in each step.",
    "memory": "Weights, their gradients and the optimizer's averages take the same in every step; "
    "activations, kept for the backward pass, grow with batch, context and layers.",
    "mfu": "A model's size and speed tell how many operations per second it really needs. Compared "
    "with the most that the device reaches, they say how well its speed is used.",
    "bits_per_byte": "The loss counts per token, and a tokenizer decides how much text a token is. "
    "Per byte of the text, models with different tokenizers can be compared. It is what a "
    "compressor made of the model would need.",
    "val_accuracy": "A loss falls a little with every guess that gets better; whether a problem is "
    "solved shows only when each character is right. That often comes late and suddenly.",
    "perplexity": "exp(loss) turns the loss into a number of choices: with 6, the model is as "
    "uncertain as if six tokens were equally likely each time.",
    "clipped": "Clipping is a safety net. In use now and then it does its work; used always "
    "it sets the step size instead of the learning rate.",
    "other_time": "Measuring, writing texts and saving interrupt the training. They cost time, not "
    "quality, and can be made rarer.",
    "temperature": "A processor that gets too hot lowers its clock, and steps take longer without "
    "any change of the settings.",
    "power": "What a processor draws says how hard it works: far below its limit, it waits.",
}
"""What a learner may ask of each chart: why it is looked at."""


def _bits(values: Values, references: References) -> Values:
    per_token = references.get(BYTES_PER_TOKEN) or references.get(CHARS_PER_TOKEN) or 1.0
    bits: Values = values * bits_per_byte(1.0, per_token)
    return bits


def _exponential(values: Values, references: References) -> Values:
    with np.errstate(over="ignore"):
        powers: Values = np.exp(values)
    return powers


VAL_ACCURACY = "val_accuracy"
LOSS = "loss"  # the name of the chart that is always there

CHARTS: tuple[ChartKind, ...] = (
    ChartKind(LOSS, "loss", "quality", (
        Metric("train_loss", "train", "nats", "Cross-entropy of the training batch of a step, in "
               "nats per token. Lower is better; ln V is a model that knows nothing."),
        Metric("val_loss", "val", "nats", "Cross-entropy on the validation text, which is never "
               "trained on. Lower is better; if it rises while the training loss falls, the model "
               "overfits."),
    ), dense=True),
    ChartKind("learning_rate", "learning rate", "optimizer", (
        Metric("learning_rate", "rate", "rate", "The step size of the optimizer. More learns "
               "faster and diverges sooner; the faint curve is what the schedule has ahead."),
    )),
    ChartKind("grad_norm", "gradient norm", "optimizer", (
        Metric("grad_norm", "norm", "number", "The norm of all gradients before clipping. Jumps "
               "precede a divergence; near zero, nothing is learned."),
    ), log=True, dense=True),
    ChartKind("speed", "tokens/s", "speed", (
        Metric("tokens_per_second", "tokens/s", "amount", "Tokens trained per second of training "
               "time, over the last three seconds. More is faster; evaluation, sampling and saving "
               "do not count."),
    ), dense=True),
    ChartKind("step_time", "time per step", "speed", (
        Metric("time_data", "data", "seconds", "Drawing the windows of a batch and copying them. "
               "It should be near zero."),
        Metric("time_forward", "forward", "seconds", "The forward passes of a step. More layers, "
               "width, context or sequences take longer.", short="fwd"),
        Metric("time_backward", "backward", "seconds", "The backward passes of a step, usually "
               "twice the forward passes.", short="bwd"),
        Metric("time_reduction", "reduction", "seconds", "Adding up the gradients of several "
               "processes, and waiting for the slowest.", short="sum"),
        Metric("time_optimizer", "optimizer", "seconds", "Clipping and the update of the weights. "
               "It grows with the parameters, not with the batch.", short="opt"),
        Metric("time_training", "training", "seconds", "A whole step where its parts cannot be "
               "timed without slowing it down, as on a GPU.", short="train"),
    )),
    ChartKind("load", "processor load", "machine", (
        Metric("cpu_load", "CPU", "share", "How busy all cores are, with other programs. Above "
               "what this program uses, others slow it down."),
        Metric("cpu_load_own", "own", "share", "How much of the cores this program uses."),
        Metric("gpu_load", "GPU", "share", "The share of time in which the GPU computes anything. "
               "Less than about 90 %: it waits for the host."),
    )),
    ChartKind("memory", "memory", "machine", (
        Metric("memory_host", "process", "bytes", "Main memory that this process holds. If it "
               "rises without end, memory will run out."),
        Metric("memory_device", "device", "bytes", "Memory of the GPU that PyTorch has reserved. "
               "A smaller system.micro_batch_size needs less."),
    )),
    ChartKind("mfu", "FLOPs utilisation", "speed", (
        Metric("mfu", "MFU", "share", "The operations that the model needs per second (6 per "
               "weight and token, and attention) over what one large matrix product reaches on "
               "this device at this precision, measured when training begins. More is better."),
    )),
    ChartKind("bits_per_byte", "bits per byte", "quality", (
        Metric("train_bits_per_byte", "train", "bits", "The training loss in bits per byte of the "
               "text in UTF-8. Lower is better; it compares models whose tokens differ.",
               "train_loss", _bits),
        Metric("val_bits_per_byte", "val", "bits", "The validation loss in bits per byte of the "
               "text in UTF-8: how well the model would compress it. Lower is better.",
               "val_loss", _bits),
    ), dense=True),
    ChartKind(VAL_ACCURACY, "problems solved", "quality", (
        Metric(VAL_ACCURACY, "solved", "share", "The share of 100 problems of a toy task, none of "
               "them in its text, whose greedy answer is right in each character. Where brackets "
               "close, which one does."),
    )),
    ChartKind("perplexity", "perplexity", "quality", (
        Metric("train_perplexity", "train", "tokens", "exp(training loss): among how many equally "
               "likely tokens the model hesitates. Lower is better.", "train_loss", _exponential),
        Metric("val_perplexity", "val", "tokens", "exp(validation loss): among how many equally "
               "likely tokens the model hesitates. Lower is better.", "val_loss", _exponential),
    ), log=True, dense=True),
    ChartKind("clipped", "clipped steps", "optimizer", (
        Metric("clip_fraction", "clipped", "share", "The share of steps whose gradient was longer "
               "than optim.grad_clip and was shortened to it. Always 100 %: the learning rate is "
               "too high or the limit too low."),
    )),
    ChartKind("other_time", "other time", "speed", (
        Metric("time_evaluation", "evaluation", "seconds", "Measuring the validation loss, per "
               "step. A larger eval.interval or fewer eval.batches make it less.", short="eval"),
        Metric("time_sampling", "sampling", "seconds", "Generating texts, per step.", short="text"),
        Metric("time_saving", "saving", "seconds", "Taking snapshots for checkpoints, per step; "
               "they are written while training goes on.", short="save"),
        Metric("time_health", "health", "seconds", "Measuring the layers, per step. A larger "
               "eval.health_interval makes it less.", short="hlth"),
        Metric("time_other", "other", "seconds", "Everything else in the thread that trains, per "
               "step: recording, commands, waiting for the screen."),
        Metric("time_screen", "screen", "seconds", "Processor time of the thread that draws the "
               "screen, per step. It runs beside the training and takes a core from it."),
    )),
    ChartKind("temperature", "temperature", "machine", (
        Metric("cpu_temperature", "CPU", "celsius", "The hottest sensor of the processor. Near its "
               "limit it lowers its clock, and training gets slower."),
        Metric("gpu_temperature", "GPU", "celsius", "The GPU's own sensor. Near its limit it "
               "lowers its clock, and training gets slower."),
    )),
    ChartKind("power", "power", "machine", (
        Metric("cpu_power", "CPU", "watts", "What the processor's package draws, where the system "
               "lets it be read."),
        Metric("gpu_power", "GPU", "watts", "What the GPU draws. Far below its limit, it is not "
               "used to the full."),
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Family:
    """Metrics of one kind, one for each layer or matrix of a model: ``FAMILY/blocks.0``.

    They have no charts in the grid unless its filter finds them.

    Attributes:
        name: What the names of its metrics begin with.
        help: What they are, and what more and less of it mean.
        short: Before the name of a matrix, as the title of its chart.
        log: Whether the axis of its charts is logarithmic by default.
    """

    name: str
    title: str
    unit: str
    help: str
    short: str = ""
    log: bool = False

    @property
    def _prefix(self) -> str:
        return f"{self.name}/"

    def part_of(self, name: str) -> str:
        """Return the layer or matrix that a metric is of; empty if it is no member."""
        return name.removeprefix(self._prefix) if name.startswith(self._prefix) else ""

    def metric(self, part: str) -> Metric:
        return Metric(member(self.name, part), short_part(part), self.unit, self.help)


def member(family: str, part: str) -> str:
    """Return the name of the metric of a layer or matrix."""
    return f"{family}/{part}"


HEALTH = "health"  # the group of the charts of these families
GRAD_NORM, UPDATE_RATIO = "health/grad_norm", "health/update_ratio"
ACTIVATION_STD = "health/activation_std"
DEAD_UNITS, ATTENTION_ENTROPY = "health/dead_units", "health/attention_entropy"

FAMILIES: tuple[Family, ...] = (
    Family(GRAD_NORM, "gradient norm by layer", "number", "The norm of the gradient of a layer or "
           "a matrix before clipping. Layers that learn alike have norms of similar size; one a "
           "hundred times below the others hardly learns, one a hundred times above decides every "
           "clipped step.", "grad", log=True),
    Family(UPDATE_RATIO, "update to weight", "number", "The norm of a step's update over the norm "
           "of the weights. About 0.001 is usual; far more is unstable, far less hardly learns.",
           "update", log=True),
    Family(ACTIVATION_STD, "activation scale", "number", "The standard deviation of the residual "
           "stream after a block. It grows slowly with depth; a jump precedes overflow.",
           log=True),
    Family(DEAD_UNITS, "dead units", "share", "The share of a feed-forward's hidden units that no "
           "token of the excerpt activates: an input of at most 0 for relu and relu2, -3 for gelu "
           "and -6 (of the gate) for swiglu, where hardly any gradient passes. They learn nothing "
           "and take as long."),
    Family(ATTENTION_ENTROPY, "attention entropy", "share", "How evenly a token attends to those "
           "before it, in the mean over heads, over the largest possible: 0 is a single token, "
           "100 % is all of them alike."),
)  # fmt: skip
"""What is recorded of each layer every ``eval.health_interval`` steps."""


AXES: tuple[Metric, ...] = (
    Metric("train_seconds", "training time", "seconds", "Seconds of training, without evaluation, "
           "sampling, saving and pauses."),
    Metric("wall_time", "wall time", "seconds", "Seconds since 1970 at a step: pauses and breaks "
           "count."),
    Metric("tokens", "tokens", "amount", "Tokens trained so far."),
)  # fmt: skip
"""What is recorded as places along the horizontal axis, and has no chart."""

METRICS: dict[str, Metric] = {
    one.name: one for one in (*(m for chart in CHARTS for m in chart.metrics), *AXES)
}


def column_of(store: MetricStore, metric: Metric) -> Column:
    """Return the recorded curve that a metric is drawn from."""
    return store.column(metric.source or metric.name)


def transform_of(metric: Metric, references: References) -> Callable[[Values], Values] | None:
    """Return what makes recorded values those of a metric; None if they are recorded.

    It does not fall: smoothed values and ranges may be transformed as well.
    """
    derive = metric.derive
    return None if derive is None else lambda values: derive(values, references)


def charts_of(names: Iterable[str]) -> list[ChartKind]:
    """Return the charts for which a run has curves, with those of unknown metrics at the end.

    Families have none here; see ``charts_of_families``.

    Args:
        names: Of the metrics that it has recorded.
    """
    there = [name for name in dict.fromkeys(names) if family_of(name) is None]
    found = []
    for chart in CHARTS:
        metrics = tuple(one for one in chart.metrics if (one.source or one.name) in there)
        if metrics:
            found.append(replace(chart, metrics=metrics))
    unknown = [name for name in there if name not in METRICS]
    return [*found, *(_of_unknown(name) for name in unknown[:MOST_UNKNOWN])]


def chart_of(name: str) -> tuple[ChartKind, Metric]:
    """Return the chart of a metric, and its part there; one of its own if it is not known."""
    for chart in (*CHARTS, _of_unknown(name)):
        for metric in chart.metrics:
            if metric.name == name:
                return chart, metric
    raise AssertionError(name)


MOST_UNKNOWN = 24  # charts; a database may name any number of metrics
MOST_OF_FAMILIES = 24  # charts of layers and matrices that a filter of the grid finds
MOST_LAYERS = 12  # curves of one chart


def family_of(name: str) -> Family | None:
    """Return the family that a metric belongs to; None if it stands for itself."""
    return next((one for one in FAMILIES if one.part_of(name)), None)


def charts_of_families(names: Iterable[str]) -> Iterator[ChartKind]:
    """Yield a chart of the layers of each family, then one of each matrix, in the model's order.

    Args:
        names: Of the metrics that a run has recorded.
    """
    there = list(dict.fromkeys(names))
    parts = {
        family: sorted((part for name in there if (part := family.part_of(name))), key=place_of)
        for family in FAMILIES
    }
    for family, its in parts.items():
        layers = [part for part in its if is_layer(part)]
        # of many layers some, evenly spaced, the first and the last included
        last, shown = len(layers) - 1, min(len(layers), MOST_LAYERS)
        some = [layers[round(last * at / max(shown - 1, 1))] for at in range(shown)]
        if some:
            metrics = tuple(family.metric(part) for part in some)
            yield ChartKind(family.name, family.title, HEALTH, metrics, log=family.log)
    for family, its in parts.items():
        yield from (chart_of_part(family, part) for part in its if not is_layer(part))


def chart_of_part(family: Family, part: str) -> ChartKind:
    """Return the chart of a single layer or matrix."""
    metric = replace(family.metric(part), label=family.title)
    title = f"{family.short or family.title} {short_part(part)}"
    return ChartKind(metric.name, title, HEALTH, (metric,), log=family.log)


def is_layer(part: str) -> bool:
    """Whether a part of a model is a whole layer: ``blocks.0``."""
    return part.startswith(LAYER) and part.removeprefix(LAYER).isdecimal()


def short_part(part: str) -> str:
    """Return a layer or matrix as it is shown: ``L0``, ``L0 attention.qkv``."""
    number, _, inside = part.removeprefix(LAYER).partition(".")
    if not part.startswith(LAYER) or not number.isdecimal():
        return part
    return f"L{number} {inside}".strip()


def place_of(part: str) -> tuple[object, ...]:
    """Return what parts of a model are sorted by: as the data passes them, layers before matrices.

    ``blocks.2`` comes before ``blocks.10``, and names that a model of ours does not have last.
    """
    found = (at for at, one in enumerate(ORDER) if part.startswith(one))
    words = tuple(
        (0, int(one), "") if one.isdecimal() and len(one) <= MOST_DIGITS else (1, 0, one)
        for one in part.split(".")
    )
    inside = next((at for at, one in enumerate(INSIDE) if part.endswith(one)), -1)
    layer = words[1:2] if part.startswith(LAYER) else ()
    return next(found, len(ORDER)), layer, inside, words


MOST_DIGITS = 9  # of the number of a layer
LAYER = "blocks."
ORDER = ("token_embedding", "previous_embeddings", "position_embedding", LAYER, "norm", "head")
INSIDE = ("attention.qkv", "attention.proj", "feed_forward.up", "feed_forward.proj")


def short_list(names: Iterable[str]) -> list[str]:
    """Return names of metrics for a sentence: of a family only that there are some."""
    told: dict[str, None] = {}
    for name in names:
        family = family_of(name)
        told[name if family is None else f"{family.name}/…"] = None
    return list(told)


def _of_unknown(name: str) -> ChartKind:
    told = name.replace("_", " ")
    metric = Metric(name, told, "number", "This version of the program does not know this metric.")
    return ChartKind(name, told, "other", (metric,))


# -- figures -----------------------------------------------------------------------------------


SCALES: dict[str, tuple[tuple[float, str], ...]] = {
    "share": ((0.01, " %"),),
    "amount": ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")),
    "seconds": ((1.0, " s"), (1e-3, " ms"), (1e-6, " µs")),
    "bytes": ((1e9, " GB"), (1e6, " MB"), (1e3, " kB"), (1.0, " B")),
    "celsius": ((1.0, " °C"),),
    "watts": ((1.0, " W"),),
}
"""What an axis counts, and what is written after its values, from the largest down."""


def scale_of(unit: str, largest: float) -> tuple[float, str]:
    """Return what one of an axis is, and its sign, for values up to a largest one."""
    scales = SCALES.get(unit, ((1.0, ""),))
    return next((one for one in scales if largest >= one[0]), scales[-1])


def _scaled(unit: str) -> Callable[[float], str]:
    def written(value: float) -> str:
        size, sign = scale_of(unit, abs(value))
        return f"{value / size:.3g}{sign}"

    return written


FORMATS: dict[str, Callable[[float], str]] = {
    **{unit: _scaled(unit) for unit in SCALES},
    "nats": lambda value: f"{value:.4f}",
    "bits": lambda value: f"{value:.3f}",
    "tokens": lambda value: _scaled("amount")(value) if value >= 1e4 else f"{value:.4g}",
    "rate": lambda value: format_float(value, 3),
    "number": lambda value: format_float(value, 4),
    "celsius": lambda value: f"{value:.0f} °C",
}
"""How a value of each unit is written, with its unit where the title does not tell it."""


def format_value(metric: Metric, value: float | None) -> str:
    """Format a value of a metric; – if there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return FORMATS[metric.unit](value)


def as_markdown() -> str:
    """Return the table of metrics for the documentation."""
    rows = ["| metric | chart | unit | what it is |", "|---|---|---|---|"]
    for chart in CHARTS:
        for one in chart.metrics:
            derived = f" Derived from `{one.source}` when it is drawn." if one.source else ""
            rows.append(f"| `{one.name}` | {chart.title} | {one.unit} | {one.help}{derived} |")
    for family in FAMILIES:
        row = f"`{family.name}/…` | {family.title} (by filter) | {family.unit} | {family.help}"
        rows.append(f"| {row} |")
    rows += [f"| `{one.name}` | (an axis) | {one.unit} | {one.help} |" for one in AXES]
    return "\n".join(rows) + "\n"
