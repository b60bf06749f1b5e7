"""Reports of Attempts in, Directives as their answers.

A token belongs to one live Attempt and opens nothing else. The route is a part of the API,
and all that a one-shot run serves.
"""

from __future__ import annotations

from typing import Protocol

from fastapi import APIRouter, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from orchestrator.errors import Unauthenticated
from orchestrator.interfaces.api.authentication import bearer
from orchestrator.interfaces.wire import API
from orchestrator.records import Directive, Report

REPORTS_PATH = f"{API}/reports"
MAX_REPORT_BYTES = 128 * 1024  # the output in it may be escaped sign by sign


class Desk(Protocol):
    """Where Reports go; `ReportDesk` is one."""

    def knows(self, token: str) -> bool: ...

    def receive(self, token: str, report: Report) -> Directive | None: ...


def reports_router(desk: Desk) -> APIRouter:
    """The one route."""
    router = APIRouter()

    @router.post(
        REPORTS_PATH,
        tags=["reports"],
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Report"}}
                },
            },
            "security": [{"attempt": []}],
        },
    )
    async def report(request: Request) -> Directive:
        """A worker's progress; the answer says what it shall do."""
        token = bearer(request.headers.get("authorization"))
        if token is None:
            raise Unauthenticated("a live attempt's bearer token is needed")
        try:
            said = _report(await _body(request))
        except RequestValidationError:
            # What is wrong is told only to whoever might have meant it well.
            if not await run_in_threadpool(desk.knows, token):
                raise Unauthenticated("the token is no live attempt's") from None
            raise
        # A token speaks for its own Attempt only.
        directive = await run_in_threadpool(desk.receive, token, said)
        if directive is None:
            raise Unauthenticated("the token is not the one of this live attempt")
        return directive

    return router


def _report(body: bytes) -> Report:
    try:
        said = Report.model_validate_json(body)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        located = [{**fault, "loc": ("body", *fault["loc"])} for fault in faults]
        raise RequestValidationError(located) from None
    if said.log is not None and not all(ord(sign) < 256 for sign in said.log):
        fault = {"loc": ("body", "log"), "msg": "each byte is written as its Latin-1 sign"}
        raise RequestValidationError([fault])
    return said


async def _body(request: Request) -> bytes:
    """The request's body, but no more of it than a Report can need."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REPORT_BYTES:
            raise HTTPException(413, f"a report has at most {MAX_REPORT_BYTES} bytes")
    return body
