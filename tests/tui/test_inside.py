"""The inside of a model with the real engine: every view, moment and text, by key and mouse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual.css.stylesheet import Stylesheet

from engine.protocol import Evaluated, Inspected, Pause, RunOpened, State
from tests.tui.conftest import Open, Person
from tests.tui.test_timeline import EVALUATED, train_to
from tui.control.inside import NOW, UNTRAINED
from tui.screens.inside import InsideScreen
from tui.screens.runs import RunsScreen
from tui.widgets.picture_view import PictureView

EIGHT: dict[str, Any] = {**EVALUATED, "model.block_size": 8}
TWO_HEADS: dict[str, Any] = {**EIGHT, "model.n_layer": 2, "model.n_head": 2}


async def look(person: Person, view: str = "") -> InsideScreen:
    """Open the screen, and wait for what a view shows."""
    await person.press("i")
    await person.until(lambda: person.shows(InsideScreen), "the screen")
    screen = person.app.screen
    assert isinstance(screen, InsideScreen)
    await person.until(lambda: screen.state.answer is not None, "the first answer")
    if view:
        await go_to(person, screen, view)
    return screen


async def go_to(person: Person, screen: InsideScreen, view: str) -> None:
    await person.press(str(list(screen._views).index(view) + 1))
    await person.until(lambda: view == "health" or screen.state.answer is not None, view)


def seen(screen: InsideScreen) -> str:
    """What stands on the screen."""
    rows = screen.query_one(PictureView).picture.rows
    return "\n".join("".join(text for text, _ in row) for row in rows)


async def click(person: Person, screen: InsideScreen, what: tuple[str | int, ...]) -> None:
    """Click on a part of the picture."""
    view = screen.query_one(PictureView)
    place = next(one for one in view.picture.targets if one.what == what)
    await person.pilot.click(PictureView, offset=(place.left, place.row))
    await person.pilot.pause(0)


async def test_once_the_styles_are_read_no_file_of_them_is_read_at_the_key(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app(TWO_HEADS) as person:
        await train_to(person, 12)
        person.app._read_styles()
        read: list[object] = []
        monkeypatch.setattr(Stylesheet, "read", lambda _, name: read.append(name))
        await look(person)
        assert not read


async def test_attention_shows_all_heads_and_what_one_token_looks_at(open_app: Open) -> None:
    async with open_app(TWO_HEADS, size=(120, 40)) as person:
        await train_to(person, 12)
        screen = await look(person)
        state = screen.state
        await person.until(lambda: "heads" in state.main.answers, "the names of the heads")
        await person.until(lambda: "heads" not in state.main.asked.values(), "all of them")
        assert state.answer and state.answer.step == person.status.step
        assert len(state.tokens) == 8  # the whole context
        assert {(0, 0), (0, 1), (1, 0), (1, 1)} == set(state.answer.found.patterns)
        assert "L0 H0 " in seen(screen) and " back" in seen(screen)
        assert any(label in seen(screen) for label in ("spread", "mixed", "token"))
        await person.press("down", "down")  # the heads in turn, then those of the next layer
        assert (state.layer, state.head) == (1, 0)
        await person.press("K")
        assert (state.layer, state.head) == (0, 0)
        await click(person, screen, ("head", 1, 1))
        assert (state.layer, state.head) == (1, 1)
        await person.press("left", "left")
        assert state.position == 5
        await click(person, screen, ("token", 2))
        assert state.position == 2
        assert "token 2" in seen(screen)


async def test_a_head_step_by_step_has_the_weight_of_its_pattern(open_app: Open) -> None:
    async with open_app(TWO_HEADS, size=(120, 40)) as person:
        await train_to(person, 3)
        screen = await look(person)
        await person.press("left", "enter", "enter")
        await person.until(lambda: "Σ weight·v" in seen(screen), "the steps")
        steps = screen.state.main.answers["steps"].found
        pattern = screen.state.main.answers["attention"].found.patterns[0, 0]
        key = pattern[6].argmax()
        assert (steps.query, steps.key) == (6, key)
        assert f"= {pattern[6, key]:.4f}" in seen(screen)
        await person.press("up" if key else "down")  # another token that is looked at
        await person.until(lambda: screen.state.main.answers["steps"].found.key != key)
        other = screen.state.key
        assert f"= {pattern[6, other]:.4f}" in seen(screen)
        for key in ("right_square_bracket", "u", "n"):  # another text, another moment, and back
            await person.press(key)
            await person.until(lambda: "Σ weight·v" in seen(screen), f"the steps after {key}")
        await person.press("escape")  # back to all heads, then to the cockpit
        assert "Σ weight·v" not in seen(screen) and person.shows(InsideScreen)
        await person.press("escape")
        assert person.app.screen is person.cockpit


async def test_a_token_is_taken_and_taken_back(open_app: Open) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 3)
        screen = await look(person, "prediction")
        before = screen.state.tokens
        await person.press("down", "enter")
        await person.until(lambda: screen.state.typed and len(screen.state.main.asked) == 0)
        chosen = screen.state.typed[0]
        answer = screen.state.answer
        assert answer and answer.ids[-1] == chosen
        assert answer.tokens[:-1] == before[1:]  # the context is full: the first has left it
        await person.press("backspace")
        await person.until(lambda: screen.state.answer and screen.state.answer.tokens == before)
        assert "tried" in seen(screen)  # what was tried from here stays told
        await person.press("left")
        assert "tried" not in seen(screen)
        await person.press("right")
        assert "tried" in seen(screen)
        await person.press("backspace")
        assert "no token was chosen yet" in person.told()
        await person.press("right_square_bracket")
        await person.until(lambda: screen.state.answer is not None, "another text")
        assert screen.state.tokens != before and "tried" not in seen(screen)


async def test_what_the_settings_of_sampling_leave_is_seen_at_once(open_app: Open) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 3)
        screen = await look(person, "prediction")
        assert "temperature 0.8" in seen(screen) and " cut " not in seen(screen)
        await person.press("m", "plus", "plus")
        assert "top_k 2" in seen(screen)
        lines = [line for line in seen(screen).splitlines() if "%" in line]
        assert [" cut " in line for line in lines[:4]] == [False, False, True, True]
        await person.press("minus")
        assert "100.0%" in seen(screen)  # one token is left


async def test_surprise_names_the_worst_and_compares_two_moments(open_app: Open) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 22)
        screen = await look(person, "surprise")
        measured = screen.state.main.answers["surprise"].found.measured
        await person.press("home", "down")
        assert screen.state.position == measured.worst(1)[0]
        assert f"{measured.mean_bits:.2f} bits a token" in seen(screen)
        await person.press("u", "c", "n")  # the untrained model stays beside
        await person.until(lambda: "against step 0" in seen(screen), "the difference")
        untrained = screen.state.sides[1].answers["surprise"].found.measured
        await person.press("n")
        at = screen.state.position
        now = screen.state.main.answers["surprise"].found.measured
        assert f"{now.bits[at] - untrained.bits[at]:+.2f}" in seen(screen)
        await person.press("c")
        assert len(screen.state.sides) == 1


async def test_parts_are_switched_off_and_their_worth_is_measured(open_app: Open) -> None:
    async with open_app(TWO_HEADS, size=(120, 40)) as person:
        await train_to(person, 5)
        screen = await look(person, "layers")
        answers = screen.state.main.answers
        await person.until(lambda: "worth" in answers and answers["worth"].share == 1, "all parts")
        assert answers["worth"].found.worth.keys() == {
            (layer, part)
            for layer in (0, 1)
            for part in (0, 1, "attention", "feed_forward", "layer")
        }
        whole = screen.state.main.answers["layers"].found.bits
        assert whole[0] == whole[1]
        await person.press("J", "right", "down", "down", "down", "enter")  # the feed-forward of L1
        await person.until(lambda: "with what is off" in seen(screen), "the effect")
        found = screen.state.main.answers["layers"].found
        assert screen.state.off == ((1, "feed_forward"),)
        assert found.bits[0] == whole[0] != found.bits[1]
        worth = answers["worth"].found.worth[1, "feed_forward"]
        assert f"{worth:+.3f} off" in seen(screen) and "without " in seen(screen)
        await click(person, screen, ("part", 1, 3))
        await person.press("enter")
        await person.until(lambda: "with what is off" not in seen(screen), "on again")


async def test_embeddings_go_from_token_to_token(open_app: Open) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 3)
        screen = await look(person, "embeddings")
        found = screen.state.main.answers["embeddings"].found
        ids = screen.state.main.answers["embeddings"].ids
        nearest = found.nearest[ids[-1]].ids.tolist()
        await person.press("down", "enter")
        assert screen.view._chosen == nearest[1]  # type: ignore[attr-defined]
        token = next(one.what[1] for one in screen.picture.picture.targets
                     if one.what[0] == "embedding" and one.what[1] not in ids)  # fmt: skip
        await click(person, screen, ("embedding", token))
        name = f" {found.vocabulary[int(token)].replace(' ', '␣')} "
        await person.until(lambda: f"nearest to {name}".replace("\n", "↵") in seen(screen))


async def test_moments_go_back_to_the_untrained_model_and_forward_to_now(open_app: Open) -> None:
    async with open_app(EIGHT, size=(80, 24)) as person:
        now = await train_to(person, 22)
        screen = await look(person)
        await person.until(lambda: screen._kept, "the kept weights")
        steps = []
        for _ in range(10):
            if screen.state.main.moment == UNTRAINED:
                break
            await person.press("comma")
            await person.until(lambda: screen.state.answer is not None, "an answer")
            assert screen.state.answer
            steps.append(screen.state.answer.step)
        assert steps[-1] == 0 and steps == sorted(steps, reverse=True)
        assert set(steps[:-1]) <= set(screen._kept)
        assert "untrained" in seen(screen)
        await person.press("n")
        await person.until(lambda: (found := screen.state.answer) and found.step == now)
        assert screen.state.main.moment == NOW and f"step {now}" in seen(screen)


async def test_no_view_shows_an_earlier_step_than_the_others(open_app: Open) -> None:
    async with open_app(TWO_HEADS, size=(120, 40)) as person:
        await train_to(person, 3)
        screen = await look(person)
        await go_to(person, screen, "surprise")
        await go_to(person, screen, "prediction")
        person.app.control.resume()
        await person.until(lambda: person.status.step > 12, "more steps")
        person.app.control.send(Pause())
        await person.until_state(State.PAUSED)
        for view in ("attention", "prediction", "surprise", "layers", "embeddings"):
            await go_to(person, screen, view)
            now = f"step {person.status.step}"
            await person.until(lambda now=now: now in seen(screen), view)  # type: ignore[misc]


async def test_a_moment_without_kept_weights_stays_beside_as_the_one_before(
    open_app: Open,
) -> None:
    async with open_app(EIGHT, size=(120, 40)) as person:
        await train_to(person, 22)
        await person.press("full_stop")
        await person.until(lambda: person.status.step > 22, "a single step")
        screen = await look(person)
        await person.until(lambda: screen._kept, "the kept weights")
        await person.press("c")
        kept = max(one for one in screen._kept if one <= person.status.step)
        assert screen.state.sides[1].moment == kept
        for view in ("surprise", "embeddings", "layers"):
            await go_to(person, screen, view)
            await person.until(lambda: not any(one.asked for one in screen.state.sides), view)
            assert not any(one.problems for one in screen.state.sides)


async def test_now_follows_training(open_app: Open) -> None:
    async with open_app(EIGHT, size=(80, 24)) as person:
        await train_to(person, 3)
        screen = await look(person)
        first = screen.state.answer
        assert first
        await person.press("escape", "space")
        screen = await look(person)
        await person.until_heard(Evaluated)
        later = lambda: (found := screen.state.answer) and found.step > first.step + 4  # noqa: E731
        await person.until(later, "a later step")
        assert "again after each evaluation" in seen(screen)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("xyz~", "~"),
        ("the cat sat on the mat", ", the last of 22"),
    ],
)
async def test_a_typed_text_is_looked_at_or_refused(open_app: Open, typed: str, told: str) -> None:
    async with open_app(EIGHT, size=(80, 24)) as person:
        await train_to(person, 3)
        screen = await look(person)
        await person.press("t")
        await person.type(typed)
        await person.press("enter")
        await person.until(lambda: screen.state.text == typed and not screen.state.main.asked)
        assert told in seen(screen).replace("\n ", " ")
        await go_to(person, screen, "embeddings")  # which need no text
        assert "nearest to" in seen(screen)
        if told == "~":
            await person.press("1", "t", "ctrl+u", "ctrl+k", "enter")
            assert "no text was typed" in person.told()
            await person.until(lambda: screen.state.answer is not None, "an excerpt instead")


async def test_excerpts_and_the_sample_are_texts_to_look_at(open_app: Open) -> None:
    async with open_app(EIGHT, size=(80, 24)) as person:
        await train_to(person, 12)
        screen = await look(person)
        first = screen.state.tokens
        await person.press("right_square_bracket")
        await person.until(lambda: screen.state.answer is not None, "the next excerpt")
        assert screen.state.tokens != first and "excerpt 2" in seen(screen)
        await person.press("left_square_bracket")
        await person.until(lambda: screen.state.tokens == first, "the first excerpt")
        await person.press("left_square_bracket")
        assert screen.state.tokens == first and "this is the first excerpt" in person.told()
        await person.press("s")
        await person.until(lambda: screen.state.answer is not None, "the sample")
        assert "the sample" in seen(screen)
        sample = person.cockpit.samples.current
        assert sample and sample.passage.whole.endswith("".join(screen.state.tokens))


async def test_a_bigram_says_what_it_has_instead_of_attention(open_app: Open) -> None:
    changes = {**EIGHT, "model.architecture": "bigram"}
    async with open_app(changes, size=(80, 24)) as person:
        await train_to(person, 3)
        await person.press("i")
        screen = person.app.screen
        assert isinstance(screen, InsideScreen)
        await person.until(lambda: "attention" in screen.state.main.problems, "the refusal")
        assert "bigram" in seen(screen) and f"step {person.status.step}" in seen(screen)
        assert "Each head" not in seen(screen)  # it has none to explain
        await person.press("enter")
        assert "there is nothing to choose in this view" in person.told()
        for view in ("prediction", "surprise", "embeddings"):
            await go_to(person, screen, view)
            assert screen.state.answer


async def test_another_run_is_looked_into_from_the_list_of_runs(open_app: Open) -> None:
    async with open_app(EIGHT) as person:
        first = await train_to(person, 12)
        await person.press("n", "enter")
        await person.until(lambda: len(person.heard(RunOpened)) == 2, "the second run")
        await person.until_state(State.RUNNING)
        await person.pause()
        await person.press("r")
        await person.until(lambda: person.shows(RunsScreen))
        runs = person.app.screen
        assert isinstance(runs, RunsScreen)
        await person.until(lambda: len(runs.table.runs) == 2 and runs.table.current is not None)
        while runs.table.current and runs._is_open_here(person.run) and \
                runs.table.current.path == str(person.run):  # fmt: skip
            await person.press("down")
        screen = await look(person)
        assert screen.state.answer and screen.state.answer.step == first
        assert screen.run != person.run
        await person.press("escape", "a")
        screen = await look(person)  # both, the open one as it is now
        assert screen.run == person.run
        await person.until(lambda: screen.state.sides[1].answers, "the other run")
        assert screen.state.sides[1].step == first
        other = Path(screen.state.sides[1].run).name
        for name in (person.run.name, other):  # in the head, and above each of the two
            assert seen(screen).count(f"{name} step") == 2


async def test_looking_takes_nothing_from_the_run(open_app: Open) -> None:
    async with open_app(TWO_HEADS, size=(120, 40)) as person:
        await train_to(person, 3)
        step = person.status.step
        screen = await look(person)
        for view in screen._views:
            await go_to(person, screen, view)
        assert person.status.step == step and person.status.state is State.PAUSED
        assert person.heard(Inspected) and not person.journal("sampled")
