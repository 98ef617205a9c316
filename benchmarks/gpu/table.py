"""What the results say, a row for each figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from benchmarks.peers import IN_WORDS
from tui.text.tables import format_table

if TYPE_CHECKING:
    from benchmarks.gpu.runner import Facts, Outcome, Row


def table_of(outcomes: Iterable[Outcome]) -> str:
    """One table of all stages; those that did not end well say so."""
    rows: list[Row] = []
    for outcome in outcomes:
        stage = outcome.stage
        rows += stage.rows(outcome.lines) if outcome.lines else []
        if stage.skip:
            rows.append((stage.name, f"left out: {stage.skip}"))
        elif outcome.failure:
            rows.append((stage.name, f"FAILED: {outcome.failure}, see log.txt"))
    return format_table(("figure", "measured"), rows)


def machine(lines: list[Facts]) -> list[Row]:
    """What all of it was measured on."""
    one = lines[0]
    versions = one["versions"]
    on = one.get("gpu", one["cpu"])
    cuda = f" (CUDA {versions['cuda']})" if versions["cuda"] else ""
    rows = [("machine", f"{on}, {one['cores']} cores, torch {versions['torch']}{cuda}")]
    return rows + ([("text", one["corpus_note"])] if one["corpus_note"] else [])


def gpu_tests(lines: list[Facts]) -> list[Row]:
    """How many passed."""
    return [("GPU tests", ", ".join(f"{count} {what}" for what, count in lines[-1].items()))]


def smoke(lines: list[Facts]) -> list[Row]:
    """How many presets trained and were resumed, and which did not."""
    counts = {
        phase: sum(one["ok"] for one in lines if one["phase"] == phase)
        for phase in ("trained", "resumed")
    }
    told = ", ".join(f"{count} {phase}" for phase, count in counts.items())
    failed = [f"{one['preset']} not {one['phase']}" for one in lines if not one["ok"]]
    return [("presets", "; ".join([told, *failed]))]


def steps(lines: list[Facts]) -> list[Row]:
    """Each way to compute a step."""
    return [(f"a step of {one['preset']}, {one['way']}", _step(one)) for one in lines]


def _step(one: Facts) -> str:
    if "error" in one:
        return f"FAILED: {one['error'].splitlines()[-1]}"
    best = min(one["step_ms"])
    told = [
        f"{best:.2f} ms, {1000 * one['tokens_per_step'] / best:,.0f} tokens/s",
        f"ready after {one['ready_seconds']:.1f} s",
        f"peak {one['peak_bytes'] / 1e9:.2f} GB",
        f"beside text {one['text']['step_ms']:.2f} ms, a token {one['text']['token_ms']:.2f} ms",
        *one["warnings"],
    ]
    return "; ".join(told)


def throughput(lines: list[Facts]) -> list[Row]:
    """The whole program beside nanoGPT."""
    one = lines[-1]
    arms = {"ours": one["ours"]} | {IN_WORDS[peer["name"]]: peer for peer in one["peers"]}
    rows = [
        (f"{one['preset']}, {name}",
         f"{arm['tokens_per_second']['median']:,.0f} tokens/s, "
         f"{arm['step_ms']['median']:.2f} ms a step, {arm['mfu']:.0%} of the peak")
        for name, arm in arms.items()
    ]  # fmt: skip
    return rows + [
        (f"{one['preset']}, ours over {IN_WORDS[peer['name']]}",
         f"{peer['ratio']['median']:.2f} times")
        for peer in one["peers"]
    ]  # fmt: skip


def sampling(lines: list[Facts]) -> list[Row]:
    """One text and many."""
    ours = lines[-1]["ours"]
    names = {
        "within": "one text",
        "past": "one text past the context",
        "batch": f"{lines[-1]['texts']} texts",
    }
    return [
        (name, f"{ours[task]['median']:,.0f} tokens/s ({ours[task]['precision']})")
        for task, name in names.items()
    ]


def saving(lines: list[Facts]) -> list[Row]:
    """What a checkpoint costs training."""
    one = lines[-1]
    cost, stall = one["checkpoint_seconds"]["median"], one["stall_seconds"]
    told = f"{1000 * stall:.1f} ms; a checkpoint costs {1000 * cost:.0f} ms of training"
    return [("taking a snapshot", told)]


def overhead(lines: list[Facts]) -> list[Row]:
    """What the screen costs."""
    one = lines[-1]
    low, high = one["ratio_interval"]
    share = one["screen_share"]
    thread = "" if share is None else f"; the screen's thread {share:.1%} of a core"
    return [("app over headless", f"{one['ratio']:.3f} ({low:.3f} to {high:.3f}){thread}")]


def time_to_loss(lines: list[Facts]) -> list[Row]:
    """Ours to a loss, and who set it."""
    one = lines[-1]
    target = one["target"]
    rows = [(f"ours to {target['loss']:.3f}", _reached(target))]
    for peer in one["peers"]:
        told = f"{_spread(peer['seconds'], 's')}, {peer['steps']:,} steps"
        rows.append((f"{IN_WORDS[peer['name']]} to its {peer['val_loss']['median']:.3f}", told))
    return [*rows, ("loss of ours at the end", _spread(one["ours"]["val_loss"], "nats"))]


def _reached(target: Facts) -> str:
    if not target["reached_by_all"]:
        runs = [seconds for one in target["seconds_per_run"] for seconds in one]
        return f"{len(runs) - runs.count(None)} of {len(runs)} runs got there"
    return f"{_spread(target['seconds'], 's')}, {target['steps']['median']:g} steps"


def _spread(one: dict[str, Any], unit: str) -> str:
    told = f"{one['median']:.4g} {unit}"
    if one["count"] == 1:
        return told
    return f"{told} ({one['min']:.4g} to {one['max']:.4g}, {one['count']} runs)"
