"""``python -m tui``: the same as ``gpt-tui``, from any folder."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path


def _forget_working_folder() -> None:
    """Remove the working folder from the import path, unless this package is there.

    Python puts it first on the path, and it may well hold a ``data`` folder or an ``engine.py``.
    """
    package_home = Path(__file__).resolve().parents[1]
    with suppress(FileNotFoundError):  # it was deleted, which the command tells
        if not sys.flags.safe_path and Path(sys.path[0]).resolve() == Path.cwd() != package_home:
            del sys.path[0]


if __name__ == "__main__":
    _forget_working_folder()
    from tui.cli import main

    sys.exit(main())
