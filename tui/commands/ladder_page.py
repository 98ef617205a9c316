"""docs/ladder.md: the rungs beside the lecture's, as a page."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

from engine.config.presets import LADDER, preset_config
from engine.config.schema import SETTINGS
from tui.text.ladder import OTHER_TEXT, Rung, is_other_text
from tui.text.numbers import duration, loss

INTRODUCTION = """\
# The ladder

Karpathy's lecture *Let's build GPT: from scratch, in code, spelled out* (2023) climbs from a bigram
model to a small GPT. Each of its rungs is a preset here, made of the same few parts in
[`engine/model`](../engine/model): `gpt-tui --preset multi-head` trains one before your eyes,
`gpt-tui model multi-head --trace ROMEO:` shows a text on its way through it, and `gpt-tui ladder`
trains them all and writes this page."""

FIGURES = """\
Losses are in nats per character. The video's figure is an estimate over 200 random batches, read
off near the end of its training; ours is the mean over the whole validation split, measured with
the last weights. Each rung was trained once, so the last digit of either says little."""

DIFFERENCES = """\
## Where our parts differ from the video's

- Biases are one switch for the whole model (`model.bias`). With it on, queries, keys and values
  have biases, which the video's have not; the head has none, which the video's has. That is why
  `lecture` has 10,795,776 parameters here and 10,788,929 there.
- Queries, keys and values of all heads come from one matrix multiplication.
- Weight decay (torch's default of 0.01) pulls matrices and embeddings, not biases and gains.
- The batches are drawn in the same way, uniformly and with replacement, but by another generator.
- On the way to `residual` the video first stacks blocks, then adds the residual connections and
  projections, then widens the feed-forward; it is one rung here.
- `lecture` computes in the precision that is fastest on the machine, all others in fp32.

The same in both: the start of the weights (`model.init=torch`, what torch's layers do by
themselves; with GPT-2's small weights the rungs from `self-attention` to `residual` end 0.11 to
0.18 worse), the constant learning rate, no warm-up, no clipping,
and where dropout is."""


def page(rungs: Sequence[Rung], typed: str) -> str:
    """The page, ready to be written.

    Args:
        rungs: What was trained.
        typed: The command that did it.
    """
    parts = (
        INTRODUCTION,
        _markdown(
            ("rung", "what changes", "parameters", "ours", "video", "training"), map(_row, rungs)
        ),
        FIGURES,
        f"Made by `{typed}`, {_circumstances(rungs)}.{_caution(rungs)}",
        "## The same as settings\n\nWhat each rung sets differently from the one before it:",
        _markdown(("rung", "settings"), map(_settings, rungs)),
        DIFFERENCES,
    )
    return "\n\n".join(parts) + "\n"


def _row(rung: Rung) -> tuple[str, ...]:
    name, parameters = f"`{rung.preset.name}`", f"{rung.parameters or 0:,}"
    video = f"{rung.preset.lecture_loss:.2f}"
    if rung.run is None:
        reason = f"not run: {rung.problem}" if rung.problem else "not run"
        return name, rung.preset.changed, parameters, "–", video, reason
    told = f"{rung.run.step:,} steps in {duration(rung.run.train_seconds)}"
    return name, rung.preset.changed, parameters, loss(rung.whole_split_loss), video, told


def _settings(rung: Rung) -> tuple[str, str]:
    names = [one.name for one in LADDER]
    place = names.index(rung.preset.name)
    mine = preset_config(rung.preset.name)
    if not place:
        return f"`{names[0]}`", "where it begins: `gpt-tui presets --json` has all its settings"
    changed = mine.differences(preset_config(names[place - 1]))
    told = (f"`{key}={SETTINGS[key].format(here)}`" for key, (here, _) in changed.items())
    return f"`{rung.preset.name}`", ", ".join(told)


def _circumstances(rungs: Sequence[Rung]) -> str:
    from engine.training.runtime import hardware, versions

    runs = [rung.run for rung in rungs if rung.run]
    machine = hardware(runs[0].device or "cpu" if runs else "cpu")
    computer = machine.get("gpu") or f"{machine['cpu']}, {machine['cores']} cores"
    text = rungs[0].config.data.corpus if not runs else runs[0].corpus
    today = datetime.date.today().isoformat()
    return f"{today}, on {text}; {computer}, torch {versions()['torch']}"


def _caution(rungs: Sequence[Rung]) -> str:
    return f" {OTHER_TEXT}" if is_other_text(rungs) else ""


def _markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
