r"""The fields of the sampling pane: a prompt of several lines, and nothing typed that vanishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input, Static

from data.specs import join_specs
from engine.protocol import Adjusted, Command, Refused, Sample, SampleFinished, SampleStarted
from tests.tui.conftest import Open, Person


def field(person: Person, name: str) -> Input:
    return person.cockpit.query_one(f"#sample-{name}", Input)


def said(person: Person, what: str = "problem") -> str:
    static = person.cockpit.query_one(f"#sample-{what}", Static)
    return str(static.content) if static.display else ""


async def paste(person: Person, text: str) -> None:
    person.app.post_message(events.Paste(text))
    await person.press()


# ---- several lines -------------------------------------------------------------------------------


async def test_several_lines_are_pasted_as_such(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p")
        await paste(person, "The a\r\nI am ")
        assert field(person, "prompt").value == r"The a\nI am "
        await person.press(*"he", "enter")
        started = await person.until_heard(SampleStarted, automatic=False)
        assert started.settings["prompt"] == "The a\nI am he"
        await person.until_heard(SampleFinished, sample=started.sample)
        record = person.cockpit.samples.current
        assert record and record.settings["prompt"] == "The a\nI am he"
        await person.press("escape")
        assert field(person, "prompt").value == r"The a\nI am he"  # what holds, on one line


async def test_an_empty_prompt_says_what_the_text_begins_with(
    open_app: Open, small_text_file: Path, tmp_path: Path
) -> None:
    async with open_app() as person:
        assert field(person, "prompt").placeholder == "empty: a new document or line"
        await person.start_and_pause()
        assert field(person, "prompt").placeholder == "empty: a new line"
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(small_text_file.read_text())
    several = join_specs([str(tmp_path / name) for name in ("a.txt", "b.txt")])
    async with open_app({"data.corpus": several}) as person:
        await person.start_and_pause()
        assert field(person, "prompt").placeholder == "empty: <|endoftext|>"


@pytest.mark.parametrize(
    ("pasted", "written"),
    [
        ("one line", "one line"),
        (r"from\na field", r"from\na field"),  # copied from such a field, it means the same
        ("a\n", r"a\n"),
        ("C:\\new\nline", r"C:\\new\nline"),  # a text means what it says
        ("a\tb", r"a\tb"),
        ("", ""),
    ],
)
async def test_how_pasted_text_is_written(open_app: Open, pasted: str, written: str) -> None:
    async with open_app() as person:
        await person.press("p")
        await paste(person, pasted)
        assert field(person, "prompt").value == written
        await person.clear()
        person.app.copy_to_clipboard(pasted)
        await person.press("ctrl+v")
        assert field(person, "prompt").value == written


async def test_a_line_break_is_typed_with_a_backslash(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("p", "backslash")
        assert said(person) == ""  # half of it is typed
        await person.press("n", *"The", "enter")
        assert person.app.control.sampling_value("sample.prompt") == "\nThe"
        await person.press("backslash", "enter")
        assert said(person) == (
            r"sample.prompt ends in a single backslash: \n is a new line, \t a tab and \\ a "
            "backslash"
        )
        await person.press("q")
        assert said(person).startswith("sample.prompt has a backslash before 'q'")
        assert person.app.control.sampling_value("sample.prompt") == "\nThe"


async def test_the_settings_panel_takes_several_lines_too(open_app: Open) -> None:
    async with open_app() as person:
        await person.edit("sample.prompt", "", confirm=False)
        await paste(person, "a\nb")
        await person.press("enter")
        assert person.app.control.draft.value("sample.prompt") == "a\nb"
        row = person.cockpit.settings.list.get_option("sample.prompt").prompt
        assert str(row).endswith(r"a\nb")
        await person.edit("train.seed", "", confirm=False)
        await paste(person, "5\n")  # no text: the line break behind it means nothing
        assert person.cockpit.settings.editor.value == "5"


# ---- nothing vanishes ----------------------------------------------------------------------------


async def test_a_refused_temperature_takes_no_prompt_with_it(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p", *"The ", "tab")
        await person.clear()
        await person.press(*"99", "enter")
        assert said(person) == "sample.temperature must be 0 to 10, not 99"
        assert field(person, "temperature").has_focus
        assert field(person, "temperature").has_class("-faulty")  # so it is red
        await person.press("escape")
        assert (field(person, "temperature").value, said(person)) == ("0.8", "")
        assert field(person, "prompt").value == "The "
        assert said(person, "waiting") == "not used yet: prompt (p, then enter)"

        await person.edit("optim.learning_rate", "2e-3")  # another change comes and goes
        await person.until_heard(Adjusted)
        await person.back_to_keys()
        assert field(person, "prompt").value == "The "

        await person.press("p", "enter")
        started = await person.until_heard(SampleStarted, automatic=False)
        assert (started.settings["prompt"], started.settings["temperature"]) == ("The ", 0.8)
        await person.press("escape")
        assert said(person, "waiting") == ""


async def test_the_cursor_goes_to_the_field_that_is_wrong(open_app: Open) -> None:
    async with open_app() as person:
        await person.press("p", "tab")
        await person.clear()
        await person.press(*"hot", "shift+tab", *"The ", "enter")
        assert field(person, "temperature").has_focus
        assert said(person) == "sample.temperature must be a number, not 'hot'"
        assert person.app.control.draft.edits == {}


async def test_a_prompt_that_the_engine_refuses_stays_to_be_mended(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p", *"caf☃", "enter")
        await person.until_heard(Refused)
        await person.press("tab")  # to the temperature, and out of it
        await person.press("escape")
        assert field(person, "prompt").value == "caf☃"
        assert person.app.control.sampling_value("sample.prompt") == ""  # as before
        assert said(person, "waiting") == "not used yet: prompt (p, then enter)"


# ---- one round trip ------------------------------------------------------------------------------


async def test_a_prompt_takes_one_command_and_is_of_the_screen_not_of_the_run(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        sent: list[Command] = []
        send = person.app.control.engine.send

        def note(command: Command) -> None:
            sent.append(command)
            send(command)

        monkeypatch.setattr(person.app.control.engine, "send", note)
        await person.press("p", *"The ", "enter")
        started = await person.until_heard(SampleStarted, automatic=False)
        (command,) = sent
        assert command == Sample({"prompt": "The "}, seed=2, request_id=command.request_id)
        assert command.request_id == started.request_id > 0
        await person.press("escape", "s")
        await person.until(lambda: len(person.heard(SampleStarted, automatic=False)) == 2)
        assert person.heard(SampleStarted)[-1].settings["prompt"] == "The "
        assert field(person, "prompt").value == "The "
        assert not person.heard(Adjusted) and person.journal("adjusted") == []
        assert person.app.control.draft.value("sample.prompt") == "", "that of automatic texts"


async def test_a_prompt_of_the_run_is_set_in_the_panel_and_holds_in_the_field(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p", *"The ", "enter", "escape")
        await person.edit("sample.prompt", "So")
        await person.until_heard(Adjusted)
        await person.until(lambda: field(person, "prompt").value == "So")


# ---- room ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "room"), [((60, 16), 12), ((80, 24), 30), ((120, 40), 30)])
async def test_a_prompt_can_be_typed_beside_the_settings(
    open_app: Open, size: tuple[int, int], room: int
) -> None:
    async with open_app(size=size) as person:
        await person.press("e", "p")
        # a region that is asked for too early is computed there and then, and nobody hears of it
        await person.until(lambda: person.cockpit.settings.size.area > 0, "the settings")

        def all_fit() -> bool:
            regions = [field(person, name).region for name in ("prompt", "temperature", "top_k")]
            inside = person.cockpit.samples.content_region
            wide = all(one.width >= len("off") for one in regions) and regions[0].width >= room
            return wide and all(inside.contains_region(one) for one in regions)

        await person.until(all_fit, "fields wide enough to type in")


async def test_a_character_that_the_model_does_not_know_is_told_while_it_is_typed(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p")
        await person.type("heé")
        await person.until(lambda: said(person), "what is wrong")
        assert said(person).startswith("The model's training text has no 'é'. Remove them")
        assert field(person, "prompt").has_class("-faulty")
        await person.press("backspace")
        await person.until(lambda: not said(person), "nothing wrong")


async def test_what_is_not_plain_to_see_of_a_prompt_is_told_while_it_is_typed(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("p")
        await paste(person, "e" * 32)  # the context
        what = "enter samples with it; P then has automatic texts use it, too"
        assert said(person, "waiting") == what
        await person.press("e")
        told = "the model sees only the last 32 of these 33 characters"
        assert said(person, "waiting").startswith(told)
        await person.press("enter")
        await person.until_heard(SampleStarted, automatic=False)
        assert not said(person, "waiting")
