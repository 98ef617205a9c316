"""The program's version, and the command that starts it, for hints in messages."""

from __future__ import annotations

from data.program import PROGRAM, install_command, program

__all__ = ["PROGRAM", "VERSION", "install_command", "program"]

VERSION = "0.1.0"  # the only definition; pyproject.toml reads it, too
