"""Too many open files (``ulimit -n``) are named as such, and never taken for damage."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from data.errors import InputError
from engine.kernels import compiler, library
from engine.kernels.compiler import NoKernels, compiled
from engine.repair.repair import repair
from engine.runs.transfer import copy_run, rename_run, trash_run
from engine.session.worker import open_or_restore
from tests.engine.conftest import SILENT, MakeConfig, Rig

FEW = range(12)  # files that can still be opened; with some more than these each use works


@pytest.fixture
def run(rig: Rig, make_config: MakeConfig) -> Path:
    session = rig.new(make_config(checkpoint__interval=4))
    rig.to_step(session, 8)
    return rig.close(session)


@contextmanager
def only(count: int) -> Iterator[None]:
    """So many more files can be opened."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = (number for number in itertools.count() if not _is_open(number))
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (next(itertools.islice(free, count, None)), limits[1])
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def opened(run: Path) -> None:
    open_or_restore(run, SILENT).close()


USES: dict[str, Callable[[Path], object]] = {
    "copy": lambda run: copy_run(run, run.with_name("copy")),
    "open": opened,
    "repair": lambda run: repair(run, lambda told: None),
    "rename": lambda run: rename_run(run, "renamed"),
    "delete": trash_run,
}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize("use", USES)
def test_where_too_many_files_are_open_that_is_told_and_nothing_is_half_done(
    run: Path, use: str
) -> None:
    """Until there are enough of them: then it works."""
    before, refused = names(run.parent), 0
    for count in FEW:
        try:
            with only(count):
                USES[use](run)
        except InputError as error:
            refused += 1
            assert error.problems[0].startswith("too many files are open")
            assert "ulimit -n" in error.problems[0]
            left = {name for name in names(run.parent) - before if "run.db-" not in name}
            assert left <= {f"{run.name}/notes.toml", ".trash"}
        else:
            break
    else:
        pytest.fail("it never works")
    assert refused
    assert not [name for name in names(run.parent) if "damaged" in name or "part" in name]


def test_a_checkpoint_that_cannot_be_written_for_that_says_so(
    rig: Rig, make_config: MakeConfig
) -> None:
    session = rig.new(make_config())
    rig.to_step(session, 4)
    with only(2):
        session.saving.begin()
        session.saving.collect(None)
    assert any("too many files are open" in str(event) for event in rig.events)
    session.saving.begin()
    session.saving.collect(None)
    assert session.saving.is_saved


def test_without_files_for_the_kernels_that_is_told_and_they_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Path(shutil.copy2(compiled(), tmp_path))
    monkeypatch.setenv("GPT_TUI_KERNELS", str(tmp_path))
    told = []
    for count in FEW:
        compiler._compiler.cache_clear()  # so that it is asked again
        try:
            with only(count):
                library._open(compiled())
        except NoKernels as error:
            told.append(str(error))
        else:
            break
    assert told and all(one.startswith("too many files are open") for one in told)
    assert [*tmp_path.glob("*.so")] == [kept]
