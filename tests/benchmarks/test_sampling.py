"""The benchmark of sampling: what is measured, compared and refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sampling as bench
from benchmarks.workers import sampling as worker
from engine.config.schema import ModelConfig
from tests.benchmarks.fake_nanogpt import write_fake_nanogpt
from tests.benchmarks.front_door import benchmark

SMALL = ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=6, position="rotary")
TASKS = {"within": (1, 1, 5), "past": (1, 6, 6), "batch": (3, 1, 5)}
NANOGPT = """\
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class GPTConfig:
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    bias: bool

class GPT(nn.Module):
    asked = []
    def __init__(self, config):
        super().__init__()
        assert (config.n_layer, config.block_size, config.vocab_size) == (1, 6, 5)
    def generate(self, idx, max_new_tokens):
        assert not self.training
        GPT.asked.append((*idx.shape, max_new_tokens))
"""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("abcd\n" * 2000)
    return path


def measure(
    monkeypatch: pytest.MonkeyPatch, program: str, tasks: dict[str, Any] = TASKS, **more: Any
) -> list[dict[str, Any]]:
    monkeypatch.setattr(worker, "LEAST_SECONDS", 0.001)
    request = {
        "program": program,
        "model": dataclasses.asdict(SMALL),
        "vocab_size": 5,
        "device": "cpu",
        "threads": 1,
        "precisions": ["fp32"],
        "tasks": tasks,
    }
    told: list[dict[str, Any]] = worker.work(json.loads(json.dumps(request | more)))["told"]
    return told


# The worker


@pytest.mark.usefixtures("one_thread")
def test_ours_does_every_task(monkeypatch: pytest.MonkeyPatch) -> None:
    (told,) = measure(monkeypatch, "ours")
    assert told["precision"] == "fp32"
    assert told["speeds"].keys() == TASKS.keys()
    assert all(speed > 0 for speed in told["speeds"].values())


@pytest.mark.usefixtures("one_thread")
def test_a_precision_that_is_not_computed_in_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = measure(monkeypatch, "ours", precisions=["fp32", "bf16"])
    assert [one["precision"] for one in told] == ["fp32"]  # so small a model stays in fp32


@pytest.mark.usefixtures("one_thread")
def test_nanogpt_is_timed_by_its_own_generate(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    (tmp_path / "model.py").write_text(NANOGPT)
    (told,) = measure(monkeypatch, "nanogpt", {"past": (1, 6, 7)}, checkout=str(tmp_path))
    assert told["speeds"]["past"] > 0
    asked = sys.modules["nanogpt_model"].GPT.asked
    assert set(asked) == {(1, 6, worker.WARM_UP_TOKENS), (1, 6, 7)}


@pytest.mark.usefixtures("one_thread")
def test_transformers_is_timed_with_its_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    model = dataclasses.asdict(dataclasses.replace(SMALL, position="learned"))
    tasks = {name: TASKS[name] for name in ("within", "batch")}
    (told,) = measure(monkeypatch, "hf", tasks, model=model)
    assert told["speeds"]["within"] > 0 and told["speeds"]["batch"] > 0


# The benchmark


class Workers:
    """Answers instead of them, and notes what they were asked."""

    SPEEDS = {
        ("ours", 1, "fp32"): {"within": 300.0, "past": 200.0, "batch": 2400.0},
        ("ours", 1, "bf16"): {"within": 500.0, "past": 100.0, "batch": 3000.0},
        ("ours", 2, "fp32"): {"within": 400.0, "past": 150.0, "batch": 6000.0},
        ("ours", 2, "bf16"): {"within": 450.0, "past": 110.0, "batch": 5000.0},
        ("nanogpt", 1, "fp32"): {"within": 20.0, "past": 10.0},
        ("nanogpt", 2, "fp32"): {"within": 25.0, "past": 8.0},
        ("hf", 1, "fp32"): {"within": 50.0, "batch": 1000.0},
        ("hf", 2, "fp32"): {"within": 40.0, "batch": 1500.0},
    }

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def ask(self, name: str, request: dict[str, Any], **variables: str) -> dict[str, Any]:
        assert name == "sampling"
        assert variables == {"OMP_NUM_THREADS": str(request["threads"])}
        self.asked.append(request)
        told = []
        for precision in request["precisions"]:
            speeds = self.SPEEDS[request["program"], request["threads"], precision]
            assert speeds.keys() == request["tasks"].keys()
            told.append({"precision": precision, "speeds": speeds})
        return {"told": told}


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    workers = Workers()
    monkeypatch.setattr(bench, "ask", workers.ask)
    monkeypatch.setattr("benchmarks.harness.cores", lambda: 2)
    return workers


def result_of(capsys: pytest.CaptureFixture[str], *options: str | Path) -> dict[str, Any]:
    assert benchmark("sampling", "--json", *map(str, options)) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_all_are_measured_in_turn_and_compared_at_their_best(
    workers: Workers, capsys: pytest.CaptureFixture[str], text: Path, tmp_path: Path
) -> None:
    checkout = write_fake_nanogpt(tmp_path / "nanogpt")
    told = result_of(capsys, "--data", text, "--rounds", "2",
                     "--peer", f"nanogpt={checkout}", "--peer", "hf")  # fmt: skip
    order = [(one["program"], one["threads"]) for one in workers.asked]
    assert order[:6] == [(name, n) for name in ("ours", "nanogpt", "hf") for n in (1, 2)]
    assert order[6:] == order[:6][::-1]
    best = {task: (one["median"], one["precision"], one["threads"])
            for task, one in told["ours"].items()}  # fmt: skip
    assert best == {
        "within": (500, "bf16", 1), "past": (200, "fp32", 1), "batch": (6000, "fp32", 2)
    }  # fmt: skip
    nanogpt, hf = told["peers"]
    assert (nanogpt["name"], nanogpt["ratio"]["within"]["median"]) == ("nanogpt", 20)
    assert (nanogpt["ratio"]["past"]["median"], nanogpt["past"]["threads"]) == (20, 1)
    assert (hf["ratio"]["within"]["median"], hf["ratio"]["batch"]["median"]) == (10, 4)
    assert told["ratio"] == 20
    assert told["batch_over_one"] == {"median": 12, "min": 12, "max": 12, "count": 2}
    assert (told["goals"], told["reached"]) == ({"within": 300, "batch": 10}, True)
    assert told["weights"] == "freshly initialised"
    assert len(told["ways"]) == len(Workers.SPEEDS)
    assert told["machine"]["torch"]


def test_the_tasks_fill_the_context_and_begin_with_a_full_one(
    workers: Workers, capsys: pytest.CaptureFixture[str], text: Path
) -> None:
    result_of(capsys, "--data", text, "--rounds", "1")
    request = workers.asked[0]
    assert request["tasks"] == {
        "within": (1, 1, 255), "past": (1, 256, 256), "batch": (64, 1, 255)
    }  # fmt: skip
    assert (request["model"]["n_embd"], request["vocab_size"]) == (384, 5)


def test_one_precision_and_one_number_of_threads_can_be_asked_for(
    workers: Workers, capsys: pytest.CaptureFixture[str], text: Path
) -> None:
    told = result_of(capsys, "--data", text, "--rounds", "1", "--threads", "2",
                     "--precision", "bf16", "--preset", "nanogpt-cpu")  # fmt: skip
    assert [(one["threads"], one["precisions"]) for one in workers.asked] == [(2, ["bf16"])]
    assert (told["goals"], told["reached"]) == ({"within": 2500}, False)
    assert (told["peers"], told["ratio"]) == ([], None)


def test_a_model_that_is_not_the_presets_has_no_goal(
    workers: Workers, capsys: pytest.CaptureFixture[str], text: Path
) -> None:
    told = result_of(capsys, "--data", text, "--rounds", "1", "--set", "model.n_layer=3")
    assert (told["goals"], told["reached"]) == ({}, None)


def test_the_table_says_what_was_wished_for(
    workers: Workers, capsys: pytest.CaptureFixture[str], text: Path
) -> None:
    assert benchmark("sampling", "--data", str(text), "--rounds", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split("  ")[0] == "one text within the context"
    assert "≥ 300 tokens/s" in lines[1] and lines[1].endswith("reached")
    assert "500 tokens/s" in lines[1] and "bf16, 1 thread" in lines[1]
    assert "≥ 10 times one" in lines[3] and "12.00 times one" in lines[3]


def test_nanogpt_compiled_is_refused(
    workers: Workers, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    checkout = write_fake_nanogpt(tmp_path / "nanogpt")
    assert benchmark("sampling", "--peer", f"nanogpt-compiled={checkout}") == 2
    assert capsys.readouterr().err == (
        "gpt-tui: nanoGPT samples uncompiled here: give --peer nanogpt=PATH instead\n"
    )
    assert workers.asked == []
