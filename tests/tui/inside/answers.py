"""What an engine would have answered about a model of 4 layers: the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from textual.pilot import Pilot

from engine.inspect.attention import LABELS, HeadSteps
from engine.inspect.embeddings import Nearest, Projection
from engine.inspect.layers import Lens, StreamNorms
from engine.inspect.over_moments import OverMoments
from engine.inspect.prediction import Prediction
from engine.inspect.surprise import Surprise, by_kind
from engine.inspect.views import (
    Attention,
    Embeddings,
    HeadNames,
    Layers,
    NextTokens,
    Positions,
    Surprises,
    Worths,
)
from engine.protocol import Inspected
from tests.tui.test_snapshots import StillControl
from tui.app import GptTuiApp
from tui.control.inside import Side
from tui.screens.inside import InsideScreen

TEXT = "ROMEO:\nWhat shall we go to the grace? The way of the world, and t"
VOCABULARY = tuple("\n !',.:;?ABCDEGHILMNORTWabcdefghilmnoprstuwy")
L, HEADS, T, V = 4, 4, len(TEXT), len(VOCABULARY)
IDS = tuple(VOCABULARY.index(one) for one in TEXT)

Floats = NDArray[np.float32]


def wave(*shape: int, seed: float = 1.0) -> Floats:
    """Numbers from 0 to 1 without an order that one could see."""
    at = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return ((np.sin(at * 12.9898 + seed) * 43758.5453) % 1.0).astype(np.float32)


def patterns() -> Floats:
    """(L, nh, T, T): previous token, first token, the same character, and spread."""
    there = np.tril(np.ones((T, T)))
    back = np.exp(-((np.arange(T)[:, None] - np.arange(T) - 1.0) ** 2))
    first = np.exp(-np.arange(T)[None] / 2.0) * np.ones((T, 1))
    same = np.array([[one == other for other in TEXT] for one in TEXT]) + 0.02
    kinds = np.stack([back, first, same, np.ones((T, T))])  # (4, T, T)
    layers = np.stack([np.roll(kinds, layer, 0) for layer in range(L)])
    weights = (layers + 0.05 * wave(L, HEADS, T, T)) * there
    return np.asarray(weights / weights.sum(-1, keepdims=True), np.float32)


def answer(view: str, found: Any, step: int = 1250) -> Inspected:
    return Inspected(view, step, IDS, tuple(TEXT), 0, found)


def surprise_of(scale: float) -> Surprises:
    bits = (scale * wave(T)).astype(np.float32)
    bits[0] = np.nan
    rank = (1 + 30 * wave(T, seed=2.0)).astype(np.int64)
    entropy = (5 * wave(T, seed=3.0)).astype(np.float32)
    measured = Surprise(np.array(IDS), tuple(TEXT), bits, rank, entropy, len(TEXT) - 1)
    return Surprises(measured, by_kind([measured]))


def answers() -> dict[str, Inspected]:
    whole = patterns()
    by_head = {(i, j): whole[i, j] for i in range(L) for j in range(HEADS)}
    kinds = [("previous token", 0.93), ("first token", 0.81), ("same token", 0.64),
             ("spread", 0.97)]  # fmt: skip
    names = tuple(tuple(kinds[(head - layer) % 4] for head in range(HEADS)) for layer in range(L))
    logits = (9 * wave(T, V)).astype(np.float32)
    norm = np.log(np.exp(logits.astype(np.float64)).sum(-1)).astype(np.float32)
    guesses = [[VOCABULARY[int(one * V)] for one in row] for row in wave(L + 1, T, seed=5.0)]
    for layer, row in enumerate(guesses):  # deeper layers are right more often
        row[: 12 * layer] = list(TEXT[1 : 12 * layer + 1])
    likeliest = np.array([[VOCABULARY.index(one) for one in row] for row in guesses])
    truth = wave(L + 1, T, seed=6.0)
    truth[:, -1] = np.nan
    lens = Lens(likeliest, wave(L + 1, T, seed=7.0), truth, wave(L + 1, T))
    norms = StreamNorms(4 + 30 * wave(L + 1, T), 10 * wave(L, 2, T))
    parts = (*range(HEADS), "attention", "feed_forward", "layer")
    worth = {(layer, part): float(wave(1, seed=layer * 7.0 + place)[0]) * 0.4 - 0.05
             for layer in range(L) for place, part in enumerate(parts)}  # fmt: skip
    by_position = (2.2 + 2 * np.exp(-np.arange(T) / 9.0) + 0.4 * wave(T)).astype(np.float32)
    by_position[0] = np.nan
    fall = np.exp(-np.arange(11) / 4.0)[:, None]
    course = (0.5 + 6 * fall * (0.5 + wave(T))).astype(np.float32)  # (11, T)
    scores = {label: 0.9 * wave(L, HEADS, seed=20.0 + at) for at, label in enumerate(LABELS[:-1])}
    order = np.argsort(-wave(V), kind="stable")[:20]
    near = Nearest(order, np.linspace(0.9, -0.1, 20).astype(np.float32))
    places = np.arange(T)
    positions = np.cos((places[:, None] - places) / 9.0).astype(np.float32)
    points = np.stack([wave(V, seed=8.0), wave(V, seed=9.0)], -1)
    projection: Any = Projection(points, np.zeros((2, 8), np.float32), (0.31, 0.17))
    found = {
        "attention": Attention(whole, by_head),
        "heads": HeadNames(names, scores),
        "prediction": NextTokens(Prediction(np.array(IDS), 0, logits, norm), VOCABULARY),
        "surprise": surprise_of(7.0),
        "positions": Positions(by_position, 8),
        "moments": OverMoments(tuple(range(0, 1251, 125)), course, course / 4),
        "layers": Layers(lens, guesses, norms, parts, frozenset({(1, 2)}), (2.31, 2.68),
                         ("he heart that I have seen thee", "the the the the")),
        "worth": Worths(worth),
        "embeddings": Embeddings(projection, VOCABULARY, dict.fromkeys(range(V), near), positions),
    }  # fmt: skip
    return {view: answer(view, one) for view, one in found.items()}


def steps_of_a_head() -> HeadSteps:
    """The steps of head 0 of layer 0 for token 9, which looks at token 4."""
    size, masked = 32, np.arange(T) > 9
    return HeadSteps(
        0, 0, 9, 4, wave(size), wave(size, seed=2.0), wave(size, seed=3.0), 6.25, size**-0.5,
        wave(T), masked, patterns()[0, 0, 9], wave(T, size), wave(size), wave(128), 1.5,
    )  # fmt: skip


def record_health(control: StillControl) -> None:
    """Record what three layers did at each hundredth step; the gradient of one vanishes."""
    for step in range(100, 1251, 100):
        for layer in range(3):
            size = 0.4 * (1 + 0.2 * float(np.sin(step / 150 + layer)))
            fall = 10 ** (-step / 300) if layer == 1 else 1.0
            for name, value in (
                ("grad_norm", size * fall),
                ("update_ratio", 1e-3 * size),
                ("activation_std", 0.5 + layer + size / 9),
                ("dead_units", 0.01 * layer),
                ("attention_entropy", 0.9 - step / 2500),
            ):
                control.store.append(f"health/{name}/blocks.{layer}", step, value)


def look_inside(*keys: str, beside: bool = False) -> Any:
    """Show the screen with these answers, and press keys."""

    async def prepare(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, GptTuiApp) and isinstance(app.control, StillControl)
        record_health(app.control)
        screen = InsideScreen(app.control)
        screen.state._send = lambda command: 0
        screen.state.main.answers = answers()
        screen.state.position = T - 20
        screen.state.at_end = False
        if beside:
            untrained = {"surprise": answer("surprise", surprise_of(9.0), step=0)}
            screen.state.sides.append(Side(moment="untrained", answers=untrained))
        app.push_screen(screen)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        await pilot.pause()

    return prepare
