"""The views of the screen of a model's inside: what each draws, and what the keys do in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from data.errors import InputError
from engine.config.schema import SETTINGS, SampleConfig
from tui.control.inside import Side
from tui.control.stepping import stepped
from tui.inside.attention import Heads, draw_attention
from tui.inside.embeddings import Map, draw_embeddings
from tui.inside.health import Health, draw_health
from tui.inside.layers import Layers, draw_layers
from tui.inside.layout import Picture, wrapped
from tui.inside.prediction import Along, Next, draw_prediction
from tui.inside.steps import draw_steps
from tui.inside.surprise import Surprises, draw_surprise
from tui.inside.words import WORDS

if TYPE_CHECKING:
    from engine.inspect.health import Finding, HealthCurves
    from engine.inspect.views import NextTokens
    from engine.protocol import Inspected
    from tui.screens.inside import InsideScreen

T = TypeVar("T")

FILTERS = ("temperature", "top_k", "top_p", "min_p")
MOST_CANDIDATES = 200
MOST_ALONG = 4096  # tokens of a vocabulary of which all positions are listed


class View:
    """One view: it draws what is known, and keeps what is chosen in it.

    Attributes:
        takes_two: Whether two models can be shown.
        joins_two: Whether they are drawn as one picture.
        needs_answer: Whether it shows an answer of the engine.
    """

    takes_two = True
    joins_two = False
    needs_answer = True

    def __init__(self, screen: InsideScreen) -> None:
        self.screen = screen
        self.state = screen.state

    def draw(self, side: Side, width: int, height: int) -> Picture:
        raise NotImplementedError

    def why_not(self, action: str) -> str:
        """Return why a key does nothing in this view; empty if it does something."""
        has_it = getattr(type(self), action, None) is not getattr(View, action, None)
        return "" if has_it else NOTHING.get(action, "")

    def move(self, by: int) -> None:
        self.state.move(by)

    def click(self, kind: str, where: list[int]) -> None:
        if kind == "token":
            self.state.move(where[0] - self.state.position)

    def go_down(self, by: int) -> None:
        """Go to the next thing in the list of the view."""

    def go_layer(self, by: int) -> None: ...

    def enter(self) -> None: ...

    def leave(self) -> bool:
        """Leave what ``enter`` entered; return whether there was anything."""
        return False

    def take_back(self) -> None: ...

    def adjust(self, by: int) -> None: ...

    def next_setting(self) -> None: ...


NOTHING = {
    "go_layer": "there are no layers to go to in this view",
    "take_back": "tokens are taken back in the prediction view",
    "adjust": "temperature and the like are changed in the prediction view",
    "next_setting": "there is nothing to choose by this key in this view",
    "enter": "there is nothing to choose in this view",
    "go_down": "there is no list in this view",
}


class AttentionView(View):
    def __init__(self, screen: InsideScreen) -> None:
        super().__init__(screen)
        self._mode = 0  # overview, enlarged, steps

    def draw(self, side: Side, width: int, height: int) -> Picture:
        state, answer = self.state, side.answers["attention"]
        place = (state.layer, state.head)
        pattern = answer.found.patterns.get(place)
        if pattern is None:
            return Picture([[("looking at this head …", "dim")]])
        names = side.answers.get("heads")
        labels = names.found.names if names and names.found else ()
        last = len(answer.tokens) - 1
        heads = Heads(
            maps=answer.found.maps,
            pattern=pattern,
            names=labels,
            tokens=answer.tokens,
            layer=state.layer,
            head=state.head,
            query=min(state.position, last),
            key=min(state.key, last),
            scores=names.found.scores if names and names.found else {},
            guide=WORDS["attention"].reading,
        )
        if self._mode == 2:
            steps = side.answers.get("steps")
            found = steps.found if steps else None
            return draw_steps(heads, found, width, height, self.screen.ink)
        return draw_attention(heads, width, height, self.screen.ink, self._mode == 1)

    @property
    def _shape(self) -> tuple[int, int]:
        answer = self.state.answer
        return answer.found.maps.shape[:2] if answer else (1, 1)

    def move(self, by: int) -> None:
        super().move(by)
        self._ask_steps()

    def go_down(self, by: int) -> None:
        """Go to the next head, or to the next token that is looked at in the steps of one."""
        if self._mode == 2:
            self.state.key = max(0, min(self.state.position, self.state.key + by))
            self._ask_steps()
            return
        layers, heads = self._shape
        place = max(0, min(layers * heads - 1, self.state.layer * heads + self.state.head + by))
        self._choose(*divmod(place, heads))

    def go_layer(self, by: int) -> None:
        layers, _ = self._shape
        self._choose(max(0, min(layers - 1, self.state.layer + by)), self.state.head)

    def click(self, kind: str, where: list[int]) -> None:
        if kind == "head":
            self._choose(*where)
        elif kind == "key":
            self.state.key = where[0]
            self._ask_steps()
        else:
            super().click(kind, where)
            self._ask_steps()

    def _choose(self, layer: int, head: int) -> None:
        self.state.layer, self.state.head = layer, head
        answer = self.state.answer
        if answer and (layer, head) not in answer.found.patterns:
            self.state.ask_for("attention")
        self._ask_steps()

    def enter(self) -> None:
        """Go from all heads to one, and from its pattern to its steps."""
        self._enter((self._mode + 1) % 3)
        answer = self.state.answer
        pattern = answer.found.patterns.get((self.state.layer, self.state.head)) if answer else None
        if self._mode == 2 and pattern is not None:  # begin with what it looks at most
            self.state.key = int(pattern[self.state.position].argmax())
        self._ask_steps()

    def leave(self) -> bool:
        entered = bool(self._mode)
        self._enter(0)
        return entered

    def _enter(self, mode: int) -> None:
        self._mode, self.state.in_steps = mode, mode == 2

    def _ask_steps(self) -> None:
        if self._mode == 2:
            self.state.key = min(self.state.key, self.state.position)
            self.state.ask_for("steps")


class PredictionView(View):
    def __init__(self, screen: InsideScreen) -> None:
        super().__init__(screen)
        sample = screen.control.draft.base.sample
        self.settings = dataclasses.replace(sample, prompt="", probes="")
        self._setting = 0
        self._cursor = 0
        self._tried: dict[tuple[int, ...], dict[str, float]] = {}  # by the tokens before
        self._found: dict[tuple[str, int], tuple[Inspected, Any, Any]] = {}  # see _once

    def why_not(self, action: str) -> str:
        if action == "take_back" and not self.state.typed:
            return f"no token was chosen yet: {self.screen.key_of('inside.enter')} takes one"
        if action in ("go_down", "enter", "adjust", "next_setting", "take_back"):
            return ""
        return super().why_not(action)

    def draw(self, side: Side, width: int, height: int) -> Picture:
        return draw_prediction(self._next(side), width, height, self.screen.ink)

    def _once(
        self, what: str, number: int, answer: Inspected, find: Callable[[], T], of: Any = None
    ) -> T:
        """Return what is found in an answer, which is found once: it takes long.

        Args:
            what: A name of it.
            number: Of the side.
            of: What else it depends on.
        """
        known = self._found.get((what, number))
        if known is None or known[0] is not answer or known[1] != of:
            known = self._found[what, number] = answer, of, find()
        found: T = known[2]
        return found

    def _next(self, side: Side) -> Next:
        from engine.inspect.prediction import filtered

        answer = side.answers["prediction"]
        found, ids, number = answer.found, answer.ids, int(side is not self.state.main)
        prediction = found.prediction
        position = max(prediction.first, min(self.state.position, len(ids) - 1))
        candidates = self._once(
            "candidates", number, answer, of=(position, self.settings),
            find=lambda: filtered(prediction.at(position), self.settings, ids[: position + 1]),
        )  # fmt: skip
        few = candidates.ids[:MOST_CANDIDATES].tolist()
        texts = [found.vocabulary[one] for one in few]
        settings = {name: _shown(self.settings, name) for name in FILTERS}
        actual = ids[position + 1] if position + 1 < len(ids) else None
        return Next(
            tokens=answer.tokens,
            chosen=len(self.state.typed),
            position=position,
            candidates=candidates,
            texts=texts,
            actual=actual,
            entropy=self._once("entropy", number, answer, lambda: prediction.entropy_of_all),
            cursor=min(self._cursor, len(texts) - 1),
            settings=settings,
            setting=FILTERS[self._setting],
            tried=tuple(self._tried.get(ids[: position + 1], {}).items()),
            along=self._once("along", number, answer, lambda: _along(found)),
            guide=WORDS["prediction"].reading,
        )

    def move(self, by: int) -> None:
        super().move(by)
        self._cursor = 0

    def go_down(self, by: int) -> None:
        self._cursor = max(0, min(MOST_CANDIDATES - 1, self._cursor + by))

    def click(self, kind: str, where: list[int]) -> None:
        if kind == "candidate":
            self._cursor = where[0]
        else:
            super().click(kind, where)
            self._cursor = 0

    def enter(self) -> None:
        """Take the token at the cursor behind the text, as if it had been sampled."""
        answer = self.state.answer
        if answer is None:
            return
        now = self._next(self.state.main)
        chosen = int(now.candidates.ids[now.cursor])
        before = answer.ids[: now.position + 1]
        self._tried.setdefault(before, {})[now.texts[now.cursor]] = float(
            now.candidates.probabilities[now.cursor]
        )
        self.state.take_token(chosen, now.position)
        self._cursor = 0

    def take_back(self) -> None:
        self.state.take_token_back()
        self._cursor = 0

    def adjust(self, by: int) -> None:
        name = FILTERS[self._setting]
        changed: Any = {
            name: stepped(SETTINGS[f"sample.{name}"], getattr(self.settings, name), by > 0)
        }
        self.settings = dataclasses.replace(self.settings, **changed)

    def next_setting(self) -> None:
        self._setting = (self._setting + 1) % len(FILTERS)


def _along(found: NextTokens) -> Sequence[Along]:
    """Return what comes most likely after each token; nothing of a large vocabulary."""
    from engine.inspect.prediction import likeliest

    vocabulary = found.vocabulary
    there = likeliest(found.prediction) if len(vocabulary) <= MOST_ALONG else ()
    return [([(vocabulary[id], p) for id, p in few], rank) for few, rank in there]


def _shown(settings: SampleConfig, name: str) -> str:
    return SETTINGS[f"sample.{name}"].format(getattr(settings, name))


class SurpriseView(View):
    joins_two = True

    def draw(self, side: Side, width: int, height: int) -> Picture:
        from engine.inspect.surprise import difference, kind_of

        found = side.answers["surprise"].found
        position = min(self.state.position, len(found.measured.tokens) - 1)
        against, other, problem = None, "", ""
        for another in self.state.sides[1:]:
            problem = another.problems.get("surprise", "")
            if beside := another.answers.get("surprise"):
                run = "" if another.run == side.run else f"{self.screen.run_of(another)} "
                other = f"{run}step {beside.step:,}"
                try:
                    against = difference(beside.found.measured, found.measured)
                except InputError as error:  # they cut the text into other tokens
                    problem = str(error)
        average = side.answers.get("positions")
        course = side.answers.get("moments")
        one = Surprises(
            measured=found.measured,
            kinds=found.kinds,
            position=position,
            difference=against,
            other=other,
            problem=problem,
            by_position=average.found.bits if average else None,
            contexts=average.found.contexts if average else 0,
            course=course.found if course else None,
            measured_share=course.share if course else 0.0,
            kind=kind_of(found.measured.tokens[position]),
            guide=WORDS["surprise"].reading,
        )
        return draw_surprise(one, width, height, self.screen.ink)

    def go_down(self, by: int) -> None:
        """Go to the token that is next in the list of the most surprising."""
        answer = self.state.answer
        if answer is None:
            return
        worst = answer.found.measured.worst(len(answer.tokens))
        if not worst:
            return
        here = worst.index(self.state.position) if self.state.position in worst else -1
        self.state.move(worst[max(0, min(len(worst) - 1, here + by))] - self.state.position)


class LayersView(View):
    takes_two = False

    def __init__(self, screen: InsideScreen) -> None:
        super().__init__(screen)
        self._cursor = (0, 0)  # layer and place of the part

    def draw(self, side: Side, width: int, height: int) -> Picture:
        answer = side.answers["layers"]
        found = answer.found
        worth = side.answers.get("worth")
        layer, place = self._cursor
        one = Layers(
            tokens=answer.tokens,
            position=min(self.state.position, len(answer.tokens) - 1),
            guesses=found.guesses,
            probability=found.lens.probability,
            truth=found.lens.truth,
            stream=found.norms.stream,
            added=found.norms.added,
            parts=found.parts,
            worth=worth.found.worth if worth and worth.found else {},
            measured=worth.share if worth else 0.0,
            worth_step=worth.step if worth and worth.step != answer.step else None,
            off=found.off,
            cursor=(layer, found.parts[place]),
            bits=found.bits,
            goes_on=found.goes_on,
            guide=WORDS["layers"].reading,
        )
        return draw_layers(one, width, height, self.screen.ink)

    @property
    def _shape(self) -> tuple[int, int]:
        """How many layers and parts of each there are."""
        answer = self.state.answer
        return (len(answer.found.guesses) - 1, len(answer.found.parts)) if answer else (1, 1)

    def go_down(self, by: int) -> None:
        """Go to the next part; after the last of a layer to the first of the next one."""
        layers, parts = self._shape
        place = max(0, min(layers * parts - 1, self._cursor[0] * parts + self._cursor[1] + by))
        self._cursor = (place // parts, place % parts)

    def go_layer(self, by: int) -> None:
        layers, _ = self._shape
        self._cursor = (max(0, min(layers - 1, self._cursor[0] + by)), self._cursor[1])

    def click(self, kind: str, where: list[int]) -> None:
        if kind == "part":
            self._cursor = (where[0], where[1])
        else:
            super().click(kind, where)

    def enter(self) -> None:
        """Switch the part at the cursor off, or on again."""
        answer = self.state.answer
        if answer is None:
            return
        layer, place = self._cursor
        part = (layer, answer.found.parts[place])
        off = self.state.off
        self.state.off = tuple(one for one in off if one != part) if part in off else (*off, part)
        self.state.ask_for("layers")


class EmbeddingsView(View):
    def __init__(self, screen: InsideScreen) -> None:
        super().__init__(screen)
        self._cursor = 0
        self._chosen: int | None = None  # a token that is looked at; None for that of the text

    def _token(self, answer: Inspected) -> int:
        if self._chosen is not None:
            return self._chosen
        if not answer.ids:  # the text has unknown characters
            return 0
        return answer.ids[min(self.state.position, len(answer.ids) - 1)]

    def draw(self, side: Side, width: int, height: int) -> Picture:
        answer = side.answers["embeddings"]
        found, token = answer.found, self._token(answer)
        near = found.nearest.get(token)  # None until they are found
        nearest = zip(near.ids.tolist(), near.cosines.tolist(), strict=True) if near else ()
        one = Map(
            points=found.projection.points,
            variance=found.projection.explained,
            tokens=found.vocabulary,
            chosen=token,
            nearest=list(nearest),
            cursor=self._cursor,
            positions=found.positions,
            guide=WORDS["embeddings"].reading,
        )
        return draw_embeddings(one, width, height, self.screen.ink)

    def move(self, by: int) -> None:
        self._chosen, self._cursor = None, 0
        super().move(by)

    def go_down(self, by: int) -> None:
        answer = self.state.answer
        if answer and self._token(answer) in answer.found.nearest:
            last = len(answer.found.nearest[self._token(answer)].ids) - 1
            self._cursor = max(0, min(last, self._cursor + by))

    def click(self, kind: str, where: list[int]) -> None:
        if kind == "embedding":
            self._choose(where[0])
        else:
            super().click(kind, where)

    def enter(self) -> None:
        """Go to the token at the cursor in the list of the nearest."""
        answer = self.state.answer
        if answer and (near := answer.found.nearest.get(self._token(answer))):
            self._choose(int(near.ids[self._cursor]))

    def _choose(self, token: int) -> None:
        self._chosen, self._cursor = token, 0
        answer = self.state.answer
        if answer and token not in answer.found.nearest:
            self.state.also = (*self.state.also, token)
            self.state.ask_for("embeddings")


class HealthView(View):
    takes_two = False
    needs_answer = False

    def __init__(self, screen: InsideScreen) -> None:
        super().__init__(screen)
        self._cursor = 0
        self._judged: tuple[dict[str, int], list[Finding]] = {}, []  # measurements, and findings

    def _findings(self) -> list[Finding]:
        return self._judge(self.screen.health_curves())

    def _judge(self, curves: HealthCurves) -> list[Finding]:
        """Return the findings, which change only where something was measured since."""
        from engine.inspect.health import findings

        measured = {name: len(curve.steps) for name, curve in curves.items()}
        if measured != self._judged[0]:
            self._judged = measured, findings(curves)
        return self._judged[1]

    def draw(self, side: Side, width: int, height: int) -> Picture:
        from engine.inspect.health import matrix, why_empty
        from engine.metric_catalogue import FAMILIES, format_value, short_part

        curves = self.screen.health_curves()
        found = self._judge(curves)
        if not found:
            config = self.screen.control.draft.base
            train = self.screen.key_of("cockpit.train")
            told = why_empty(config.eval.health_interval, f"{train} in the cockpit")
            return wrapped(told, width, "dim")
        cursor = min(self._cursor, len(found) - 1)
        family = found[cursor].family.name
        one = Health(
            map=matrix(curves, family),
            findings=found,
            cursor=cursor,
            short=short_part,
            format=lambda one: format_value(one.family.metric(one.part), one.value),
            others=[matrix(curves, other.name, True) for other in FAMILIES if other.name != family],
            guide=WORDS["health"].reading,
        )
        return draw_health(one, width, height, self.screen.ink)

    def go_down(self, by: int) -> None:
        self._cursor = max(0, min(len(self._findings()) - 1, self._cursor + by))

    def next_setting(self) -> None:
        """Go to the first finding of the next figure, which is shown over the steps."""
        from engine.metric_catalogue import FAMILIES

        families = [one.family for one in self._findings()]
        if not families:
            return
        there = [one for one in FAMILIES if one in families]
        now = families[min(self._cursor, len(families) - 1)]
        self._cursor = families.index(there[(there.index(now) + 1) % len(there)])

    def click(self, kind: str, where: list[int]) -> None:
        if kind == "finding":
            self._cursor = where[0]


def views_of(screen: InsideScreen) -> dict[str, View]:
    kinds: dict[str, type[View]] = {
        "attention": AttentionView,
        "prediction": PredictionView,
        "surprise": SurpriseView,
        "layers": LayersView,
        "embeddings": EmbeddingsView,
        "health": HealthView,
    }
    return {name: kind(screen) for name, kind in kinds.items()}
