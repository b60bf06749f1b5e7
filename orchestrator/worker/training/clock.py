"""How long each phase of an Attempt takes, told to the reporter as it begins."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.records import Phase
from orchestrator.worker.training.reporting import Reporter


class Clock:
    """Seconds of each phase."""

    def __init__(self, reporter: Reporter, seconds: dict[Phase, float]) -> None:
        self._reporter = reporter
        self.seconds = dict(seconds)

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        self._reporter.update(phase=phase)
        started = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - started
