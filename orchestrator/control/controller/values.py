"""What a decision about a job looks at, and what it can be: frozen values.

`loop` makes a View of rows and of what acts found out, `lifecycle` decides about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.control.backends.base import Observation
from orchestrator.errors import OrchestratorError
from orchestrator.records import Attempt, Job, JobState, Outcome, Reason


class Act(StrEnum):
    """Something to be done outside the rows; at most one of a kind at a time for a job."""

    RENEW = "renew"  # the Attempt's token was lost with the process that made it
    LAUNCH = "launch"
    LOOK = "look"
    STOP = "stop"
    CONCLUDE = "conclude"  # read from the store how it ended
    SWEEP = "sweep"  # of an Attempt that was given up: end it if it is there
    CLEAR = "clear"  # delete what an expired job left in the store
    COUNT = "count"  # of a backend, not a job: which machines it has


@dataclass(frozen=True, slots=True)
class Move:
    """A change of a job's rows, with the Event that tells it."""

    reason: Reason
    message: str = ""
    kind: str = "StateChanged"
    state: JobState | None = None  # None: it stays
    updates: Mapping[str, Any] = field(default_factory=dict)
    attempt: Mapping[str, Any] | None = None  # changes of the newest Attempt


@dataclass(frozen=True, slots=True)
class Concluded:
    """How an Attempt ended, as far as store, backend and log could tell."""

    outcome: Outcome
    rung: Mapping[str, Any] | None = None  # the next rung of the memory ladder
    lost_nodes: tuple[str, ...] = ()
    is_gone: bool = True  # false: its backend could not be asked, so it may be alive


@dataclass(frozen=True, slots=True)
class Known:
    """What this process has learned of a job's newest Attempt; a restarted one learns it again."""

    token: str | None = None  # of its Reports; only whoever made it knows it
    seen: Observation | None = None  # newest look
    looked_at: float | None = None
    away_since: float | None = None  # the first of the looks since then that were not answered
    launch_at: float | None = None  # the backend was away: try again then
    in_doubt: bool = False  # a launch was not answered: it may have been accepted
    is_launched: bool = False  # by this process; the rows say so a moment later
    launch_error: OrchestratorError | None = None
    concluded: Concluded | None = None
    conclude_at: float | None = None  # how it ended could not be read: try again then
    unread: int = 0  # how often that was not because something was away


@dataclass(frozen=True, slots=True)
class View:
    """All that a decision looks at."""

    job: Job
    attempt: Attempt | None
    known: Known = Known()
    busy: frozenset[Act] = frozenset()  # acts under way
    failed_dependency: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done now; nothing at all is an answer too."""

    move: Move | None = None
    acts: tuple[Act, ...] = ()


WAIT = Decision()
