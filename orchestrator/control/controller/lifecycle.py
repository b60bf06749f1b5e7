"""What to do next with one job: the controller's decisions, pure.

Called by `loop` for every job that is not at an end, once a cycle. Values in, values out: a `Move`
is a change of rows, an `Act` is done outside of them and its result is in the next `View`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.control.controller.policy import GiveUp, Policy, after_failure
from orchestrator.errors import OrchestratorError
from orchestrator.records import (
    Action,
    Attempt,
    AttemptState,
    Goal,
    Job,
    JobState,
    Outcome,
    Phase,
    Reason,
)

LIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})
"""States that hold an Attempt, and with it their part of the quota."""


class Act(StrEnum):
    """Something to be done outside the rows; at most one of a kind at a time for a job."""

    RENEW = "renew"  # the Attempt's token was lost with the process that made it
    LAUNCH = "launch"
    LOOK = "look"
    STOP = "stop"
    CONCLUDE = "conclude"  # read from the store how it ended
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


@dataclass(frozen=True, slots=True)
class Known:
    """What this process has learned of a job's newest Attempt; a restarted one learns it again."""

    token: str | None = None  # of its Reports; only whoever made it knows it
    seen: Observation | None = None  # newest look
    looked_at: float | None = None
    answered_at: float | None = None  # newest look that was answered
    since: float | None = None  # when this process met it
    launch_at: float | None = None  # the backend was away: try again then
    is_launched: bool = False  # by this process; the rows say so a moment later
    launch_error: OrchestratorError | None = None
    concluded: Concluded | None = None
    conclude_at: float | None = None  # the store was away: ask again then


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


def decide(view: View, now: float, policy: Policy) -> Decision:
    """The next step of a job that is not at an end."""
    if view.job.state is JobState.QUEUED:
        return _waiting(view, now)
    if view.job.state not in LIVE or view.attempt is None:
        return WAIT
    # 1. It has ended, and it is known how.
    if view.known.concluded is not None:
        return Decision(_ended(view, view.known.concluded, now, policy))
    # 2. Somebody or some limit wants it to end.
    if (move := _to_be_stopped(view, now, policy)) is not None:
        return Decision(move)
    # 3. It has ended, and the store knows how.
    if _is_over(view) or is_unreachable(view, now, policy):
        return _once(view, Act.CONCLUDE, due=_due(view.known.conclude_at, now))
    # 4. It was decided, and not launched yet.
    if view.attempt.state is AttemptState.CREATED:
        return _to_be_launched(view, now)
    # 5. It is up.
    if (move := _begun(view, now)) is not None:
        return Decision(move)
    # 6. It is being watched, and stopped where that is the goal.
    acts = [*_stop(view, now, policy), *_look(view, now, policy)]
    asks = _ask_to_save(view, now)
    return Decision(asks, tuple(act for act in acts if act not in view.busy))


# Waiting


def _waiting(view: View, now: float) -> Decision:
    job = view.job
    if job.wanted is not None:
        reason = Reason.CANCELLED if job.wanted is Goal.CANCEL else Reason.SUSPENDED
        return Decision(_end(job.wanted.state, reason, "", now))
    if view.failed_dependency is not None:
        message = f"{view.failed_dependency}, on which this job depends, did not succeed"
        return Decision(_end(JobState.FAILED, Reason.DEPENDENCY_FAILED, message, now))
    limit = job.pre_running_seconds
    if limit is not None and job.started_at is None and now > job.created_at + limit:
        message = f"not running {limit:.0f} s after it was submitted"
        return Decision(_end(JobState.FAILED, Reason.DEADLINE_EXCEEDED, message, now))
    return WAIT


def _end(state: JobState, reason: Reason, message: str, now: float) -> Move:
    finished = {"finished_at": now} if state.is_terminal else {}
    updates = {"wanted": None, "waits": (), "not_before": None, **finished}
    return Move(reason, message, state=state, updates=updates)


# Launching


def _to_be_launched(view: View, now: float) -> Decision:
    """Look first where another process may have launched it: its token is unknown here then."""
    known, attempt = view.known, view.attempt
    assert attempt is not None
    if known.is_launched:
        launched = {"state": AttemptState.LAUNCHED, "launched_at": now}
        return Decision(Move(Reason.LAUNCHED, kind="Launched", attempt=launched))
    if known.token is not None:
        return _once(view, Act.LAUNCH, due=_due(known.launch_at, now))
    if known.seen is None or known.seen.status is AttemptStatus.UNKNOWN:
        return _once(view, Act.LOOK)
    if known.seen.status is AttemptStatus.ABSENT:
        return _once(view, Act.RENEW)
    launched = {"state": AttemptState.LAUNCHED, "launched_at": attempt.created_at}
    return Decision(Move(Reason.LAUNCHED, "found running", kind="Adopted", attempt=launched))


def _begun(view: View, now: float) -> Move | None:
    attempt, seen = view.attempt, view.known.seen
    assert attempt is not None
    if attempt.state is not AttemptState.LAUNCHED:
        return None
    is_up = attempt.reported_at is not None
    if not is_up and (seen is None or seen.status is not AttemptStatus.RUNNING):
        return None
    running = {"state": AttemptState.RUNNING, "running_at": now}
    if view.job.state is not JobState.STARTING:
        return Move(Reason.TRAINING, kind="AttemptRunning", attempt=running)
    started = {} if view.job.started_at is not None else {"started_at": now}
    return Move(Reason.TRAINING, state=JobState.RUNNING, updates=started, attempt=running)


# Stopping


def _to_be_stopped(view: View, now: float, policy: Policy) -> Move | None:
    """The move to STOPPING, or the change of its goal to a stronger one."""
    job = view.job
    if job.wanted is not None and job.wanted is not job.goal:
        reason = Reason.CANCELLED if job.wanted is Goal.CANCEL else Reason.SUSPENDED
        return _stopping(view, job.wanted, reason, "asked for by a user", now)
    if job.state is JobState.STOPPING:
        return None
    if (message := _deadline(job, now)) is not None:
        return _stopping(view, Goal.FAIL, Reason.DEADLINE_EXCEEDED, message, now)
    return _hang(view, now, policy)


def _stopping(view: View, goal: Goal, reason: Reason, message: str, now: float) -> Move:
    assert view.attempt is not None
    saves = view.attempt.phase == Phase.TRAIN
    attempt = {"directive": Action.SAVE_AND_STOP, "directive_at": now} if saves else {}
    updates = {"goal": goal, "goal_reason": reason, "wanted": None}
    if view.job.state is JobState.STOPPING:
        return Move(reason, message, kind="GoalChanged", updates=updates, attempt=attempt)
    return Move(reason, message, state=JobState.STOPPING, updates=updates, attempt=attempt)


def preempted(view: View, message: str, now: float) -> Move:
    """A scheduler's decision as a move: the victim saves first and keeps its place in the queue."""
    return _stopping(view, Goal.REQUEUE, Reason.PREEMPTED, message, now)


def _deadline(job: Job, now: float) -> str | None:
    limit = job.active_seconds
    if limit is not None and job.started_at is not None and now > job.started_at + limit:
        return f"active for more than {limit:.0f} s"
    limit = job.pre_running_seconds
    if limit is not None and job.started_at is None and now > job.created_at + limit:
        return f"not running {limit:.0f} s after it was submitted"
    return None


def _hang(view: View, now: float, policy: Policy) -> Move | None:
    """Stacks first; when they had their time, the gang is stopped and goes on in another one."""
    job, attempt = view.job, view.attempt
    assert attempt is not None
    moved_at = attempt.progressed_at
    if attempt.state is not AttemptState.RUNNING or moved_at is None:
        return None
    limit = job.hang_seconds or policy.hang_seconds
    if now <= moved_at + limit:
        return None
    asked_at = attempt.directive_at
    if attempt.directive != Action.DUMP_STACKS or asked_at is None or asked_at < moved_at:
        message = f"no progress for {limit:.0f} s; asking all ranks for their stacks"
        asked = {"directive": Action.DUMP_STACKS, "directive_at": now}
        return Move(Reason.HANG, message, kind="StacksRequested", attempt=asked)
    if now < asked_at + policy.stacks_seconds:
        return None
    return _stopping(view, Goal.REQUEUE, Reason.HANG, f"no progress for {limit:.0f} s", now)


def _ask_to_save(view: View, now: float) -> Move | None:
    """It began to train after it was asked to stop: now there is something to save."""
    attempt, job = view.attempt, view.job
    assert attempt is not None
    if job.state is not JobState.STOPPING or attempt.directive == Action.SAVE_AND_STOP:
        return None
    if attempt.phase != Phase.TRAIN or attempt.stop_asked_at is not None:
        return None
    asked = {"directive": Action.SAVE_AND_STOP, "directive_at": now}
    return Move(job.goal_reason or Reason.CANCELLED, kind="SaveRequested", attempt=asked)


def _stop(view: View, now: float, policy: Policy) -> list[Act]:
    """Whether the backend must end it: there is nothing to save, or the time to save is over."""
    attempt, job = view.attempt, view.job
    assert attempt is not None
    if job.state is not JobState.STOPPING:
        return []
    asked_at = attempt.stop_asked_at
    if asked_at is not None:
        return [Act.STOP] if now >= asked_at + policy.stop_again_seconds else []
    if attempt.phase == Phase.PUBLISH and now < job.changed_at + policy.save_seconds:
        return []  # a matter of seconds, and then the work is done
    if attempt.directive != Action.SAVE_AND_STOP or attempt.directive_at is None:
        return [] if attempt.phase == Phase.TRAIN else [Act.STOP]
    hangs = job.goal_reason is Reason.HANG
    grace = policy.stacks_seconds if hangs else policy.save_seconds
    return [Act.STOP] if now >= attempt.directive_at + grace else []


# Watching


def _look(view: View, now: float, policy: Policy) -> list[Act]:
    """Reports tell quickly and cost nothing: while they come, looks are rare."""
    attempt, looked_at = view.attempt, view.known.looked_at
    assert attempt is not None
    reports = attempt.reported_at is not None and now < attempt.reported_at + 5.0
    pause = policy.look_seconds * (3 if reports and view.job.state is JobState.RUNNING else 1)
    return [Act.LOOK] if looked_at is None or now >= looked_at + pause else []


def _is_over(view: View) -> bool:
    """Whether the Attempt has ended, or will never be: UNKNOWN alone proves nothing."""
    attempt, known, job = view.attempt, view.known, view.job
    assert attempt is not None
    if known.launch_error is not None or (known.seen is not None and known.seen.status.is_terminal):
        return True
    if Act.LAUNCH in view.busy:
        return False
    is_absent = known.seen is not None and known.seen.status is AttemptStatus.ABSENT
    if attempt.state is not AttemptState.CREATED:
        return is_absent
    never = (known.token is not None and not known.is_launched) or is_absent
    return job.state is JobState.STOPPING and never


def is_unreachable(view: View, now: float, policy: Policy) -> bool:
    """Whether its backend has been silent for so long that the job goes on elsewhere."""
    known, attempt = view.known, view.attempt
    assert attempt is not None
    if known.seen is None or known.seen.status is not AttemptStatus.UNKNOWN:
        return False
    heard = max(
        attempt.reported_at or 0.0, known.answered_at or 0.0, known.since or 0.0, attempt.created_at
    )
    return now > heard + policy.unreachable_seconds


# Ended


def _ended(view: View, concluded: Concluded, now: float, policy: Policy) -> Move:
    job, outcome = view.job, concluded.outcome
    attempt = {"state": AttemptState.ENDED, "ended_at": now, "outcome": outcome}
    base: dict[str, Any] = {"goal": None, "goal_reason": None, "wanted": None, "waits": ()}
    if outcome.state is JobState.SUCCEEDED:
        updates = {**base, "finished_at": now, "model": outcome.model}
        message = outcome.message or (f"published as {outcome.model}" if outcome.model else "")
        return Move(outcome.reason, message, "StateChanged", outcome.state, updates, attempt)
    hangs = job.goal is Goal.REQUEUE and job.goal_reason is Reason.HANG
    if job.goal is None or hangs:
        reason = Reason.HANG if hangs else outcome.reason
        return _failed(view, concluded, reason, base, attempt, now, policy)
    reason = job.goal_reason or Reason.CANCELLED
    updates = {**base, **_goal_updates(job.goal, now)}
    message = outcome.message or ""
    return Move(reason, message, "StateChanged", job.goal.state, updates, attempt)


def _goal_updates(goal: Goal, now: float) -> dict[str, Any]:
    if goal is Goal.REQUEUE:
        return {"preempted_at": now}
    return {"finished_at": now} if goal.state.is_terminal else {}


def _failed(  # noqa: PLR0913
    view: View,
    concluded: Concluded,
    reason: Reason,
    base: dict[str, Any],
    attempt: dict[str, Any],
    now: float,
    policy: Policy,
) -> Move:
    """A failure nobody asked for: the table says whether another Attempt follows."""
    job, outcome = view.job, concluded.outcome
    verdict = after_failure(job, reason, concluded.rung, now, policy)
    counted = {
        **base,
        "failures": {**job.failures, reason: job.failures.get(reason, 0) + 1},
        "node_failures": _counted(job.node_failures, concluded.lost_nodes),
    }
    told = outcome.message or str(reason)
    if isinstance(verdict, GiveUp):
        updates = {**counted, "finished_at": now}
        message = told if outcome.hint else f"{told}; {verdict.message}"
        return Move(reason, message, "StateChanged", JobState.FAILED, updates, attempt)
    updates = {
        **counted,
        "not_before": verdict.not_before,
        "engine": {**job.engine, **verdict.engine},
    }
    message = f"{reason}: {told}; {verdict.message}"
    return Move(Reason.RETRYING, message, "StateChanged", JobState.QUEUED, updates, attempt)


def _counted(failures: Mapping[str, int], nodes: tuple[str, ...]) -> dict[str, int]:
    counts = dict(failures)
    for node in nodes:
        counts[node] = counts.get(node, 0) + 1
    return counts


def _once(view: View, act: Act, *, due: bool = True) -> Decision:
    return Decision(acts=(act,)) if due and act not in view.busy else WAIT


def _due(at: float | None, now: float) -> bool:
    return at is None or now >= at
