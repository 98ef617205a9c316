"""Every picture of a model's inside stands whatever is in it, in whatever room it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.inspect.attention import HeadSteps
from engine.inspect.health import HealthMap, findings
from engine.inspect.over_moments import OverMoments
from engine.inspect.prediction import Candidates
from engine.inspect.surprise import Surprise, by_kind, by_position, difference
from engine.metric_catalogue import FAMILIES, member
from engine.runs.database import Curve
from tui.charts.heatmap import Ink
from tui.inside.attention import PLACES, Heads, draw_attention
from tui.inside.embeddings import Map, draw_embeddings
from tui.inside.health import Health, draw_health
from tui.inside.layers import Layers, draw_layers
from tui.inside.layout import Picture, width_of
from tui.inside.prediction import Along, Next, draw_prediction
from tui.inside.steps import draw_steps
from tui.inside.surprise import Surprises, draw_surprise
from tui.inside.words import WORDS

TOKENS = (
    "e", " ", "\n", "\t", "", " the", "漢", "漢字かな交じり文", "\u0301", "e\u0301" * 3, "שלום",
    "\u202eabc", "\x1b[31m", "\x00", "👩\u200d👧", "🇩🇪", "\ud800", "a" * 300, "漢" * 150,
    "[red]", "\u00ad", "\r\n", "  ",
)  # fmt: skip
VALUES = (0.0, -0.0, 0.5, 1.0, -3.0, 1e-30, 1e30, np.nan, np.inf, -np.inf)


@dataclass(frozen=True)
class Scene:
    """How large a model and its text are, and what its numbers are like."""

    seed: int
    T: int  # tokens
    V: int  # vocabulary
    layers: int
    heads: int
    kind: str  # of the numbers

    def __post_init__(self) -> None:
        object.__setattr__(self, "random", np.random.default_rng(self.seed))

    random: np.random.Generator = dataclasses.field(init=False, repr=False, compare=False)

    def array(self, *shape: int) -> NDArray[np.float32]:
        if self.kind == "nan":
            return np.full(shape, np.nan, np.float32)
        if self.kind == "constant":
            return np.full(shape, self.random.choice([0.0, 1.0]), np.float32)
        if self.kind == "wild":
            return self.random.choice(np.array(VALUES, np.float32), shape)
        return self.random.random(shape, np.float32)

    def texts(self, count: int) -> tuple[str, ...]:
        plain = self.kind == "plain"
        return tuple(self.random.choice(np.array(TOKENS[:6] if plain else TOKENS, object), count))

    def below(self, most: int) -> int:
        return int(self.random.integers(most))


Draw = Callable[[Scene, int, int, Ink], Picture]


def heads_of(scene: Scene) -> Heads:
    T, pixels = scene.T, min(scene.T, 32)
    names = [[("previous token", 0.98)] * scene.heads] * scene.layers
    scores = {label: scene.array(scene.layers, scene.heads) for label in PLACES}
    return Heads(
        maps=scene.array(scene.layers, scene.heads, pixels, pixels),
        pattern=scene.array(T, T),
        names=names if scene.below(2) else [],
        tokens=scene.texts(T),
        layer=scene.below(scene.layers),
        head=scene.below(scene.heads),
        query=scene.below(T),
        key=scene.below(T),
        scores=scores if scene.below(2) else {},
        guide=WORDS["attention"].reading,
    )


def attention(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    return draw_attention(heads_of(scene), width, height, ink, bool(scene.below(2)))


def steps(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    heads, size, T = heads_of(scene), 1 + scene.below(64), scene.T
    masked = np.arange(T) > heads.query
    found = HeadSteps(
        heads.layer, heads.head, heads.query, heads.key, scene.array(size), scene.array(size),
        scene.array(size), float(scene.array(1)[0]), size**-0.5, scene.array(T), masked,
        scene.array(T), scene.array(T, size), scene.array(size), scene.array(2 * size),
        float(scene.array(1)[0]),
    )  # fmt: skip
    return draw_steps(heads, found, width, height, ink)


def prediction(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    V, tokens = scene.V, scene.texts(scene.T)
    kept = scene.random.random(V) < 0.5
    candidates = Candidates(scene.random.permutation(V), scene.array(V), kept, scene.array(V))
    position, few = scene.below(scene.T), scene.texts(min(V, 200))
    along: list[Along] = [
        (list(zip(scene.texts(3), scene.array(3).tolist(), strict=True)), scene.below(V))
        for _ in tokens[1:]
    ]
    one = Next(
        tokens=tokens,
        chosen=scene.below(scene.T),
        position=position,
        candidates=candidates,
        texts=few,
        actual=scene.below(V) if scene.below(2) else None,
        entropy=scene.array(scene.T),
        cursor=scene.below(len(few)),
        settings={"temperature": "0.8", "top_k": "off", "top_p": "off", "min_p": "off"},
        setting="top_k",
        tried=[(text, float(scene.array(1)[0])) for text in scene.texts(scene.below(6))],
        along=[*along, ([], 0)] if scene.below(2) else (),
        guide=WORDS["prediction"].reading,
    )
    return draw_prediction(one, width, height, ink)


def surprise(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    T, tokens = scene.T, scene.texts(scene.T)
    ids, rank = np.arange(T), scene.random.integers(0, 10**6, T)
    measured = Surprise(ids, tokens, scene.array(T), rank, scene.array(T), T - 1)
    against = dataclasses.replace(measured, bits=scene.array(T))
    moments = 1 + scene.below(40)
    course = OverMoments(
        tuple(range(0, 100 * moments, 100)), scene.array(moments, T), scene.array(moments, T)
    )
    problem = "the two models cut the text into different tokens" if scene.below(2) else ""
    one = Surprises(
        measured=measured,
        kinds=by_kind([measured]),
        position=scene.below(T),
        difference=difference(against, measured) if scene.below(2) else None,
        other="step 1,000",
        problem=problem,
        by_position=by_position([measured, against]) if scene.below(2) else None,
        contexts=2,
        course=course if scene.below(2) else None,
        measured_share=0.5 * (1 + scene.below(2)),
        kind="lower case",
        guide=WORDS["surprise"].reading,
    )
    return draw_surprise(one, width, height, ink)


def layers(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    L, T = scene.layers, scene.T
    parts = (*range(scene.heads), "attention", "feed_forward", "layer")
    worth = {
        (layer, part): float(scene.array(1)[0])
        for layer in range(min(L, 8)) for part in parts[-4:]
    }  # fmt: skip
    cursor = (scene.below(L), parts[scene.below(len(parts))])
    one = Layers(
        tokens=scene.texts(T),
        position=scene.below(T),
        guesses=[scene.texts(T) for _ in range(L + 1)],
        probability=scene.array(L + 1, T),
        truth=scene.array(L + 1, T),
        stream=scene.array(L + 1, T),
        added=scene.array(L, 2, T),
        parts=parts,
        worth=worth,
        measured=0.5 * (1 + scene.below(2)),
        worth_step=1000 if scene.below(2) else None,
        off=frozenset([cursor] if scene.below(2) else []),
        cursor=cursor,
        bits=(float(scene.array(1)[0]), float(scene.array(1)[0])),
        goes_on=("".join(scene.texts(9)), "".join(scene.texts(9))),
        guide=WORDS["layers"].reading,
    )
    return draw_layers(one, width, height, ink)


def embeddings(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    V, tokens = scene.V, scene.texts(scene.V)
    cosines = scene.array(min(V, 20)).tolist()
    nearest = [(scene.below(V), cosine) for cosine in cosines]
    positions = scene.array(scene.T, scene.T) if scene.below(2) else None
    one = Map(
        points=scene.array(V, 2),
        variance=(0.5, float(scene.array(1)[0])),
        tokens=tokens,
        chosen=scene.below(V),
        nearest=nearest,
        cursor=scene.below(len(nearest)),
        positions=positions,
        guide=WORDS["embeddings"].reading,
    )
    return draw_embeddings(one, width, height, ink)


def health(scene: Scene, width: int, height: int, ink: Ink) -> Picture:
    family = FAMILIES[scene.below(len(FAMILIES))]
    at = np.arange(0, 100 * scene.T, 100)
    parts = tuple(f"blocks.{layer}" for layer in range(scene.layers))
    values = scene.array(scene.layers, scene.T).astype(np.float64)
    curves = {member(family.name, part): Curve(at, values[i]) for i, part in enumerate(parts)}
    found = findings(curves)
    shown = HealthMap(family, parts, at, values)
    one = Health(
        map=shown,
        findings=found,
        cursor=scene.below(len(found)),
        short=str,
        format=lambda one: f"{one.value:.3g}",
        others=[dataclasses.replace(shown, family=other) for other in FAMILIES[:2]],
        guide=WORDS["health"].reading,
    )
    return draw_health(one, width, height, ink)


PICTURES: dict[str, Draw] = {
    "attention": attention, "steps": steps, "prediction": prediction, "surprise": surprise,
    "layers": layers, "embeddings": embeddings, "health": health,
}  # fmt: skip

SCENES = st.builds(
    Scene,
    st.integers(0, 2**31),
    T=st.sampled_from([1, 2, 3, 17, 64, 256]),
    V=st.sampled_from([1, 2, 65, 700]),
    layers=st.sampled_from([1, 2, 12, 200]),
    heads=st.sampled_from([1, 3, 16, 128]),
    kind=st.sampled_from(["plain", "wild", "nan", "constant", "even"]),
)
INKS: tuple[Ink, ...] = ("pixels", "blocks", "ascii")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("name", PICTURES)
@settings(max_examples=25, deadline=None, database=None)
@given(scene=SCENES, width=st.integers(20, 250), height=st.integers(1, 60),
       ink=st.sampled_from(INKS))  # fmt: skip
def test_a_picture_keeps_to_its_room(
    name: str, scene: Scene, width: int, height: int, ink: Ink
) -> None:
    picture = PICTURES[name](scene, width, height, ink)
    check(picture, width, height)


def check(picture: Picture, width: int, height: int) -> None:
    """Fail unless a picture has at most so many rows and columns, and so have its targets."""
    assert len(picture.rows) <= height
    for row in picture.rows:
        assert width_of(row) <= width, row
        assert all(text.isprintable() for text, _ in row), row
    for one in picture.targets:
        assert 0 <= one.row < len(picture.rows), one
        assert 0 <= one.left < one.right <= width, one
