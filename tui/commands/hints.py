"""What to type next: commands that work from here, as they are."""

from engine.hints import PROGRAM, program
from engine.run.folder import in_runs_dir, typed_name

__all__ = ["PROGRAM", "in_runs_dir", "program", "typed_name"]
