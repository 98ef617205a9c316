"""After going back in a run: what the panes show, and a new run begins with, is in force there."""

from __future__ import annotations

from typing import Any

from textual.widgets import Input

from engine.protocol import Adjusted, Rewound, RunOpened, SampleStarted
from tests.tui.conftest import Open, Person
from tui.screens.queue_dialog import QueueDialog
from tui.screens.timeline import TimelineScreen

EVALUATED: dict[str, Any] = {"eval.interval": 5, "checkpoint.interval": 5, "sample.max_tokens": 4}
RATE = "optim.learning_rate"


async def train_to(person: Person, step: int) -> None:
    await person.press("space")
    await person.until(lambda: person.status.step >= step, f"step {step}")
    await person.pause()


async def change(person: Person, key: str, text: str) -> None:
    """A live change, and the engine's word that it holds."""
    known = len(person.heard(Adjusted))
    await person.edit(key, text)
    await person.until(lambda: len(person.heard(Adjusted)) > known, f"{key} {text}")
    await person.back_to_keys()


async def sample_with(person: Person, prompt: str, temperature: str) -> None:
    await person.press("p", *prompt, "tab")
    await person.clear()
    await person.press(*temperature, "enter")
    await person.until_heard(SampleStarted, automatic=False)
    await person.back_to_keys()


async def go_back(person: Person, step: int) -> Rewound:
    """b, g, the step, enter, enter."""
    await person.press("b")
    screen = person.app.screen
    assert isinstance(screen, TimelineScreen)
    await person.until(lambda: len(screen._moments) > 2, "the moments")
    await person.press("g", *str(step), "enter", "enter")
    return await person.until_heard(Rewound)


def shown(person: Person, key: str) -> str:
    """The row of a setting in the panel, or its field in the sampling pane."""
    if key.startswith("sample."):
        return person.cockpit.query_one(f"#{key.replace('.', '-')}", Input).value
    person.cockpit.settings.list.go_to(key)
    return str(person.cockpit.settings.list.get_option(key).prompt)


async def changed_at_7_and_back_at_6(person: Person) -> None:
    """Everything that is changed after a step that is then gone back to."""
    await train_to(person, 7)
    await change(person, RATE, "2e-3")
    await change(person, "train.max_steps", "5000")
    await sample_with(person, "The ", "0.5")
    await person.edit("model.n_layer", "3")  # waits for a new run
    await person.back_to_keys()
    await train_to(person, 12)
    assert shown(person, RATE).endswith("0.002")
    await go_back(person, 6)


async def test_the_panes_show_what_is_in_force_at_the_step(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await changed_at_7_and_back_at_6(person)
        assert shown(person, RATE).endswith("0.003")
        assert shown(person, "train.max_steps").endswith("100000 steps")
        assert person.app.control.draft.next_edits == {"model.n_layer": 3}
        await person.press("e", "w")
        assert shown(person, "model.n_layer").endswith("3")
        await person.back_to_keys()
        await person.press("p", "enter")  # what one samples with is of no step
        asked = await person.until_heard(SampleStarted, automatic=False, step=6)
        assert (asked.settings["prompt"], asked.settings["temperature"]) == ("The ", 0.5)


async def test_a_new_run_and_a_queued_one_begin_with_what_is_in_force(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await changed_at_7_and_back_at_6(person)
        await person.press("a")
        await person.until(lambda: isinstance(person.app.screen, QueueDialog), "the dialog")
        person.app.screen.query_one(Input).focus()
        await person.pilot.pause(0)
        await person.press("enter")
        await person.until(lambda: person.app.screen is person.cockpit, "the cockpit")
        (queued,) = person.app.control.queue.queue.entries()
        assert queued.changes == {"model.n_layer": 3}
        for key, value in ((RATE, 0.003), ("train.max_steps", 100_000), ("sample.prompt", "")):
            assert queued.value(key) == value, key

        person.app.control.queue.held = True
        await person.press("n", "enter")
        await person.until(lambda: len(person.heard(RunOpened)) == 2, "the new run")
        config = person.heard(RunOpened)[-1].config
        assert config["optim"]["learning_rate"] == 0.003
        assert config["train"]["max_steps"] == 100_000
        assert (config["sample"]["prompt"], config["sample"]["temperature"]) == ("", 0.8)


async def test_a_change_made_before_the_step_stays(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 5)
        await change(person, RATE, "2e-3")
        changed_at = person.status.step
        await train_to(person, changed_at + 3)
        await change(person, RATE, "1e-3")
        await train_to(person, changed_at + 6)
        await go_back(person, changed_at + 1)
        assert shown(person, RATE).endswith("0.002")


async def test_at_step_0_all_that_was_left_is_still_in_sight(open_app: Open) -> None:
    async with open_app(EVALUATED) as person:
        await train_to(person, 12)
        await go_back(person, 0)
        await person.until(lambda: person.status.step == 0)
        await person.until(lambda: "abandoned" in picture(person), "the faint line")
        assert person.footer()["t"] == "Timeline"
        await person.press("t")
        await person.until(lambda: isinstance(person.app.screen, TimelineScreen))


def picture(person: Person) -> str:
    chart = person.cockpit.chart
    return "\n".join(chart.render_line(y).text for y in range(chart.size.height))
