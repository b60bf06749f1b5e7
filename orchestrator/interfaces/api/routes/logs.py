"""The output of ranks, as a stream of text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from orchestrator.control.controller import verbs
from orchestrator.interfaces.api.dependencies import ServiceHere, Who
from orchestrator.interfaces.api.routes.jobs import attempt_of
from orchestrator.interfaces.api.service import FOLLOW_SECONDS, Service
from orchestrator.records import Attempt, AttemptState, Job

router = APIRouter(tags=["logs"])

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get("/jobs/{id}/logs", response_class=StreamingResponse, responses=_TEXT)
def logs(
    id: str,
    service: ServiceHere,
    who: Who,
    attempt: Annotated[int | None, Query(ge=1, description="Absent: the newest.")] = None,
    rank: Annotated[
        int | None, Query(ge=0, le=1_000_000, description="Absent: the driver's output.")
    ] = None,
    offset: Annotated[int, Query(ge=0, le=2**53, description="In bytes.")] = 0,
    follow: Annotated[bool, Query(description="Until the Attempt has ended.")] = False,
) -> StreamingResponse:
    """What a rank has printed, from a byte on."""
    job = verbs.visible(service.jobs, id, who)
    found = attempt_of(job, attempt, service)
    first = service.logs.read(job, found, rank, offset)
    pieces = _pieces(first, (job, found, rank), offset, service, follow=follow)
    headers = {"X-Attempt": str(found.number), "Cache-Control": "no-store"}
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)


async def _pieces(
    first: bytes,
    whose: tuple[Job, Attempt, int | None],
    offset: int,
    service: Service,
    *,
    follow: bool,
) -> AsyncIterator[bytes]:
    job, attempt, rank = whose
    piece, until = first, service.clock() + service.stream_seconds
    while True:
        if piece:
            yield piece
            offset += len(piece)
        if not follow or service.clock() >= until:
            return
        # What was printed before the end is asked for once more after it is known.
        is_over = await run_in_threadpool(_is_over, attempt, service)
        if not piece and not is_over:
            await asyncio.sleep(FOLLOW_SECONDS)
        piece = await run_in_threadpool(service.logs.read, job, attempt, rank, offset)
        if is_over and not piece:
            return


def _is_over(attempt: Attempt, service: Service) -> bool:
    known = service.attempts.list(attempt.job)
    newest = next((a for a in known if a.number == attempt.number), None)
    return newest is None or newest.state is AttemptState.ENDED
