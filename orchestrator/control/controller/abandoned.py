"""Attempts that were given up while nobody could be asked about them, and may be alive.

Their jobs have gone on elsewhere, so they are ended as soon as their backend answers again. Until
then what they hold of its machines is not given to anybody. Used by `loop` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.control.controller import acts
from orchestrator.control.controller.acts import Workplace
from orchestrator.control.controller.effects import Effects, Key
from orchestrator.control.controller.values import Act
from orchestrator.control.store import JobChange, Jobs, Lease
from orchestrator.records import Attempt, AttemptState, Event, Job

SWEEP_SECONDS = 5.0


class Abandoned:
    """Those there are, as of the last sweep."""

    def __init__(self, jobs: Jobs) -> None:
        self.all: Sequence[tuple[Job, Attempt]] = ()
        self._jobs = jobs
        self._sweep_at = float("-inf")

    def sweep(self, place: Workplace, effects: Effects, term: int, now: float) -> None:
        """Begins to ask for them, and to stop those that are there."""
        if now < self._sweep_at:
            return
        self._sweep_at = now + SWEEP_SECONDS
        self.all = self._jobs.abandoned()
        for job, attempt in self.all:
            key = Key(job.id, attempt.number, Act.SWEEP, term)
            effects.start(key, partial(acts.sweep, place, attempt))

    def learn(self, key: Key, result: object, lease: Lease, now: float) -> None:
        """Takes in what was found of one: it has ended where its backend says so."""
        if not isinstance(result, Observation):
            return
        if not (result.status.is_terminal or result.status is AttemptStatus.ABSENT):
            return
        for job, attempt in self.all:
            if (job.id, attempt.number) == (key.job, key.attempt):
                ended = attempt.model_copy(update={"state": AttemptState.ENDED, "ended_at": now})
                self._jobs.apply(JobChange(job, {}, _event(job, attempt, now), ended), lease)


def _event(job: Job, attempt: Attempt, now: float) -> Event:
    return Event(
        time=now,
        job=job.id,
        attempt=attempt.number,
        kind="AbandonedEnded",
        state=job.state,
        reason=job.reason,
        message="its backend answers again: nothing of it runs any more",
    )
