"""How long each phase of an Attempt takes, and how much memory; told to the reporter as it goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.records import Phase
from orchestrator.worker.training.measuring import forget_peak, peak_bytes
from orchestrator.worker.training.reporting import Reporter


class Clock:
    """Seconds of each phase, and the most memory this rank held in it."""

    def __init__(self, reporter: Reporter, seconds: dict[Phase, float]) -> None:
        self._reporter = reporter
        self.seconds = dict(seconds)
        self.peaks: dict[Phase, int] = {}

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        self._reporter.update(phase=phase)
        started = time.monotonic()
        forget_peak()
        yield
        if (peak := peak_bytes()) is not None:
            self.peaks[phase] = max(self.peaks.get(phase, 0), peak)
            self._reporter.update(peak_memory_bytes=peak)
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - started
