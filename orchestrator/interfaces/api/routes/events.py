"""Events: pages of them, and streams for those who follow.

A stream is server-sent events (WHATWG HTML, section 9.2): `event` has an Event's id, so that a
follower that was cut off goes on from it; `progress` is how far a job is; `end` is the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from orchestrator.control.controller import verbs
from orchestrator.errors import UserError
from orchestrator.interfaces.api.dependencies import PageAsked, ServiceHere, Who
from orchestrator.interfaces.api.routes.jobs import progress_of
from orchestrator.interfaces.api.service import FOLLOW_SECONDS, HEARTBEAT_SECONDS, Service
from orchestrator.interfaces.wire import EVENT_STREAM, EventPage, Progress
from orchestrator.records import Event, Job, Role

router = APIRouter(tags=["events"])

BATCH = 500
MAX_ID = 2**63 - 1

After = Annotated[int | None, Query(ge=0, le=MAX_ID, description="Events after this id.")]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=30)]
Accept = Annotated[str | None, Header(include_in_schema=False)]
Team = Annotated[str | None, Query(description="Of others: admins only.")]
_STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}
}


@dataclass(frozen=True, slots=True)
class Followed:
    """What a stream is about."""

    job: str | None
    team: str | None
    after: int


@router.get("/events", response_model=EventPage, responses=_STREAMED)
def events(
    service: ServiceHere,
    who: Who,
    page: PageAsked,
    after: After = None,
    team: Team = None,
    last_event_id: LastEventId = None,
    accept: Accept = None,
) -> Response | EventPage:
    """The team's events: a page, or with `Accept: text/event-stream` all that come from now on."""
    shown = team if who.role is Role.ADMIN else who.team
    if team not in (None, shown):
        return EventPage(items=())
    begin = _begin(after, page.cursor, last_event_id)
    if not _wants_stream(accept):
        return _page(service, Followed(None, shown, begin or 0), page.limit)
    if begin is None:
        begin = service.events.newest_id()
    return _stream(service, Followed(None, shown, begin))


@router.get("/jobs/{id}/events", response_model=EventPage, responses=_STREAMED)
def events_of_job(
    id: str,
    service: ServiceHere,
    who: Who,
    page: PageAsked,
    after: After = None,
    last_event_id: LastEventId = None,
    accept: Accept = None,
) -> Response | EventPage:
    """A job's events: a page, or with `Accept: text/event-stream` all of them until its end."""
    job = verbs.visible(service.jobs, id, who)
    begin = _begin(after, page.cursor, last_event_id) or 0
    followed = Followed(job.id, None, begin)
    return (
        _stream(service, followed)
        if _wants_stream(accept)
        else _page(service, followed, page.limit)
    )


def _begin(after: int | None, cursor: str | None, last_event_id: str | None) -> int | None:
    """The id to go on from; None: none was given."""
    for text in (last_event_id, cursor):
        if text is not None:
            if not text.isdecimal() or int(text) > MAX_ID:
                raise UserError(f"{text!r} is no id of an event")
            return int(text)
    return after


def _wants_stream(accept: str | None) -> bool:
    return EVENT_STREAM in (accept or "")


def _page(service: Service, followed: Followed, limit: int) -> EventPage:
    found = service.events.list(
        job=followed.job, team=followed.team, after_id=followed.after, limit=limit + 1
    )
    following = str(found[limit - 1].id) if len(found) > limit else None
    return EventPage(items=tuple(found[:limit]), next=following)


# Following


def _stream(service: Service, followed: Followed) -> Response:
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_told(service, followed), media_type=EVENT_STREAM, headers=headers)


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a follower is."""

    after: int
    version: int = 0  # of the job: without a newer one it has no newer events
    progress: bytes = b""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look found."""

    messages: tuple[bytes, ...]
    place: _Place
    is_behind: bool = False  # there is more already
    is_over: bool = False  # nothing more will come


async def _told(service: Service, followed: Followed) -> AsyncIterator[bytes]:
    """Messages until the job is over or the stream is old; a client that went away ends it too."""
    place, look = _Place(followed.after), _look_at_job if followed.job else _look_at_team
    until, heard_at = service.clock() + service.stream_seconds, service.clock()
    yield b": welcome\n\n"  # headers and a first byte at once
    while True:
        seen = await run_in_threadpool(look, service, followed, place)
        for message in seen.messages:
            yield message
        place, now = seen.place, service.clock()
        if seen.is_over or now >= until:
            return
        if seen.messages:
            heard_at = now
        elif now - heard_at >= HEARTBEAT_SECONDS:
            heard_at = now
            yield b": still here\n\n"
        if not seen.is_behind:
            await asyncio.sleep(min(FOLLOW_SECONDS, service.stream_seconds))


def _look_at_team(service: Service, followed: Followed, place: _Place) -> _Seen:
    if service.events.newest_id() <= place.after:
        return _Seen((), place)
    found = service.events.list(team=followed.team, after_id=place.after, limit=BATCH)
    return _with_events(found, place)


def _look_at_job(service: Service, followed: Followed, place: _Place) -> _Seen:
    assert followed.job is not None
    # The job before its events: what happens in between is told before the end.
    job = service.jobs.get(followed.job)
    if job is None:
        return _Seen((), place, is_over=True)
    seen = _Seen((), place)
    if job.version != place.version:
        found = service.events.list(job=job.id, after_id=place.after, limit=BATCH)
        seen = _with_events(found, place)
    messages, place = seen.messages, seen.place
    attempts = service.attempts.list(job.id) if job.attempt else []
    if attempts and (told := _message("progress", progress_of(attempts[-1]))) != place.progress:
        messages, place = (*messages, told), replace(place, progress=told)
    if seen.is_behind:
        return replace(seen, messages=messages, place=place)
    if job.state.is_terminal:
        messages = (*messages, _message("end", job))
    return _Seen(messages, replace(place, version=job.version), is_over=job.state.is_terminal)


def _with_events(found: list[Event], place: _Place) -> _Seen:
    messages = tuple(_message("event", event, event.id) for event in found)
    after = place.after if not found else found[-1].id or place.after
    return _Seen(messages, replace(place, after=after), is_behind=len(found) == BATCH)


def _message(kind: str, said: Event | Progress | Job, id: int | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    data = to_json(said.model_dump(), inf_nan_mode="strings").decode()
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()
