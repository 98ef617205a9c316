from __future__ import annotations

import pytest
from msgspec import structs

from engine.protocol import State, Status
from tests.cli.conftest import Stream, until
from tui.commands import headless as progress
from tui.commands.headless import CLEAR_LINE, Progress, progress_line

STATUS = Status(
    state=State.RUNNING,
    step=120,
    total_steps=2000,
    tokens=92_160,
    epoch=0.09,
    train_loss=2.5114,
    val_loss=None,
    tokens_per_second=19_200.0,
    tokens_per_step=768,
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "TERMINAL_SECONDS", 0.01)
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.01)


def test_one_line_says_where_it_stands() -> None:
    line = "step 120/2,000 · epoch 0.09 · loss 2.511 · val – · 19.2k tokens/s · 1:15 left"
    assert progress_line(STATUS) == line


def test_within_a_step_that_takes_long_its_share_is_told() -> None:
    status = structs.replace(STATUS, step_share=0.1234)
    assert progress_line(status).startswith("step 120/2,000 (12.3% of the next) · ")
    stream = Stream()
    with Progress(stream, lambda: status):
        until(lambda: "12.3%" in stream.getvalue())
        status = structs.replace(STATUS, step_share=0.5)
        until(lambda: "50.0%" in stream.getvalue())


def test_a_terminal_keeps_one_line_below_what_is_said() -> None:
    stream = Stream(terminal=True)
    line = progress_line(STATUS)[:79]
    with Progress(stream, lambda: STATUS) as shown:
        until(lambda: line in stream.getvalue())
        shown.say("step 100: val 2.6")
        until(lambda: stream.getvalue().endswith(line))
    assert stream.getvalue() == (
        f"{CLEAR_LINE}{line}{CLEAR_LINE}step 100: val 2.6\n{CLEAR_LINE}{line}{CLEAR_LINE}"
    )


def test_elsewhere_there_are_plain_lines_and_none_twice() -> None:
    stream = Stream()
    with Progress(stream, lambda: STATUS) as shown:
        for received in ("downloading: 0.1 MB", "downloading: 0.2 MB", "loading PyTorch"):
            shown.prepare(received)
        until(lambda: progress_line(STATUS) in stream.getvalue())
    assert stream.getvalue().splitlines() == [
        "downloading: 0.1 MB …", "loading PyTorch …", progress_line(STATUS),
    ]  # fmt: skip


def test_a_terminal_that_is_gone_troubles_nobody() -> None:
    stream = Stream(terminal=True, broken=True)
    with Progress(stream, lambda: STATUS) as shown:
        until(lambda: stream.failures)
        shown.say("nobody reads this")


def test_a_save_that_is_long_in_coming_is_announced() -> None:
    status = Status(
        state=State.RUNNING, step=100, total_steps=10**6, next_save=5000, tokens_per_step=1000
    )
    line = progress_line(structs.replace(status, tokens_per_second=1000.0))
    assert line.endswith(" · next save at step 5,000 in 1:21:40")
    assert "next save" not in progress_line(structs.replace(status, tokens_per_second=1e6))
    assert "next save" not in progress_line(status)  # the speed is not known yet
