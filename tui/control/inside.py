"""What one looks at inside a model: the moment, the text, the view and what is chosen in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.protocol import Command, Event, Inspect, Inspected, Refused

NOW, UNTRAINED = "now", "untrained"
# what views show of the whole validation split, besides the text
EXTRA = {"attention": ("heads",), "surprise": ("moments", "positions"), "layers": ("worth",)}


@dataclass
class Side:
    """One of the two models that can be beside each other."""

    run: str = ""  # the folder; empty for the open run
    moment: str | int = NOW
    answers: dict[str, Inspected] = field(default_factory=dict)  # by view
    problems: dict[str, str] = field(default_factory=dict)
    asked: dict[int, str] = field(default_factory=dict)  # views by the ids of the requests

    def forget(self) -> None:
        """What was answered is of another model or text."""
        self.answers.clear()
        self.problems.clear()
        self.asked.clear()

    @property
    def step(self) -> int | None:
        """Of the weights, once something is known of them."""
        return next((one.step for one in self.answers.values()), None)


class Inside:
    """The state of the screen of a model's inside, and its questions to the engine.

    Args:
        send: Sends a command to the engine; returns the id of the request.
        run: The folder of the run to look into; None for the open one.
    """

    def __init__(self, send: Callable[[Command], int], run: Path | None = None) -> None:
        self._send = send
        self.view = "attention"
        self.sides = [Side(str(run) if run else "")]
        self.text: str | None = None  # None: an excerpt of the validation split
        self.excerpt = 0
        self.layer = self.head = 0
        self.position = 0  # of the cursor in the text
        self.key = 0  # the token that the one at the cursor is compared with
        self.at_end = True  # the cursor is where it begins until it is moved
        self.off: tuple[tuple[int, int | str], ...] = ()  # layers and parts that are switched off
        self.also: tuple[int, ...] = ()  # tokens besides those of the text, to find the nearest of
        self.map: Any = None  # of the embeddings as they were shown last, which the next one fits
        self.typed: list[int] = []  # tokens that were chosen behind the text
        self._untouched: tuple[str | None, int] = (None, 0)  # text and cursor before the first one
        self.in_steps = False  # one head is looked at step by step

    @property
    def main(self) -> Side:
        return self.sides[0]

    @property
    def answer(self) -> Inspected | None:
        """What is known of the view that is shown."""
        return self.main.answers.get(self.view)

    @property
    def tokens(self) -> tuple[str, ...]:
        """Of the text; empty until something is known."""
        found = self.answer or next(iter(self.main.answers.values()), None)
        return found.tokens if found else ()

    def look_at(self, text: str | None, excerpt: int = 0) -> None:
        """Look at another text."""
        self.text, self.excerpt = text, excerpt
        self.at_end = True
        self.typed.clear()
        for side in self.sides:
            side.forget()
        self.ask()

    def keep_beside(self, moment: str | int) -> None:
        """Have a side of the weights of a moment that stays as one goes to others."""
        kept = Side(self.main.run, moment)
        if self.main.step == moment or self.main.moment == moment:
            kept.answers = dict(self.main.answers)
        self.sides.append(kept)
        self.ask()

    def go_to(self, moment: str | int) -> None:
        """Look at the weights of another moment."""
        self.main.moment = moment
        self.main.forget()
        self.ask()

    def show(self, view: str) -> None:
        self.view = view
        self._place_cursor(len(self.tokens))
        self.ask()

    def ask(self) -> None:
        """Ask for what the view needs and is not known or asked for yet."""
        for side in self.sides:
            for view in self._needed(side):
                if view not in side.problems and self._is_old(side, view):
                    self._ask_once(side, view)

    def _is_old(self, side: Side, view: str) -> bool:
        """Whether a view is not known, or is of other tokens or an earlier step than is shown."""
        shown, answer = side.answers.get(self.view), side.answers.get(view)
        if answer is None:
            return True
        if view == "steps":
            query = min(self.position, len(answer.tokens) - 1)
            if (answer.found.query, answer.found.key) != (query, min(self.key, query)):
                return True
        follows = side.moment == NOW and not side.run
        return bool(follows and shown and answer.step < shown.step)

    def _ask_once(self, side: Side, view: str) -> None:
        if view not in side.asked.values():
            self._ask(side, view)

    def _needed(self, side: Side) -> tuple[str, ...]:
        if self.view == "health":
            return ()
        if self.view == "surprise" and side is not self.main:
            return (self.view,)  # of the other model the difference alone is shown
        steps = ("steps",) if self.view == "attention" and self.in_steps else ()
        return (self.view, *steps, *EXTRA.get(self.view, ()))

    def _ask(self, side: Side, view: str) -> None:
        text = self.text
        if side is not self.main and text is None and self.tokens:
            text = "".join(self.tokens)  # the same text for both
        request_id = self._send(
            Inspect(
                view,
                text,
                self.excerpt,
                side.run,
                side.moment,
                self._options(view),
                side=int(side is not self.main),
            )
        )
        side.asked[request_id] = view

    def _options(self, view: str) -> dict[str, Any]:
        options: dict[str, Any] = {"layer": self.layer, "head": self.head}
        if view == "layers":
            options["off"] = self.off
        if view == "embeddings":
            options |= {"also": self.also, "like": self.map}
        if view == "steps":
            options |= {"query": self.position, "key": self.key}
        if self.typed:
            options["after"] = tuple(self.typed)
        return options

    def ask_for(self, view: str) -> None:
        """Ask again for a view whose options have changed."""
        for side in self.sides:
            for request_id in [one for one, asked in side.asked.items() if asked == view]:
                del side.asked[request_id]
            self._ask(side, view)

    def take(self, event: Event) -> bool:
        """Take an answer over; return whether there was a question for it."""
        for side in self.sides:
            view = side.asked.get(event.request_id)
            if view is None:
                continue
            if isinstance(event, Refused):
                side.problems[view] = event.message
                side.answers.pop(view, None)
                del side.asked[event.request_id]
            elif isinstance(event, Inspected):
                self._keep(side, view, event)
                if side is self.main and view == "embeddings":
                    self.map = event.found.projection
                if side is self.main:
                    self._place_cursor(len(event.tokens))
                if event.share >= 1 and view in self._needed(side):
                    self.ask()  # again, what is of other tokens or of an earlier step
            return True
        return False

    def _keep(self, side: Side, view: str, event: Inspected) -> None:
        """Keep an answer; a part of one takes the place of parts alone, not of a whole one."""
        side.problems.pop(view, None)
        before = side.answers.get(view)
        if event.found is not None and (event.share >= 1 or before is None or before.share < 1):
            side.answers[view] = event
        if event.share < 1:
            return
        del side.asked[event.request_id]
        if view == self.view:  # the run may have gone back
            for name in [name for name, one in side.answers.items() if one.step > event.step]:
                del side.answers[name]

    def _place_cursor(self, length: int) -> None:
        last = max(0, length - 1)
        self.position = self._end(last) if self.at_end else min(self.position, last)
        self.key = min(self.key, last)

    def _end(self, last: int) -> int:
        """Return where the cursor begins: where the next token is known, if it is shown."""
        return max(0, last - 1) if self.view == "layers" else last

    def move(self, by: int) -> None:
        """Move the cursor in the text."""
        last = max(0, len(self.tokens) - 1)
        self.position = max(0, min(last, self.position + by))
        self.at_end = self.position == self._end(last)

    def take_token(self, token: int, position: int) -> None:
        """Put a token behind a position, in place of what follows there."""
        answer = self.main.answers["prediction"]
        begun = len(answer.tokens) - len(self.typed)  # tokens of the text itself
        if not self.typed:
            self._untouched = self.text, position
        if position + 1 < len(answer.tokens) or self.text is None:
            self.text = "".join(answer.tokens[: min(position + 1, begun)])
        self.typed = [*self.typed[: max(0, position + 1 - begun)], token]
        self._look_again()

    def take_token_back(self) -> None:
        if not self.typed:
            return
        self.typed.pop()
        if not self.typed:  # the text is whole again
            self.text, self.position = self._untouched
        self._look_again()
        self.at_end = bool(self.typed)

    def _look_again(self) -> None:
        """The text has another end: what is known of it stays on the screen until the answer."""
        self.at_end = True
        for side in self.sides:
            for view in [one for one in side.answers if one != "prediction"]:
                del side.answers[view]
        self.ask_for("prediction")

    def forget_problems(self) -> None:
        """What could not be answered is asked again with the next question."""
        for side in self.sides:
            side.problems.clear()

    def follow(self) -> None:
        """Look again at the weights as they are now, where that is what one looks at.

        What other views have found is of an earlier step, and is forgotten.
        """
        for side in self.sides:
            if side.moment != NOW or side.run:
                continue
            needed = self._needed(side)
            for view in [one for one in side.answers if one not in needed]:
                del side.answers[view]
            for view in needed:
                self._ask_once(side, view)
