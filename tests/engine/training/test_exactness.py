"""What cannot be promised is said when a run is opened again; what can be, is not talked about."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from engine.protocol import Warned
from engine.session import build
from engine.training.exactness import not_promised, processors, what_differs
from engine.training.runtime import versions
from engine.training.trainer import Runtime
from tests.engine.conftest import MakeConfig, Rig

RUNTIME = Runtime("cpu", "fp32", 2, 8, False)
VERSIONS = {"torch": "2.13.0", "numpy": "2.3.0", "python": "3.11.9", "native kernels": "cafe"}
STATE = {"runtime": dataclasses.asdict(RUNTIME), "versions": VERSIONS}


def test_the_same_machine_and_libraries_promise_the_same_bits() -> None:
    other_python = VERSIONS | {"python": "3.12.1"}
    assert what_differs(STATE, RUNTIME, other_python, ("EPYC", "EPYC")) == []
    assert not_promised([], "cpu") == ""


@pytest.mark.parametrize(
    ("changes", "versions", "cpus", "words"),
    [
        ({"threads": 1}, {}, ("", ""), "threads 2 is now 1"),
        ({"precision": "bf16"}, {}, ("", ""), "precision fp32 is now bf16"),
        ({}, {"torch": "2.14.0"}, ("", ""), "torch 2.13.0 is now 2.14.0"),
        ({}, {"native kernels": "beef"}, ("", ""), "native kernels cafe is now beef"),
        ({}, {"numpy": "2.4.0"}, ("", ""), "numpy 2.3.0 is now 2.4.0"),
        ({}, {}, ("EPYC", "Xeon"), "processor EPYC is now Xeon"),
    ],
)
def test_each_difference_is_named(
    changes: dict[str, Any], versions: dict[str, str], cpus: tuple[str, str], words: str
) -> None:
    runtime = dataclasses.replace(RUNTIME, **changes)
    found = what_differs(STATE, runtime, VERSIONS | versions, cpus)
    assert found == [words]
    assert not_promised(found, "cpu").endswith(words)


def test_on_a_gpu_resuming_is_promised_up_to_rounding_only() -> None:
    assert "up to rounding" in not_promised([], "cuda")


def test_a_run_opened_with_another_version_says_so_and_goes_on(
    rig: Rig, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 3)
    path = rig.close(session)
    rig.close(rig.open(path, running=False))
    assert rig.said(Warned) == []
    now = versions()
    monkeypatch.setattr(build, "versions", lambda: now | {"torch": "9.9"})
    opened = rig.open(path)
    (warned,) = rig.said(Warned)
    assert f"torch {now['torch']} is now 9.9" in warned.message
    rig.to_step(opened, 5)


def test_processors_of_one_name_are_told_apart_by_their_kind() -> None:
    """Virtual machines call them all AMD EPYC."""
    old, new = {"cpu": "AMD EPYC", "cpu_kind": "AuthenticAMD 25 17"}, {"cpu": "AMD EPYC"}
    assert processors(old, new | {"cpu_kind": "AuthenticAMD 26 2"}) == (
        "AMD EPYC, AuthenticAMD 25 17",
        "AMD EPYC, AuthenticAMD 26 2",
    )
    assert len(set(processors(old, old))) == 1
    assert len(set(processors(new, old))) == 1  # a run of an earlier version has no kind
    assert processors({}, old)[0] == ""
