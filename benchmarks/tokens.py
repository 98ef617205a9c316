"""``benchmarks tokens``: making the tokens of a text, of each kind; finding them again; a batch.

The text is tiny Shakespeare (or another one) so many times that it has the wanted size; each kind
of tokens is made in a fresh process with an empty cache. BPE is compared with a call of Hugging
Face's ``encode_batch`` on the same paragraphs, interleaved.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import programs
from benchmarks.harness import BenchmarkParser, Report
from benchmarks.report import Row, Spread
from benchmarks.workers import ask
from data.prepared.known import RECENT_NS
from tui.text.numbers import format_unit

GOALS = {"char": 100e6, "bytes": 500e6}  # bytes of text per second
BPE_GOAL, AGAIN_GOAL, PEAK_GOAL = 0.9, 0.2, 500e6  # times encode_batch, seconds, bytes
VOCAB_SIZE = 1024
BPE_CHARACTERS = 4_000_000
ROWS_SHARE = 5  # of the text, as JSON lines
REPEATS = 3
BATCHES = 200


def parser() -> BenchmarkParser:
    """Declare the options."""
    made = BenchmarkParser("tokens", "MB/s of making the tokens of a text", None)
    made.add_argument("--data", default="tinyshakespeare", metavar="SPEC", help="the text")
    made.add_count("--size", 300, "million bytes, of the text repeated", "MB")
    return made


def measure(args: argparse.Namespace) -> Report:
    """Make the tokens of a large text."""
    from data.corpora.load import load_corpus

    text = load_corpus(args.data).text
    with tempfile.TemporaryDirectory(prefix="gpt-tui-bench-") as folder:
        path, rows_path = Path(folder, "large.txt"), Path(folder, "large.jsonl")
        programs.note(f"writing {args.size:,} MB")
        size = _write(path, text, args.size * 10**6)
        rows_size = _write_rows(rows_path, text, args.size * 10**6 // ROWS_SHARE)
        time.sleep(RECENT_NS / 1e9)  # what was written just now is read again
        made = {kind: _prepare(path, kind, Path(folder)) for kind in GOALS}
        of_rows = rows_size / sum(_prepare(rows_path, "char", Path(folder))["seconds"])
        disk = _disk_rate(path, Path(folder, "copy"))
        batch = _batch_seconds(size)
    programs.note("encoding with BPE")
    ratio, rates = _bpe(text)
    rows, speeds = [], {}
    for kind, goal in GOALS.items():
        speeds[kind] = size / made[kind]["seconds"][2]
        goal = min(goal, disk)
        rows.append(
            Row(f"tokens of {format_unit(size, 'B')} of text: {kind}", f"≥ {goal / 1e6:.0f} MB/s",
                f"{speeds[kind] / 1e6:.0f} MB/s, and {size / made[kind]['seconds'][0] / 1e6:.0f} "
                "MB/s to read it first", speeds[kind] >= goal)
        )  # fmt: skip
    again = max(one["again"] for one in made.values())
    peak = max(one["peak"] for one in made.values())
    rows += [
        Row(f"BPE of {VOCAB_SIZE:,} tokens over encode_batch", f"≥ {BPE_GOAL:g}",
            f"{ratio:.2f} ({rates.described('MB/s')})", ratio >= BPE_GOAL),
        Row("JSON lines of 100 to 1,000 characters, read and made characters", "",
            f"{of_rows / 1e6:.0f} MB/s"),
        Row("the disk: the same bytes written", "", f"{disk / 1e6:.0f} MB/s"),
        Row("… found again", f"≤ {AGAIN_GOAL:g} s", f"{again:.4f} s", again <= AGAIN_GOAL),
        Row("memory of the process", f"≤ {PEAK_GOAL / 1e6:g} MB", format_unit(peak, "B"),
            peak <= PEAK_GOAL),
        Row("a batch of 12 windows of 64 tokens", "", batch.described("ms", 3)),
    ]  # fmt: skip
    result = {
        "bench": "tokens",
        "size": size,
        "bytes_per_second": {kind: round(one) for kind, one in speeds.items()},
        "bpe_ratio": round(ratio, 3),
        "bpe_rates": rates.to_dict(),
        "rows_bytes_per_second": round(of_rows),
        "disk_bytes_per_second": round(disk),
        "again_seconds": round(again, 5),
        "peak_bytes": peak,
        "batch_ms": batch.to_dict(),
        "goals": {
            "bytes_per_second": GOALS,
            "bpe_ratio": BPE_GOAL,
            "again_seconds": AGAIN_GOAL,
            "peak_bytes": PEAK_GOAL,
        },
        "reached": all(one.reached for one in rows if one.reached is not None),
    }
    return rows, result


def _write(path: Path, text: str, size: int) -> int:
    body = text.encode()
    with path.open("wb") as file:
        for _ in range(-(-size // len(body))):
            file.write(body)
    return path.stat().st_size


def _write_rows(path: Path, text: str, size: int) -> int:
    draw = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        while file.tell() < size:
            start = draw.randrange(len(text))
            row = {"id": start, "text": text[start : start + draw.randint(100, 1000)]}
            file.write(f"{json.dumps(row)}\n")
    return path.stat().st_size


def _disk_rate(path: Path, copy: Path) -> float:
    """Return bytes a second of writing as much as a text has."""
    body = path.read_bytes()
    began = time.perf_counter()
    with copy.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    return len(body) / (time.perf_counter() - began)


def _prepare(path: Path, kind: str, folder: Path) -> dict[str, Any]:
    programs.note(f"making tokens: {kind}")
    cache = str(folder / f"cache-{kind}")
    request = {"path": str(path), "tokenizer": kind, "vocab_size": VOCAB_SIZE}
    return ask("prepare", request, GPT_TUI_CACHE=cache)


def _bpe(text: str) -> tuple[float, Spread]:
    """Return how fast BPE is beside ``encode_batch`` of the same, and its millions of bytes/s."""
    import tokenizers

    from data.download import Watcher
    from data.tokenizers.train_bpe import train_bpe

    some = (text * (BPE_CHARACTERS // len(text) + 1))[:BPE_CHARACTERS]
    ours = train_bpe([text], len(text), VOCAB_SIZE, "the text", Watcher())
    theirs = tokenizers.Tokenizer.from_str(json.dumps(ours.standard()))
    paragraphs = [f"{one}\n\n" for one in some.split("\n\n")]
    ratios, rates = [], []
    for _ in range(REPEATS):
        own = _seconds(lambda: [ours.encode(one) for one in ours.chunks([some])])
        peer = _seconds(lambda: theirs.encode_batch(paragraphs, add_special_tokens=False))
        ratios.append(peer / own)
        rates.append(len(some.encode()) / own / 1e6)
    return statistics.median(ratios), Spread.of(rates)


def _batch_seconds(count: int) -> Spread:
    """Return the milliseconds to draw a batch of the default preset from a memory map."""
    import numpy as np

    from data.batches import take_examples, train_offsets

    with tempfile.NamedTemporaryFile(prefix="gpt-tui-bench-") as file:
        np.zeros(count, np.uint8).tofile(file.name)
        tokens = np.memmap(file.name, np.uint8, "c")
        times = []
        for step in range(BATCHES):
            began = time.perf_counter()
            take_examples(tokens, train_offsets(count, 64, 12, seed=1, step=step), 64)
            times.append(1000 * (time.perf_counter() - began))
        return Spread.of(times)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
