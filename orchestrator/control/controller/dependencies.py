"""What queued jobs wait for in other jobs: `scheduling.after`.

Used by `loop` once a cycle.
"""

from __future__ import annotations

from orchestrator.control.store import Jobs
from orchestrator.records import Attempt, Job, JobState, Wait, WaitReason

Live = dict[str, tuple[Job, Attempt | None]]
"""id -> a job that is not at an end, with its newest Attempt."""

_LOST = (None, JobState.FAILED, JobState.CANCELLED)


class Dependencies:
    """Remembers the ends of jobs that others wait for: each is read once."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._ended: dict[str, JobState] = {}

    def of(self, live: Live) -> tuple[dict[str, Wait], dict[str, str]]:
        """Of queued jobs: what they still wait for, and which dependency has failed them."""
        blocked: dict[str, Wait] = {}
        failed: dict[str, str] = {}
        for job, _ in live.values():
            if job.state is not JobState.QUEUED or not job.after:
                continue
            states = {name: self._state(name, live) for name in job.after}
            lost = [name for name, state in states.items() if state in _LOST]
            open_ = [name for name, state in states.items() if state is not JobState.SUCCEEDED]
            if lost:
                failed[job.id] = lost[0]
            elif open_:
                blocked[job.id] = Wait(
                    reason=WaitReason.DEPENDENCY,
                    message=f"It waits for {', '.join(open_)} to succeed.",
                    remedy=f"`orchestrator show {open_[0]}` tells how far that is.",
                )
        return blocked, failed

    def _state(self, job: str, live: Live) -> JobState | None:
        """None: there is no such job any more."""
        if job in live:
            self._ended.pop(job, None)  # it was tried again
            return live[job][0].state
        if job not in self._ended:
            found = self._jobs.get(job)
            if found is None:
                return None
            self._ended[job] = found.state
        return self._ended[job]
