"""What the loss of a run is compared with in the cockpit: the best run before it; and FLOPs."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from engine.config.model_size import flops_per_token
from tests.engine.runs.test_catalogue import write_on
from tests.tui.test_snapshots import PAUSED, StillApp, recorded_run, still

__all__ = ["still"]  # a fixture


async def test_the_best_earlier_run_is_a_line_in_the_chart(runs_dir: Path) -> None:
    run = write_on(runs_dir, "now", "a", 50.0, loss=2.5)
    write_on(runs_dir, "an-earlier-run-of-a-long-name-that-is-cut", "a", 20.0, loss=2.2)
    app = StillApp(PAUSED)
    async with app.run_test(size=(120, 40)) as pilot:
        recorded_run(app)
        await pilot.pause()
        chart = app.cockpit.chart

        def picture() -> list[str]:
            return [chart.render_line(y).text for y in range(chart.size.height)]

        before = picture()
        app.control.run_path = run
        app.cockpit.handler.show_others(run)
        await app.workers.wait_for_complete()
        await pilot.pause()
        (line,) = [row for row in picture() if "best an-earlier-run" in row]
        assert "best an-earlier-run-of-… 2.2 " in line and "┈┈┈" in line
        app.cockpit.handler._take_best(run, None)  # as of a run that is opened after it
        assert picture() == before
        app.cockpit.handler._take_best(run.with_name("another"), ("late", 2.2))  # it has been left
        assert picture() == before


async def test_published_losses_are_lines_until_a_key_hides_all_of_them() -> None:
    app = StillApp(PAUSED)
    async with app.run_test(size=(120, 40)) as pilot:
        recorded_run(app)
        app.control.metrics.references = {"bigram_loss": 2.45}
        app.cockpit.show_chart_source()
        await pilot.pause()
        chart = app.cockpit.chart

        def labels() -> list[str]:
            drawn = chart.shown()
            assert drawn
            return [label for _, label in drawn[0].references]

        assert labels() == ["nanoGPT", "lecture", "bigram"]
        text = "\n".join(chart.render_line(y).text for y in range(chart.size.height))
        assert " nanoGPT 1.88 " in text and " bigram 2.45 " in text
        await pilot.press("R")
        await pilot.pause()
        assert labels() == []
        await pilot.press("R")
        app.control.facts = replace(app.control.facts, corpus="python-docs (stand-in)")
        app.cockpit.show_chart_source()
        await pilot.pause()
        assert labels() == ["bigram"], "of another text"


async def test_the_axis_counts_operations() -> None:
    app = StillApp(PAUSED)
    async with app.run_test(size=(120, 40)) as pilot:
        recorded_run(app)
        app.control.vocab_size = 7
        app.control.store.extend("tokens", range(1, 1251), [512.0 * i for i in range(1, 1251)])  # type: ignore[attr-defined]
        app.cockpit.show_chart_source()
        await pilot.press("x", "x", "x")
        await pilot.pause()
        chart = app.cockpit.chart
        assert chart.view.unit == "FLOPs"
        axis = chart.axis(chart.view)
        assert axis is not None
        each = flops_per_token(app.control.draft.base.model, 7)
        assert axis.of(1000.0) == 512_000 * each
