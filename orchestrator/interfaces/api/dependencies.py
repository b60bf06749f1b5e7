"""What routes ask for by the type of a parameter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Query, Request

from orchestrator.control.store import Page
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.wire import IDEMPOTENCY_KEY
from orchestrator.records import Principal

MAX_PAGE = 500

SLOW_AT_ONCE = 8
"""Requests that read data or an object store: others wait their turn, without holding a thread."""

__all__ = ["IDEMPOTENCY_KEY", "SLOW_AT_ONCE", "InTurn", "PageAsked", "ServiceHere", "Who"]


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _principal(request: Request) -> Principal:
    """As the guard has found; a route that asks for it is never reached without."""
    principal: Principal = request.state.principal
    return principal


def _page(
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Entries of a page.")] = 100,
    cursor: Annotated[
        str | None, Query(max_length=200, description="`next` of the page before.")
    ] = None,
) -> Page:
    return Page(limit=limit, cursor=cursor)


async def _turn(request: Request) -> AsyncIterator[None]:
    """Threads are left for what is quick: Reports, looks at rows, health."""
    async with request.app.state.slow:
        yield


InTurn = Depends(_turn)
ServiceHere = Annotated[Service, Depends(_service)]
Who = Annotated[Principal, Depends(_principal)]
PageAsked = Annotated[Page, Depends(_page)]
