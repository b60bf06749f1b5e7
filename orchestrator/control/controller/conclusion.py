"""How an Attempt ended, from what it left behind. Pure: values in, values out.

Called by `acts` once the backend says that it is over, or that nobody can tell any more.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.errors import (
    InvalidInput,
    OrchestratorError,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    VersionMismatch,
)
from orchestrator.records import JobState, Outcome, Reason

KILLED_EXIT_CODES = (-9, 137)


@dataclass(frozen=True, slots=True)
class Remains:
    """What an Attempt left in the store."""

    outcome: Outcome | None = None  # its own last word
    is_published: bool = False  # the store holds a complete model version of its job
    checkpoint_step: int | None = None  # newest complete checkpoint


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an Attempt that has ended, or that nobody can see any more."""

    job: str
    attempt: int
    observation: Observation
    remains: Remains
    go_on: str  # what a person does to go on, e.g. "run the same command again"
    is_stopping: bool = False
    publishes: bool = True  # whether success needs a published model
    launch_error: OrchestratorError | None = None
    resumed_from_step: int | None = None
    log_tail: str = ""

    @property
    def checkpoint_step(self) -> int | None:
        return self.remains.checkpoint_step


def conclude(ending: Ending) -> Outcome:
    """How the Attempt ended. Its own word counts, except that success needs a published model."""
    told = ending.remains.outcome
    is_lacking = ending.publishes and not ending.remains.is_published
    if told is not None and told.state is JobState.SUCCEEDED and is_lacking:
        return _outcome(
            ending,
            JobState.FAILED,
            Reason.NO_OUTCOME,
            "the attempt says it succeeded, but the store has no complete model of it",
            f"{ending.go_on}: it publishes from the newest checkpoint",
        )
    if told is not None:
        return _completed(told, ending)
    if ending.is_stopping:
        return _interrupted(ending)
    if ending.launch_error is not None:
        return _not_launched(ending, ending.launch_error)
    return _unexplained(ending)


def _completed(told: Outcome, ending: Ending) -> Outcome:
    """The Attempt's own word, with what only the controller knows."""
    if told.state is JobState.SUCCEEDED:
        return told
    updates: dict[str, object] = {}
    if told.checkpoint_step is None:
        updates["checkpoint_step"] = ending.checkpoint_step
    if told.resumed_from_step is None and told.state is JobState.FAILED:
        updates["resumed_from_step"] = ending.resumed_from_step
    return told.model_copy(update=updates)


def unread(job: str, attempt: int, error: OrchestratorError) -> Outcome:
    """Of an Attempt whose end cannot be read from the store, and not because it is away."""
    return Outcome(
        job=job,
        attempt=attempt,
        state=JobState.FAILED,
        reason=_reason_of(error, Reason.UNKNOWN),
        message=f"how it ended cannot be read: {error.message}",
        hint=error.hint,
    )


def _not_launched(ending: Ending, error: OrchestratorError) -> Outcome:
    reason = _reason_of(error, Reason.LAUNCH_FAILED)
    return _outcome(ending, JobState.FAILED, reason, error.message, error.hint)


def _reason_of(error: OrchestratorError, otherwise: Reason) -> Reason:
    fitting = (reason for kind, reason in _REASONS if isinstance(error, kind))
    return next(fitting, otherwise)


_REASONS: tuple[tuple[type[OrchestratorError], Reason], ...] = (
    (StoreUnavailable, Reason.STORE_UNAVAILABLE),
    (StoreDenied, Reason.STORE_DENIED),
    (StoreFull, Reason.DISK_FULL),
    (VersionMismatch, Reason.VERSION_MISMATCH),
    (InvalidInput, Reason.USER_ERROR),  # the spec does not fit what was saved
)
"""The first that fits."""


def _interrupted(ending: Ending) -> Outcome:
    step = ending.checkpoint_step
    kept = "no checkpoint was saved" if step is None else f"the checkpoint of step {step} is saved"
    return _outcome(
        ending,
        JobState.SUSPENDED,
        Reason.INTERRUPTED,
        f"interrupted; {kept}",
        f"{ending.go_on} to go on" if step is not None else f"{ending.go_on} to begin again",
    )


def _unexplained(ending: Ending) -> Outcome:
    """Nobody said how it ended: the cause is what the backend and the log still tell."""
    step, seen = ending.checkpoint_step, ending.observation
    resume = (
        f"{ending.go_on}: it resumes from step {step}" if step is not None else f"{ending.go_on}"
    )
    if seen.reason is not None:
        hint = seen.hint or resume
        return _outcome(ending, JobState.FAILED, seen.reason, seen.message, hint)
    if seen.status in (AttemptStatus.UNKNOWN, AttemptStatus.ABSENT):
        detail = f": {seen.message}" if seen.message else ""
        message = f"the cluster lost the attempt{detail}"
        return _outcome(ending, JobState.FAILED, Reason.NODE_LOST, message, resume)
    if "OutOfMemoryError" in ending.log_tail:
        hint = "lower engine.micro_batch_size or resources.workers, or close other programs"
        return _outcome(
            ending, JobState.FAILED, Reason.OUT_OF_MEMORY, "this machine ran out of memory", hint
        )
    if seen.status is AttemptStatus.SUCCEEDED:
        message = "the attempt ended with exit code 0 but left no outcome"
        return _outcome(
            ending, JobState.FAILED, Reason.NO_OUTCOME, message + _quoted(ending.log_tail), resume
        )
    killed = seen.exit_code in KILLED_EXIT_CODES
    what = "was killed" if killed else "ended without saying how"
    code = f" (exit code {seen.exit_code})" if seen.exit_code is not None else ""
    detail = f": {seen.message}" if seen.message and not killed else ""
    message = f"the attempt {what}{code}{detail}{_quoted(ending.log_tail)}"
    return _outcome(ending, JobState.FAILED, Reason.WORKER_LOST, message, resume)


def _outcome(
    ending: Ending, state: JobState, reason: Reason, message: str, hint: str | None
) -> Outcome:
    return Outcome(
        job=ending.job,
        attempt=ending.attempt,
        state=state,
        reason=reason,
        message=message,
        hint=hint,
        resumed_from_step=ending.resumed_from_step,
        checkpoint_step=ending.checkpoint_step,
    )


def _quoted(log_tail: str) -> str:
    return f"\nThe log ends with:\n{log_tail}" if log_tail.strip() else ""
