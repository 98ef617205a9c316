"""``gpt-tui runs``: what there is."""

from __future__ import annotations

from engine.run.reader import DAMAGED, RunSummary, read_summaries
from tui.commands import EXIT_DONE
from tui.commands.options import Parser, runs_dir_of
from tui.commands.output import run_facts, table, to_json
from tui.wording import amount, duration, loss

HEADER = ("name", "state", "preset", "parameters", "step", "best val", "train time", "data")
RIGHT = (3, 4, 5, 6)


def main(argv: list[str]) -> int:
    """List the runs, the newest last."""
    parser = Parser("gpt-tui runs", "List the runs, the newest last.")
    parser.add_argument("--json", action="store_true", help="as one line of JSON: an array")
    args = parser.parse_args(argv)
    runs_dir = runs_dir_of(args)
    runs = read_summaries(runs_dir)
    if args.json:
        print(to_json([run_facts(run) for run in runs]))
    elif runs:
        print(table(HEADER, map(_row, runs), RIGHT))
    else:
        print(f"no runs in {runs_dir} yet: gpt-tui begins one")
    return EXIT_DONE


def _row(run: RunSummary) -> tuple[str, ...]:
    if run.state == DAMAGED:
        return (run.name, run.state, "", "", "", "", "", run.problem.splitlines()[0])
    return (
        run.name,
        f"{run.state} (live)" if run.live else run.state,
        run.preset,
        "–" if run.parameters is None else amount(run.parameters),
        f"{run.step:,}/{run.total_steps:,}",
        loss(run.best_val_loss),
        duration(run.train_seconds),
        f"{run.corpus} (stand-in)" if run.corpus_note else run.corpus,
    )
