"""Everything at a glance: once, or as a stream that `orchestrator top` follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response

from orchestrator.interfaces.api.board import Sight, holds_a_place, is_waiting
from orchestrator.interfaces.api.dependencies import MAX_PAGE, ServiceHere, Who
from orchestrator.interfaces.api.routes.cluster import queue_views, sees
from orchestrator.interfaces.api.routes.events import Accept, Team
from orchestrator.interfaces.api.routes.jobs import progress_of
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.api.streams import STREAMED, Seen, message, stream, wants_stream
from orchestrator.interfaces.wire import JobView, Overview, WaitingView
from orchestrator.records import Job, JobState, Principal, Role

router = APIRouter(tags=["cluster"])

LAST = 2**62
"""Behind everybody in line."""

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Jobs that run, and that wait.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who looks, and at how much."""

    who: Principal
    team: str | None  # whose jobs; None: of all
    limit: int


@router.get("/overview", response_model=Overview, responses=STREAMED)
def overview(
    service: ServiceHere, who: Who, limit: Limit = 50, team: Team = None, accept: Accept = None
) -> Response | Overview:
    """What runs, who waits and what is used: once, or with `Accept: text/event-stream` each time
    it has changed."""
    shown = team if who.role is Role.ADMIN or team is not None else who.team
    asked = _Asked(who, shown, limit)
    if not wants_stream(accept):
        return _overview(service.board.look(), asked, service.clock())
    return stream(service, partial(_look, service, asked), _Place())


@dataclass(frozen=True, slots=True)
class _Place:
    """What the follower was told last, and of what."""

    sight: Sight | None = None
    told: Overview | None = None


def _look(service: Service, asked: _Asked, place: _Place) -> Seen[_Place]:
    sight = service.board.glance()
    if sight is place.sight:
        return Seen((), place)
    found = _overview(sight, asked, service.clock())
    known = place.told
    if known is not None and found == known.model_copy(update={"time": found.time}):
        return Seen((), _Place(sight, known))
    return Seen((message("overview", found),), _Place(sight, found))


def _overview(sight: Sight, asked: _Asked, now: float) -> Overview:
    mine = [
        (job, attempt)
        for job, attempt in sight.live
        if asked.team in (None, job.team) and sees(job.team, asked.who)
    ]
    running = [(job, attempt) for job, attempt in mine if holds_a_place(job)]
    waiting = sorted((job for job, _ in mine if is_waiting(job)), key=partial(_standing, sight))
    return Overview(
        time=now,
        team=asked.team,
        queues=tuple(queue_views(sight, asked.who)),
        nodes=sight.nodes,
        running=tuple(
            JobView(**dict(job), progress=None if attempt is None else progress_of(attempt))
            for job, attempt in running[: asked.limit]
        ),
        waiting=tuple(
            WaitingView(**dict(job), position=sight.places.get(job.id))
            for job in waiting[: asked.limit]
        ),
        suspended=sum(job.state is JobState.SUSPENDED for job, _ in mine),
        num_running=len(running),
        num_waiting=len(waiting),
    )


def _standing(sight: Sight, job: Job) -> tuple[int, str, float, str]:
    """The first in line of each queue, then the second ones; who stands in no line comes last."""
    return sight.places.get(job.id, LAST), job.queue, job.queued_at, job.id
