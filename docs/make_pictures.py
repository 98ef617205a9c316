"""Makes the pictures of the pages from the real app, training a real model: ``make pictures``.

It drives the app without a terminal, at the sizes people use, turns Textual's own screenshots into
PNG files, and records a film of a session.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import resvg_py
from animation import Animation
from textual.pilot import Pilot

from engine.config.presets import preset_config
from engine.protocol import State
from tui.app import GptTuiApp
from tui.control.run import Launch
from tui.screens.inside import InsideScreen

PICTURES = Path(__file__).parent / "pictures"
FONT = "DejaVu Sans Mono"
PIXELS_PER_COLUMN = 12
PATIENCE_SECONDS = 1800.0
FRAME_SECONDS = 0.4


async def main() -> None:
    """Make them all, or those of the functions that are named."""
    PICTURES.mkdir(exist_ok=True)
    makers = [
        (demo, 100, 30),
        (training, 120, 40),
        (all_charts, 200, 50),
        (first_look, 80, 24),
        (looking_back, 120, 40),
        (inside, 120, 40),
        (lecture, 120, 40),
    ]
    for make, width, height in makers:
        if not sys.argv[1:] or make.__name__ in sys.argv[1:]:
            await make(width, height)


async def demo(width: int, height: int) -> None:
    """A film: train, sample, change a setting, read the curve, look at all charts, go back."""
    values = {"train.max_steps": 400, "sample.prompt": "ROMEO:", "eval.interval": 50}
    values |= {"checkpoint.interval": 100}
    async with _app(width, height, values) as (app, pilot):
        film = Film(app, pilot)
        await film.record(2)
        await pilot.press("space")
        while app.control.status.step < 160:
            await film.record(0.5)
        await pilot.press("e")
        await film.record(1)
        app.cockpit.settings.list.go_to("optim.muon_lr")
        await film.record(1)
        await pilot.press("enter")
        await film.record(1)
        app.cockpit.settings.editor.value = "1e-2"
        await film.record(1)
        await pilot.press("enter", "escape")
        while app.control.status.step < 230:
            await film.record(0.5)
        for _ in range(8):
            await pilot.press("left")
            await film.record(0.25)
        await pilot.press("backspace", "g")
        while app.control.status.step < 300:
            await film.record(0.5)
        await pilot.press("g", "space", "s")
        await film.record(4)
        await pilot.press("i")
        await film.record(3)
        for _ in range(5):
            await pilot.press("down")
            await film.record(0.4)
        await pilot.press("5")
        await film.record(2)
        await pilot.press("escape", "t")
        await film.record(1.5)
        for _ in range(4):
            await pilot.press("left")
            await film.record(0.8)
        await pilot.press("escape", "space")
        while app.control.status.state is not State.FINISHED:
            await film.record(0.5)
        await film.record(3)
        film.save("demo")


async def all_charts(width: int, height: int) -> None:
    """All metrics of a run on a large terminal."""
    values = {"train.max_steps": 600, "sample.prompt": "ROMEO:", "eval.interval": 100}
    async with _app(width, height, values) as (app, pilot):
        await pilot.press("space")
        await _until(pilot, lambda: app.control.status.step >= 420)
        await pilot.pause(6)  # the small charts take turns
        _save(app, "all-charts", width)


async def training(width: int, height: int) -> None:
    """A run with a change of the learning rate on the way, its settings, and its end."""
    values = {"train.max_steps": 1000, "sample.prompt": "ROMEO:", "eval.interval": 100}
    async with _app(width, height, values) as (app, pilot):
        await pilot.press("space")
        await _until(pilot, lambda: app.control.status.step >= 420)
        await _set(app, pilot, "optim.muon_lr", "5e-3")
        await _until(pilot, lambda: app.control.status.step >= 640)
        await pilot.pause(1.5)
        _save(app, "training", width)
        await pilot.press("e", "enter")
        await _type(app, pilot, "model.n_layer", "6")
        app.cockpit.settings.list.go_to("optim.beta2")
        await pilot.press("enter")
        app.cockpit.settings.editor.value = "1.5"
        await pilot.pause(0.5)
        _save(app, "settings", width)
        await pilot.press("escape", "escape", "q")
        await pilot.pause(0.5)
        _save(app, "quit", width)
        await pilot.press("escape")
        await _until(pilot, lambda: app.control.status.state is State.FINISHED)
        await pilot.pause(2)
        _save(app, "finished", width)


async def first_look(width: int, height: int) -> None:
    """The smallest preset in the smallest usual terminal."""
    async with _app(width, height, {}, preset="tiny") as (app, pilot):
        await pilot.press("space")
        await _until(pilot, lambda: app.control.status.step >= 330)
        await pilot.pause(1.5)
        _save(app, "small-terminal", width)


async def looking_back(width: int, height: int) -> None:
    """A run gone back in and forked, its timeline, all runs, and two of them compared."""
    values = {"train.max_steps": 300, "eval.interval": 25, "sample.prompt": "ROMEO:"}
    async with _app(width, height, values) as (app, pilot):
        control = app.control
        await pilot.press("space")
        await _until(pilot, lambda: control.status.step >= 200)
        await pilot.press("space")
        await pilot.pause(1)
        await pilot.press("b")
        await pilot.pause(1)
        await pilot.press("left", "left", "left")
        await pilot.pause(1)
        _save(app, "timeline", width)
        await pilot.press("enter")
        await pilot.pause(1)
        if app.screen is not app.cockpit:  # where it takes some seconds, it is asked before
            await pilot.press("enter")
        await _until(pilot, lambda: control.status.branch == 1)
        await _set(app, pilot, "optim.muon_lr", "8e-2")
        await pilot.press("space")
        await _until(pilot, lambda: control.status.step >= 190)
        await pilot.pause(1.5)
        _save(app, "ghost", width)
        await _until(pilot, lambda: control.status.state is State.FINISHED)
        await pilot.pause(1)
        await pilot.press("b")
        await pilot.pause(1)
        await pilot.press("g", *"125", "enter", "f", "enter")
        await _until(pilot, lambda: control.facts.name.endswith("fork-1"))
        await _set(app, pilot, "optim.muon_lr", "1e-2")
        await pilot.press("space")
        await _until(pilot, lambda: control.status.state is State.FINISHED)
        await pilot.pause(1)
        await pilot.press("r")
        await pilot.pause(2)
        await pilot.press("space", "down", "space")
        await pilot.press("c")
        await pilot.pause(3)
        _save(app, "compare", width)


async def inside(width: int, height: int) -> None:
    """The views of the inside of a model, at the end of its training."""
    values = {"train.max_steps": 600, "eval.interval": 100, "eval.health_interval": 20}
    async with _app(width, height, values) as (app, pilot):
        await pilot.press("space")
        await _until(pilot, lambda: app.control.status.state is State.FINISHED)
        await pilot.press("i")
        await pilot.pause(1)
        screen = app.screen
        assert isinstance(screen, InsideScreen)
        answers = screen.state.main.answers
        await _until(pilot, lambda: "heads" in answers and answers["heads"].share == 1)
        names = answers["heads"].found.names
        told = [
            (score, layer, head)
            for layer, heads in enumerate(names)
            for head, (label, score) in enumerate(heads)
            if label not in ("spread", "mixed")
        ]
        _, screen.state.layer, screen.state.head = max(told, default=(0, 1, 0))
        await pilot.press("left")
        await pilot.pause(0.5)
        _save(app, "inside-attention", width)
        await pilot.press("enter", "enter")
        await pilot.pause(1)
        _save(app, "inside-steps", width)
        for view in ("prediction", "surprise", "layers", "embeddings", "health"):
            await pilot.press(str(list(screen._views).index(view) + 1))
            await pilot.pause(1)
            if view == "surprise":  # against a moment early on
                for _ in range(8):
                    await pilot.press("comma")
                    await pilot.pause(0.5)
                await pilot.press("c", "n")
                await pilot.pause(1)
            if view == "layers":
                await pilot.press("c")
                await _until(pilot, lambda: "worth" in answers and answers["worth"].share == 1)
                await pilot.pause(0.5)
            _save(app, f"inside-{view}", width)


async def lecture(width: int, height: int) -> None:
    """The lecture, while its third model is trained."""
    async with _app(width, height, {}, preset="bigram") as (app, pilot):
        for steps in (3000, 5000, 1500):
            await pilot.press("L")
            await pilot.pause(3)  # the cursor goes to the model of the open run
            if app.control.run_path:
                await pilot.press("down")
            before = app.control.run_path
            await pilot.press("t")
            await _until(pilot, lambda: app.screen is app.cockpit)
            await _until(pilot, lambda before=before: app.control.run_path != before)
            await _until(pilot, lambda steps=steps: app.control.status.step >= steps)
        await pilot.press("L")
        await pilot.pause(3)
        _save(app, "lecture", width)
        await pilot.press("up", "2")
        await pilot.pause(1)
        _save(app, "lecture-code", width)


class _app:
    """The app on a temporary runs folder; left without asking."""

    def __init__(
        self, width: int, height: int, values: dict[str, object], preset: str = "fast"
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        config = preset_config(preset).replace(values)
        os.environ["HOME"] = self._folder.name  # so that no path of this machine is in a picture
        self._app = GptTuiApp(Launch(config, Path(self._folder.name) / "runs"))
        self._test = self._app.run_test(size=(width, height))

    async def __aenter__(self) -> tuple[GptTuiApp, Pilot[int]]:
        pilot = await self._test.__aenter__()
        await pilot.pause(0.5)
        return self._app, pilot

    async def __aexit__(self, *details: object) -> None:
        self._app.control.end(30)
        await self._test.__aexit__(None, None, None)
        self._folder.cleanup()


class Film:
    """Records the screens of an app while time passes.

    Args:
        app: It runs.
        pilot: Of the app.
    """

    def __init__(self, app: GptTuiApp, pilot: Pilot[int]) -> None:
        self._app, self._pilot = app, pilot
        self._animation = Animation(*app.size)

    async def record(self, seconds: float) -> None:
        """Go on recording for some time."""
        end = time.monotonic() + seconds
        while (begin := time.monotonic()) < end:
            await self._pilot.pause(FRAME_SECONDS)
            strips = self._app.screen._compositor.render_strips()
            self._animation.add(strips, time.monotonic() - begin)

    def save(self, name: str) -> None:
        """Write the film."""
        (PICTURES / f"{name}.svg").write_text(self._animation.svg(), encoding="utf-8")


async def _until(pilot: Pilot[int], condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the app did not come to where the picture is taken")
        await pilot.pause(0.1)


async def _set(app: GptTuiApp, pilot: Pilot[int], key: str, value: str) -> None:
    await pilot.press("e")
    await _type(app, pilot, key, value)
    await pilot.press("escape")


async def _type(app: GptTuiApp, pilot: Pilot[int], key: str, value: str) -> None:
    app.cockpit.settings.list.focus()
    app.cockpit.settings.list.go_to(key)
    await pilot.press("enter")
    app.cockpit.settings.editor.value = value
    await pilot.press("enter")
    await pilot.pause(0.2)


def _save(app: GptTuiApp, name: str, width: int) -> None:
    svg = app.export_screenshot(title="gpt-tui").replace("Fira Code", FONT)
    png = resvg_py.svg_to_bytes(svg_string=svg, font_family=FONT, width=width * PIXELS_PER_COLUMN)
    (PICTURES / f"{name}.png").write_bytes(bytes(png))


if __name__ == "__main__":
    asyncio.run(main())
