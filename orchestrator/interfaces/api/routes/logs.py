"""The output of ranks, as a stream of text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from orchestrator.control.controller import verbs
from orchestrator.errors import NotFound
from orchestrator.interfaces.api.dependencies import ServiceHere, Who
from orchestrator.interfaces.api.routes.jobs import attempt_of
from orchestrator.interfaces.api.service import FOLLOW_SECONDS, Service
from orchestrator.records import Attempt, AttemptState, Job

router = APIRouter(tags=["logs"])

MAX_LINES = 10**9
SILENT_SECONDS = 30.0
PATIENCE = 3.0  # a follower is at most a quarter of the time reading

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
    tail: Annotated[
        int | None, Query(ge=0, le=MAX_LINES, description="Begin at the last lines; no `offset`.")
    ] = None,
    follow: Annotated[bool, Query(description="Until the Attempt has ended.")] = False,
) -> StreamingResponse:
    """What a rank has printed, from a byte on. `X-Attempt` tells whose it is, `X-Offset` where it
    begins."""
    job = verbs.visible(service.jobs, id, who)
    found = attempt_of(job, attempt, service)
    _check_rank(job, found, rank)
    source = _Source(job, found, rank)
    piece = source.read(service, offset)
    if tail is not None:
        offset, piece = _last_lines(offset, piece, tail)
    headers = {
        "X-Attempt": str(found.number),
        "X-Offset": str(offset),
        "Cache-Control": "no-store",
    }
    pieces = _pieces(source, service, piece, offset, follow=follow)
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8", headers=headers)


def _check_rank(job: Job, attempt: Attempt, rank: int | None) -> None:
    workers = sum(part.workers for part in attempt.placement) or job.demand.workers
    if rank is not None and rank >= workers:
        known = f"its ranks are 0 to {workers - 1}" if workers > 1 else "its only rank is 0"
        raise NotFound(f"attempt {attempt.number} of {job.id} has no rank {rank}", hint=known)


def _last_lines(offset: int, printed: bytes, lines: int) -> tuple[int, bytes]:
    """Where the last lines begin, and what they are; one that is not ended yet counts."""
    cut = len(printed) - printed.endswith(b"\n")
    for _ in range(lines):
        cut = printed.rfind(b"\n", 0, cut)
        if cut < 0:
            return offset, printed
    begin = cut + 1 if lines else len(printed)
    return offset + begin, printed[begin:]


@dataclass(frozen=True, slots=True)
class _Source:
    """Whose output it is."""

    job: Job
    attempt: Attempt
    rank: int | None

    def read(self, service: Service, offset: int) -> bytes:
        return service.logs.read(self.job, self.attempt, self.rank, offset)

    def is_over(self, service: Service) -> bool:
        known = service.attempts.list(self.job.id)
        newest = next((a for a in known if a.number == self.attempt.number), None)
        return newest is None or newest.state is AttemptState.ENDED


async def _pieces(
    source: _Source, service: Service, piece: bytes, offset: int, *, follow: bool
) -> AsyncIterator[bytes]:
    begun_at = heard_at = service.clock()
    read_seconds = 0.0
    while True:
        if piece:
            yield piece
            offset += len(piece)
            heard_at = service.clock()
        # Output has no room for a sign of life: who follows a silent log asks again now and then.
        until = min(begun_at + service.stream_seconds, heard_at + SILENT_SECONDS)
        if not follow or service.clock() >= until or service.closing.is_set():
            return
        # What was printed before the end is asked for once more after it is known.
        is_over = await run_in_threadpool(source.is_over, service)
        if not piece and not is_over:
            # A log that takes long to read, as a cluster's over HTTP may, is read less often.
            await asyncio.sleep(max(FOLLOW_SECONDS, PATIENCE * read_seconds))
        begun = time.monotonic()
        piece = await run_in_threadpool(source.read, service, offset)
        read_seconds = time.monotonic() - begun
        if is_over and not piece:
            return
