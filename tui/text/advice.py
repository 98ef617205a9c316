"""Advice on the command line: what is wrong, and the commands that act on it."""

from __future__ import annotations

from pathlib import Path

from engine.config.schema import SETTINGS
from engine.program import program
from engine.protocol import Advised
from engine.runs.folder import typed_name


def format_advice(advice: Advised, run: Path) -> str:
    name, options = typed_name(run), _options(advice)
    resume, step = f"{program()} train --resume {name}", advice.rewind_to
    if step is None:
        return (
            f"advice: {advice.message}\n  to {advice.action}, stop with Ctrl-C, then "
            f"{resume} {options}"
        )
    ways = {
        f"from step {step:,}, as a new run": f"{program()} fork {name} --at {step} {options}",
        "with a lower learning rate": f"{resume} {options}",
        "without this batch": resume,
    }
    lines = [f"  {f'{way}:':<32}{command}" for way, command in ways.items()]
    return "\n".join([f"gpt-tui: {advice.message}. To continue", *lines])


def _options(advice: Advised) -> str:
    return " ".join(
        f"--set {key}={SETTINGS[key].format(value)}" for key, value in advice.changes.items()
    )
