"""When a resumed run may differ in the last bits from one that was never stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from engine.training.trainer import Runtime

COMPUTING = ("torch", "numpy", "native kernels")  # whose versions affect the last bits


def what_differs(
    before: Mapping[str, Any],
    runtime: Runtime,
    versions: Mapping[str, str],
    cpus: tuple[str, str] = ("", ""),
) -> list[str]:
    """List what has changed since the checkpoint that may affect the last bits.

    Args:
        before: The checkpoint's state, with ``runtime`` and ``versions``.
        cpus: Names of the processor then and now; empty if unknown.
    """
    differences = []
    then, now = before.get("runtime", {}), dataclasses.asdict(runtime)
    if runtime.reduce == "exact":
        then = {name: value for name, value in then.items() if name != "processes"}
    for name, value in now.items():
        if name in then and then[name] != value:
            differences.append(f"{name} {then[name]} is now {value}")
    known = before.get("versions", {})
    for name in COMPUTING:
        if name in known and name in versions and known[name] != versions[name]:
            differences.append(f"{name} {known[name]} is now {versions[name]}")
    if all(cpus) and cpus[0] != cpus[1]:
        differences.append(f"processor {cpus[0]} is now {cpus[1]}")
    return differences


def processors(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, str]:
    """Name the processors of two descriptions by ``hardware``, the kind too if both have it."""
    names = ["cpu", "cpu_kind"] if "cpu_kind" in before and "cpu_kind" in now else ["cpu"]
    first, second = (", ".join(str(of.get(one, "")) for one in names) for of in (before, now))
    return first, second


def not_promised(differences: list[str], device: str) -> str:
    """Return one sentence on what is not bit-exact; empty if everything is."""
    if differences:
        return (
            f"from here on the last bits may differ from those of an uninterrupted run: "
            f"{'; '.join(differences)}"
        )
    if device != "cpu":
        return (
            "on a GPU a resumed run matches an uninterrupted one up to rounding; bit-exact resume "
            "is guaranteed on a CPU only"
        )
    return ""
