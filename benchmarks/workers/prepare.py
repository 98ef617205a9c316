"""Worker: make the tokens of a text, and what that takes."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from benchmarks.workers import answer, peak_bytes


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Prepare a text, and find it again.

    Args:
        request: ``path`` of the text; ``tokenizer``; ``vocab_size``.

    Returns:
        ``tokens`` of the text; ``seconds`` of reading it once, of training the tokenizer, and of
        encoding and writing; ``again``: until the text of a new run is there, which is known;
        ``peak``: bytes of memory of this process at most.
    """
    from data.corpora.load import load_corpus
    from data.download import Watcher
    from data.prepared.prepare import tokens_of
    from data.tokenizers import make_tokenizer
    from engine.config.schema import DataConfig
    from engine.runs.text import read_text, told_of_texts

    kind, size = request["tokenizer"], request["vocab_size"]
    settings = DataConfig(corpus=request["path"], tokenizer=kind, vocab_size=size)
    moments = [time.perf_counter()]
    corpus = load_corpus(request["path"])
    moments.append(time.perf_counter())
    tokenizer = make_tokenizer(settings, corpus, Watcher())
    moments.append(time.perf_counter())
    count = len(tokens_of(corpus, tokenizer, Watcher()).tokens)
    moments.append(time.perf_counter())
    peak = peak_bytes()  # what is mapped from the tokens' file counts from here on
    for _ in range(2):  # the first one notes it
        began = time.perf_counter()
        found = read_text(settings, Watcher())
        told_of_texts(*found, settings)
        again = time.perf_counter() - began
    assert len(found[2].train) + len(found[2].val) == count
    return {
        "tokens": count,
        "seconds": [after - before for before, after in pairwise(moments)],
        "again": again,
        "peak": peak,
    }


if __name__ == "__main__":
    answer(work)
