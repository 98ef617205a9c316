"""What the app is launched with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.config.schema import Config


@dataclass(frozen=True)
class Launch:
    """The command line, understood."""

    config: Config  # of the run that space will start
    runs_dir: Path
    name: str | None = None  # of the run that space will start
    run: Path | None = None  # an existing run to open instead
    command_line: str = ""
