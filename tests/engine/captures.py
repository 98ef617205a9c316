"""What stands for a CUDA graph where there is no GPU."""

from __future__ import annotations

from engine.machine.cuda_graph import Capture, Work


class Recorder:
    """Captures by remembering; counts how often."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self) -> Capture:
        return self._capture

    def _capture(self, work: Work) -> Work:
        self.captured += 1

        def again() -> None:
            self.replayed += 1
            work()

        return again
