"""When a run that is taken up again cannot be promised to take the same course to the bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from engine.training.trainer import Runtime

COMPUTING = ("torch", "numpy", "native kernels")  # versions that decide on the last bits


def what_differs(
    before: Mapping[str, Any],
    runtime: Runtime,
    versions: Mapping[str, str],
    cpus: tuple[str, str] = ("", ""),
) -> list[str]:
    """What a run computes with now and did not when its checkpoint was taken, in words.

    Args:
        before: The state of the checkpoint, with ``runtime`` and ``versions``.
        runtime: What it computes on now.
        versions: Of the libraries now.
        cpus: The processor's name then and now; empty where it is not known.
    """
    differences = []
    then, now = before.get("runtime", {}), dataclasses.asdict(runtime)
    for name, value in now.items():
        if name in then and then[name] != value:
            differences.append(f"{name} {then[name]} is now {value}")
    known = before.get("versions", {})
    for name in COMPUTING:
        if name in known and name in versions and known[name] != versions[name]:
            differences.append(f"{name} {known[name]} is now {versions[name]}")
    if all(cpus) and cpus[0] != cpus[1]:
        differences.append(f"another processor, {cpus[1]} after {cpus[0]}")
    return differences


def not_promised(differences: list[str], device: str) -> str:
    """One sentence on what cannot be promised; empty if everything can."""
    if differences:
        return (
            f"from here on the last bits may differ from those of a run that was never closed: "
            f"{'; '.join(differences)}"
        )
    if device != "cpu":
        return (
            "on a GPU a run that is opened again takes the same course up to rounding; to the bit "
            "it is promised on a CPU only"
        )
    return ""
