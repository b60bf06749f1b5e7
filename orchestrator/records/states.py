"""States, reasons, and the one transition table of Jobs.

States are few because code branches on them; reasons are many because people read them.
"""

from __future__ import annotations

from enum import StrEnum


class JobState(StrEnum):
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"  # still holds its quota
    SUSPENDED = "SUSPENDED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class Reason(StrEnum):
    """Why a job is in its state."""

    SUBMITTED = "Submitted"
    LAUNCHED = "Launched"
    TRAINING = "Training"
    COMPLETED = "Completed"
    INTERRUPTED = "Interrupted"  # the user asked for it; a checkpoint was saved where one could be
    USER_ERROR = "UserError"  # the spec or its data; trying again cannot help
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_FULL = "DiskFull"
    STORE_UNAVAILABLE = "StoreUnavailable"
    STORE_DENIED = "StoreDenied"
    WORKER_LOST = "WorkerLost"
    LAUNCH_FAILED = "LaunchFailed"
    NO_OUTCOME = "NoOutcome"  # the attempt ended without saying how
    NO_METRIC = "NoMetric"  # a script ended without the metric it was to report
    DIVERGED = "Diverged"  # the loss became NaN or infinite
    HANG = "Hang"  # no step for longer than the job allows
    NODE_LOST = "NodeLost"
    PREEMPTED = "Preempted"  # gave way to a job of higher priority; costs no retry
    RETRYING = "Retrying"  # an attempt failed; the next begins at `not_before`
    RETRIED = "Retried"  # it had ended, and a user wants it tried again
    CANCELLED = "Cancelled"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    DEPENDENCY_FAILED = "DependencyFailed"
    VERSION_MISMATCH = "VersionMismatch"  # the cluster's worker package is not the server's
    UNKNOWN = "Unknown"


TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset(
        {JobState.STARTING, JobState.SUSPENDED, JobState.CANCELLED, JobState.FAILED}
    ),
    JobState.STARTING: frozenset(
        {JobState.RUNNING, JobState.STOPPING, JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED}
    ),
    JobState.RUNNING: frozenset(
        {JobState.STOPPING, JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED}
    ),
    JobState.STOPPING: frozenset(
        {
            JobState.SUSPENDED,
            JobState.QUEUED,
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
        }
    ),
    JobState.SUSPENDED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    # An end, unless a user wants another try: it goes on from the newest checkpoint.
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}


def may_follow(before: JobState, after: JobState) -> bool:
    return after in TRANSITIONS[before]
