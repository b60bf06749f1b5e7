"""A Job: the durable request, as the control plane remembers it and its interfaces show it.

The documents that belong to it (the spec as written and as resolved, the plan) are large and never
change, so they are a record of their own: whoever lists jobs does not read them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from orchestrator.records.attempt import Identity, Outcome, Placed
from orchestrator.records.base import Record
from orchestrator.records.states import JobState, Reason
from orchestrator.specs import FineTune

PRIORITIES = {"low": -10, "normal": 0, "high": 10, "urgent": 20}
"""The names that specs have for the priorities of jobs."""


class Goal(StrEnum):
    """What a job is being stopped for: the state it goes to when its Attempt has ended."""

    CANCEL = "cancel"
    SUSPEND = "suspend"
    REQUEUE = "requeue"
    FAIL = "fail"  # a deadline has passed

    @property
    def state(self) -> JobState:
        return {
            Goal.CANCEL: JobState.CANCELLED,
            Goal.SUSPEND: JobState.SUSPENDED,
            Goal.REQUEUE: JobState.QUEUED,
            Goal.FAIL: JobState.FAILED,
        }[self]


class Demand(Record):
    """What the gang of a job takes: `workers` equal parts, all or none."""

    workers: int = 1
    cpus_per_worker: float = 1.0
    gpus_per_worker: int = 0
    memory_bytes_per_worker: int = 0
    accelerator: str | None = Field(default=None, description="Kind of GPU; absent: any.")
    node_labels: dict[str, str] = Field(default_factory=dict, description="A node must have them.")
    fewer: tuple[int, ...] = Field(
        default=(), description="Smaller numbers of workers that will do as well, largest first."
    )
    patience_seconds: float = Field(
        default=0.0, description="How long all workers are waited for before fewer are taken."
    )


class WaitReason(StrEnum):
    """Why a job is not running, as the scheduler or the controller found."""

    NOT_BEFORE = "NotBefore"  # a backoff is running
    DEPENDENCY = "Dependency"  # a job of `after` has not finished
    QUEUE_PAUSED = "QueuePaused"
    UNKNOWN_QUEUE = "UnknownQueue"
    QUOTA = "Quota"
    FAIR_SHARE = "FairShare"  # another team of the queue is further below its share
    BEHIND = "Behind"  # an older or more important job of the queue comes first
    NEVER_FITS = "NeverFits"  # no node or set of nodes could hold the gang even when empty
    NO_ROOM = "NoRoom"  # it would fit, but not now
    PREEMPTING = "Preempting"  # victims are saving; their places are reserved
    BACKEND_AWAY = "BackendAway"  # no place to run can be reached
    FEWER_WORKERS = "FewerWorkers"  # it would start with fewer: from then on, or as it must


class Wait(Record):
    """One reason why a job waits; a job has an ordered list of them."""

    reason: WaitReason
    message: str = Field(description="One sentence for a person.")
    remedy: str = Field(default="", description="What would make it start.")


class Job(Record):
    """The durable request. `version` grows with every change: writes name the one they saw."""

    id: str
    name: str
    team: str
    created_by: str
    labels: dict[str, str] = Field(default_factory=dict)
    queue: str = "default"
    priority: int = 0
    state: JobState = JobState.QUEUED
    reason: Reason = Reason.SUBMITTED
    message: str = ""
    goal: Goal | None = Field(default=None, description="Of STOPPING: where to afterwards.")
    goal_reason: Reason | None = Field(default=None, description="Of STOPPING: why.")
    wanted: Goal | None = Field(
        default=None, description="What a user asked for and the controller has not begun yet."
    )
    version: int = 1
    created_at: float = Field(description="Seconds since the epoch, as all times here.")
    changed_at: float = Field(description="When the state was entered.")
    queued_at: float = Field(description="Its place among equals; a requeue keeps it.")
    started_at: float | None = Field(default=None, description="First RUNNING.")
    finished_at: float | None = None
    not_before: float | None = None
    attempt: int = Field(default=0, description="Number of the newest Attempt; 0: none yet.")
    demand: Demand = Demand()
    estimated_seconds: float | None = None
    checkpointed_at: float | None = Field(
        default=None, description="When its newest durable checkpoint was committed."
    )
    preempted_at: float | None = None
    engine: dict[str, Any] = Field(
        default_factory=dict, description="Fields of `engine` that a retry changed."
    )
    failures: dict[Reason, int] = Field(
        default_factory=dict, description="Failed attempts since a user last touched it, by cause."
    )
    node_failures: dict[str, int] = Field(default_factory=dict, description="node -> failures.")
    after: tuple[str, ...] = ()
    pre_running_seconds: float | None = None
    active_seconds: float | None = None
    hang_seconds: float | None = None
    ttl_seconds_after_finished: float | None = None
    waits: tuple[Wait, ...] = ()
    identity: str = Field(description="sha256 over what makes two runs the same run, hex.")
    store: str = Field(description="URL of its object store.")
    model: str | None = Field(default=None, description="name@N, once published.")


class JobDocuments(Record):
    """What a job was submitted with, never changed by anything but `resume --set`."""

    job: str
    written: str = Field(description="The spec's text as the user wrote it.")
    sets: tuple[str, ...] = ()
    spec: FineTune = Field(description="The resolved spec.")
    identity: Identity
    plan: dict[str, Any] = Field(default_factory=dict, description="The Plan as it was shown.")
    git_commit: str | None = None


class AttemptState(StrEnum):
    """What the control plane has done about an Attempt."""

    CREATED = "CREATED"  # decided and durable; the backend may not know it yet
    LAUNCHED = "LAUNCHED"  # the backend has accepted it
    RUNNING = "RUNNING"
    ABANDONED = "ABANDONED"  # given up while nobody could be asked; ended as soon as somebody can
    ENDED = "ENDED"


class Attempt(Record):
    """One gang launch of a Job. Its token opens Reports about itself only, and is kept hashed."""

    job: str
    number: int
    state: AttemptState = AttemptState.CREATED
    backend: str
    placement: tuple[Placed, ...] = ()
    created_at: float
    launched_at: float | None = None
    running_at: float | None = None
    ended_at: float | None = None
    directive: str = Field(default="continue", description="What Reports are answered with.")
    directive_at: float | None = None
    stop_asked_at: float | None = Field(default=None, description="When the backend was asked.")
    phase: str | None = Field(default=None, description="Of rank 0's newest Report.")
    step: int | None = None
    max_steps: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    checkpoint_step: int | None = None
    checkpoint_at: float | None = None
    reported_at: float | None = Field(default=None, description="Newest Report, server's clock.")
    progressed_at: float | None = Field(default=None, description="When step or phase last moved.")
    outcome: Outcome | None = None
