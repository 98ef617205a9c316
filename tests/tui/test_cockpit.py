"""The cockpit with the real engine: start, pause, step, sample, evaluate, save, finish."""

from __future__ import annotations

import pytest
from textual.command import CommandList

from engine.protocol import (
    Adjusted,
    Evaluated,
    Failed,
    RunOpened,
    SampleFinished,
    SampleStarted,
    Saved,
    State,
    StateChanged,
    Status,
)
from engine.runs.timeline import read_samples
from tests.tui.conftest import Open, Person, checkpoints
from tui.control.keymap import GROUPS
from tui.control.run import RunControl
from tui.screens.engine_events import EngineEvent
from tui.screens.help import TextScreen
from tui.screens.palette import Palette
from tui.widgets.chart_widget import ChartWidget
from tui.widgets.sample_pane import SampleRecord


async def test_it_opens_idle_and_makes_nothing(open_app: Open) -> None:
    async with open_app() as person:
        assert person.status.state is State.IDLE
        assert person.cockpit.focused is None
        assert not person.app.control.launch.runs_dir.exists()
        assert person.footer() == {
            "space": "Start",
            "e": "Settings",
            "ctrl+o": "Presets",
            "L": "Lecture",
            "r": "Runs",
            "question_mark": "Help",
            "q": "Quit",
        }


async def test_space_starts_pauses_and_resumes(open_app: Open) -> None:
    async with open_app() as person:
        await person.start()
        assert (person.run / "config.toml").is_file()
        assert person.run.parent == person.app.control.launch.runs_dir.resolve()
        assert person.footer()["space"] == "Pause"
        chart = person.app.control.metrics.column("train_loss")
        await person.until(lambda: len(chart) >= 2, "the curve")

        step = await person.pause()
        assert person.footer()["space"] == "Resume"
        await person.pilot.pause(0.2)
        assert person.status.step == step

        await person.press("space")
        await person.until(lambda: person.status.step > step + 2)
        assert person.status.state is State.RUNNING
        assert [one["kind"] for one in person.journal("paused")] == ["paused"]


async def test_what_this_machine_cannot_do_is_still_told_when_the_training_runs(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    async with open_app({"system.device": "cuda", "system.precision": "fp16"}) as person:
        await person.start()
        await person.until(lambda: person.status.step > 3, "some steps")
        device, precision = person.notice.splitlines()
        assert device.endswith("training on cpu instead")
        assert precision.endswith("training in fp32 instead")
        await person.press("escape")
        assert person.notice == ""
        await person.pause()
        await person.press("space")
        await person.until_state(State.RUNNING)
        assert person.notice == ""  # once is enough


async def test_a_full_stop_takes_exactly_one_step(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        for further in (1, 2):
            await person.press("full_stop")
            await person.until_heard(StateChanged, state=State.PAUSED, step=step + further)
            await person.pilot.pause(0.1)
            assert person.status.step == step + further


async def test_s_samples_the_weights_of_the_moment(open_app: Open) -> None:
    async with open_app() as person:
        await person.start()
        await person.press("s")
        await person.until(lambda: person.heard(SampleStarted, automatic=False))
        started = person.heard(SampleStarted, automatic=False)[-1]
        await person.until_heard(SampleFinished, sample=started.sample)
        assert person.status.state is State.RUNNING
        assert 0 < started.step <= person.status.step

        step = await person.pause()
        await person.press("s")
        await person.until_heard(SampleStarted, automatic=False, step=step)
        await person.until(lambda: shown(person).finished and shown(person).step == step)
        assert len(shown(person).text) == 20
        title = person.cockpit.samples
        await person.until(lambda: f"step {step:,}" in str(title.border_title))


async def test_each_evaluation_brings_a_sample_with_step_and_loss(open_app: Open) -> None:
    async with open_app({"eval.interval": 10, "train.max_steps": 30}) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        evaluated = {event.step: event.val_loss for event in person.heard(Evaluated)}
        assert sorted(evaluated) == [10, 20, 30]
        records = person.cockpit.samples.records
        assert [record.step for record in records] == [0, 10, 20, 30]
        assert [record.val_loss for record in records[1:]] == [evaluated[s] for s in (10, 20, 30)]
        assert all(record.finished and len(record.text) == 20 for record in records)
        assert [one["text"] for one in read_samples(person.run)] == person.texts()


async def test_brackets_reach_earlier_samples(open_app: Open) -> None:
    async with open_app({"eval.interval": 10, "train.max_steps": 30}) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        seen = []
        for key in "[[[[]]]]":
            await person.type(key)
            seen.append(shown(person).step)
        assert seen == [20, 10, 0, 0, 10, 20, 30, 30]


async def test_an_earlier_sample_stays_while_new_ones_come(open_app: Open) -> None:
    async with open_app({"eval.interval": 20}) as person:
        await person.press("space")
        await person.until(lambda: len(person.texts()) >= 2)
        await person.type("[")
        step, count = shown(person).step, len(person.texts())
        await person.until(lambda: len(person.texts()) > count)
        assert shown(person).step == step
        await person.pause()
        await person.press("s")  # what the person asks for is shown
        await person.until(lambda: not shown(person).automatic)


async def test_v_evaluates_and_w_saves(open_app: Open) -> None:
    async with open_app() as person:
        step = await person.start_and_pause()
        await person.press("v")
        event = await person.until_heard(Evaluated)
        assert event.step == step
        assert person.status.val_loss == event.val_loss
        assert len(person.app.control.metrics.column("val_loss")) == 1

        await person.press("full_stop")
        await person.until_heard(StateChanged, state=State.PAUSED, step=step + 1)
        await person.press("w")
        await person.until_heard(Saved, step=step + 1)
        folder = person.run / "checkpoints" / f"step-{step + 1:08}"
        assert (folder / "model.safetensors").is_file()
        assert person.status.saved_step == step + 1


async def test_the_end_leaves_a_summary_and_more_steps_go_on(open_app: Open) -> None:
    async with open_app({"train.max_steps": 12}) as person:
        await person.press("space")
        await person.until_state(State.FINISHED)
        assert person.notice.startswith("finished: 12 steps")
        assert "whole split" in person.notice
        await person.pilot.pause(0.6)  # a few ticks of the screen
        assert person.notice.startswith("finished: 12 steps")
        assert "space" not in person.footer()
        assert checkpoints(person.run) == [12]

        await person.edit("train.max_steps", "20")
        await person.until(lambda: person.notice == "")  # it is not finished any more
        await person.until_heard(Adjusted)
        assert person.status.state is State.PAUSED
        await person.back_to_keys()
        assert person.footer()["space"] == "Resume"
        await person.press("space")
        await person.until(lambda: person.status.step == 20)
        await person.until_state(State.FINISHED)
        assert person.notice.startswith("finished: 20 steps")
        assert person.heard(RunOpened) and len(person.heard(RunOpened)) == 1
        assert not person.heard(Failed)


@pytest.mark.parametrize("early", ["", "stopped early: no lower validation loss in 10 evaluations"])
async def test_the_summary_leaves_room_for_the_text_on_a_small_terminal(
    open_app: Open, monkeypatch: pytest.MonkeyPatch, early: str
) -> None:
    done = Status(State.FINISHED, step=100_000, total_steps=100_000, train_seconds=36_000.0,
                  val_loss=1.2345, best_val_loss=1.2345, best_step=100_000)  # fmt: skip
    async with open_app(size=(80, 24)) as person:
        monkeypatch.setattr(RunControl, "status", done)
        person.cockpit.post_message(EngineEvent(StateChanged(State.FINISHED, message=early)))
        await person.until(lambda: person.notice, "the summary")
        assert person.cockpit.notice.region.height == 2
        assert person.cockpit.samples.view.region.height >= 1
        assert person.notice.startswith(early or "finished: 100,000 steps in 10:00:00 · best 1.2")
        assert "raise train.max_steps (e) to continue" in person.notice


async def test_on_a_small_terminal_the_summary_gives_its_rows_back_to_the_text(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.engine_events.seconds_to_read", lambda *_: 0.3)
    for size, stays in (((80, 24), False), ((120, 40), True)):
        async with open_app({"train.max_steps": 4}, size=size) as person:
            await person.press("space")
            await person.until_state(State.FINISHED)
            await person.until(lambda: person.notice.startswith("finished: 4"), "the summary")
            if stays:
                await person.pilot.pause(0.6)
                assert person.notice.startswith("finished: 4")
                continue
            await person.until(lambda: not person.notice, "the end of the summary")
            await person.until(lambda: person.cockpit.samples.view.region.height >= 3, "the text")
            assert person.cockpit.query_one("#chart-frame").region.height >= 15  # of curves ten
            assert person.cockpit.control.status.state is State.FINISHED


async def test_help_lists_every_key(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("question_mark")
        screen = person.app.screen
        assert isinstance(screen, TextScreen)
        groups = (GROUPS["cockpit"], GROUPS["app"])
        shown = list(screen.keys)
        assert [help for _, help in shown] == [key.help for one in groups for key in one.keys]
        assert "t b" in [keys for keys, _ in shown]
        await person.press("escape")
        assert person.app.screen is person.cockpit


async def test_the_running_average_can_be_taken_away(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        seen = [person.cockpit.chart.view.smoothing]
        for _ in range(2):
            await person.press("m")
            seen.append(person.cockpit.chart.view.smoothing)
        assert seen == [0.9, 0.0, 0.9]


async def test_the_palette_has_our_commands(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        commands = {one.title: one for one in person.app.get_system_commands(person.cockpit)}
        assert {
            "Resume",
            "Step",
            "Sample",
            "Prompt",
            "Settings",
            "New run",
            "Evaluate",
            "Checkpoint",
            "Show log",
        } <= (commands.keys())
        await person.press("ctrl+p")
        assert person.shows(Palette)
        await person.type("Eval")
        await person.pilot.pause(0.3)
        await person.press("enter")
        await person.until_heard(Evaluated)
        assert person.app.screen is person.cockpit


async def test_a_screen_that_is_told_twice_to_close_leaves_the_one_below(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("question_mark", "ctrl+p")
        palette = person.app.screen
        assert isinstance(palette, Palette)
        palette.dismiss()  # as by two clicks beside it, of which the second waits in its queue
        palette.dismiss()
        await person.until(lambda: person.shows(TextScreen), "the help")
        help = person.app.screen
        assert isinstance(help, TextScreen)
        help.dismiss()
        help.dismiss()
        await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")


async def test_the_palette_may_be_closed_at_any_moment(open_app: Open) -> None:
    async with open_app() as person:
        app = person.app
        app.action_command_palette()
        app.screen.dismiss()  # before it is built
        await person.until(lambda: app.screen is person.cockpit, "the cockpit")
        await person.press("ctrl+p")
        palette = app.screen
        assert isinstance(palette, Palette)
        await person.until(lambda: palette.query(CommandList), "the list")
        palette.dismiss()
        await person.until(lambda: not palette.is_attached, "its end")
        palette._list_visible = not palette._list_visible  # as commands that come late would do
        await person.press("question_mark")
        await person.until(lambda: person.shows(TextScreen), "the help")


async def test_after_a_page_from_the_palette_the_keys_are_the_cockpits(open_app: Open) -> None:
    async with open_app() as person:
        commands = {one.title: one for one in person.app.get_system_commands(person.cockpit)}
        await commands["Help"].callback()
        await person.press("escape")
        await person.until(lambda: person.app.screen is person.cockpit)
        assert person.cockpit.focused is None


async def test_the_palette_works_from_within_a_field(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p")
        command = {one.title: one for one in person.app.get_system_commands(person.cockpit)}[
            "Checkpoint"
        ]
        await command.callback()
        await person.until_heard(Saved)


def shown(person: Person) -> SampleRecord:
    record = person.cockpit.samples.current
    assert record is not None
    return record


async def test_d_begins_the_cool_down_of_a_schedule_that_waits_for_it(open_app: Open) -> None:
    changes = {"optim.schedule": "wsd", "optim.cooldown_steps": 3, "train.max_steps": 10**6}
    async with open_app(changes) as person:
        step = await person.start_and_pause()
        await person.press("d")
        await person.until_heard(Adjusted, step=step)
        assert person.status.total_steps == step + 3
        told = f"cool-down: the run ends at step {step + 3:,} · u undoes it"
        await person.until(lambda: person.told() == told, "word of the new end")
        await person.press("space")
        await person.until(lambda: person.status.state is State.FINISHED)
        assert person.status.step == step + 3


async def test_a_cool_down_is_undone_by_the_key_that_it_names(open_app: Open) -> None:
    changes = {"optim.schedule": "wsd", "optim.cooldown_steps": 3, "train.max_steps": 10**6}
    async with open_app(changes) as person:
        await person.start_and_pause()
        before = person.app.control.draft.base
        await person.press("d")
        await person.until(lambda: "the run ends at step" in person.told(), "word of the new end")
        await person.press("u")
        await person.until(lambda: person.status.total_steps == 10**6, "the end as it was")
        await person.until(lambda: person.app.control.draft.base == before, "all as it was")


async def test_d_does_nothing_where_the_schedule_decays_by_itself(open_app: Open) -> None:
    async with open_app({"optim.schedule": "cosine"}) as person:
        await person.start_and_pause()
        assert person.cockpit.why_not("cool_down", ())


async def test_a_prompt_typed_while_the_run_is_prepared_is_kept_and_sampled(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        run = person.run
        await person.press("q")
        await person.press("s")
        await person.until_gone()
    async with open_app(run=run) as person:
        control = person.app.control
        await person.until(lambda: control.status.state in (State.PREPARING, State.PAUSED))
        await person.press("p")
        await person.type("So")
        await person.press("enter")
        await person.until_heard(RunOpened)
        await person.until_heard(SampleFinished)
        started = person.heard(SampleStarted)[-1]
        assert started.settings["prompt"] == "So"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[ChartWidget]:
    """The charts that were drawn, in their order."""
    charts: list[ChartWidget] = []
    draw = ChartWidget._draw

    def note(chart: ChartWidget) -> None:
        charts.append(chart)
        draw(chart)

    monkeypatch.setattr(ChartWidget, "_draw", note)
    return charts


@pytest.mark.parametrize("key", ["i", "r", "L"])
async def test_a_screen_that_covers_the_cockpit_is_not_repainted_as_training_goes_on(
    open_app: Open, drawn: list[ChartWidget], key: str
) -> None:
    async with open_app() as person:
        await person.start()
        await person.press(key)
        await person.until(lambda: person.app.screen is not person.cockpit)
        assert not person.app._background_screens
        drawn.clear()
        step = person.status.step
        await person.until(lambda: person.status.step > step + 5)
        for _ in range(4):
            person.cockpit._tick()
        assert person.cockpit.chart not in drawn
        await person.press("escape")
        await person.until(lambda: person.app.screen is person.cockpit)
        assert person.cockpit.chart in drawn  # with what was trained meanwhile


async def test_the_curve_grows_behind_a_dialog_that_leaves_the_cockpit_in_sight(
    open_app: Open, drawn: list[ChartWidget]
) -> None:
    async with open_app() as person:
        await person.start()
        await person.press("q")
        await person.until(lambda: person.app.screen is not person.cockpit)
        assert person.app._background_screens == [person.cockpit]
        step = person.status.step
        await person.until(lambda: person.status.step > step)
        drawn.clear()
        await person.until(lambda: person.cockpit.chart in drawn, "what was trained meanwhile")
