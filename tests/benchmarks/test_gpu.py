"""``benchmarks/gpu.sh`` where there is no GPU: each part at a tiny size, and what can go wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu import runner, smoke, table
from benchmarks.gpu.gpu_tests import counts
from benchmarks.gpu.runner import ROOT, Facts, Outcome, Results, Row, Stage, run_stage
from benchmarks.gpu.stages import Plan, parts
from tests.benchmarks.fake_nanogpt import write_fake_nanogpt

SCRIPT = str(ROOT / "benchmarks" / "gpu.sh")
SURROUNDINGS = 30  # seconds of a part for packages and the machine's facts
MODEST = {
    "tokens_per_step": 1000, "ready_seconds": 2.5, "peak_bytes": 2e9,
    "text": {"token_ms": 1.5, "step_ms": 5.5},
}  # fmt: skip


def as_told(lines: list[Facts]) -> list[Row]:
    """A row for each line."""
    return [("figure", str(line["figure"])) for line in lines]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """In a folder of its own."""
    return Results(tmp_path / "out")


@pytest.fixture
def try_stage(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Outcome]:
    """Runs some Python as a stage, and is not patient with it."""
    monkeypatch.setattr(runner, "GRACE_SECONDS", 0.5)

    def run(script: str, seconds: float = 60.0) -> Outcome:
        outcome = Outcome(Stage("trial", seconds, (sys.executable, "-c", script), as_told))
        run_stage(outcome, results, {**os.environ, "TMPDIR": str(tmp_path)})
        return outcome

    return run


def lines_of(folder: Path) -> list[Facts]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(done: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# -- one stage -----------------------------------------------------------------------------------


def test_what_a_stage_prints_as_json_is_kept(
    try_stage: Callable[..., Outcome], results: Results
) -> None:
    outcome = try_stage("print('some words'); print('{\"figure\": 3}'); print('[4]')")
    assert outcome.lines == [{"figure": 3}]
    assert not outcome.failure
    first, last = lines_of(results.folder)
    assert first == {"stage": "trial", "figure": 3}
    assert last == {"stage": "trial", "ok": True, "failure": "", "seconds": outcome.seconds}
    assert "some words" in results.log_file.read_text()
    assert table.table_of([outcome]).split() == ["figure", "measured", "figure", "3"]


def test_a_stage_that_fails_tells_its_last_words(
    try_stage: Callable[..., Outcome], results: Results
) -> None:
    outcome = try_stage("print('{\"figure\": 3}', flush=True); raise SystemExit('out of luck')")
    assert outcome.failure == "exit code 1"
    assert outcome.last_words == "out of luck"
    assert lines_of(results.folder)[-1]["last_words"] == "out of luck"
    told = table.table_of([outcome]).splitlines()
    assert told[1].split() == ["figure", "3"]
    assert told[2].split() == ["trial", "FAILED:", "exit", "code", "1,", "see", "log.txt"]


def test_a_stage_that_cannot_be_started_ends_no_other(results: Results, tmp_path: Path) -> None:
    outcome = Outcome(Stage("trial", 60.0, (str(tmp_path / "no-such-program"),), as_told))
    run_stage(outcome, results, {**os.environ, "TMPDIR": str(tmp_path)})
    assert "no-such-program" in outcome.failure


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="read from /proc")
def test_a_stage_that_hangs_is_ended_with_all_that_it_started(
    try_stage: Callable[..., Outcome], results: Results
) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    hangs = deaf + (
        "import json, subprocess, sys; "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], "
        "start_new_session=True); "
        "print(json.dumps({'figure': child.pid}), flush=True); time.sleep(600)"
    )
    outcome = try_stage(hangs, seconds=3.0)
    assert outcome.failure == "not done after 3 s"
    assert outcome.seconds < 30
    (line,) = outcome.lines
    wait_for(lambda: not is_running(line["figure"]))
    assert lines_of(results.folder)[-1]["failure"] == "not done after 3 s"
    assert not try_stage("print('{\"figure\": 1}')").failure


def test_files_of_a_stage_go_with_it(try_stage: Callable[..., Outcome], tmp_path: Path) -> None:
    outcome = try_stage("import json, tempfile; print(json.dumps({'figure': tempfile.mkdtemp()}))")
    folder = Path(outcome.lines[0]["figure"])
    assert folder.is_relative_to(tmp_path)
    assert not folder.exists()


# -- the stages ----------------------------------------------------------------------------------


def test_each_part_ends_within_ten_minutes_and_all_within_25(tmp_path: Path) -> None:
    longest = {
        part: sum(stage.seconds for stage in stages) + SURROUNDINGS
        for part, stages in parts(Plan(tmp_path, dry=False)).items()
    }
    assert max(longest.values()) < 10 * 60
    assert sum(longest.values()) < 25 * 60


def test_stages_beside_nanogpt_are_left_out_without_it() -> None:
    stages = [stage for part in parts(Plan(None, dry=False)).values() for stage in part]
    assert {stage.name for stage in stages if stage.skip} == {
        "throughput-gpt2", "nanogpt-to-loss", "throughput-nanogpt"
    }  # fmt: skip
    left_out = next(stage for stage in stages if stage.skip)
    assert "--nanogpt DIR" in table.table_of([Outcome(left_out)])


def test_large_presets_are_tried_one_after_the_other() -> None:
    first, *others = smoke.lanes(["tiny", "fast", "gpt2-large", "gpt2-xl"])
    assert first == ["gpt2-large", "gpt2-xl"]
    assert sorted(name for lane in others for name in lane) == ["fast", "tiny"]


def test_pytests_last_line_is_counted() -> None:
    said = "3 passed\nFAILED x - 4 skipped\n=== 12 passed, 1 skipped, 2 deselected in 5.20s ==="
    assert counts(said) == {"passed": 12, "failed": 0, "error": 0, "skipped": 1}
    assert not any(counts("").values())


# -- the table -----------------------------------------------------------------------------------


def test_the_table_tells_which_way_failed_and_which_fell_back() -> None:
    good = {"preset": "p", "way": "eager", "step_ms": [6.0, 5.0, 7.0], "warnings": [], **MODEST}
    fell_back = good | {"warnings": ["the step is not captured: no"]}
    broken = {
        "preset": "p",
        "way": "compiled",
        "error": "steps failed: Traceback\nSubprocException",
    }
    rows = [told for _, told in table.steps([good, fell_back, broken])]
    assert rows[0].startswith("5.00 ms, 200,000 tokens/s; ready after 2.5 s; peak 2.00 GB; ")
    assert rows[0].endswith("beside text 5.50 ms, a token 1.50 ms")
    assert rows[1].endswith("; the step is not captured: no")
    assert rows[2] == "FAILED: SubprocException"


def test_the_table_tells_how_many_runs_got_to_a_loss() -> None:
    spread = {"median": 1.47, "min": 1.46, "max": 1.48, "count": 3}
    target: dict[str, Any] = {"loss": 1.468, "reached_by_all": False, "seconds": None,
                              "seconds_per_run": [[2.5, None, 2.75]]}  # fmt: skip
    line = {"target": target, "peers": [], "ours": {"val_loss": spread}}
    assert table.time_to_loss([line]) == [
        ("ours to 1.468", "2 of 3 runs got there"),
        ("loss of ours at the end", "1.47 nats (1.46 to 1.48, 3 runs)"),
    ]


def test_the_table_names_presets_that_did_not_train() -> None:
    lines = [{"preset": "tiny", "phase": "trained", "ok": True},
             {"preset": "tiny", "phase": "resumed", "ok": False}]  # fmt: skip
    assert table.smoke(lines) == [("presets", "1 trained, 0 resumed; tiny not resumed")]


# -- the script ----------------------------------------------------------------------------------


@pytest.fixture
def stub_python(tmp_path: Path) -> Path:
    """A Python without packages that writes down how it is called, and ends with 7."""
    stub = tmp_path / "python-stub"
    stub.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> {tmp_path}/calls\n'
        'case "$1 $2" in\n'
        "-c*) echo \"ModuleNotFoundError: No module named 'textual'\" >&2; exit 1 ;;\n"
        "'-m pip') exit 0 ;;\n"
        "esac\n"
        "exit 7\n"
    )
    stub.chmod(0o755)
    return stub


def script(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: one for name, one in os.environ.items() if name not in ("WHEELS", "OUT", "DRY")}
    return subprocess.run(
        ["bash", SCRIPT, *words],
        env={**kept, "PYTHON": sys.executable, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_packages_that_are_missing_are_named(stub_python: Path) -> None:
    done = script("a", PYTHON=str(stub_python))
    assert done.returncode == 2
    assert "No module named 'textual'" in done.stderr
    assert "--wheels DIR" in done.stderr


@pytest.mark.parametrize("how", ["option", "variable"])
def test_wheels_are_installed_where_packages_are_missing(
    stub_python: Path, tmp_path: Path, how: str
) -> None:
    wheel = tmp_path / "some.whl"
    wheel.touch()
    words = ["--wheels", str(tmp_path)] if how == "option" else []
    variables = {"WHEELS": str(tmp_path)} if how == "variable" else {}
    done = script("b", *words, PYTHON=str(stub_python), **variables)
    assert done.returncode == 7
    _, pip, run = (tmp_path / "calls").read_text().splitlines()
    assert "--no-index" in pip
    assert pip.endswith(str(wheel))
    assert run.split() == ["-m", "benchmarks.gpu", "b", *words]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    done = script("a", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "--dry" in done.stderr
    assert [line["stage"] for line in lines_of(tmp_path)] == ["machine"]


@pytest.mark.slow
def test_a_part_that_is_ended_prints_what_it_has(tmp_path: Path) -> None:
    command = ["bash", SCRIPT, "a", "--dry", "--out", str(tmp_path)]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHON": sys.executable}, stdout=subprocess.PIPE, text=True
    ) as process:
        log = tmp_path / "log.txt"
        wait_for(lambda: log.exists() and "===== gpu-tests" in log.read_text())
        process.send_signal(signal.SIGTERM)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[1].startswith("machine")
    assert "gpu-tests  FAILED: interrupted" in told


@pytest.mark.slow
@pytest.mark.parametrize("part", ["a", "b", "c"])
def test_a_part_at_a_tiny_size(part: str, tmp_path: Path) -> None:
    nanogpt = write_fake_nanogpt(tmp_path / "nanogpt")
    out = tmp_path / "out"
    done = script(part, NANOGPT=str(nanogpt), OUT=str(out), DRY="1")
    assert done.returncode == 0, done.stderr
    lines = lines_of(out)
    stages = parts(Plan(nanogpt, dry=True))[part]
    ended = [line["stage"] for line in lines if line.get("ok") is True and "seconds" in line]
    skipped = [line["stage"] for line in lines if "skipped" in line]
    assert {"machine", *(stage.name for stage in stages)} == {*ended, *skipped}
    for stage in stages:
        if not stage.skip:
            assert len([line for line in lines if line["stage"] == stage.name]) > 1, stage.name
    assert done.stdout.splitlines()[1].startswith("machine")
    assert (out / "table.txt").read_text() == done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["log.txt", "results.jsonl", "table.txt"]
