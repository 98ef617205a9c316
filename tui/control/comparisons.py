"""What the settings of the next run can be compared with."""

from __future__ import annotations

from contextlib import suppress

from data.errors import InputError
from engine.config.schema import Config
from tui.control.own_presets import config_of_preset, find_preset
from tui.control.run import RunControl


def comparisons(control: RunControl) -> list[tuple[str, Config]]:
    """Return names and settings: the last runs, then the preset.

    If those of the next run are shown, or edits wait, the run on the screen is the last one; the
    one before it is there in any case. It reads the runs folder, and is called in a thread.
    """
    from engine.runs.catalogue import run_before  # imports numpy

    draft, found = control.draft, []
    if control.run_path is not None and (draft.shows_next or draft.edits):
        found.append((control.run_path.name, draft.base))
    with suppress(InputError, OSError):
        before = run_before(control.launch.runs_dir, control.run_path)
        if before is not None and before.config is not None:
            found.append((before.name, before.config))
    if preset := find_preset(draft.shown_base.preset):
        found.append((f"preset {preset.name}", config_of_preset(preset)))
    return found
