"""The controller of a server that is scraped: the same one, and what it does is counted.

Made by `server`; a one-shot run has nobody who asks.
"""

from __future__ import annotations

import time
from typing import Any

from orchestrator.control.controller.loop import Controller
from orchestrator.control.controller.values import Move
from orchestrator.control.scheduler.values import Admit
from orchestrator.records import Attempt, Job, JobState, Reason
from orchestrator.telemetry.metrics import Metrics


class MeteredController(Controller):
    """See `Controller`."""

    def __init__(self, *arguments: Any, metrics: Metrics, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._metrics = metrics

    def cycle(self) -> bool:
        begun = time.monotonic()
        try:
            moved = super().cycle()
        except Exception:
            self._metrics.failed_cycles.inc()
            self._metrics.leads.set(0)  # nothing is decided meanwhile
            raise
        self._metrics.leads.set(int(self.leads))
        if self.leads:
            self._metrics.cycles.observe(time.monotonic() - begun)
        return moved

    def close(self) -> None:
        super().close()
        self._metrics.leads.set(0)

    def _move(
        self, job: Job, attempt: Attempt | None, move: Move, now: float
    ) -> tuple[Job, Attempt | None] | None:
        moved = super()._move(job, attempt, move, now)
        if moved is not None and move.state is not None:
            self._metrics.changes.labels(str(move.state), str(move.reason)).inc()
        return moved

    def _admit(self, job: Job, admit: Admit, now: float) -> bool:
        is_admitted = super()._admit(job, admit, now)
        if is_admitted:
            self._metrics.changes.labels(str(JobState.STARTING), str(Reason.LAUNCHED)).inc()
        return is_admitted
