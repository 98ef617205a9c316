from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.run.reader import read_samples
from tests.cli.conftest import ROOT, Cli, start_process


@pytest.fixture(autouse=True)
def run(quick_train: Cli, runs_dir: Path) -> Path:
    """A finished run to sample from."""
    quick_train()
    return runs_dir / "tiny-1"


def test_only_the_text_is_printed(cli: Cli) -> None:
    answer = cli("sample", "tiny-1", "--prompt", "one fish", "--max-tokens", "40")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("one fish")
    assert len(answer.out) == len("one fish") + 40


def test_same_seed_same_text(cli: Cli) -> None:
    texts = [cli("sample", "tiny-1", "--seed", seed).out for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]


def test_defaults_are_the_runs_own(cli: Cli, run: Path) -> None:
    last = read_samples(run)[-1]
    assert cli("sample", "tiny-1", "--checkpoint", "latest").out == last["text"]
    assert len(last["text"]) == 5  # sample.max_tokens of this run


def test_greedy_text_depends_on_the_checkpoint_not_the_seed(cli: Cli) -> None:
    def greedy(checkpoint: str, seed: str) -> str:
        return cli("sample", "tiny-1", "--temperature", "0", "--max-tokens", "30",
                   "--checkpoint", checkpoint, "--seed", seed).out  # fmt: skip

    assert greedy("6", "1") == greedy("latest", "2")


def test_drop_unknown_leaves_them_out(cli: Cli) -> None:
    answer = cli("sample", "tiny-1", "--prompt", "fi→sh", "--drop-unknown")
    assert answer.code == 0
    assert answer.out.startswith("fish")


def test_the_text_it_learned_from_is_not_needed(cli: Cli, text: Path) -> None:
    text.unlink()
    assert cli("sample", "tiny-1").code == 0


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    process = start_process("sample", "tiny-1", "--max-tokens", "100000")
    assert process.stdout is not None
    process.stdout.read(1)
    process.stdout.close()
    process.wait(timeout=30)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    assert process.returncode == 0


def test_nothing_but_the_model_is_loaded() -> None:
    script = (
        "import sys, tui.cli\n"
        "code = tui.cli.main(['sample', 'tiny-1', '--max-tokens', '1'])\n"
        "assert 'textual' not in sys.modules\n"
        "sys.exit(code)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
