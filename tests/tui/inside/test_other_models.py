"""The screen with models that are not as usual, and with weights that are gone."""

from __future__ import annotations

import dataclasses
import shutil
from typing import Any

import pytest
import torch

from engine.inspect.background import Subject
from engine.inspect.moments import load_moment
from engine.model import build_model
from engine.protocol import Inspected, RunOpened, State
from engine.session.session import Session
from tests.tui.conftest import Open, Person
from tests.tui.test_inside import EIGHT, TWO_HEADS, go_to, look, seen
from tests.tui.test_timeline import train_to
from tui.control.inside import NOW, Side
from tui.screens.inside import InsideScreen

MODELS: dict[str, dict[str, Any]] = {
    "NaN": {},
    "without anything": {
        "residual": False, "norm": "none", "mlp_ratio": 0.0, "output_proj": False,
    },
    "bigram": {"architecture": "bigram"},
}  # fmt: skip


async def walk(person: Person, screen: InsideScreen) -> None:
    """Go through all views, and do in each what can be done."""
    for view in screen._views:
        await person.press(str(list(screen._views).index(view) + 1))
        await person.until(lambda: not screen.state.main.asked, view)
        await person.press("down", "left", "enter", "enter")
        await person.until(lambda: not screen.state.main.asked, view)
        assert seen(screen).strip()


async def test_every_view_stands_with_every_kind_of_model(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(TWO_HEADS, size=(120, 40)) as person:
        await train_to(person, 3)
        own = load_moment(person.run, "untrained", print)
        assert own.model.tokenizer
        for name, changes in MODELS.items():
            config = person.app.control.draft.base.replace(
                {f"model.{key}": value for key, value in changes.items()}
            )
            model = build_model(config.model, own.model.tokenizer.vocab_size).eval()
            if name == "NaN":
                with torch.no_grad():
                    for one in model.parameters():
                        one.fill_(float("nan"))
            real = Session.subject.fget  # type: ignore[attr-defined]

            def subject(self: Session, model: Any = model, real: Any = real) -> Subject:
                found = real(self)
                return Subject(model, found.tokenizer, found.step, found.val)

            with monkeypatch.context() as patched:
                patched.setattr(Session, "subject", property(subject))
                await person.press("i")
                screen = person.app.screen
                assert isinstance(screen, InsideScreen), name
                await walk(person, screen)
                if name == "bigram":
                    assert "bigram" in screen.state.main.problems["attention"]
                else:
                    assert not screen.state.main.problems, name
                await person.press("escape")
        assert person.status.state is State.PAUSED


async def test_weights_that_are_gone_are_told_and_the_screen_goes_on(open_app: Open) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 22)
        screen = await look(person, "surprise")
        await person.until(lambda: screen._kept, "the kept weights")
        shutil.rmtree(person.run / "checkpoints")
        await person.press("comma")
        await person.until(lambda: "surprise" in screen.state.main.problems, "a sentence")
        assert "has no checkpoint" in seen(screen)
        await person.press("n")
        await person.until(lambda: screen.state.answer is not None, "now")
        other = Side(str(person.run.parent / "gone"))
        screen.state.sides.append(other)
        screen.state.ask()
        await person.until(lambda: "surprise" in other.problems, "another sentence")
        screen.refresh_picture()
        assert "the folder of the run 'gone' is gone" in " ".join(seen(screen).split())
        assert screen.state.main.moment == NOW and person.status.state is State.PAUSED


async def test_a_model_that_cuts_the_text_into_other_tokens_is_told(open_app: Open) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 3)
        screen = await look(person, "surprise")
        main = screen.state.main
        text = "".join(screen.state.tokens)
        pairs = [text[at : at + 2] for at in range(0, len(text), 2)]
        found = main.answers["surprise"].found.measured
        other = dataclasses.replace(
            found, tokens=tuple(pairs), bits=found.bits[::2], ids=found.ids[::2]
        )
        answer = main.answers["surprise"]
        beside = Inspected("surprise", 9, answer.ids, tuple(pairs), 0,
                           dataclasses.replace(answer.found, measured=other))  # fmt: skip
        screen.state.sides.append(Side(str(person.run), answers={"surprise": beside}))
        screen.refresh_picture()
        assert "cut the text into different tokens" in " ".join(seen(screen).split())


async def test_a_run_without_a_checkpoint_is_looked_into_before_its_first_step(
    open_app: Open,
) -> None:
    async with open_app(EIGHT, size=(80, 24)) as person:
        await person.start_and_pause()
        shutil.rmtree(person.run / "checkpoints", ignore_errors=True)
        screen = await look(person)
        assert screen.state.answer and not screen.state.main.problems
        await go_to(person, screen, "health")
        assert "Traceback" not in seen(screen)


async def test_a_run_that_another_program_trains_is_looked_into(open_app: Open) -> None:
    async with open_app({**EIGHT, "train.max_steps": 30}, size=(80, 24)) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        async with open_app(run=person.run) as second:
            opened = await second.until_heard(RunOpened)
            assert opened.attached
            screen = await look(second)
            assert screen.state.answer and screen.state.answer.step == 30
            await go_to(second, screen, "prediction")
            assert not screen.state.main.problems
