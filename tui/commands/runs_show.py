"""``gpt-tui runs show RUN``: all that is known of a run."""

from __future__ import annotations

from pathlib import Path

from engine.runs.catalogue import disk_use, find_parent
from engine.runs.folder import find_run
from engine.runs.summary import RunSummary, read_summaries, read_summary
from tui.charts.sparkline import spark
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.terminal.stdout import put
from tui.text.numbers import amount, duration, loss, moment, short_path, with_unit
from tui.text.tables import columns, format_threads, run_facts, to_json

SPARK_WIDTH = 40


def main(argv: list[str]) -> int:
    """Print what is known of a run."""
    parser = Parser("gpt-tui runs show", "Print all that is known of a run.")
    parser.add_argument("run", metavar="RUN", help="name or path of the run")
    parser.add_argument("--json", action="store_true", help="as one line of JSON")
    args = parser.parse_args(argv)
    path = find_run(args.run, runs_dir_of(args))
    run = read_summary(path)
    size = disk_use(path)
    if args.json:
        put(to_json(run_facts(run) | {"bytes": size}))
    else:
        put(columns([(name, text) for name, text in _facts(run, size) if text]))
    return EXIT_DONE


def _facts(run: RunSummary, size: int) -> list[tuple[str, str]]:
    """Each fact by its name; those that are empty are not worth a line."""
    best = f" at step {run.best_step:,}" if run.best_step is not None else ""
    parameters = "" if run.parameters is None else f"{amount(run.parameters)} parameters"
    machine = [run.device, run.precision, format_threads(run.threads) if run.threads else None]
    return [
        ("run", run.name),
        ("state", f"{run.state} (live)" if run.live else run.state),
        ("", run.pruned),
        ("problem", run.problem.replace("\n", "; ")),
        ("tags", " ".join(run.tags)),
        ("note", run.note),
        ("model", ", ".join(word for word in (run.preset, parameters) if word)),
        ("data", f"{run.corpus} (stand-in)" if run.corpus_note else run.corpus),
        ("steps", f"{run.step:,} of {run.total_steps:,}, {amount(run.tokens)} tokens"),
        ("loss", spark(run.sparkline, SPARK_WIDTH)),
        ("", f"train {loss(run.train_loss)}, val {loss(run.val_loss)}"),
        ("best val", loss(run.best_val_loss) + best),
        ("trained", f"{duration(run.train_seconds)} ({amount(run.tokens_per_second)} tokens/s)"),
        ("on", ", ".join(word for word in machine if word)),
        ("begun", moment(run.created)),
        ("forked from", _parent(run)),
        ("formerly", " ".join(run.formerly)),
        ("on disk", with_unit(size, "B")),
        ("kept in", short_path(run.path)),
    ]


def _parent(run: RunSummary) -> str:
    if not run.parent:
        return ""
    parent = find_parent(run, read_summaries(Path(run.path).parent))
    step = f" at step {run.parent_step:,}" if run.parent_step is not None else ""
    return (parent.name if parent else f"{run.parent} (not here any more)") + step
