"""What the controller has learned of live Attempts by its acts, for as long as it leads.

None of it is durable: whoever leads next looks again. Used by `loop` alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from orchestrator.control.backends.base import AttemptStatus, Observation, is_alive
from orchestrator.control.controller.conclusion import unread
from orchestrator.control.controller.effects import Key
from orchestrator.control.controller.values import Act, Concluded, Known
from orchestrator.errors import (
    BackendUnavailable,
    DatabaseUnavailable,
    OrchestratorError,
    StoreUnavailable,
)
from orchestrator.records import Attempt, Job

ASK_AGAIN_SECONDS = 2.0  # a store or a backend that was away
TRIES_TO_READ = 15  # how an Attempt ended, where nothing is away


class Knowledge:
    """(job, attempt) -> what is known."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], Known] = {}

    def of(self, job: Job) -> Known:
        return self._known.get((job.id, job.attempt), Known())

    def meet(self, job: Job, known: Known) -> None:
        self._known[job.id, job.attempt] = known

    def update(self, job: Job, **changes: Any) -> None:
        self.meet(job, replace(self.of(job), **changes))

    def keep_only(self, live: Iterable[tuple[Job, Attempt | None]]) -> None:
        """Forgets Attempts that are over; begins to know those it has not met."""
        current = ((job.id, job.attempt) for job, attempt in live if attempt is not None)
        self._known = {name: self._known.get(name, Known()) for name in current}

    def learn(self, key: Key, result: object, now: float) -> None:
        """Takes the result of an act in."""
        name = (key.job, key.attempt)
        known = self._known.get(name)
        if known is None:
            return
        if key.act is Act.LAUNCH:
            self._known[name] = _launched(known, result, now)
        elif key.act is Act.LOOK:
            self._known[name] = _looked(known, result, now)
        elif key.act is Act.CONCLUDE:
            self._known[name] = _concluded(known, key, result, now)


def _launched(known: Known, result: object, now: float) -> Known:
    if isinstance(result, BackendUnavailable):
        # Nobody refused it, so it keeps its number; it may even have been accepted.
        again = now + ASK_AGAIN_SECONDS
        return replace(known, launch_at=again, in_doubt=True, seen=None)
    if isinstance(result, OrchestratorError):
        return replace(known, launch_error=result)
    if isinstance(result, Exception):
        return replace(known, launch_error=_defect(result), in_doubt=True, seen=None)
    return replace(known, is_launched=True, seen=None)  # what was seen before is no longer so


def _looked(known: Known, result: object, now: float) -> Known:
    if not isinstance(result, Observation):
        result = Observation(AttemptStatus.UNKNOWN, str(result))
    # An end that was seen once stays: a later look may only fail to find it.
    is_over = known.seen is not None and known.seen.status.is_terminal
    known = replace(known, seen=known.seen if is_over else result, looked_at=now)
    if result.status is AttemptStatus.UNKNOWN:
        return replace(known, away_since=now if known.away_since is None else known.away_since)
    is_there = result.status is not AttemptStatus.ABSENT
    return replace(
        known,
        away_since=None,
        in_doubt=False,
        launch_error=None if is_there and known.in_doubt else known.launch_error,
        concluded=_still_valid(known.concluded) if is_there else known.concluded,
    )


def _still_valid(concluded: Concluded | None) -> Concluded | None:
    """None where it was given up while nobody answered: somebody does now."""
    return concluded if concluded is not None and concluded.is_gone else None


def _concluded(known: Known, key: Key, result: object, now: float) -> Known:
    if isinstance(result, Concluded):
        # If it was given up while nobody answered, and somebody does meanwhile, it goes on.
        is_void = not result.is_gone and is_alive(known.seen)
        return known if is_void else replace(known, concluded=result)
    again = replace(known, conclude_at=now + ASK_AGAIN_SECONDS)
    if isinstance(result, StoreUnavailable | BackendUnavailable | DatabaseUnavailable):
        return again
    again = replace(again, unread=known.unread + 1)
    if again.unread < TRIES_TO_READ:
        return again
    error = result if isinstance(result, OrchestratorError) else _defect(result)
    is_gone = known.seen is None or known.seen.status is not AttemptStatus.UNKNOWN
    given_up = Concluded(unread(key.job, key.attempt, error), is_gone=is_gone)
    return replace(again, concluded=given_up)


def _defect(error: object) -> OrchestratorError:
    return OrchestratorError(f"{type(error).__name__}: {error}")
