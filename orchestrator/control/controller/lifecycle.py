"""What to do next with one job: the controller's decisions, pure.

Called by `loop` for every job that is not at an end, once a cycle. Values in, values out: a `Move`
is a change of rows, an `Act` is done outside of them and its result is in the next `View`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.control.backends.base import AttemptStatus, is_absent, is_alive
from orchestrator.control.controller.policy import GiveUp, Policy, after_failure
from orchestrator.control.controller.values import WAIT, Act, Concluded, Decision, Move, View
from orchestrator.records import (
    Action,
    AttemptState,
    Goal,
    Job,
    JobState,
    Phase,
    Reason,
)

LIVE = frozenset({JobState.STARTING, JobState.RUNNING, JobState.STOPPING})
"""States that hold an Attempt, and with it their part of the quota."""

LOOKS_SHARE = 0.1  # of the time since the launch passes between looks at what comes up


def decide(view: View, now: float, policy: Policy) -> Decision:
    """The next step of a job that is not at an end."""
    if view.job.state is JobState.QUEUED:
        return _waiting(view, now)
    if view.job.state not in LIVE or view.attempt is None:
        return WAIT
    # 1. A user wants it to end: an Attempt that ends by itself meanwhile does not undo that.
    if (move := _asked_to_stop(view, now)) is not None:
        return Decision(move)
    # 2. It has ended, and it is known how.
    if view.known.concluded is not None:
        return Decision(_ended(view, view.known.concluded, now, policy))
    # 3. It has ended, and the store knows how.
    if _is_over(view):
        return _acts(view, *_conclude(view, now))
    # 4. Some limit wants it to end.
    if (move := _limit(view, now, policy)) is not None:
        return Decision(move)
    # 5. Nobody could say for long whether it has ended; looking goes on.
    if is_unreachable(view, now, policy):
        return _acts(view, *_conclude(view, now), *_look(view, now, policy))
    # 6. It was decided, and not launched yet.
    if view.attempt.state is AttemptState.CREATED:
        return _to_be_launched(view, now, policy)
    # 7. It is up.
    if (move := _begun(view, now)) is not None:
        return Decision(move)
    # 8. It is being watched, and stopped where that is the goal.
    acts = _acts(view, *_stop(view, now, policy), *_look(view, now, policy))
    return replace(acts, move=_ask_to_save(view, now))


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


def _to_be_launched(view: View, now: float, policy: Policy) -> Decision:
    """Look first where it may have been launched: by another process, or without an answer."""
    known, attempt = view.known, view.attempt
    assert attempt is not None
    if known.is_launched:
        launched = {"state": AttemptState.LAUNCHED, "launched_at": now}
        return Decision(Move(Reason.LAUNCHED, kind="Launched", attempt=launched))
    if is_alive(known.seen):
        launched = {"state": AttemptState.LAUNCHED, "launched_at": attempt.created_at}
        return Decision(Move(Reason.LAUNCHED, "found running", kind="Adopted", attempt=launched))
    is_untouched = known.token is not None and known.seen is None and not known.in_doubt
    if not is_untouched and not is_absent(known.seen):
        return _acts(view, *_look(view, now, policy))
    if known.token is None:
        return _acts(view, Act.RENEW)
    return _acts(view, *([Act.LAUNCH] if _due(known.launch_at, now) else []))


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


def _asked_to_stop(view: View, now: float) -> Move | None:
    """The move to STOPPING, or to another goal of it."""
    job = view.job
    if job.wanted is None or job.wanted is job.goal:
        return None
    reason = Reason.CANCELLED if job.wanted is Goal.CANCEL else Reason.SUSPENDED
    return _stopping(view, job.wanted, reason, "asked for by a user", now)


def _limit(view: View, now: float, policy: Policy) -> Move | None:
    if view.job.state is JobState.STOPPING:
        return None
    if (message := _deadline(view.job, now)) is not None:
        return _stopping(view, Goal.FAIL, Reason.DEADLINE_EXCEEDED, message, now)
    return _hang(view, now, policy)


def _stopping(view: View, goal: Goal, reason: Reason, message: str, now: float) -> Move:
    attempt = view.attempt
    assert attempt is not None
    saves = attempt.phase == Phase.TRAIN and attempt.directive != Action.SAVE_AND_STOP
    asked = {"directive": Action.SAVE_AND_STOP, "directive_at": now} if saves else {}
    updates = {"goal": goal, "goal_reason": reason, "wanted": None}
    if view.job.state is JobState.STOPPING:
        return Move(reason, message, kind="GoalChanged", updates=updates, attempt=asked)
    return Move(reason, message, state=JobState.STOPPING, updates=updates, attempt=asked)


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
    attempt = view.attempt
    assert attempt is not None
    if not _makes_no_progress(view, policy):
        return None
    assert attempt.progressed_at is not None
    asked_at, limit = attempt.directive_at, _hang_seconds(view.job, policy)
    is_asked = attempt.directive == Action.DUMP_STACKS
    if not is_asked or asked_at is None or asked_at < attempt.progressed_at:
        message = f"no progress for {limit:.0f} s; asking all ranks for their stacks"
        asked = {"directive": Action.DUMP_STACKS, "directive_at": now}
        return Move(Reason.HANG, message, kind="StacksRequested", attempt=asked)
    if now < asked_at + policy.stacks_seconds:
        return None
    return _stopping(view, Goal.REQUEUE, Reason.HANG, f"no progress for {limit:.0f} s", now)


def _makes_no_progress(view: View, policy: Policy) -> bool:
    """Its own Reports must say so: that none come proves nothing, as Reports get lost."""
    attempt = view.attempt
    assert attempt is not None
    if attempt.state is not AttemptState.RUNNING:
        return False
    if attempt.progressed_at is None or attempt.reported_at is None:
        return False
    return attempt.reported_at > attempt.progressed_at + _hang_seconds(view.job, policy)


def _hang_seconds(job: Job, policy: Policy) -> float:
    return job.hang_seconds or policy.hang_seconds


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
    hangs = _makes_no_progress(view, policy)
    grace = policy.stacks_seconds if hangs else policy.save_seconds
    return [Act.STOP] if now >= attempt.directive_at + grace else []


# Watching


def _look(view: View, now: float, policy: Policy) -> list[Act]:
    """Reports tell quickly and cost nothing: while they come, looks are rare."""
    attempt, looked_at = view.attempt, view.known.looked_at
    assert attempt is not None
    reports = attempt.reported_at is not None and now < attempt.reported_at + 5.0
    pause = policy.look_seconds * (3 if reports and view.job.state is JobState.RUNNING else 1)
    if view.job.state is JobState.STARTING and attempt.launched_at is not None:
        # It may be up any moment; what takes long to come up is looked at as rarely as others.
        age = now - attempt.launched_at
        pause = min(pause, max(policy.first_look_seconds, LOOKS_SHARE * age))
    return [Act.LOOK] if looked_at is None or now >= looked_at + pause else []


def _conclude(view: View, now: float) -> list[Act]:
    return [Act.CONCLUDE] if _due(view.known.conclude_at, now) else []


def _is_over(view: View) -> bool:
    """Whether the Attempt has ended, or will never be: UNKNOWN alone proves nothing."""
    attempt, known = view.attempt, view.known
    assert attempt is not None
    if Act.LAUNCH in view.busy:
        return False
    if known.launch_error is not None and not known.in_doubt:
        return True
    if known.seen is not None and known.seen.status.is_terminal:
        return True
    if attempt.state is not AttemptState.CREATED:
        return is_absent(known.seen)
    is_untouched = known.token is not None and known.seen is None
    is_untouched = is_untouched and not known.is_launched and not known.in_doubt
    return view.job.state is JobState.STOPPING and (is_untouched or is_absent(known.seen))


def is_unreachable(view: View, now: float, policy: Policy) -> bool:
    """Whether its backend has been silent for so long that the job goes on elsewhere.

    Only what this process has tried itself counts: a machine that slept has asked nobody.
    """
    known, attempt = view.known, view.attempt
    assert attempt is not None
    if known.away_since is None:
        return False
    return now > max(known.away_since, attempt.reported_at or 0.0) + policy.unreachable_seconds


# Ended


def _ended(view: View, concluded: Concluded, now: float, policy: Policy) -> Move:
    job, outcome = view.job, concluded.outcome
    attempt: dict[str, Any] = {"state": AttemptState.ENDED, "ended_at": now, "outcome": outcome}
    if not concluded.is_gone:
        # Should it be alive, the answer to its next Report ends it, and so does a sweep.
        abandoned = {"state": AttemptState.ABANDONED, "directive": Action.SAVE_AND_STOP}
        attempt |= {**abandoned, "directive_at": now}
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


def _acts(view: View, *acts: Act) -> Decision:
    """Those of them that are not under way already."""
    return Decision(acts=tuple(act for act in acts if act not in view.busy))


def _due(at: float | None, now: float) -> bool:
    return at is None or now >= at
