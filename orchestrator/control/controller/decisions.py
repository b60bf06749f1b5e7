"""What to do next with a live Attempt, and how an ended one ended. Pure: values in, values out.

Called by `follow` (once a cycle) and by `attempt` (once at the end).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.records import JobState, Outcome, Phase, Reason

KILLED_EXIT_CODES = (-9, 137)
GO_ON = "run the same command again"


class Act(StrEnum):
    """What the controller does after a look."""

    WAIT = "wait"
    BEGIN = "begin"  # the Attempt runs: the job does too
    ASK_TO_SAVE = "ask_to_save"  # answer Reports with SAVE_AND_STOP
    STOP = "stop"  # there is nothing to save: the backend ends it
    ABANDON = "abandon"  # do not wait for it
    CONCLUDE = "conclude"  # it has ended


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that `decide` looks at."""

    state: JobState
    observation: Observation
    phase: Phase | None  # of the newest Report; None until one has arrived
    stop_level: int
    asked: Act | None = None  # what was last done about the stop


def decide(seen: Snapshot) -> Act:
    """The next act. A look that failed (UNKNOWN) decides nothing."""
    if seen.observation.status.is_terminal:
        return Act.CONCLUDE
    if seen.stop_level >= 2:
        return Act.ABANDON
    if seen.stop_level == 1:
        wanted = _how_to_stop(seen.phase)
        return Act.WAIT if wanted in (seen.asked, Act.WAIT) else wanted
    has_begun = seen.phase is not None or seen.observation.status is AttemptStatus.RUNNING
    return Act.BEGIN if has_begun and seen.state is JobState.STARTING else Act.WAIT


def _how_to_stop(phase: Phase | None) -> Act:
    if phase is Phase.TRAIN:
        return Act.ASK_TO_SAVE
    if phase is Phase.PUBLISH:
        return Act.WAIT  # a matter of seconds, and then the work is done
    return Act.STOP  # before training nothing is new; after it the last step is saved already


@dataclass(frozen=True, slots=True)
class Remains:
    """What an Attempt left in the store."""

    outcome: Outcome | None = None  # its own last word
    is_published: bool = False  # the store holds a complete model version of its job
    checkpoint_step: int | None = None  # newest complete checkpoint


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of an Attempt that has ended, or that was abandoned."""

    job: str
    attempt: int
    observation: Observation
    remains: Remains | None  # None: the store could not be asked
    stop_level: int = 0
    resumed_from_step: int | None = None
    log_tail: str = ""

    @property
    def checkpoint_step(self) -> int | None:
        return self.remains.checkpoint_step if self.remains else None


def conclude(ending: Ending) -> Outcome:
    """How the Attempt ended. Its own word counts, except that success needs a published model."""
    if ending.remains is None:
        return _store_away(ending)
    told = ending.remains.outcome
    if told is not None and told.state is JobState.SUCCEEDED and not ending.remains.is_published:
        return _outcome(
            ending,
            JobState.FAILED,
            Reason.NO_OUTCOME,
            "the attempt says it succeeded, but the store has no complete model of it",
            f"{GO_ON}: it publishes from the newest checkpoint",
        )
    if told is not None:
        return _completed(told, ending)
    if ending.stop_level > 0:
        return _interrupted(ending)
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


def _store_away(ending: Ending) -> Outcome:
    """What is saved there is safe, but cannot be told now."""
    hint = f"{GO_ON} when the store is back: it goes on from the newest checkpoint"
    if ending.stop_level > 0:
        message = "interrupted while the store was away"
        return _outcome(ending, JobState.SUSPENDED, Reason.INTERRUPTED, message, hint)
    message = "the attempt ended, but the store that holds its outcome cannot be reached"
    return _outcome(ending, JobState.FAILED, Reason.STORE_UNAVAILABLE, message, hint)


def _interrupted(ending: Ending) -> Outcome:
    step = ending.checkpoint_step
    kept = "no checkpoint was saved" if step is None else f"the checkpoint of step {step} is saved"
    return _outcome(
        ending,
        JobState.SUSPENDED,
        Reason.INTERRUPTED,
        f"interrupted; {kept}",
        f"{GO_ON} to go on" if step is not None else f"{GO_ON} to begin again",
    )


def _unexplained(ending: Ending) -> Outcome:
    """Nobody said how it ended: the cause is what the backend and the log still tell."""
    step, seen = ending.checkpoint_step, ending.observation
    resume = f"{GO_ON}: it resumes from step {step}" if step is not None else f"{GO_ON}"
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
