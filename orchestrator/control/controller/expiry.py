"""Ended jobs whose time is over: what they left goes, then their rows. Used by `loop` alone.

The bytes go first: a job that is still in the rows is cleared again after a crash, one that is not
would leave checkpoints that nobody knows of.
"""

from __future__ import annotations

import logging
from functools import partial

from orchestrator.control.controller import acts
from orchestrator.control.controller.acts import Workplace
from orchestrator.control.controller.effects import Effects, Key
from orchestrator.control.controller.values import Act
from orchestrator.control.store import Jobs

logger = logging.getLogger(__name__)

CLEAR_SECONDS = 5.0


class Expiry:
    """Clears what has outlived its `ttl_seconds_after_finished`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._clear_at = float("-inf")

    def sweep(
        self, needed: set[str], place: Workplace, effects: Effects, term: int, now: float
    ) -> None:
        """Begins to clear those that are due, except for those that are still needed."""
        if now < self._clear_at:
            return
        self._clear_at = now + CLEAR_SECONDS
        for job in self._jobs.expired(now):
            if job.id not in needed:
                key = Key(job.id, job.attempt, Act.CLEAR, term)
                effects.start(key, partial(acts.clear, place, job))

    def learn(self, key: Key, result: object) -> None:
        """Deletes the rows of a job of which nothing is left; else it is cleared again later."""
        if isinstance(result, Exception):
            logger.warning("what %s left is still in its store: %s", key.job, result)
        else:
            self._jobs.delete(key.job)
