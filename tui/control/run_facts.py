"""What does not change while a run trains, for its status bar and title."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RunFacts:
    """Of the run that is open, or of the one that is to begin."""

    name: str = ""
    corpus: str = ""
    preset: str = ""  # of the run that is still to begin
    parameters: int = 0
    device: str = ""
    precision: str = ""
    threads: int = 0
