"""The types of what a run's database holds; reading it checks values against them.

A type of a mapping names the keys that are used. Others are kept as they are: another version may
have written them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeAlias, TypedDict

from msgspec import Meta

from data.reading import convert
from engine.config.schema import MOST_STEPS, SETTINGS
from engine.config.setting import Value
from engine.states import State

MOST_POINTS = 256  # of a sparkline; engine.metrics makes 64

Step: TypeAlias = Annotated[int, Meta(ge=0, le=MOST_STEPS)]
BranchId: TypeAlias = Annotated[int, Meta(ge=0, le=10**6)]
RowId: TypeAlias = Annotated[int, Meta(ge=1, le=2**62)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=10**18)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, le=1e11)]  # also since 1970
Amount: TypeAlias = Annotated[float, Meta(ge=0, le=1e15)]
Word: TypeAlias = Annotated[str, Meta(max_length=4096)]
Loss: TypeAlias = float | None  # NaN and infinity are what a run that diverged has

Device: TypeAlias = Literal["cpu", "cuda", "mps"]
Precision: TypeAlias = Literal["fp32", "tf32", "bf16", "fp16"]
StateName: TypeAlias = Literal[tuple(state.value for state in State)]  # type: ignore[valid-type]


class TextFacts(TypedDict):
    """A text; see ``engine.runs.text.corpus_facts``."""

    name: Word
    sha256: Word
    note: Word  # not empty if it is a stand-in
    source: NotRequired[Word]
    characters: NotRequired[Count]
    documents: NotRequired[Count]  # runs until 0.9 ran them together


class CorpusFacts(TextFacts):
    """The text that a run was trained on."""

    val: NotRequired[TextFacts]  # the text it is validated on, if that is one of its own


class ParentFacts(TypedDict):
    """The run that a run was forked from, by the name it had then."""

    run: Word
    step: Step
    branch: BranchId
    changes: NotRequired[dict[Word, tuple[Any, Any]]]  # made by the fork: key -> from, to


class ResolvedRuntime(TypedDict):
    """The fields of ``engine.training.trainer.Runtime``."""

    device: Device
    precision: Precision
    threads: Annotated[int, Meta(ge=1, le=1024)]
    micro_batch_size: Annotated[int, Meta(ge=1, le=65536)]
    compile: bool
    kernels: NotRequired[Literal["torch", "native"]]
    cuda_graph: NotRequired[bool]
    processes: NotRequired[Annotated[int, Meta(ge=1, le=65536)]]
    reduce: NotRequired[Literal["exact", "fast"]]
    shard: NotRequired[bool]


class RuntimeFacts(TypedDict):
    """The settings in ``system``: as they were asked for, and without ``auto``."""

    asked: dict[str, bool | int | Word]
    resolved: ResolvedRuntime


class Memory(TypedDict):
    """Bytes; see ``engine.machine.memory.memory_now``."""

    held: Count
    left: Count
    kills: Count


class SummaryFacts(TypedDict, total=False):
    """The figures of a run at its latest step."""

    state: StateName
    preset: Word
    corpus: Word
    parameters: Count | None
    step: Step
    total_steps: Step
    tokens: Count
    epoch: Amount
    learning_rate: Amount
    train_loss: Loss
    val_loss: Loss
    val_measured: Word
    val_accuracy: Loss
    best_val_loss: Loss
    best_step: Step | None
    saved_step: Step
    branch: BranchId
    train_seconds: Seconds
    tokens_per_second: Amount
    tokens_per_step: Count
    outdone: Word
    device: Word | None
    precision: Word | None
    threads: Count | None
    processes: Count
    sharded: bool
    memory: Memory | None
    changed: dict[Word, bool | int | float | str | None]  # settings since the run began, as now
    sparkline: Annotated[list[float | None], Meta(max_length=MOST_POINTS)]


class Facts(TypedDict, total=False):
    """The key-value pairs about a run."""

    created: Seconds
    command_line: str
    preset: Word
    like: Word  # the folder of a run whose measured precision and threads to use
    corpus: CorpusFacts
    parent: ParentFacts
    runtime: RuntimeFacts
    versions: dict[str, Word]
    hardware: dict[str, Word | int | float | None]
    summary: SummaryFacts
    references: dict[Word, Amount]  # what losses are compared with: ``engine.metric_catalogue``


class JournalEntry(TypedDict):
    id: RowId
    branch: BranchId
    step: Step
    kind: Word
    detail: dict[str, Any]  # as ``DETAILS`` has it for its kind
    created: Seconds


class SampleSettings(TypedDict, total=False):
    """How a text was generated: the settings in ``sample``."""

    prompt: str
    temperature: Amount
    top_k: Count
    top_p: Amount
    seed: Count
    max_tokens: Count
    group: Count  # the same for texts that were generated together
    stopped_by: Word  # where the text does not tell: "end_of_text"


class StoredSample(TypedDict):
    """A generated text."""

    id: RowId
    branch: BranchId
    step: Step
    val_loss: Loss
    settings: SampleSettings
    text: str


class AdjustedDetail(TypedDict):
    changes: dict[Word, tuple[Any, Any]]  # key -> from, to
    undo: NotRequired[bool]
    clock: NotRequired[bool]


class EvaluatedDetail(TypedDict):
    val_loss: float
    measured: NotRequired[Word]
    scheduled: NotRequired[bool]


class MessageDetail(TypedDict):
    message: str


class AdviceDetail(TypedDict):
    advice: Word


class RewoundDetail(TypedDict):
    left_at: Step


class PrunedDetail(TypedDict):
    why: str


class RestoredDetail(TypedDict):
    journal_is_whole: bool


DETAILS: dict[str, Any] = {
    "adjusted": AdjustedDetail,
    "evaluated": EvaluatedDetail,
    "runtime": ResolvedRuntime,
    "warned": MessageDetail,
    "advised": MessageDetail,
    "silenced": AdviceDetail,
    "rewound": RewoundDetail,
    "outdone": PrunedDetail,
    "salvaged": RestoredDetail,
}
"""What the entries that are read again have as their detail."""


def check_facts(facts: Mapping[str, Any]) -> Facts:
    """Check key-value pairs about a run.

    Raises:
        ValueError: One is of the wrong type or out of bounds.
    """
    convert(facts, Facts, "meta")
    return facts  # type: ignore[return-value]  # with the keys that this version does not know


def check_detail(kind: str, detail: Any) -> dict[str, Any]:
    """Check the detail of a journal entry.

    Raises:
        ValueError: It is not what an entry of this kind has.
    """
    convert(detail, DETAILS.get(kind, dict[str, Any]), kind)
    if kind == "adjusted":
        for key, values in detail["changes"].items():
            check_values(key, *values)
    return detail  # type: ignore[no-any-return]


def check_values(key: str, *values: Value) -> None:
    """Check values of a setting, if this version knows it.

    Raises:
        ValueError: One is of the wrong type or out of bounds.
    """
    for value in values if key in SETTINGS else ():
        SETTINGS[key].check(value)
