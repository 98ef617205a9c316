"""Texts in the cockpit: seeds, history, several at once, probabilities, scrolling, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from textual import events

from engine.config.schema import SETTINGS
from engine.protocol import Evaluated, SampleFinished, SampleStarted, SampleText, TokenOdds
from engine.runs.database import RunDatabase
from tests.tui.conftest import Open, Person
from tui.widgets.sample_pane import (
    FIELDS,
    MOST_TOKENS_WITH_ODDS,
    PromptField,
    SampleRecord,
    SeedField,
)
from tui.widgets.text_view import Passage, TextView, band_of, format_odds

LONG: dict[str, Any] = {"sample.max_tokens": 600}


async def sampled(person: Person, *keys: str, texts: int = 1) -> list[SampleStarted]:
    """Press keys that ask for texts; return what was begun once all are finished."""
    before = len(person.heard(SampleStarted, automatic=False))
    await person.press(*keys)
    await person.until(
        lambda: len(person.heard(SampleStarted, automatic=False)) == before + texts, "the texts"
    )
    began = person.heard(SampleStarted, automatic=False)[before:]
    for one in began:
        await person.until_heard(SampleFinished, sample=one.sample)
    person.cockpit.samples.refresh_text()
    return began


def view_of(person: Person) -> TextView:
    return person.cockpit.samples.view


def rows_of(view: TextView) -> list[str]:
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


async def test_a_new_prompt_is_shown_while_an_older_text_is_still_written(open_app: Open) -> None:
    async with open_app() as person:
        pane = person.cockpit.samples
        pane.begin(SampleRecord(1, True, {"prompt": "RO", "seed": 1}, "MEO", number=1))
        pane.expect("JULIET:")
        pane.refresh_text()
        assert [one.whole for one in pane.view.passages] == ["JULIET:"]
        assert str(pane.border_title).startswith("the next sample")
        pane.append(1, "!")
        pane.refresh_text()
        assert [one.whole for one in pane.view.passages] == ["JULIET:"]
        pane.begin(SampleRecord(2, False, {"prompt": "JULIET:", "seed": 2}, number=2))
        pane.refresh_text()
        assert str(pane.border_title).startswith("sample at step 2")
        assert str(pane.border_subtitle) == "◂ sample 2 of 2 ▸"
        pane.expect("JULIET:")
        pane.refresh_text()
        pane.expect(None)  # refused
        pane.refresh_text()
        assert str(pane.border_title).startswith("sample at step 2")


async def test_the_title_names_the_prompt_if_the_row_has_another(open_app: Open) -> None:
    async with open_app() as person:
        pane = person.cockpit.samples
        titles = {"": "no prompt", "RO": "“RO”", "a\n" * 40: "“" + r"a\n" * 7 + "a…”"}
        held = {key: SETTINGS[key].default for key in FIELDS}
        for number, prompt in enumerate(titles, start=1):
            record = SampleRecord(number, False, {"prompt": prompt, "seed": 1}, "!", number, True)
            pane.begin(record)
            for in_row in titles:
                pane.show_settings(held | {"sample.prompt": in_row})
                pane.refresh_text()
                title = str(pane.border_title)
                assert title.startswith(f"sample at step {number} · ")
                named = [one for one in titles.values() if f" · {one} · " in title]
                assert named == ([] if prompt == in_row else [titles[prompt]])


async def test_a_text_that_the_model_ended_says_so(open_app: Open) -> None:
    async with open_app() as person:
        pane = person.cockpit.samples
        pane.begin(SampleRecord(1, False, {"seed": 1}, "one", number=1))
        pane.finish(1, "max_tokens")
        pane.refresh_text()
        assert "end of text" not in str(pane.border_title)
        pane.begin(SampleRecord(2, False, {"seed": 1}, "two", number=2))
        pane.finish(2, "end_of_text")
        pane.refresh_text()
        assert str(pane.border_title).endswith("seed 1 · end of text")
        pane.begin(SampleRecord(3, False, {"seed": 1}, "three", number=3, group=3))
        pane.begin(SampleRecord(3, False, {"seed": 2}, "four", number=4, group=3))
        pane.finish(4, "end_of_text")
        pane.refresh_text()
        assert [one.title for one in pane.view.passages] == ["seed 1", "seed 2, end of text"]


# ---- seeds and prompts ---------------------------------------------------------------------------


async def test_each_text_has_another_seed_until_one_is_fixed(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        begun = await sampled(person, "s") + await sampled(person, "s")
        begun += await sampled(person, "p", "enter") + await sampled(person, "enter")
        assert [one.settings["seed"] for one in begun] == [2, 3, 4, 5]
        first, second = person.texts()[-2:]
        assert first != second
        seed = person.cockpit.query_one(SeedField)
        seed.focus()
        begun = await sampled(person, "3", "enter")
        begun += await sampled(person, "escape", "s")
        assert [one.settings["seed"] for one in begun] == [3, 3]
        assert person.texts()[-1] == person.texts()[-2] == person.texts()[-5]
        assert str(person.cockpit.samples.border_title).endswith("seed 3")
        seed.focus()
        await person.press("backspace")
        (one,) = await sampled(person, "enter")
        assert one.settings["seed"] == 6
        run = person.run
    async with open_app(run=run) as person:  # its texts are known
        await person.until(lambda: person.app.control.is_open)
        (one,) = await sampled(person, "s")
        assert one.settings["seed"] == 7


async def test_earlier_prompts_come_back_with_the_arrows_also_after_a_restart(
    open_app: Open,
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        for prompt in ("The ", "and\\n", "The "):
            await person.press("p")
            await person.clear()
            await sampled(person, *prompt.replace("\\", "\\"), "enter")
        run = person.run
    database = RunDatabase(run / "run.db")  # as somebody else might have written it
    database.add_sample(0, 1, None, {"prompt": "\x1b[2J\u202e"}, "x")
    database.close()
    async with open_app(run=run) as person:
        await person.until(lambda: person.cockpit.samples.records, "its texts")
        await person.press("p")
        field = person.cockpit.query_one(PromptField)
        typed = field.value
        await person.press("up")
        assert field.value == "\x1b[2J\u202e"
        assert "\x1b" not in "".join(one.text for one in field.render_line(0))
        await person.press("up")
        assert field.value == "The "
        await person.press("up")
        assert field.value == "and\\n"
        await person.press("up", "down", "down", "down", "down")
        assert field.value == typed


async def test_a_text_goes_on_from_where_it_ended(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await sampled(person, "s")
        first = person.cockpit.samples.current
        assert first
        (one,) = await sampled(person, "greater_than_sign")
        assert one.settings["prompt"] == first.passage.whole
        assert person.cockpit.samples.current is not first
        assert person.app.control.draft.value("sample.prompt") == ""  # it was for this text alone


async def test_a_text_can_be_stopped(open_app: Open) -> None:
    async with open_app({"sample.max_tokens": 10**6}) as person:
        await person.start_and_pause()
        await person.press("S")
        await person.until(lambda: len(person.heard(SampleStarted, automatic=False)) == 4)
        last = person.heard(SampleStarted)[-1].sample
        await person.until_heard(SampleText, sample=last)
        await person.press("k")
        await person.until_heard(SampleFinished, sample=last)
        records = [one for one in person.cockpit.samples.records if not one.automatic]
        assert all(one.finished and one.text for one in records)
        await person.press("k")  # the automatic one
        await person.until(lambda: person.cockpit.samples.being_written is None)


# ---- several -------------------------------------------------------------------------------------


async def test_several_texts_stand_beside_or_below_each_other(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        begun = await sampled(person, "S", texts=4)
        assert [one.settings["seed"] for one in begun] == [2, 3, 4, 5]
        assert {one.group for one in begun} == {begun[0].sample}
        pane = person.cockpit.samples
        await person.until(lambda: rows_of(pane.view)[0].startswith("seed 2"))
        assert rows_of(pane.view)[0].split() == ["seed", "2", "│", "seed", "3"]
        await person.press("F")  # the text alone
        await person.until(lambda: rows_of(pane.view)[0].count("seed") > 2)
        await person.press("escape", "left_square_bracket")
        assert len(pane.shown) == 1
        run = person.run
    async with open_app(run=run) as person:
        await person.until(lambda: len(person.cockpit.samples.shown) == 4, "the same four")


async def test_probes_are_sampled_after_each_evaluation(open_app: Open) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await person.press("P")
        assert person.told().startswith("type a prompt")
        for prompt in ("The ", "a|b "):
            person.cockpit.samples.prompt_field.value = ""
            await person.press("p", *("ctrl+u", *prompt), "enter", "escape")
            await person.press("P")
        await person.until(lambda: person.app.control.draft.base.sample.probes == r"The |a\|b ")
        await person.press("v")
        await person.until_heard(Evaluated)
        await person.until(lambda: len(person.heard(SampleStarted, automatic=True)) >= 4)
        *_, first, second, third = person.heard(SampleStarted, automatic=True)
        prompts = [one.settings["prompt"] for one in (first, second, third)]
        assert prompts == ["", "The ", "a|b "]  # the run's own prompt first
        assert first.group == second.group == third.group == first.sample
        await person.press("P")  # and no more
        await person.until(lambda: person.app.control.draft.base.sample.probes == "The ")


# ---- probabilities -------------------------------------------------------------------------------


async def test_characters_are_shaded_by_their_probability(open_app: Open) -> None:
    async with open_app(size=(120, 40)) as person:
        await person.start_and_pause()
        await sampled(person, "s")
        record, view = person.cockpit.samples.current, view_of(person)
        assert record and len(record.passage.odds) == len(record.text) == 20
        assert all(
            0 < one.probability <= 1
            and one.rank >= 1
            and sum(p for _, p in one.alternatives) <= 1.0001
            and (one.rank == 1) == (one.alternatives[0][1] <= one.probability)
            for one in record.passage.odds
        )
        plain = rows_of(view)[:3]
        await person.press("o")
        assert view.shaded
        assert rows_of(view)[:3] == plain  # nothing moves
        assert rows_of(view)[-1].split()[0] == "probability"
        styles = {str(one.style) for y in range(3) for one in view.render_line(y)}
        assert len(styles) > 3
        await person.press("right")
        assert view.odds is record.passage.odds[0]
        assert format_odds(view.odds)[:30] in rows_of(view)[-1]
        await person.press("right", "right", "left")
        assert view.odds is record.passage.odds[1]
        await person.press("o")
        assert rows_of(view)[-1].split()[:2] == ["rank", "top"]
        await person.press("o")
        assert not view.shaded


def test_the_bands_of_a_token() -> None:
    odds = TokenOdds(1, 0.3, 11, (("e", 0.5), (" ", 0.3), ("\n", 0.0004)))
    assert (band_of(odds, "probability"), band_of(odds, "rank")) == (1, 2)
    assert format_odds(odds) == "30 %, rank 11   of: e 50 % · ␣ 30 % · ⏎ < 0.1 %"


# ---- scrolling -----------------------------------------------------------------------------------


async def test_the_text_scrolls_from_anywhere_in_the_cockpit(open_app: Open) -> None:
    async with open_app(LONG) as person:
        await person.start_and_pause()
        await person.press("p", *"The ")
        await sampled(person, "enter")
        view = view_of(person)
        await person.until(lambda: view.last_top > 2, "a text longer than the pane")
        await person.press("ctrl+home")
        assert view.top == 0
        await person.press("pagedown")  # the prompt has the focus all the while
        assert view.top == min(view.last_top, view.rows - 1) > 0
        await person.press("pageup")
        assert view.top == 0
        await person.press("escape", "e", "ctrl+end")
        assert view.top == view.last_top > 0
        await person.press("escape", "F")
        await person.until(lambda: view.size.height > 12, "the text alone")
        await person.press("F")
        await person.until(lambda: view.size.height < 12, "everything")
        await person.press("ctrl+home")  # in the new layout
        await person.until(lambda: view.top == 0, "the beginning")
        view.post_message(_wheel(view, 1))
        await person.until(lambda: view.top == min(3, view.last_top))
        await person.press("up")
        assert view.top == min(3, view.last_top) - 1


def _wheel(view: TextView, by: int) -> events.MouseEvent:
    kind = events.MouseScrollUp if by < 0 else events.MouseScrollDown
    return kind(view, 1, 1, 0, by, 0, False, False, False)


async def test_an_automatic_text_takes_nothing_away_that_is_read(open_app: Open) -> None:
    async with open_app(LONG) as person:
        await person.start_and_pause()
        await sampled(person, "s")
        pane = person.cockpit.samples
        record = pane.current
        await person.press("ctrl+home", "v")
        await person.until(lambda: len(person.heard(SampleStarted, automatic=True)) == 2)
        pane.refresh_text()
        assert pane.current is record
        await sampled(person, "s")
        assert pane.current is not record


# ---- copies and files ----------------------------------------------------------------------------


async def test_a_text_is_copied_and_saved_in_the_folder_of_the_run(
    open_app: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_app() as person:
        await person.start_and_pause()
        await sampled(person, "s")
        record = person.cockpit.samples.current
        assert record
        await person.press("C", "W", "W")
        assert person.app.clipboard == record.passage.whole
        saved = sorted((person.run / "texts").iterdir())
        assert [one.name for one in saved] == [f"step-{record.step}-{n}.txt" for n in (1, 2)]
        assert saved[0].read_text() == record.passage.whole
        said = [person.told()]
        assert any(str(saved[1].name) in one for one in said)
        linked(person.run / "texts", person.run.parent / "elsewhere")
        await person.press("W")
        said = [person.told()]
        assert any("is a link" in one for one in said)


def linked(folder: Path, elsewhere: Path) -> None:
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)


# ---- memory and time -----------------------------------------------------------------------------


async def test_a_long_text_costs_no_more_than_a_short_one(open_app: Open) -> None:
    async with open_app() as person:
        pane = person.cockpit.samples
        pane.begin(SampleRecord(1, False, {"prompt": ""}, number=7))
        pane.append(7, "many words " * 10_000)
        pane.refresh_text()
        view, laid_out = pane.view, []
        add = view._columns[0].lines.add
        view._columns[0].lines.add = lambda text: laid_out.append(text) or add(text)  # type: ignore[method-assign, func-returns-value]
        for _ in range(50):
            pane.append(7, "more ")
            pane.refresh_text()
            rows_of(view)
        assert laid_out == ["more "] * 50
        assert view.top == view.last_top > 1000


async def test_probabilities_are_kept_of_the_newest_texts_alone(open_app: Open) -> None:
    async with open_app() as person:
        pane = person.cockpit.samples
        odds = [TokenOdds(1, 0.5, 1, ())] * (MOST_TOKENS_WITH_ODDS // 4)
        for number in range(9):
            pane.begin(SampleRecord(1, False, {}, number=number))
            pane.append(number, "x" * len(odds), odds)
        kept = [bool(one.passage.odds) for one in pane.records]
        assert kept == [False] * 5 + [True] * 4


async def test_a_passage_knows_its_tokens() -> None:
    passage = Passage("p", "abcdef", odds=[TokenOdds(n, 0.5, 1, ()) for n in (2, 3)])
    assert [passage.token_at(n) for n in range(-1, 7)] == [None, 0, 0, 1, 1, 1, None, None]
