"""Events: pages of them, and streams for those who follow.

Messages of a stream: `event` has an Event's id, so that a follower that was cut off goes on from
it; `progress` is how far a job is, `waits` why it is not running; `end` is the last one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from orchestrator.control.controller import verbs
from orchestrator.errors import UserError
from orchestrator.interfaces.api.dependencies import PageAsked, ServiceHere, Who
from orchestrator.interfaces.api.routes.jobs import progress_of
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.api.streams import STREAMED, Seen, message, stream, wants_stream
from orchestrator.interfaces.wire import EventPage, Waiting
from orchestrator.records import Event, Job, Role

router = APIRouter(tags=["events"])

BATCH = 500
MAX_ID = 2**63 - 1

After = Annotated[int | None, Query(ge=0, le=MAX_ID, description="Events after this id.")]
Last = Annotated[
    int | None, Query(ge=0, le=MAX_ID, description="Only so many, the newest; not with `after`.")
]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID", max_length=30)]
Accept = Annotated[str | None, Header(include_in_schema=False)]
Team = Annotated[str | None, Query(description="Of others: admins only.")]


@dataclass(frozen=True, slots=True)
class Followed:
    """What a stream is about."""

    job: str | None
    team: str | None
    after: int | None  # the id before the first event; None: nobody said


@router.get("/events", response_model=EventPage, responses=STREAMED)
def events(
    service: ServiceHere,
    who: Who,
    page: PageAsked,
    after: After = None,
    last: Last = None,
    team: Team = None,
    last_event_id: LastEventId = None,
    accept: Accept = None,
) -> Response | EventPage:
    """The team's events: a page, or with `Accept: text/event-stream` all that come from now on."""
    shown = team if who.role is Role.ADMIN else who.team
    if team not in (None, shown):
        return EventPage(items=())
    begin = _begin(after, page.cursor, last_event_id)
    followed = _from(Followed(None, shown, begin), last, service)
    if not wants_stream(accept):
        return _page(service, followed, page.limit)
    if followed.after is None:
        followed = replace(followed, after=service.events.newest_id())
    return _stream(service, followed)


@router.get("/jobs/{id}/events", response_model=EventPage, responses=STREAMED)
def events_of_job(
    id: str,
    service: ServiceHere,
    who: Who,
    page: PageAsked,
    after: After = None,
    last: Last = None,
    last_event_id: LastEventId = None,
    accept: Accept = None,
) -> Response | EventPage:
    """A job's events: a page, or with `Accept: text/event-stream` all of them until its end."""
    job = verbs.visible(service.jobs, id, who)
    begin = _begin(after, page.cursor, last_event_id)
    followed = _from(Followed(job.id, None, begin), last, service)
    if not wants_stream(accept):
        return _page(service, followed, page.limit)
    return _stream(service, followed)


def _begin(after: int | None, cursor: str | None, last_event_id: str | None) -> int | None:
    """The id to go on from; None: none was given."""
    for text in (last_event_id, cursor):
        if text is not None:
            if not text.isdecimal() or int(text) > MAX_ID:
                raise UserError(f"{text!r} is no id of an event")
            return int(text)
    return after


def _from(followed: Followed, last: int | None, service: Service) -> Followed:
    """Begins before the newest `last` events, unless it is told where to go on."""
    if last is None or followed.after is not None:
        return followed
    begin = service.events.before_last(last, job=followed.job, team=followed.team)
    return replace(followed, after=begin)


def _page(service: Service, followed: Followed, limit: int) -> EventPage:
    found = service.events.list(
        job=followed.job, team=followed.team, after_id=followed.after or 0, limit=limit + 1
    )
    following = str(found[limit - 1].id) if len(found) > limit else None
    return EventPage(items=tuple(found[:limit]), next=following)


# Following


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a follower is."""

    after: int
    version: int = 0  # of the job: without a newer one it has no newer events
    progress: bytes = b""
    waits: bytes = b""


def _stream(service: Service, followed: Followed) -> Response:
    after = followed.after or 0
    look = partial(_look_at_job if followed.job else _look_at_team, service, followed)
    return stream(service, look, _Place(after), after=after)


def _look_at_team(service: Service, followed: Followed, place: _Place) -> Seen[_Place]:
    newest = service.events.newest_id()
    if newest <= place.after:
        return Seen((), place)
    found = service.events.list(team=followed.team, after_id=place.after, limit=BATCH)
    seen = _with_events(found, place)
    if seen.is_behind:
        return seen
    # What others did in between need not be gone through again.
    return replace(seen, place=replace(seen.place, after=max(newest, seen.place.after)))


def _look_at_job(service: Service, followed: Followed, place: _Place) -> Seen[_Place]:
    assert followed.job is not None
    # The job before its events: what happens in between is told before the end.
    job = service.jobs.get(followed.job)
    if job is None:
        return Seen((), place, is_over=True)
    seen = Seen((), place)
    if job.version != place.version:
        found = service.events.list(job=job.id, after_id=place.after, limit=BATCH)
        seen = _with_events(found, place)
    messages, place = _with_state(job, service, seen)
    if seen.is_behind:
        return replace(seen, messages=messages, place=place)
    if job.state.is_terminal:
        messages = (*messages, message("end", job))
    return Seen(messages, replace(place, version=job.version), is_over=job.state.is_terminal)


def _with_state(job: Job, service: Service, seen: Seen[_Place]) -> tuple[tuple[bytes, ...], _Place]:
    """Beside its events: why it waits, and how far its newest Attempt is, where that is news."""
    messages, place = seen.messages, seen.place
    told = message("waits", Waiting(waits=job.waits)) if job.waits else b""
    if told != place.waits:
        messages, place = (*messages, told) if told else messages, replace(place, waits=told)
    attempts = service.attempts.list(job.id) if job.attempt else []
    if attempts and (told := message("progress", progress_of(attempts[-1]))) != place.progress:
        messages, place = (*messages, told), replace(place, progress=told)
    return messages, place


def _with_events(found: list[Event], place: _Place) -> Seen[_Place]:
    messages = tuple(message("event", event, event.id) for event in found)
    after = place.after if not found else found[-1].id or place.after
    return Seen(messages, replace(place, after=after), is_behind=len(found) == BATCH)
