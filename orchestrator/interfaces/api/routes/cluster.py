"""Where jobs run: queues and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from fastapi import APIRouter

from orchestrator.control.controller.lifecycle import LIVE
from orchestrator.control.controller.submission import require
from orchestrator.errors import NotFound
from orchestrator.interfaces.api.dependencies import ServiceHere, Who
from orchestrator.interfaces.wire import Deleted, NodeView, QueueRequest, QueueView
from orchestrator.records import Attempt, Job, JobState, Principal, Queue, Role
from orchestrator.specs.base import DnsLabel

router = APIRouter(tags=["cluster"])


@router.get("/queues")
def queues(service: ServiceHere, who: Who) -> list[QueueView]:
    """Those the team may submit to; admins see all."""
    jobs = [job for job, _ in service.jobs.live() if _sees(job.team, who)]
    waiting = Counter(job.queue for job in jobs if job.state is JobState.QUEUED)
    running = Counter(job.queue for job in jobs if job.state in LIVE)
    return [
        _queue_view(queue, who, waiting[queue.name], running[queue.name])
        for queue in service.queues.list()
        if not queue.teams or any(_sees(team, who) for team in queue.teams)
    ]


@router.put("/queues/{name}")
def put_queue(name: DnsLabel, asked: QueueRequest, service: ServiceHere, who: Who) -> QueueView:
    """Creates or replaces a queue."""
    require(who, Role.ADMIN)
    queue = Queue(name=name, **asked.model_dump())
    service.queues.put(queue)
    service.wake()
    return _queue_view(queue, who, 0, 0)


@router.delete("/queues/{name}")
def delete_queue(name: str, service: ServiceHere, who: Who) -> Deleted:
    """Deletes a queue in which no job is."""
    require(who, Role.ADMIN)
    if not service.queues.delete(name):
        raise NotFound(f"there is no queue {name}")
    return Deleted(id=name)


@router.get("/nodes")
def nodes(service: ServiceHere, who: Who) -> list[NodeView]:
    """The machines of all backends, and how much of them jobs hold."""
    used = _used(service.jobs.live())
    return [
        NodeView(
            backend=backend,
            name=info.name,
            cpus=info.cpus,
            gpus=info.gpus,
            memory_bytes=info.memory_bytes,
            accelerator=info.accelerator,
            labels=dict(info.labels),
            is_alive=info.is_alive,
            used_cpus=used["cpus", backend, info.name],
            used_gpus=int(used["gpus", backend, info.name]),
            used_memory_bytes=int(used["memory", backend, info.name]),
        )
        for backend, infos in service.nodes().items()
        for info in infos
    ]


def _used(live: Iterable[tuple[Job, Attempt | None]]) -> Counter[tuple[str, str, str]]:
    """(resource, backend, node) -> what gangs hold of it."""
    used: Counter[tuple[str, str, str]] = Counter()
    for job, attempt in live:
        if job.state not in LIVE or attempt is None:
            continue
        for part in attempt.placement:
            for resource, amount in (
                ("cpus", job.demand.cpus_per_worker),
                ("gpus", job.demand.gpus_per_worker),
                ("memory", job.demand.memory_bytes_per_worker),
            ):
                used[resource, part.backend, part.node] += part.workers * amount  # type: ignore[assignment]
    return used


def _sees(team: str, who: Principal) -> bool:
    return who.role is Role.ADMIN or team == who.team


def _queue_view(queue: Queue, who: Principal, waiting: int, running: int) -> QueueView:
    """Without the names of other teams."""
    shown = queue.model_copy(
        update={
            "weights": {team: w for team, w in queue.weights.items() if _sees(team, who)},
            "teams": tuple(team for team in queue.teams if _sees(team, who)),
        }
    )
    return QueueView(**dict(shown), waiting=waiting, running=running)
