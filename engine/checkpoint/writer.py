"""Write checkpoints in a thread, one at a time, while training continues."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

from engine.checkpoint.retention import Rules
from engine.checkpoint.store import Snapshot, write_checkpoint


class Saver:
    def __init__(self, run: Path) -> None:
        self._run = run
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-writer")
        self._writing: Future[Path] | None = None

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being written, or its result was not collected yet."""
        return self._writing is not None

    def write(
        self, snapshot: Snapshot, rules: Rules, best: str | None, database: Path | None = None
    ) -> None:
        """Begin to write; the result of the last one must have been collected."""
        assert self._writing is None
        self._writing = self._pool.submit(
            write_checkpoint, self._run, snapshot, rules, best, database
        )

    def collect(self, seconds: float | None = 0.0) -> Path | None:
        """Return the checkpoint that was completed since the last call, if any.

        Args:
            seconds: How long to wait for one being written; None waits for its end.

        Raises:
            OSError: It could not be written.
            Unreadable: The run's database is damaged.
        """
        if self._writing is None or not wait([self._writing], seconds).done:
            return None
        writing, self._writing = self._writing, None
        return writing.result()

    def close(self) -> None:
        self._pool.shutdown()
