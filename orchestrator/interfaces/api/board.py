"""The cluster as people look at it: who runs, who waits where in line, what is used of what.

A look is shared: however many screens are open, the rows are read once in a moment, and places in
line are worked out again only when a job has changed. Used by the routes of the cluster.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.controller.lifecycle import LIVE
from orchestrator.control.controller.workloads import nodes_of, snapshot
from orchestrator.control.scheduler import Policy, standings
from orchestrator.control.store import Jobs, Queues
from orchestrator.interfaces.wire import NodeView
from orchestrator.records import Attempt, Demand, Job, JobState, Queue, WaitReason
from orchestrator.records.queue import CPU, GPU, MEMORY

Nodes = Callable[[], Mapping[str, Sequence[NodeInfo]]]
"""The machines of each backend, as they were last seen."""

Live = tuple[tuple[Job, Attempt | None], ...]
_Key = tuple[frozenset[tuple[str, int]], tuple[Queue, ...], tuple[tuple[str, NodeInfo], ...]]

SHARED_SECONDS = 0.25
PATIENCE = 10.0  # places in line take at most a tenth of the time


@dataclass(frozen=True, slots=True)
class Sight:
    """Everything of all teams at one moment."""

    live: Live  # jobs that are not at an end, the oldest first, with their newest Attempts
    places: Mapping[str, int]  # job -> its place in the line of its queue
    queues: tuple[Queue, ...]
    used: Mapping[str, Mapping[str, float]]  # queue -> resource -> what its jobs hold
    nodes: tuple[NodeView, ...]


class Board:
    """Looks, and remembers for a moment what it saw. Safe to share between threads."""

    def __init__(
        self,
        jobs: Jobs,
        queues: Queues,
        nodes: Nodes,
        clock: Callable[[], float],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            jobs, queues: The rows.
            nodes: The machines, as they were last seen.
            clock: Seconds since the epoch.
            monotonic: Measures how old a look is.
        """
        self._jobs = jobs
        self._queues = queues
        self._nodes = nodes
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seen: Sight | None = None
        self._seen_at = float("-inf")
        self._places_of: _Key | None = None
        self._places_due = float("-inf")
        self._places: Mapping[str, int] = {}

    def look(self) -> Sight:
        """What there is now."""
        with self._lock:
            return self._looked()

    def glance(self) -> Sight:
        """What there is now, or was a quarter of a second ago; the same object: nothing is new."""
        with self._lock:
            seen = self._seen
            if seen is not None and self._monotonic() < self._seen_at + SHARED_SECONDS:
                return seen
            return self._looked()

    def _looked(self) -> Sight:
        found = self._look()
        if self._seen is None or found != self._seen:
            self._seen = found
        self._seen_at = self._monotonic()
        return self._seen

    def _look(self) -> Sight:
        live = tuple(self._jobs.live())
        queues = tuple(self._queues.list())
        told = {backend: tuple(infos) for backend, infos in self._nodes().items()}
        return Sight(
            live,
            self._standings(live, queues, told),
            queues,
            used_of_queues(live),
            _nodes(told, live),
        )

    def _standings(
        self, live: Live, queues: tuple[Queue, ...], told: Mapping[str, tuple[NodeInfo, ...]]
    ) -> Mapping[str, int]:
        machines = tuple((backend, info) for backend, infos in told.items() for info in infos)
        key = frozenset((job.id, job.version) for job, _ in live), queues, machines
        began = self._monotonic()
        if key != self._places_of and began >= self._places_due:
            now = self._clock()
            blocked = {
                job.id: wait
                for job, _ in live
                for wait in job.waits
                if wait.reason is WaitReason.DEPENDENCY
            }
            nodes = nodes_of(told, ())
            self._places = standings(snapshot(live, nodes, queues, blocked, now, Policy()))
            self._places_of = key
            # Among ten thousand they take a while, and something changes all the time.
            ended = self._monotonic()
            self._places_due = ended + PATIENCE * (ended - began)
        return self._places


def used_of_queues(live: Iterable[tuple[Job, Attempt | None]]) -> dict[str, dict[str, float]]:
    """queue -> resource, as in quotas -> what its jobs hold."""
    used: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for job, attempt in live:
        if job.state not in LIVE or attempt is None:
            continue
        for resource, amount in _amounts(job.demand):
            used[job.queue][resource] += job.demand.workers * amount  # type: ignore[assignment]
    return {queue: dict(amounts) for queue, amounts in used.items()}


def _amounts(demand: Demand) -> Iterable[tuple[str, float]]:
    """What each worker takes, by the names that quotas have."""
    yield CPU, demand.cpus_per_worker
    yield MEMORY, demand.memory_bytes_per_worker
    yield GPU, demand.gpus_per_worker
    if demand.accelerator is not None:
        yield f"{GPU}/{demand.accelerator}", demand.gpus_per_worker


def _nodes(told: Mapping[str, tuple[NodeInfo, ...]], live: Live) -> tuple[NodeView, ...]:
    used = _used_of_nodes(live)
    return tuple(
        NodeView(
            backend=backend,
            name=info.name,
            cpus=info.cpus,
            gpus=info.gpus,
            memory_bytes=info.memory_bytes,
            accelerator=info.accelerator,
            labels=dict(info.labels),
            is_alive=info.is_alive,
            used_cpus=used[CPU, backend, info.name],
            used_gpus=int(used[GPU, backend, info.name]),
            used_memory_bytes=int(used[MEMORY, backend, info.name]),
        )
        for backend, infos in told.items()
        for info in infos
    )


def _used_of_nodes(live: Live) -> Counter[tuple[str, str, str]]:
    """(resource, backend, node) -> what gangs hold of it."""
    used: Counter[tuple[str, str, str]] = Counter()
    for job, attempt in live:
        if job.state not in LIVE or attempt is None:
            continue
        for part in attempt.placement:
            for resource, amount in _amounts(job.demand):
                used[resource, part.backend, part.node] += part.workers * amount  # type: ignore[assignment]
    return used


def is_waiting(job: Job) -> bool:
    return job.state is JobState.QUEUED


def holds_a_place(job: Job) -> bool:
    return job.state in LIVE
