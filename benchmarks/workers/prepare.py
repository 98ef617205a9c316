"""Worker: make the tokens of a text, and what that takes."""

from __future__ import annotations

import resource
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.workers import answer


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Prepare a text twice.

    Args:
        request: ``path`` of the text; ``tokenizer``; ``vocab_size``.

    Returns:
        ``tokens`` of the text; ``seconds`` of reading it once, of training the tokenizer, and of
        encoding and writing; ``again``: until the tokens are there, of which nothing is to be made;
        ``peak``: bytes of memory of this process at most.
    """
    from data.corpora.load import load_corpus
    from data.download import Watcher
    from data.prepared.prepare import tokens_of
    from data.prepared.store import find
    from data.tokenizers import make_tokenizer
    from engine.config.schema import DataConfig

    settings = DataConfig(tokenizer=request["tokenizer"], vocab_size=request["vocab_size"])
    moments = [time.perf_counter()]
    corpus = load_corpus(request["path"])
    moments.append(time.perf_counter())
    tokenizer = make_tokenizer(settings, corpus, Watcher())
    moments.append(time.perf_counter())
    count = len(tokens_of(corpus, tokenizer, Watcher()).tokens)
    moments.append(time.perf_counter())
    found = find(corpus.sha256, tokenizer.fingerprint)
    assert found is not None and len(found.load()) == count
    again = time.perf_counter() - moments[-1]
    return {
        "tokens": count,
        "seconds": [after - before for before, after in pairwise(moments)],
        "again": again,
        "peak": _peak(),
    }


def _peak() -> int:
    """Return the largest size of this process so far, in bytes.

    On Linux ``ru_maxrss`` begins with that of the process that started this one.
    """
    with suppress(OSError):
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # on macOS these are bytes


if __name__ == "__main__":
    answer(work)
