"""What goes into a scheduling cycle and what comes out of it: frozen values, nothing that acts.

The controller builds a Snapshot from the store's rows and the backends' nodes, and applies the
Decisions. Times are seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.records import Demand, Placed, Queue, Wait


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each thing that a node has."""

    cpus: float = 0.0
    memory_bytes: int = 0
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of one backend.

    What is free of it is not said but found: capacity less what others take, less what the
    workloads of the same snapshot hold. A backend's own word on it comes too late to be safe.
    """

    name: str
    backend: str
    capacity: Resources
    foreign: Resources = Resources()  # what others than the snapshot's workloads take
    accelerator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    is_schedulable: bool = True  # false: what is there goes on, nothing new comes


@dataclass(frozen=True, slots=True)
class Workload:
    """A job that waits for a placement, or that holds one until its last process is gone."""

    job: str
    team: str
    queue: str
    priority: int
    queued_at: float
    demand: Demand
    placement: tuple[Placed, ...] = ()  # empty: it waits
    is_stopping: bool = False  # is saving or being ended; its place is free soon
    eligible_at: float | None = None  # a backoff: not before then
    shrinks_at: float | None = None  # from then on `demand.fewer` workers will do; None: never
    blocked_by: Wait | None = None  # what the controller already knows to be in the way
    remaining_seconds: float | None = None  # estimated; of a waiting one, of its whole run
    started_at: float | None = None  # of the attempt that holds the placement
    checkpointed_at: float | None = None  # newest durable checkpoint
    preempted_at: float | None = None  # when it last gave way
    avoid: frozenset[str] = frozenset()  # names of nodes to use only if nothing else fits

    @property
    def is_waiting(self) -> bool:
        return not self.placement and not self.is_stopping


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's numbers."""

    allows_preemption: bool = True
    preemption_cooldown_seconds: float = 900.0  # for so long a job gives way only once
    max_reservations: int = 64  # jobs a cycle that get a place in the future; bounds its time


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a cycle looks at. Job ids, queue names and (backend, node) are each unique."""

    now: float
    nodes: tuple[Node, ...]
    queues: tuple[Queue, ...]
    workloads: tuple[Workload, ...]
    policy: Policy = Policy()


@dataclass(frozen=True, slots=True)
class Admit:
    """Start the job there. All its workers have a place, in one backend."""

    job: str
    placement: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Preempt:
    """Let the job save and stop: its place is kept for another one."""

    job: str
    for_job: str
    reason: str  # one sentence


@dataclass(frozen=True, slots=True)
class Reservation:
    """A place kept for a waiting job; nothing starts now that would still be in it by then."""

    job: str
    starts_at: float | None  # None: it hangs on jobs that do not say when they end
    placement: tuple[Placed, ...]


@dataclass(frozen=True, slots=True)
class Decisions:
    """What to do about a snapshot. Every waiting workload is admitted or has waits."""

    admissions: tuple[Admit, ...]
    preemptions: tuple[Preempt, ...]
    reservations: tuple[Reservation, ...]
    waits: Mapping[str, tuple[Wait, ...]]  # job -> why it waits, what weighs most first
