"""The views of ``gpt-tui inspect``: each as numbers and as a picture."""

from __future__ import annotations

import argparse
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from data.errors import InputError
from tui.commands.options import sample_changes, say_started
from tui.terminal.stdout import complain

if TYPE_CHECKING:
    from data.tokenizers import Tokenizer
    from engine.config.schema import SampleConfig
    from engine.inspect.background import Subject as Inspected
    from engine.inspect.prediction import Ids
    from engine.model import LanguageModel
    from tui.charts.heatmap import Ink
    from tui.inside.layout import Picture

DIGITS = 6  # of numbers in JSON, behind the point
WHOLE_VOCABULARY = 1024  # the largest that is given as a whole
TOP = 10  # tokens that are given of a larger one
SHOWN_CANDIDATES = 24
MOST_WEIGHTS = 2**24  # of attention, in one JSON
PATIENCE = 2.0  # seconds, after which is said what takes so long
FILTERS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")


@dataclass(frozen=True, eq=False)
class Subject:
    """A model and a text."""

    run: Path
    inside: Inspected  # what the app looks at, too
    settings: SampleConfig  # of sampling, the run's own
    ids: Ids  # (T,)
    tokens: tuple[str, ...]
    left_out: int  # tokens of the text that came before them, more than the context holds

    @property
    def model(self) -> LanguageModel:
        return self.inside.model

    @property
    def tokenizer(self) -> Tokenizer:
        return self.inside.tokenizer

    @property
    def step(self) -> int:
        return self.inside.step

    def look(self, view: str, **options: Any) -> Any:
        """Look inside as the app does, until all is known.

        Raises:
            InputError: The model has no such inside.
        """
        from engine.inspect.views import look

        began, told, found = time.monotonic(), False, None
        for share, part in look(view, self.inside, self.ids.tolist(), options):
            found = part
            if not told and share < 1 and time.monotonic() - began > PATIENCE:
                say_started(f"measuring the {view} of the model")
                told = True
        return found

    def look_if_text(self, view: str) -> Any:
        """Measure something on the validation split; None, said on stderr, if that is not there."""
        from engine.runs.known_text import TextMissing

        try:
            return self.look(view)
        except TextMissing:
            complain(f"the {view} of the model cannot be measured, as the run's text is not there")
            return None


class Look(ABC):
    """What a view has found.

    Attributes:
        options: The options of the command that belong to the view.
    """

    options: ClassVar[tuple[str, ...]] = ()
    step: int  # of what was looked at

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return what ``--json`` prints of it."""

    @abstractmethod
    def draw(self, width: int, height: int, ink: Ink) -> Picture: ...


class TextLook(Look):
    """What a view has found of a text, through the weights of a moment."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.step = subject, subject.step

    @classmethod
    @abstractmethod
    def look(cls, subject: Subject, args: argparse.Namespace) -> TextLook:
        """Look inside the model.

        Raises:
            InputError: The model has no such inside, or an option is out of range.
        """


def numbers(array: Any) -> Any:
    """Return an array as nested lists of numbers in a few digits."""
    import numpy as np

    values = np.asarray(array)
    if values.dtype.kind != "f":
        return values.tolist()
    return np.round(values.astype(np.float64), DIGITS).tolist()


def place_of(args: argparse.Namespace, tokens: Sequence[str]) -> int:
    """Return the position that ``--position`` names, the last one without it.

    Raises:
        InputError: There is none.
    """
    asked, count = args.position, len(tokens)
    if asked is None:
        return count - 1
    if not -count <= asked < count:
        raise InputError(
            f"--position {asked} is outside the text of {count} tokens: give 0 to {count - 1}, or "
            f"-1 for the last"
        )
    return int(asked) % count


class PredictionLook(TextLook):
    options = ("position", "top", *FILTERS)

    def __init__(self, subject: Subject, position: int, top: int | None, only: bool) -> None:
        from engine.inspect.prediction import predict, predict_at

        super().__init__(subject)
        self.position, self.top = position, top
        see = predict_at(subject.model, subject.ids, position) if only else None
        self.seen = see or predict(subject.model, subject.ids)

    @classmethod
    def look(cls, subject: Subject, args: argparse.Namespace) -> PredictionLook:
        changed = replace(subject.settings, **sample_changes(args, FILTERS))  # type: ignore[arg-type]
        position, only = place_of(args, subject.tokens), args.position is not None
        return cls(replace(subject, settings=changed), position, args.top, only)

    def _candidates(self) -> Any:
        from engine.inspect.prediction import filtered

        before = self.subject.ids[: self.position + 1]
        return filtered(self.seen.at(self.position), self.subject.settings, before)

    def facts(self) -> dict[str, Any]:
        import numpy as np

        from engine.inspect.surprise import token_texts

        vocab_size, first = self.subject.model.vocab_size, self.seen.first
        probabilities = np.exp(self.seen.log_probs)  # (rows, V)
        top = self.top or (None if vocab_size <= WHOLE_VOCABULARY else TOP)
        told: dict[str, Any] = {
            "positions": list(range(first, first + len(probabilities))),
            "entropy_bits": numbers(self.seen.entropy),
        }
        if top is None:
            told |= {
                "probabilities": numbers(probabilities),
                "vocabulary": list(token_texts(self.subject.tokenizer, range(vocab_size))),
            }
        else:
            ids = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top]  # (rows, k)
            told |= {
                "probabilities": numbers(np.take_along_axis(probabilities, ids, axis=-1)),
                "ids": numbers(ids),
            }
        return told | {
            "settings": {name: getattr(self.subject.settings, name) for name in FILTERS},
            "candidates": self._told_candidates(),
        }

    def _told_candidates(self) -> list[dict[str, Any]]:
        """Return the tokens that sampling chooses from at the position, the most likely first."""
        import numpy as np

        from engine.inspect.surprise import token_texts

        found = self._candidates()
        kept = np.flatnonzero(found.kept)[:SHOWN_CANDIDATES]
        columns = zip(
            found.ids[kept].tolist(),
            token_texts(self.subject.tokenizer, found.ids[kept]),
            numbers(found.probabilities[kept]),
            numbers(found.sampled[kept]),
            strict=True,
        )
        names = ("id", "token", "probability", "sampled")
        return [dict(zip(names, values, strict=True)) for values in columns]

    def draw(self, width: int, height: int, ink: Ink) -> Picture:
        from engine.config.schema import SETTINGS
        from engine.inspect.surprise import token_texts
        from tui.inside.prediction import Next, draw_prediction

        subject, candidates = self.subject, self._candidates()
        following = self.position + 1
        one = Next(
            tokens=subject.tokens,
            chosen=0,
            position=self.position,
            candidates=candidates,
            texts=token_texts(subject.tokenizer, candidates.ids[:SHOWN_CANDIDATES]),
            actual=int(subject.ids[following]) if following < len(subject.ids) else None,
            entropy=self.seen.entropy_of_all,
            cursor=-1,
            settings={
                name: SETTINGS[f"sample.{name}"].format(getattr(subject.settings, name))
                for name in FILTERS[:4]
            },
            setting="",
        )
        return draw_prediction(one, width, height, ink)


class SurpriseLook(TextLook):
    options = ("position",)

    def __init__(self, subject: Subject, position: int) -> None:
        from engine.inspect.surprise import by_kind, by_position, surprise

        super().__init__(subject)
        self.position = position
        self.measured = surprise(subject.model, subject.ids, subject.tokenizer)
        self.kinds, self.places = by_kind([self.measured]), by_position([self.measured])

    @classmethod
    def look(cls, subject: Subject, args: argparse.Namespace) -> SurpriseLook:
        return cls(subject, place_of(args, subject.tokens))

    def facts(self) -> dict[str, Any]:
        one = self.measured
        return {
            "surprisal_bits": numbers(one.bits),
            "rank": [None, *one.rank[1:].tolist()],
            "entropy_bits": numbers(one.entropy),
            "mean_bits": one.mean_bits,
            "bits_per_character": one.bits_per_character,
            "worst": one.worst(),
            "kinds": [dict(vars(cost)) for cost in self.kinds],
        }

    def draw(self, width: int, height: int, ink: Ink) -> Picture:
        from tui.inside.surprise import Surprises, draw_surprise

        one = Surprises(measured=self.measured, kinds=self.kinds, position=self.position)
        return draw_surprise(one, width, height, ink)


class AttentionLook(TextLook):
    options = ("layer", "head", "position")

    def __init__(
        self, subject: Subject, layer: int | None, head: int | None, position: int
    ) -> None:
        from engine.inspect.forward_pass import require_gpt, require_place

        super().__init__(subject)
        self.layer, self.head, self.position = layer, head, position
        require_gpt(subject.model, "attention")
        require_place(subject.model.config, layer or 0, head or 0)
        self.names = subject.look_if_text("heads")

    @classmethod
    def look(cls, subject: Subject, args: argparse.Namespace) -> AttentionLook:
        return cls(subject, args.layer, args.head, place_of(args, subject.tokens))

    @property
    def _places(self) -> list[tuple[int, int]]:
        config = self.subject.model.config
        layers = range(config.n_layer) if self.layer is None else (self.layer,)
        heads = range(config.n_head) if self.head is None else (self.head,)
        return [(layer, head) for layer in layers for head in heads]

    def facts(self) -> dict[str, Any]:
        places, names = self._places, self.names.names if self.names else None
        return {
            "attention": self._weights(),
            "heads": [
                {
                    "layer": layer,
                    "head": head,
                    "name": names[layer][head][0] if names else None,
                    "score": numbers(names[layer][head][1]) if names else None,
                }
                for layer, head in places
            ],
        }

    def _weights(self) -> list[Any]:
        """Return layers x heads x T x T, those that were chosen.

        Raises:
            InputError: They are too many for one line of JSON.
        """
        from itertools import islice

        from engine.inspect.attention import attention_pattern, attention_patterns

        subject = self.subject
        count = len(self._places) * len(subject.ids) ** 2
        if count > MOST_WEIGHTS:
            raise InputError(
                f"the attention of these heads is {count / 1e6:,.0f} million numbers: choose one "
                f"with --layer and --head, or give a shorter --text"
            )
        if self.layer is not None and self.head is not None:
            one = attention_pattern(subject.model, subject.ids, self.layer, self.head)
            return [[numbers(one)]]
        layers = attention_patterns(subject.model, subject.ids)
        if self.layer is not None:
            layers = islice(layers, self.layer, self.layer + 1)
        return [numbers(layer) for layer in layers]

    def draw(self, width: int, height: int, ink: Ink) -> Picture:
        from tui.inside.attention import Heads, draw_attention

        layer, head = self.layer or 0, self.head or 0
        found = self.subject.look("attention", layer=layer, head=head)
        names = self.names.names if self.names else ()
        heads = Heads(
            maps=found.maps,
            pattern=found.patterns[layer, head],
            names=names,
            tokens=self.subject.tokens,
            layer=layer,
            head=head,
            query=self.position,
            key=self.position,
            scores=self.names.scores if self.names else {},
        )
        return draw_attention(heads, width, height, ink, enlarged=self.layer is not None)


class LayersLook(TextLook):
    options = ("position",)

    def __init__(self, subject: Subject, position: int) -> None:
        super().__init__(subject)
        self.position = position
        self.seen, self.worth = subject.look("layers"), subject.look_if_text("worth")

    @classmethod
    def look(cls, subject: Subject, args: argparse.Namespace) -> LayersLook:
        return cls(subject, place_of(args, subject.tokens))

    def facts(self) -> dict[str, Any]:
        lens, norms = self.seen.lens, self.seen.norms
        worth = self.worth.worth if self.worth else {}
        layers = {
            "lens": {
                "ids": numbers(lens.likeliest),
                "tokens": [list(row) for row in self.seen.guesses],
                "probabilities": numbers(lens.probability),
                "true_token_probabilities": numbers(lens.truth),
                "entropy_bits": numbers(lens.entropy),
            },
            "stream_norms": numbers(norms.stream),
            "added_norms": numbers(norms.added),
            "worth": [
                {"layer": layer, "part": part, "loss_difference": numbers(value)}
                for (layer, part), value in worth.items()
            ],
        }
        return {"layers": layers}

    def draw(self, width: int, height: int, ink: Ink) -> Picture:
        from tui.inside.layers import Layers, draw_layers

        seen = self.seen
        one = Layers(
            tokens=self.subject.tokens,
            position=self.position,
            guesses=seen.guesses,
            probability=seen.lens.probability,
            truth=seen.lens.truth,
            stream=seen.norms.stream,
            added=seen.norms.added,
            parts=seen.parts,
            worth=self.worth.worth if self.worth else {},
            cursor=(-1, seen.parts[0]),
            bits=seen.bits,
            goes_on=seen.goes_on,
        )
        return draw_layers(one, width, height, ink)


class EmbeddingsLook(TextLook):
    options = ("position",)

    def __init__(self, subject: Subject, position: int) -> None:
        super().__init__(subject)
        self.position = position
        self.seen = subject.look("embeddings")

    @classmethod
    def look(cls, subject: Subject, args: argparse.Namespace) -> EmbeddingsLook:
        return cls(subject, place_of(args, subject.tokens))

    def facts(self) -> dict[str, Any]:
        seen = self.seen
        embeddings = {
            "points": numbers(seen.projection.points),
            "explained": numbers(seen.projection.explained),
            "vocabulary": list(seen.vocabulary),
            "nearest": [
                {"id": token, "ids": numbers(near.ids), "cosines": numbers(near.cosines)}
                for token, near in sorted(seen.nearest.items())
            ],
            "positions": None if seen.positions is None else numbers(seen.positions),
        }
        return {"embeddings": embeddings}

    def draw(self, width: int, height: int, ink: Ink) -> Picture:
        from tui.inside.embeddings import Map, draw_embeddings

        seen, token = self.seen, int(self.subject.ids[self.position])
        near = seen.nearest[token]
        one = Map(
            points=seen.projection.points,
            variance=seen.projection.explained,
            tokens=seen.vocabulary,
            chosen=token,
            nearest=list(zip(near.ids.tolist(), near.cosines.tolist(), strict=True)),
            cursor=-1,
            positions=seen.positions,
        )
        return draw_embeddings(one, width, height, ink)


class HealthLook(Look):
    """What was recorded of the layers while the run was trained; neither weights nor text."""

    def __init__(self, run: Path) -> None:
        from engine.inspect.health import findings, read_curves

        self.run, self.curves = run, read_curves(run)
        self.findings = findings(self.curves)
        self.step = max((one.step for one in self.findings), default=0)

    def facts(self) -> dict[str, Any]:
        from engine.inspect.health import as_dict

        return {"health": as_dict(self.curves)}

    def draw(self, width: int, height: int, ink: Ink) -> Picture:
        from engine.inspect.health import matrix, why_empty
        from engine.metric_catalogue import format_value, short_part
        from engine.program import program
        from engine.runs.folder import read_run_config, typed_name
        from tui.inside.health import Health, draw_health
        from tui.inside.layout import wrapped

        if not self.findings:
            resume = f"{program()} train --resume {typed_name(self.run)}"
            interval = read_run_config(self.run).eval.health_interval
            return wrapped(why_empty(interval, resume), width)
        one = Health(
            map=matrix(self.curves, self.findings[0].family.name),
            findings=self.findings,
            cursor=0,
            short=short_part,
            format=lambda one: format_value(one.family.metric(one.part), one.value),
        )
        return draw_health(one, width, height, ink)


TEXT_VIEWS: dict[str, type[TextLook]] = {
    "attention": AttentionLook,
    "prediction": PredictionLook,
    "surprise": SurpriseLook,
    "layers": LayersLook,
    "embeddings": EmbeddingsLook,
}
HEALTH = "health"
VIEWS: dict[str, type[Look]] = {**TEXT_VIEWS, HEALTH: HealthLook}
