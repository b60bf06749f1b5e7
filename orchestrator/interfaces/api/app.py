"""The applications: what `serve` serves, and the part of it that a one-shot run needs.

Built by `server`, served by `serving` or uvicorn.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import __version__
from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.api.problems import answer
from orchestrator.interfaces.api.reports import REPORTS_PATH, Desk, reports_router

__all__ = ["REPORTS_PATH", "create_reports_app"]


def create_reports_app(desk: Desk) -> FastAPI:
    """Reports and the health probe, nothing else: what the workers of a one-shot run need."""
    app = FastAPI(
        title="orchestrator", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )
    _tell_errors(app)
    app.include_router(reports_router(desk))

    @app.get("/healthz")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _tell_errors(app: FastAPI) -> None:
    def tell(request: Request, error: Exception) -> Response:
        return answer(error)

    for kind in (OrchestratorError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, tell)
