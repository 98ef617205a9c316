"""The timeline with the real engine: look at a moment, sample from it, go back to it, fork it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.widgets import Input, Static

from engine.protocol import Forked, Rewound, RunOpened, SampleFinished, State
from engine.runs.folder import list_runs
from engine.session.fork import fork
from engine.session.rewind import lead_to, visit
from tests.tui.conftest import Open, Person
from tui.screens.cockpit import CockpitScreen
from tui.screens.dialogs import ForkDialog, GoBackDialog
from tui.screens.inside import InsideScreen
from tui.screens.timeline import TimelineScreen
from tui.widgets.keys_footer import KeysFooter
from tui.widgets.loss_chart import LossChart
from tui.widgets.status_bar import StatusBar
from tui.widgets.text_view import TextView

EVALUATED: dict[str, Any] = {"eval.interval": 5, "checkpoint.interval": 10, "sample.max_tokens": 8}


async def train_to(person: Person, step: int) -> int:
    """Train some steps and pause; returns where it stands."""
    await person.press("space")
    await person.until(lambda: person.status.step >= step)
    await person.pause()
    return person.status.step


async def open_timeline(person: Person, moments: int = 3) -> TimelineScreen:
    await person.press("b")
    screen = person.app.screen
    assert isinstance(screen, TimelineScreen)
    await person.until(lambda: len(screen._moments) >= moments, "the moments")
    return screen


def text_of(screen: TimelineScreen) -> list[str]:
    return [one.whole for one in screen.query_one(TextView).passages]


def shown(screen: TimelineScreen, selector: str) -> str:
    return str(screen.query_one(selector, Static).render())


def offered(screen: TimelineScreen) -> set[str]:
    """What the footer names."""
    return {one.binding.description for one in screen.active_bindings.values() if one.binding.show}


def said(person: Person) -> list[str]:
    return person.told().splitlines()


async def test_a_click_on_the_chart_goes_to_the_moment_there(open_app: Open) -> None:
    changes = {**EVALUATED, "train.max_steps": 24, "optim.warmup_steps": 0}
    async with open_app(changes, size=(120, 40)) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        screen = await open_timeline(person)
        chart = screen.query_one(LossChart)
        drawing = chart._drawing
        assert drawing
        column = drawing.field.layout.columns // 2
        left = next(x for x in range(chart.size.width) if chart._canvas_column(x) == column)
        await person.pilot.click(LossChart, offset=(left, chart.size.height // 2))
        await person.until(lambda: screen.step in (10, 15), "a moment in the middle")


async def test_the_arrows_move_along_the_moments_and_show_figures_and_text(
    open_app: Open,
) -> None:
    async with open_app(EVALUATED) as person:
        now = await train_to(person, 22)
        screen = await open_timeline(person)
        assert screen.step == now and "(now)" in shown(screen, "#timeline-facts")
        await person.press("home")
        assert screen.step == 0
        await person.press("right", "right")
        assert screen.step == 10
        facts = shown(screen, "#timeline-facts")
        assert f"step 10 ({now - 10} steps ago)" in facts
        (val,) = [m.val_loss for m in screen._moments if m.step == 10]
        assert val is not None and f"val {val:.3f}" in facts
        (kept,) = [m.samples[-1] for m in screen._moments if m.step == 10]
        assert text_of(screen) == [kept["text"].lstrip("\n")]
        await person.press("left")
        assert screen.step == 5
        await person.press("end")
        assert screen.step == now
        await person.press("escape")
        assert isinstance(person.app.screen, CockpitScreen)
        assert person.heard(Rewound) == []


async def test_texts_play_as_a_film_and_stand_beside_each_other(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 22)
        screen = await open_timeline(person)
        await person.press("space", "plus", "plus")
        assert screen.step == 0
        await person.until(lambda: screen._playing is None, "the end")
        assert screen.step == max(one.step for one in screen._moments if one.samples)
        await person.press("home", "c", "right")
        first, second = screen.query_one(TextView).passages
        assert (first.title, second.title) == ("step 0 · seed 1", "step 5 · seed 1")
        await person.press("c")
        assert len(text_of(screen)) == 1


async def test_enter_goes_back_and_training_goes_on_from_there(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        now = await train_to(person, 22)
        screen = await open_timeline(person)
        await person.press("g")
        assert isinstance(screen.focused, Input)
        await person.type("13")
        await person.press("enter")
        assert screen.step == 13
        assert "no weights; kept at 10 and 15" in shown(screen, "#timeline-facts")
        await person.press("enter")
        rewound = await person.until_heard(Rewound)
        assert (rewound.step, rewound.left_at, rewound.branch) == (13, now, 1)
        assert isinstance(person.app.screen, CockpitScreen)
        said = person.cockpit.notice.text
        assert "back at step 13" in said
        assert f"gpt-tui fork {person.run.name} --at {now} continues it" in said
        metrics = person.app.control.metrics
        assert metrics.column("train_loss").last_step == 13
        assert [ghost.last_step for ghost in metrics.ghosts("train_loss")] == [now]
        assert {record.step for record in person.cockpit.samples.records} == {0, 5, 10}
        await person.press("space")
        await person.until(lambda: person.status.step > 15)
        assert person.status.branch == 1


async def test_before_much_is_trained_again_one_is_asked_and_can_stop_it(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_there(*arguments: Any) -> Iterator[None]:
        report, quanta = arguments[-1], lead_to(*arguments)
        for _ in range(3):
            yield next(quanta)
        while True:
            report("going back: step 3 of 17")
            time.sleep(0.001)
            yield

    monkeypatch.setattr("tui.screens.dialogs.LONG_SECONDS", 0.0)
    async with open_app({"eval.interval": 20, "checkpoint.interval": 20}) as person:
        now = await train_to(person, 22)
        screen = await open_timeline(person, moments=2)
        await person.press("g", "1", "7", "enter")
        told = str(screen.query_one("#timeline-chart").border_subtitle)
        assert told.startswith("enter goes back: 17 steps trained again, about ")
        await person.press("enter")
        dialog = person.app.screen
        assert isinstance(dialog, GoBackDialog)
        await person.press("escape")
        assert person.shows(TimelineScreen) and screen.step == 17
        await person.press("enter")
        question = str(dialog.question)
        assert question.startswith("From the beginning:\nsteps 1 to 17 are trained again, about ")
        assert "The steps after 17 stay in the charts, as a faint line." in question
        assert f"esc stops that, and the run stays at step {now}" in question
        with monkeypatch.context() as patch:
            patch.setattr("engine.session.rewind.lead_to", never_there)
            await person.press("enter")
            await person.until(lambda: "step 3 of 17" in status_line(person), "the progress")
            await person.until(lambda: "escape" in person.footer(), "the key")
            assert "left" in status_line(person)
            await person.press("s")
            assert person.told() == "the run is going back to step 17: esc stops that"
            await person.press("escape")
            await person.until(lambda: "not gone back" in person.told(), "the word")
        assert person.told() == f"not gone back to step 17: the run is at step {now}, as before"
        assert (person.status.step, person.status.state) == (now, State.PAUSED)
        assert person.heard(Rewound) == [] and person.notice == ""
        await open_timeline(person, moments=2)
        await person.press("g", "1", "7", "enter", "enter", "n")
        assert (await person.until_heard(Rewound)).step == 0


def status_line(person: Person) -> str:
    return str(person.cockpit.query_one(StatusBar).render()).splitlines()[0]


async def test_a_text_is_written_with_the_weights_of_the_moment(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 22)
        await person.until_heard(SampleFinished)
        screen = await open_timeline(person)
        await person.press("home", "right", "right")
        before = [len(m.samples) for m in screen._moments if m.step == 10]
        await person.press("s")
        await person.until(
            lambda: [len(m.samples) for m in screen._moments if m.step == 10] == [before[0] + 1],
            "another text of step 10",
        )


async def test_without_kept_weights_the_keys_for_them_say_where_there_are_some(
    open_app: Open,
) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 22)
        screen = await open_timeline(person)
        await person.press("g", "1", "3", "enter")
        assert not {"Sample", "Keep"} & offered(screen)
        assert {"Go back", "Fork"} <= offered(screen)
        for key in ("s", "k"):
            await person.press(key)
            assert said(person)[-1] == (
                "the weights of step 13 are not kept, but those of step 10 (key ,) and "
                "step 15 (key .) are"
            )
        assert screen.step == 13 and person.heard(Rewound) == []
        await person.press("i")
        await person.until(lambda: person.shows(InsideScreen), "the inside")
        footer = person.app.screen.query_one(KeysFooter)
        told = "the weights of step 13 are not kept: these are of step 10"
        await person.until(lambda: footer.message == told, "what is shown")
        await person.press("escape")
        await person.until(lambda: person.app.screen is screen, "the timeline")
        await person.press("comma")
        assert screen.step == 10
        assert {"Sample", "Keep"} <= offered(screen)
        await person.press("full_stop")
        assert screen.step == 15 and {"Sample", "Keep"} <= offered(screen)


async def test_at_60_columns_the_facts_are_cut_and_no_key_is(open_app: Open) -> None:
    async with open_app(EVALUATED, size=(60, 16)) as person:
        await train_to(person, 22)
        screen = await open_timeline(person)
        await person.press("home", "right", "right")
        keys = screen.query_one(KeysFooter)
        await person.until(lambda: len(keys.keys) == 6, "all keys")
        assert cell_len(keys.render().plain.rstrip()) <= 60
        await person.press("g", "1", "3", "enter")
        assert "no weights; kept at" in shown(screen, "#timeline-facts")
        assert "ago" not in shown(screen, "#timeline-facts")
        await person.pilot.resize_terminal(120, 40)
        await person.until(lambda: "ago" in shown(screen, "#timeline-facts"))


async def test_what_to_type_for_a_run_elsewhere_has_its_folder(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GPT_TUI_RUNS", str(tmp_path / "another folder"))
    async with open_app(EVALUATED | {"train.max_steps": 24}) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        await open_timeline(person)
        await person.press("home", "right", "right", "enter")
        await person.until(lambda: "back at step" in person.notice)
        end = "--at 24 --set train.max_steps=48 continues it"  # which has none left of its own
        assert f"gpt-tui fork {person.run} {end}" in person.notice
        await person.press("B", "B")  # and stay here
        await person.until(lambda: "open it with r" in person.notice)
        (child,) = [path for path in person.run.parent.iterdir() if "-fork-" in path.name]
        assert person.notice.endswith(f"gpt-tui {child}")


async def test_what_the_run_has_left_can_be_looked_at_and_is_marked(open_app: Open) -> None:
    async with open_app(EVALUATED | {"train.max_steps": 24}) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        screen = await open_timeline(person)
        await person.press("home", "right", "right", "enter")
        await person.until_heard(Rewound)
        (ghost,) = person.app.control.metrics.ghosts("train_loss")
        assert ghost.last_step == 24
        left_loss = f"{ghost.last:.3f}"
        hint = f"gpt-tui fork {person.run.name} --at 24 --set train.max_steps=48"
        assert hint in person.cockpit.notice.text
        screen = await open_timeline(person)
        await person.until(lambda: screen._left, "what was left")
        await person.press("home", "end")
        assert screen.step == 10, "it rests at the present"
        await person.press("right")
        assert screen.step == 15
        assert shown(screen, "#timeline-facts").startswith("step 15 (abandoned)  loss ")
        assert screen.query_one("#timeline-sample").border_title == "text of step 15"
        await person.press("end")
        assert screen.step == 24
        assert shown(screen, "#timeline-facts").split("loss ")[1].startswith(left_loss)
        assert {"Go back", "Fork", "Sample", "Keep"}.isdisjoint(offered(screen))
        await person.press("enter")
        assert said(person)[-1] == (
            f"step 24 is on the faint line, which the run has left: {hint} continues it"
        )
        await person.press("g", "9", "9", "enter")
        assert said(person)[-1] == "the run is at step 10, and has no step 99 yet"
        await person.press("g", "1", "3", "enter")
        assert screen.step == 13 and "(abandoned)" in shown(screen, "#timeline-facts")
        await person.press("left")
        assert screen.step == 10 and "(now)" in shown(screen, "#timeline-facts")
        chart = screen.query_one(LossChart)
        assert "abandoned" in chart.render_line(0).text
    path = person.run
    with visit(path, 24, lambda message: None) as curve:  # what the app says can be done
        assert fork(curve, {"train.max_steps": 48}, "taken-up").name == "taken-up"


async def test_what_a_fork_inherits_is_told_to_be_its_parents(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 22)
        parent = person.run.name
        await open_timeline(person)
        await person.press("home", "right", "right", "f", "enter")
        forked = await person.until_heard(Forked)
        await person.until_heard(RunOpened, path=forked.path)
        await person.until_state(State.PAUSED)
        screen = await open_timeline(person)
        await person.press("g", "5", "enter")
        assert screen.step == 5
        assert shown(screen, "#timeline-facts").endswith(f"of {parent}")
        assert not {"Sample", "Keep", "Go back", "Fork"} & offered(screen)
        for key in ("s", "k", "enter", "f"):
            await person.press(key)
            assert said(person)[-1] == (
                f"step 5 is of {parent}, from which this run was forked at step 10: "
                f"{parent}'s own timeline has it"
            )
        assert person.app.screen is screen


async def test_a_fork_from_the_past_opens_paused_and_the_parent_is_kept(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        now = await train_to(person, 22)
        parent = person.run
        await open_timeline(person)
        await person.press("home", "right", "right", "f")
        assert isinstance(person.app.screen, ForkDialog)
        await person.press("escape")  # back to the same step of the timeline
        assert isinstance(person.app.screen, TimelineScreen) and person.app.screen.step == 10
        await person.press("f", "enter")
        forked = await person.until_heard(Forked)
        assert forked.step == 10
        opened = await person.until_heard(RunOpened, path=forked.path)
        assert (opened.step, opened.first_step) == (10, 10)
        await person.until_state(State.PAUSED)
        assert person.run.name == f"{parent.name}-fork-1"
        assert [path.name for path in list_runs(parent.parent)] == [parent.name, person.run.name]
        assert person.app.control.metrics.column("train_loss").last_step == 10
        await person.press("space")
        await person.until(lambda: person.status.step > 12)
    async with open_app(run=parent) as person:
        await person.until_heard(RunOpened)
        assert person.status.step == now


async def test_an_edit_that_no_fork_can_have_is_told_and_waits_on(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        person.app.control.draft.edit("model.norm", "rms")
        person.app.control.draft.edit("optim.beta1", 0.85)
        await person.press("B")
        dialog = person.app.screen
        assert isinstance(dialog, ForkDialog)
        told = str(dialog.query_one("VerticalScroll Static", Static).content)
        held = told.index("not in a fork: model.norm  layer → rms")
        assert told.index("optim.beta1") < held
        assert "the weights were made for what it is; it waits for a new run" in told
        await person.press("enter")
        forked = await person.until_heard(Forked)
        opened = await person.until_heard(RunOpened, path=forked.path)
        config = opened.config
        assert (config["model"]["norm"], config["optim"]["beta1"]) == ("layer", 0.85)
        await person.until(lambda: person.app.control.draft.next_edits == {"model.norm": "rms"})
        bar = person.cockpit.query_one(StatusBar)
        await person.until(lambda: "best – since the fork" in str(bar.render()))


async def test_a_fork_can_be_made_beside_a_run_that_trains_on(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await person.start()
        parent = person.run
        await person.press("B", "B")
        forked = await person.until_heard(Forked)
        step = person.status.step
        await person.until(lambda: person.status.step > step + 3)
        assert person.run == parent and person.status.state is State.RUNNING
        assert forked.path.endswith("-fork-1")
        assert "open it with" in person.cockpit.notice.text


async def test_before_anything_is_trained_there_is_no_past(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("t", "B")
        assert isinstance(person.app.screen, CockpitScreen)


async def test_weights_can_be_kept_for_good_and_no_longer(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 22)
        screen = await open_timeline(person)
        await person.press("home", "right", "right", "k")
        await person.until(lambda: "kept for good" in shown(screen, "#timeline-facts"))
        await person.press("k")
        await person.until(lambda: "kept for good" not in shown(screen, "#timeline-facts"))
