"""What the cockpit looks like, with a recorded curve and nothing that moves."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from engine.config.presets import preset_config
from engine.metrics import MetricStore
from engine.protocol import State, Status
from tui.app import GptTuiApp
from tui.control.next_run import Surroundings
from tui.control.run import Launch, RunControl, RunFacts
from tui.screens.cockpit import CockpitScreen
from tui.screens.dialogs import QuitDialog
from tui.widgets.sample_pane import SampleRecord

SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
PAUSED = Status(
    state=State.PAUSED,
    step=1250,
    total_steps=2000,
    tokens=960_000,
    epoch=0.96,
    learning_rate=4.3e-4,
    train_loss=1.842,
    val_loss=1.979,
    val_measured="20 of 145 batches",
    best_val_loss=1.979,
    best_step=1250,
    saved_step=1000,
    train_seconds=61.4,
    tokens_per_second=17_300,
)
FACTS = RunFacts(
    name="nanogpt-cpu-1",
    corpus="tinyshakespeare",
    parameters=807_296,
    device="cpu",
    precision="fp32",
    threads=2,
)
AROUND = Surroundings("CPU, 2 cores", True, "tinyshakespeare (downloaded)", 3)
TEXT = """
KING RICHARD II:
Shall be the way of the world, and the rest
Of this the heart that I have seen thee so.

ROMEO:
What shall we go to the grace?"""

Snap = Callable[..., bool]
Prepare = Callable[[Pilot[int]], Awaitable[None]]


class StillControl(RunControl):
    """Stands where it is told."""

    stands_at = Status()
    store = MetricStore()

    @property
    def status(self) -> Status:
        return self.stands_at

    @property
    def metrics(self) -> MetricStore:
        return self.store


class StillApp(GptTuiApp):
    """Has an engine that has done its work and does no more."""

    def __init__(self, status: Status) -> None:
        super().__init__(Launch(preset_config("nanogpt-cpu"), Path("/home/you/runs")))
        assert isinstance(self.control, StillControl)
        self.control.stands_at = status
        self.animation_level = "none"

    def _begin(self) -> None:
        """No engine, no imports."""


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cursor blinks, no clock ticks, and colours do not depend on the environment."""
    blink = Input.__init__

    def steady(self: Input, *args: Any, **options: Any) -> None:
        blink(self, *args, **options)
        self.cursor_blink = False

    monkeypatch.setattr(Input, "__init__", steady)
    monkeypatch.setattr("tui.screens.cockpit.TICK_SECONDS", 3600)
    monkeypatch.setattr("tui.app.RunControl", StillControl)
    monkeypatch.setattr(CockpitScreen, "_look_around", lambda it: it._take_surroundings(AROUND))
    monkeypatch.setattr("tui.control.next_run._cores", lambda config: 2)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")


def recorded_run(app: GptTuiApp) -> None:
    """Put a run of 1250 steps on the screen."""
    store = MetricStore()
    for step in range(1251):
        decay = math.exp(-step / 220)
        store.append("train_loss", step, 1.84 + 2.4 * decay + 0.07 * math.sin(step * 7.7))
        if step and step % 250 == 0:
            store.append("val_loss", step, 1.97 + 2.2 * decay)
    store.add_mark(800, "learning_rate 0.001→0.0005")
    assert isinstance(app.control, StillControl)
    app.control.store = store
    app.control.facts = FACTS
    app.control.run_path = Path("/home/you/runs/nanogpt-cpu-1")
    cockpit = app.cockpit
    cockpit.show_status()
    cockpit.show_welcome()  # no more: there is a run
    cockpit.query_one("#chart-frame").border_title = "loss · tinyshakespeare"
    cockpit.chart.show(store, max_step=2000, val_label="val, 20 of 145 batches")
    settings = {"prompt": "", "temperature": 0.8, "top_k": 0, "top_p": 1.0, "seed": 1}
    cockpit.samples.load(
        [
            SampleRecord(step, True, settings, TEXT, finished=True, val_loss=loss)
            for step, loss in ((0, None), (250, 2.677), (1250, 1.979))
        ]
    )
    cockpit.refresh_bindings()


def recorded_metrics(app: GptTuiApp) -> None:
    """Record what else a run does, at each twentieth step."""
    assert isinstance(app.control, StillControl)
    store = app.control.store
    for step in range(20, 1251, 20):
        wave = 1 + 0.1 * math.sin(step / 60)
        for name, value in {
            "learning_rate": 1e-3 * (1 - step / 2500),
            "grad_norm": 0.4 + 3 * math.exp(-step / 90) * wave,
            "tokens_per_second": 17_000 * wave,
            "time_data": 2e-4,
            "time_forward": 0.010 * wave,
            "time_backward": 0.021 * wave,
            "time_optimizer": 0.004,
            "memory_host": 4.1e8 + 1e5 * step,
            "cpu_load": 0.96,
            "cpu_load_own": 0.8 * wave,
            "mfu": 0.3 / wave,
        }.items():
            store.append(name, step, value)
    app.cockpit.show_chart_source()


def all_charts(*keys: str) -> Callable[[Pilot[int]], Awaitable[None]]:
    async def prepare(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, GptTuiApp)
        recorded_metrics(app)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
            await pilot.pause()

    return prepare


def after(*keys: str, then: Prepare | None = None) -> Prepare:
    """A recorded run, some keys, and something else."""

    async def prepare(pilot: Pilot[int]) -> None:
        app = pilot.app
        assert isinstance(app, GptTuiApp)
        await pilot.pause()  # until all is there
        recorded_run(app)
        await pilot.pause()
        for key in keys:
            await pilot.press(key)
        if then:
            await then(pilot)
        await pilot.pause()

    return prepare


async def edit_wrongly(pilot: Pilot[int]) -> None:
    """Type a learning rate that cannot be."""
    app = pilot.app
    assert isinstance(app, GptTuiApp)
    await pilot.press("e")
    app.cockpit.settings.list.go_to("optim.learning_rate")
    await pilot.pause()
    await pilot.press("enter", "end", "ctrl+u")
    await pilot.pause()
    await pilot.press(*"fast")


async def leave(pilot: Pilot[int]) -> None:
    """Ask whether to save."""
    pilot.app.push_screen(QuitDialog(lambda: PAUSED))
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_idle(snap_compare: Snap, size: str) -> None:
    assert snap_compare(StillApp(Status()), terminal_size=SIZES[size])


@pytest.mark.parametrize("size", SIZES)
def test_paused(snap_compare: Snap, size: str) -> None:
    assert snap_compare(StillApp(PAUSED), terminal_size=SIZES[size], run_before=after())


@pytest.mark.parametrize("size", SIZES)
def test_editing_with_an_error(snap_compare: Snap, size: str) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES[size], run_before=after(then=edit_wrongly)
    )


def test_help(snap_compare: Snap) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES["120x40"], run_before=after("question_mark")
    )


def test_quit_dialog(snap_compare: Snap) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=SIZES["80x24"], run_before=after(then=leave)
    )


@pytest.mark.parametrize(
    ("size", "keys"),
    [
        ((200, 50), ()),
        ((200, 50), ("j", "j", "enter")),
        ((120, 40), ("g",)),
        ((80, 24), ("g", "j")),
    ],
    ids=["200x50", "200x50-one", "120x40", "80x24"],
)
def test_all_charts(snap_compare: Snap, size: tuple[int, int], keys: tuple[str, ...]) -> None:
    assert snap_compare(
        StillApp(PAUSED), terminal_size=size, run_before=after(then=all_charts(*keys))
    )
