"""The HTTP routes: Reports of Attempts in, Directives as their answers.

Built by `server`, served by `serving`. A token belongs to one Attempt and opens nothing else.
"""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request
from pydantic import ValidationError

from orchestrator import __version__
from orchestrator.control.controller.inbox import AttemptInbox, Inboxes
from orchestrator.records import Directive, Report

REPORTS_PATH = "/api/v1/reports"
MAX_REPORT_BYTES = 64 * 1024


def create_app(inboxes: Inboxes) -> FastAPI:
    """The application over the inboxes of live Attempts."""
    app = FastAPI(
        title="orchestrator", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.post(REPORTS_PATH)
    async def receive_report(request: Request) -> Directive:
        # 1. Who: before a byte of the body is read.
        inbox = _inbox(request, inboxes)
        # 2. What.
        try:
            report = Report.model_validate_json(await _body(request))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise HTTPException(422, problems) from None
        # 3. A token speaks for its own Attempt only.
        if (report.job, report.attempt) != (inbox.job, inbox.attempt):
            raise HTTPException(403, "the token belongs to another attempt")
        return inbox.receive(report)

    return app


def _inbox(request: Request, inboxes: Inboxes) -> AttemptInbox:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    inbox = inboxes.by_token(token.strip()) if scheme.lower() == "bearer" else None
    if inbox is None:
        challenge = {"WWW-Authenticate": "Bearer"}
        raise HTTPException(401, "a live attempt's bearer token is needed", headers=challenge)
    return inbox


async def _body(request: Request) -> bytes:
    """The request's body, but no more of it than a Report can need."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REPORT_BYTES:
            raise HTTPException(413, f"a report has at most {MAX_REPORT_BYTES} bytes")
    return body
