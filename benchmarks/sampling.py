"""``benchmarks sampling``: tokens a second of text, ours beside nanoGPT's and transformers'.

Three tasks: one text that stays within the context, one that begins with a full context and goes
on, and 64 texts within it side by side. All start programs of their own, in turn; each is measured
with one thread and with all that were asked for, ours in each precision, and compared at its best.
The weights are freshly initialised, for which token comes next makes no difference to the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks import harness, programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.peers import (
    COMPILED,
    HF,
    NANOGPT,
    Peer,
    gpt2_shape,
    load_text,
    parse_peers,
    peer_precision,
)
from benchmarks.report import Row, Spread, abba
from benchmarks.workers import ask
from data.errors import InputError
from engine.config.presets import preset_config
from engine.config.schema import Config
from tui.text.tables import format_threads

TEXTS = 64
WITHIN, PAST, BATCH = "within", "past", "batch"
IN_WORDS = {
    WITHIN: "one text within the context",
    PAST: "one text past the context",
    BATCH: f"{TEXTS} texts side by side",
}
# nanoGPT computes everything again for every token, which takes minutes for many texts;
# transformers' GPT-2 cannot go past its context
PEER_TASKS = {NANOGPT: (WITHIN, PAST), HF: (WITHIN, BATCH)}
GOALS = {"nanogpt": 300.0, "fast-10m": 300.0, "nanogpt-cpu": 2500.0, "fast": 2500.0}  # tokens/s
BATCH_GOAL, BATCH_PRESETS = 10.0, ("nanogpt", "fast-10m")  # times one text


@dataclass(frozen=True, order=True)
class Arm:
    """One way to measure: a program, with so many threads, in a precision."""

    program: str
    threads: int
    precision: str

    @property
    def described(self) -> str:
        """As tables call it."""
        return f"{self.precision}, {format_threads(self.threads)}"


Speeds = dict[Arm, dict[str, list[float]]]  # by task, tokens a second of each round


@dataclass(frozen=True)
class Setup:
    """What all have in common."""

    config: Config
    corpus: str  # whose characters make the vocabulary
    vocab_size: int
    device: str
    threads: list[int]
    precisions: list[str]  # of ours
    peers: list[Peer]

    @property
    def tasks(self) -> dict[str, tuple[int, int, int]]:
        """By name: texts, tokens each starts with, tokens each gets."""
        size = self.config.model.block_size
        within = max(1, size - 1)
        return {
            WITHIN: (1, 1, within),
            PAST: (1, size, size),
            BATCH: (TEXTS, 1, within),
        }


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser(
        "sampling", "tokens/s of generated text, within and past the context", preset="nanogpt"
    )
    made.add_settings()
    made.add_peers()
    made.add_count("--rounds", 3, "rounds, each of all programs", "R")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Measure sampling at the shape of a preset, and that of peers if there are any."""
    peers = parse_peers(args.peer)
    if any(peer.name == COMPILED for peer in peers):
        raise InputError("nanoGPT samples uncompiled here: give --peer nanogpt=PATH instead")
    config = harness.asked_config(args)
    if peers:
        gpt2_shape(config.model)  # rejects shapes that peers cannot have
    setup = _setup(args, config, peers)
    speeds: Speeds = {}
    for measured in _rounds(setup, args.rounds):
        for arm, tasks in measured.items():
            for task, speed in tasks.items():
                speeds.setdefault(arm, {}).setdefault(task, []).append(speed)
    return _summary(setup, speeds, args.rounds)


def _setup(args: argparse.Namespace, config: Config, peers: list[Peer]) -> Setup:
    from engine.training.precision import SUPPORTED
    from engine.training.runtime import resolve_device

    device = resolve_device(config.system.device, programs.note)
    asked = config.system.precision
    precisions = ["fp32", "bf16"] if asked == "auto" else [asked]
    most = config.system.threads
    text = load_text(config)
    return Setup(
        config,
        text.corpus.name,
        text.tokenizer.vocab_size,
        device,
        [most] if args.threads or device != "cpu" else sorted({1, most}),
        [one for one in precisions if one in SUPPORTED[device]] or ["fp32"],
        peers,
    )


def _rounds(setup: Setup, rounds: int) -> Iterator[dict[Arm, dict[str, float]]]:
    """Measure all in turn, every other round backwards; yields each round's speeds."""
    programs_of = [("ours", threads) for threads in setup.threads]
    programs_of += [(peer.name, threads) for peer in setup.peers for threads in setup.threads]
    for number, order in enumerate(abba(rounds, len(programs_of)), 1):
        measured: dict[Arm, dict[str, float]] = {}
        for place in order:
            program, threads = programs_of[place]
            for told in _measure(setup, program, threads):
                measured[Arm(program, threads, told["precision"])] = told["speeds"]
        yield measured
        fastest = max(one[WITHIN] for arm, one in measured.items() if arm.program == "ours")
        programs.note(f"round {number} of {rounds}: ours {fastest:.0f} tokens/s")


def _measure(setup: Setup, program: str, threads: int) -> list[dict[str, Any]]:
    """What the worker tells of one program, each precision in turn."""
    model, tasks, precisions = setup.config.model, setup.tasks, setup.precisions
    checkout = next((peer.folder for peer in setup.peers if peer.name == program), None)
    if program != "ours":
        model, precisions = gpt2_shape(model), [peer_precision(setup.device)]
        tasks = {name: tasks[name] for name in PEER_TASKS[program]}
    request = {
        "program": program,
        "checkout": str(checkout),
        "model": asdict(model),
        "vocab_size": setup.vocab_size,
        "device": setup.device,
        "threads": threads,
        "precisions": precisions,
        "tasks": tasks,
    }
    told: list[dict[str, Any]] = ask("sampling", request, OMP_NUM_THREADS=str(threads))["told"]
    return told


# -- the result ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Best:
    """The fastest way of a program to do a task, by the median of its rounds."""

    arm: Arm
    speeds: list[float]

    @classmethod
    def of(cls, speeds: Speeds, program: str, task: str) -> Best:
        """Look through all ways that were measured."""
        ways = [cls(arm, tasks[task]) for arm, tasks in speeds.items() if arm.program == program]
        return max(ways, key=lambda way: Spread.of(way.speeds).median)

    def over(self, other: Best) -> Spread:
        """How many times as fast, round by round."""
        return Spread.of([a / b for a, b in zip(self.speeds, other.speeds, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, in tokens a second."""
        arm = {"precision": self.arm.precision, "threads": self.arm.threads}
        return Spread.of(self.speeds).to_dict(2) | arm

    def described(self) -> str:
        """As tables have it."""
        return f"{Spread.of(self.speeds).described('tokens/s', 0)}, {self.arm.described}"


def _summary(setup: Setup, speeds: Speeds, rounds: int) -> Report:
    ours = {task: Best.of(speeds, "ours", task) for task in IN_WORDS}
    batch = ours[BATCH].over(ours[WITHIN])
    goals = _goals(setup)
    rows, verdicts = _our_rows(ours, batch, goals)
    told = []
    for peer in setup.peers:
        theirs = {task: Best.of(speeds, peer.name, task) for task in PEER_TASKS[peer.name]}
        ratios = {task: ours[task].over(best) for task, best in theirs.items()}
        rows += [
            Row(
                f"ours over {peer.described}, {IN_WORDS[task]}",
                "",
                f"{ratio.described('times')}: {theirs[task].described()}",
            )
            for task, ratio in ratios.items()
        ]
        told.append(_peer_facts(peer, theirs, ratios))
    rows += [_way_row(setup, arm, tasks) for arm, tasks in sorted(speeds.items())]
    result = {
        "bench": "sampling",
        "preset": setup.config.preset,
        "weights": "freshly initialised",
        "device": setup.device,
        "rounds": rounds,
        "texts": TEXTS,
        "ours": {task: best.to_dict() for task, best in ours.items()},
        "batch_over_one": batch.to_dict(),
        "peers": told,
        "ratio": told[0]["ratio"][WITHIN]["median"] if told else None,
        "ways": [
            asdict(arm) | {task: Spread.of(each).to_dict(2) for task, each in tasks.items()}
            for arm, tasks in sorted(speeds.items())
        ],
        "goals": goals,
        "reached": all(verdicts.values()) if verdicts else None,
        "machine": _machine(setup),
    }
    return rows, result


def _goals(setup: Setup) -> dict[str, float]:
    """What is wished for on a CPU, if the preset's model is as it is."""
    preset = setup.config.preset
    if setup.device != "cpu" or setup.config.model != preset_config(preset).model:
        return {}
    goals = {WITHIN: GOALS[preset]} if preset in GOALS else {}
    return goals | ({BATCH: BATCH_GOAL} if preset in BATCH_PRESETS else {})


def _our_rows(
    ours: dict[str, Best], batch: Spread, goals: dict[str, float]
) -> tuple[list[Row], dict[str, bool]]:
    """Our rows, and which of the goals are reached."""
    reached = {WITHIN: Spread.of(ours[WITHIN].speeds).median, BATCH: batch.median}
    verdicts = {task: reached[task] >= goal for task, goal in goals.items()}
    wanted = {WITHIN: "≥ {:,.0f} tokens/s", BATCH: "≥ {:g} times one"}
    measured = {task: best.described() for task, best in ours.items()}
    measured[BATCH] = f"{batch.described('times one')}: {measured[BATCH]}"
    rows = [
        Row(
            IN_WORDS[task],
            wanted[task].format(goals[task]) if task in goals else "",
            measured[task],
            verdicts.get(task),
        )
        for task in IN_WORDS
    ]
    return rows, verdicts


def _peer_facts(peer: Peer, best: dict[str, Best], ratios: dict[str, Spread]) -> dict[str, Any]:
    speeds = {task: one.to_dict() for task, one in best.items()}
    ratio = {task: one.to_dict() for task, one in ratios.items()}
    return {"name": peer.name, "ratio": ratio, **speeds}


def _way_row(setup: Setup, arm: Arm, tasks: dict[str, list[float]]) -> Row:
    """One way to measure, for those who want to know what the best was the best of."""
    names = {peer.name: peer.described for peer in setup.peers}
    medians = (f"{name} {Spread.of(each).median:,.0f}" for name, each in tasks.items())
    figure = f"{names.get(arm.program, arm.program)}, {arm.described}"
    return Row(figure, "", f"{', '.join(medians)} tokens/s")


def _machine(setup: Setup) -> dict[str, Any]:
    from engine.training.runtime import hardware, versions

    return programs.machine_of(
        {
            "hardware": hardware(setup.device),
            "versions": versions(),
            "runtime": {"resolved": {"threads": max(setup.threads)}},
            "corpus": {"name": setup.corpus},
        }
    )
