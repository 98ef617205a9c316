"""Stage: what all figures depend on. It fails where PyTorch finds no CUDA device."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.gpu.runner import ROOT
from data.corpora.catalogue import TINYSHAKESPEARE
from data.corpora.load import load_corpus
from data.errors import InputError
from tui.cli import exit_code
from tui.terminal.stdout import put
from tui.text.tables import format_json


def run(argv: list[str]) -> int:
    """Print it."""
    import torch

    from engine.training.runtime import hardware, versions

    has_gpu = torch.cuda.is_available()
    if not has_gpu and "--dry" not in argv:
        raise InputError(
            "PyTorch finds no CUDA device here: --dry tries the script on a CPU, and figures need "
            "a machine with an NVIDIA GPU"
        )
    corpus = load_corpus(TINYSHAKESPEARE.name)
    facts = {
        **hardware("cuda" if has_gpu else "cpu"),
        "versions": {**versions(), "cuda": torch.version.cuda},
        "commit": _commit(),
        "corpus": corpus.name,
        "corpus_note": corpus.note,
    }
    put(format_json(facts))
    return 0


def _commit() -> str | None:
    """None in a copy without its history."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(exit_code(lambda: run(sys.argv[1:])))
