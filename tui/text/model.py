"""Format a model and a trace for the terminal."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.config.schema import Config, tokens_per_step
from engine.config.setting import format_float
from tui.text.numbers import format_unit
from tui.text.tables import format_columns, format_table

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer
    from engine.inspect.summary import ModelSummary, Part
    from engine.inspect.trace import Stage, Trace

STAGE_HEADER = ("", "axes", "shape", "mean", "std", "min", "max", "zeros")
STAGE_FIGURES = range(3, 8)
LETTERS = "B texts, T tokens, C width, nh heads of hs each, F hidden width, V vocabulary"


def format_model(one: ModelSummary, config: Config, vocabulary: str) -> str:
    tokens = tokens_per_step(config)
    per_step = f"{format_unit(one.flops_step, 'FLOP')} a step of {tokens:,} tokens"
    return "\n\n".join(
        (
            format_columns(list(_tree(one.tree)), right=(2,)) + f"\n(vocabulary {vocabulary})",
            _parameters(one),
            f"computing  {format_unit(one.flops_forward, 'FLOP')} a token forward, "
            f"{format_unit(one.flops_training, 'FLOP')} in training\n           {per_step}",
            _memory(one, config),
        )
    )


def _tree(part: Part, lead: str = "", stem: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield a line for each module, with `lead` before its name and `stem` before its parts'."""
    many = f"{part.count} x {part.parameters:,}" if part.count > 1 else f"{part.parameters:,}"
    yield f"{lead}{part.name}", part.kind, many
    for i, child in enumerate(part.parts):
        last = i == len(part.parts) - 1
        yield from _tree(child, stem + ("└ " if last else "├ "), stem + ("  " if last else "│ "))


def _parameters(one: ModelSummary) -> str:
    rows = [
        (f"  {purpose}", f"{count:,}", f"{count / one.total:.1%}")
        for purpose, count in one.parameters.items()
    ]
    rows.append(("  in total", f"{one.total:,}", ""))
    rows.append(("  without positions, as nanoGPT counts", f"{one.without_positions:,}", ""))
    return "parameters\n" + format_columns(rows, right=(1, 2))


def _memory(one: ModelSummary, config: Config) -> str:
    memory, chosen = one.memory, config.optim.optimizer
    others = ", ".join(
        f"{name} {_bytes(size)}" for name, size in memory.optimizer.items() if name != chosen
    )
    rows = [
        ("  weights", _bytes(memory.weights), ""),
        ("  gradients", _bytes(memory.gradients), ""),
        ("  optimizer", _bytes(memory.optimizer[chosen]), f"{chosen} (with {others})"),
    ]
    if memory.average:
        rows.append(("  average of the weights", _bytes(memory.average), ""))
    context = f"{config.model.block_size:,} tokens, {memory.kv_cache_dtype}"
    rows.append(("  KV cache of a text", _bytes(memory.kv_cache), context))
    return "memory, without activations\n" + format_columns(rows, right=(1,))


def _bytes(number: int) -> str:
    return format_unit(number, "B")


def format_trace(trace: Trace, text: str, weights: str, tokenizer: Tokenizer) -> str:
    tokens = trace.stages[0].shape[1]
    head = f"{text!r} ({tokens} tokens) through {weights}\n{LETTERS}"
    return "\n\n".join((head, _stages(trace), _likeliest(trace, tokenizer)))


def _stages(trace: Trace) -> str:
    rows = [(f"  {one.name}" if one.where else one.name, *_cells(one)) for one in trace.stages]
    header, *lines = format_table(STAGE_HEADER, rows, STAGE_FIGURES).splitlines()
    text, where = [header], ""
    for stage, line in zip(trace.stages, lines, strict=True):
        if stage.where != where and stage.where:
            text.append(stage.where)
        where = stage.where
        text += [line, *_entropy(stage)]
    return "\n".join(text)


def _cells(stage: Stage) -> tuple[str, ...]:
    shape = " ".join(map(str, stage.shape))
    if stage.axes == "B T":  # token ids: their mean says nothing
        return stage.axes, shape, "", "", "", "", ""
    figures = (stage.mean, stage.std, stage.minimum, stage.maximum)
    return stage.axes, shape, *map(_figure, figures), f"{stage.zeros:.0%}"


def _figure(value: float) -> str:
    """Format a number in at most seven characters, unless it is huge."""
    return f"{value:.3f}" if abs(value) < 100 else format_float(value, 4)


def _entropy(stage: Stage) -> list[str]:
    if not stage.entropy:
        return []
    length = stage.shape[-1]
    even = sum(math.log2(seen) for seen in range(1, length + 1)) / length
    bits = " ".join(f"{one:.2f}" for one in stage.entropy)
    text = f"entropy of its heads: {bits} bits (spread evenly: {even:.2f})"
    width = shutil.get_terminal_size().columns
    return textwrap.wrap(text, width, initial_indent=" " * 4, subsequent_indent=" " * 6)


def _likeliest(trace: Trace, tokenizer: Tokenizer) -> str:
    tokens = (f"{tokenizer.token_text(token)!r} {chance:.1%}" for token, chance in trace.likeliest)
    return "likeliest next: " + "  ".join(tokens)
