"""Where jobs run: queues and machines."""

from __future__ import annotations

from collections import Counter

from fastapi import APIRouter

from orchestrator.control.controller.submission import require
from orchestrator.errors import NotFound
from orchestrator.interfaces.api.board import Sight, holds_a_place, is_waiting
from orchestrator.interfaces.api.dependencies import ServiceHere, Who
from orchestrator.interfaces.wire import Deleted, NodeView, QueueRequest, QueueView
from orchestrator.records import Principal, Queue, Role
from orchestrator.specs.base import DnsLabel

router = APIRouter(tags=["cluster"])


@router.get("/queues")
def queues(service: ServiceHere, who: Who) -> list[QueueView]:
    """Those the team may submit to; admins see all."""
    return queue_views(service.board.look(), who)


@router.put("/queues/{name}")
def put_queue(name: DnsLabel, asked: QueueRequest, service: ServiceHere, who: Who) -> QueueView:
    """Creates or replaces a queue."""
    require(who, Role.ADMIN)
    queue = Queue(name=name, **asked.model_dump())
    service.queues.put(queue)
    service.wake()
    return _queue_view(queue, who)


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
    return list(service.board.look().nodes)


def queue_views(sight: Sight, who: Principal) -> list[QueueView]:
    """Those the team may submit to, with the counts of its jobs; admins see all."""
    jobs = [job for job, _ in sight.live if sees(job.team, who)]
    waiting = Counter(job.queue for job in jobs if is_waiting(job))
    running = Counter(job.queue for job in jobs if holds_a_place(job))
    return [
        _queue_view(queue, who).model_copy(
            update={
                "waiting": waiting[queue.name],
                "running": running[queue.name],
                "used": sight.used.get(queue.name, {}),
            }
        )
        for queue in sight.queues
        if not queue.teams or any(sees(team, who) for team in queue.teams)
    ]


def sees(team: str, who: Principal) -> bool:
    return who.role is Role.ADMIN or team == who.team


def _queue_view(queue: Queue, who: Principal) -> QueueView:
    """Without the names of other teams."""
    shown = queue.model_copy(
        update={
            "weights": {team: w for team, w in queue.weights.items() if sees(team, who)},
            "teams": tuple(team for team in queue.teams if sees(team, who)),
        }
    )
    return QueueView(**dict(shown))
