"""Server-sent events (WHATWG HTML, section 9.2): what all streams of the API have in common.

A stream looks again and again at what it is about and sends what is new. It ends when that is over
or when it is old: its follower connects again and goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fastapi import Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from orchestrator.interfaces.api.service import FOLLOW_SECONDS, HEARTBEAT_SECONDS, Service
from orchestrator.interfaces.wire import EVENT_STREAM

Place = TypeVar("Place")

STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}}
}


@dataclass(frozen=True, slots=True)
class Seen(Generic[Place]):
    """What one look found."""

    messages: tuple[bytes, ...]
    place: Place  # how far the follower is
    is_behind: bool = False  # there is more already
    is_over: bool = False  # nothing more will come


Look = Callable[[Place], Seen[Place]]


def wants_stream(accept: str | None) -> bool:
    return EVENT_STREAM in (accept or "")


def stream(
    service: Service, look: Look[Place], place: Place, *, after: int | None = None
) -> Response:
    """A response of all that `look` finds, from `place` on.

    Args:
        service: The clock, and how old a stream gets.
        look: Called on a thread, again and again.
        place: Where it begins.
        after: The id to go on from where the follower is cut off before it heard of any event.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    welcome = b": welcome\n\n" if after is None else f": welcome\nid: {after}\n\n".encode()
    told = _told(service, look, place, welcome)
    return StreamingResponse(told, media_type=EVENT_STREAM, headers=headers)


def message(kind: str, said: BaseModel, id: int | None = None) -> bytes:
    head = f"id: {id}\n" if id is not None else ""
    data = to_json(said.model_dump(), inf_nan_mode="strings").decode()
    return f"{head}event: {kind}\ndata: {data}\n\n".encode()


async def _told(
    service: Service, look: Look[Place], place: Place, welcome: bytes
) -> AsyncIterator[bytes]:
    """Messages until it is over or the stream is old; a client that went away ends it too."""
    until, heard_at = service.clock() + service.stream_seconds, service.clock()
    yield welcome  # headers and a first byte at once
    while True:
        seen = await run_in_threadpool(look, place)
        for said in seen.messages:
            yield said
        place, now = seen.place, service.clock()
        if seen.is_over or now >= until or service.closing.is_set():
            return
        if seen.messages:
            heard_at = now
        elif now - heard_at >= HEARTBEAT_SECONDS:
            heard_at = now
            yield b": still here\n\n"
        if not seen.is_behind:
            await asyncio.sleep(min(FOLLOW_SECONDS, service.stream_seconds))
