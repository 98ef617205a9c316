"""Try settings for some minutes each, and keep what is better: for a night, or for a program.

    python examples/try_settings.py --preset fast --minutes 5 --tries 40

Each try is a run of its own, with the best settings so far and one change. It has the same minutes
of training as every other one, its learning rate falls to the end by that clock, and the loss that
counts is measured over the whole validation split. ``gpt-tui verify NAME --replay`` trains any of
them again to the bit. What was tried is in ``tries.tsv``; stopped with Ctrl-C and started again,
the loop goes on from there. Replace ``propose`` with whatever has ideas.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

GPT_TUI = [sys.executable, "-m", "tui"]
IDEAS = {  # a setting, and what it is multiplied by
    "optim.learning_rate": (0.5, 0.7, 1.4, 2.0),
    "optim.weight_decay": (0.0, 0.3, 3.0),
    "train.batch_size": (0.5, 2),
    "model.n_layer": (0.5, 2),
    "model.n_embd": (0.5, 2),
}
SEED = 1  # of the ideas, which come in the same order each time


class Try(NamedTuple):
    """A run, its loss, and the settings that ideas change."""

    name: str
    loss: float
    settings: dict[str, Any]


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training, for each try")
    parser.add_argument("--tries", type=int, default=20)
    parser.add_argument("--log", type=Path, default=Path("tries.tsv"))
    args, options = parser.parse_known_args(arguments)  # the others are those of gpt-tui train
    tried = read(args.log)
    for number in range(len(tried), args.tries):
        best = best_of(tried)
        settings = propose(best.settings, number) if best else {}
        one = train(f"try-{number:03}", settings, args.minutes, options)
        tried.append(one)
        note(args.log, one)
        better = best is None or one.loss < best.loss
        print(f"{one.name}: {one.loss:.4f} {'better' if better else '      '} {one.settings}")
    if best := best_of(tried):
        print(f"the best of {len(tried)} is {best.name}, at {best.loss:.4f}")


def best_of(tried: list[Try]) -> Try | None:
    return min(tried, key=lambda one: one.loss, default=None)


def propose(best: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the best settings so far with one of them changed."""
    chance = random.Random(f"{SEED} {number}")
    key = chance.choice(list(IDEAS))
    value = best[key] * chance.choice(IDEAS[key])
    return best | {key: max(1, round(value)) if isinstance(best[key], int) else value}


def train(name: str, settings: dict[str, Any], minutes: float, options: list[str]) -> Try:
    """Train a run, or the rest of it; settings that are refused have an infinite loss."""
    if name in listed_runs():
        words = ["--resume", name]  # the loop was stopped in it
    else:
        limits = {**settings, "train.max_minutes": minutes}
        words = ["--name", name, *options, *(f"--set={key}={limits[key]}" for key in limits)]
    done = subprocess.run([*GPT_TUI, "train", "--json", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode == 130:  # Ctrl-C: the run is saved
        raise SystemExit(130)
    if done.returncode:
        return Try(name, math.inf, settings)
    told = json.loads(done.stdout)
    config = tomllib.loads(Path(told["run"], "config.toml").read_text(encoding="utf-8"))
    places = {key: key.split(".") for key in IDEAS}
    used = {key: config[section][name] for key, (section, name) in places.items()}
    return Try(name, math.inf if told["val_loss"] is None else told["val_loss"], used)


def listed_runs() -> list[str]:
    told = subprocess.run([*GPT_TUI, "runs", "--json"], stdout=subprocess.PIPE, check=True).stdout
    return [one["name"] for one in json.loads(told)]


def read(log: Path) -> list[Try]:
    """Return what was tried before."""
    if not log.exists():
        return []
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    return [Try(name, float(loss), json.loads(settings)) for name, loss, settings in rows]


def note(log: Path, one: Try) -> None:
    with log.open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerow([*one[:2], json.dumps(one.settings)])


if __name__ == "__main__":
    main(sys.argv[1:])
