"""Worker: make the tokens of a text, and what that takes."""

from __future__ import annotations

import resource
import sys
import time
from itertools import pairwise
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
    count = len(tokens_of(corpus, tokenizer, Watcher()))
    moments.append(time.perf_counter())
    found = find(corpus.sha256, tokenizer.fingerprint)
    assert found is not None and len(found.load()) == count
    again = time.perf_counter() - moments[-1]
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "tokens": count,
        "seconds": [after - before for before, after in pairwise(moments)],
        "again": again,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
    }


if __name__ == "__main__":
    answer(work)
