"""What the app shows of a model's inside, by view; in pieces where it takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from data.batches import evenly_spaced, validation_windows
from data.errors import InputError
from engine.inspect.attention import (
    attention_overview,
    attention_patterns,
    head_steps,
    name_of_head,
    pattern_bytes,
    score_heads,
)
from engine.inspect.continuation import continuation
from engine.inspect.embeddings import (
    Nearest,
    Projection,
    nearest_of,
    position_cosines,
    project,
    token_vectors,
)
from engine.inspect.forward_pass import require_gpt
from engine.inspect.layers import (
    Lens,
    Part,
    StreamNorms,
    logit_lens,
    parts_of,
    stream_norms,
    switched_off,
    worth,
)
from engine.inspect.moments import excerpt
from engine.inspect.over_moments import over_moments
from engine.inspect.prediction import Floats, Prediction, predict
from engine.inspect.surprise import (
    KindCost,
    Surprise,
    by_kind,
    by_position,
    surprise,
    token_texts,
)

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer
    from engine.inspect.background import Subject
    from engine.model import GPT
    from engine.protocol import Inspect

Found: TypeAlias = Iterator[tuple[float, Any]]
"""How much of the work is done, and what is known by then."""

MOST_PATTERNS = 64 * 2**20  # bytes of all patterns that are given at once; else one head's
MAP_PIXELS = 32  # of a head in the overview of a model with more
WINDOWS = 8  # of the validation split, for what holds for more than one text
CONTINUATION = 48  # tokens of how a text goes on
NEIGHBOURS = 20  # of a token, by the cosine of their embeddings
SEED = 1337  # of the random strings for induction heads


@dataclass(frozen=True, eq=False)
class Attention:
    """The patterns of all heads on a text.

    Attributes:
        maps: (L, nh, P, P), each pooled to P pixels; what they are where all are given.
        patterns: (T, T) by layer and head: all, or the chosen one if they are large.
    """

    maps: Floats
    patterns: Mapping[tuple[int, int], Floats]


@dataclass(frozen=True)
class HeadNames:
    """What the heads do, measured on the validation split.

    Attributes:
        names: Label and score, by layer and head.
        scores: Of each label that has one, of all heads: (L, nh).
    """

    names: tuple[tuple[tuple[str, float], ...], ...]
    scores: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class NextTokens:
    """Predictions, with the texts of all tokens."""

    prediction: Prediction
    vocabulary: Sequence[str]


@dataclass(frozen=True, eq=False)
class Surprises:
    """The surprisal of a text, and what each kind of token costs in it."""

    measured: Surprise
    kinds: Sequence[KindCost]


def ids_of(command: Inspect, subject: Subject) -> tuple[list[int], int]:
    """Return the tokens to look at, and how many of the text came before them.

    Raises:
        InputError: The text is empty or has unknown characters, or there is no validation split.
    """
    longest = subject.model.config.block_size
    if command.text is None:
        ids = excerpt(subject.val(), longest, command.excerpt).tolist()
    else:
        ids = subject.tokenizer.encode(subject.tokenizer.typed(command.text)).tolist()
    if not ids:
        raise InputError("there is no text to look at: type at least one character")
    ids += [int(one) for one in command.options.get("after", ())]
    return ids[-longest:], max(0, len(ids) - longest)


def look(view: str, subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    """Look inside a model; what takes long comes in pieces, and the last one has all of it.

    Raises:
        InputError: The model has no such inside, as a bigram has no attention.
    """
    return VIEWS[view](subject, ids, options)


def _attention(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    model, place = subject.model, (options.get("layer", 0), options.get("head", 0))
    most = min(MOST_PATTERNS, options.get("most_bytes", MOST_PATTERNS))
    if pattern_bytes(model.config, len(ids)) > most:
        seen = attention_overview(model, ids, MAP_PIXELS, *place)
        yield 1.0, Attention(seen.maps, {place: seen.pattern})
        return
    layers = list(attention_patterns(model, ids))  # (nh, T, T) each
    patterns = {(i, j): layers[i][j] for i in range(len(layers)) for j in range(len(layers[i]))}
    yield 1.0, Attention(np.stack(layers), patterns)


def _steps(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    query = min(int(options["query"]), len(ids) - 1)  # the text may be shorter than the last one
    key = min(int(options["key"]), query)
    yield (
        1.0,
        head_steps(subject.model, ids, int(options["layer"]), int(options["head"]), query, key),
    )


def _heads(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    scoring = score_heads(subject.model, _windows(subject), SEED)
    while True:
        try:
            share = next(scoring)
        except StopIteration as done:
            scores = done.value
            break
        yield min(share, 0.99), None
    layers, heads = scores.first.shape
    names = [[name_of_head(scores, i, j) for j in range(heads)] for i in range(layers)]
    yield 1.0, HeadNames(tuple(map(tuple, names)), scores.by_label)


def _windows(subject: Subject) -> NDArray[np.int64]:
    """Return contexts spread over the validation split: (N, T)."""
    val, length = subject.val(), subject.model.config.block_size
    starts = evenly_spaced(validation_windows(len(val), length), WINDOWS)
    if not len(starts):
        raise InputError("the validation split is shorter than the context")
    return np.stack([np.asarray(val[at : at + length]).astype(np.int64) for at in starts])


def _prediction(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    vocabulary = token_texts(subject.tokenizer, range(subject.model.vocab_size))
    yield 1.0, NextTokens(predict(subject.model, ids), vocabulary)


def _surprise(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    measured = surprise(subject.model, ids, subject.tokenizer)
    yield 1.0, Surprises(measured, by_kind([measured]))


@dataclass(frozen=True, eq=False)
class Positions:
    """What the tokens at each position of the context cost on average, in bits.

    Attributes:
        bits: (T,), of contexts spread over the validation split; NaN first.
        contexts: How many were measured.
    """

    bits: Floats
    contexts: int


def _positions(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    measured: list[Surprise] = []
    contexts = _windows(subject)
    for one in contexts:
        measured.append(surprise(subject.model, one, subject.tokenizer))
        yield len(measured) / len(contexts), Positions(by_position(measured), len(measured))


def _moments(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    """Measure the text over the moments of the run; training may go on in between."""
    if subject.run is None:
        raise InputError("there are no weights of earlier steps: this model is of no run")
    model, step, tokenizer = subject.model, subject.step, subject.tokenizer
    yield from over_moments(subject.run, model, step, ids, tokenizer, subject.costs)


@dataclass(frozen=True, eq=False)
class Layers:
    """What the layers predict and add, with some parts switched off.

    Attributes:
        guesses: (L + 1, T) texts of the most likely tokens of the lens.
        parts: What each layer can be without.
        off: What is switched off.
        bits: Mean surprisal of the text, of the whole model and without what is off.
        goes_on: How the whole model, and that without what is off, most likely continue.
    """

    lens: Lens
    guesses: Sequence[Sequence[str]]
    norms: StreamNorms
    parts: tuple[Part, ...]
    off: frozenset[tuple[int, Part]]
    bits: tuple[float, float]
    goes_on: tuple[str, str]


def _layers(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    whole = without = require_gpt(subject.model, "layers")
    for layer, part in options.get("off", ()):
        without = switched_off(without, layer, part)
    lens = logit_lens(without, ids)
    known = {one: subject.tokenizer.token_text(one) for one in set(lens.likeliest.ravel().tolist())}
    guesses = [[known[one] for one in row] for row in lens.likeliest.tolist()]
    models = (whole,) if without is whole else (whole, without)
    bits = [surprise(model, ids, subject.tokenizer).mean_bits for model in models]
    texts = [_going_on(model, ids, subject.tokenizer) for model in models]
    yield (
        1.0,
        Layers(
            lens,
            guesses,
            stream_norms(without, ids),
            parts_of(subject.model.config),
            frozenset(options.get("off", ())),
            (bits[0], bits[-1]),
            (texts[0], texts[-1]),
        ),
    )


def _going_on(model: GPT, ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Return the most likely continuation; none of what is not finite."""
    room = model.config.block_size - CONTINUATION
    if room >= 2 * CONTINUATION:
        ids = ids[-room:]  # in a context that is full, each token takes a pass over all of it
    return tokenizer.decode(continuation(model, ids, CONTINUATION))


@dataclass(frozen=True)
class Worths:
    """The loss without each part minus the loss, as far as it was measured."""

    worth: Mapping[tuple[int, Part], float]


def _worth(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    config = subject.model.config
    count = config.n_layer * len(parts_of(config))
    known: dict[tuple[int, Part], float] = {}
    for one in worth(subject.model, _windows(subject)):
        known[one.layer, one.part] = one.difference
        yield len(known) / count, Worths(dict(known))


@dataclass(frozen=True, eq=False)
class Embeddings:
    """The token embeddings on two axes, the nearest of each, and how alike positions are."""

    projection: Projection
    vocabulary: Sequence[str]
    nearest: Mapping[int, Nearest]  # of the tokens in the text
    positions: Floats | None  # (P, P) cosines


def _embeddings(subject: Subject, ids: Sequence[int], options: Mapping[str, Any]) -> Found:
    model = subject.model
    tokens = {*ids, *(int(one) for one in options.get("also", ()))} or {0}
    yield (
        1.0,
        Embeddings(
            project(token_vectors(model), options.get("like")),
            token_texts(subject.tokenizer, range(model.vocab_size)),
            nearest_of(model, tokens, NEIGHBOURS),
            position_cosines(model),
        ),
    )


VIEWS: dict[str, Callable[[Subject, Sequence[int], Mapping[str, Any]], Found]] = {
    "attention": _attention,
    "steps": _steps,
    "heads": _heads,
    "prediction": _prediction,
    "surprise": _surprise,
    "positions": _positions,
    "moments": _moments,
    "layers": _layers,
    "worth": _worth,
    "embeddings": _embeddings,
}
