"""The applications: what `serve` serves, and the part of it that a one-shot run needs.

Built by `server`, served by `serving`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestrator import __version__
from orchestrator.errors import DatabaseUnavailable, OrchestratorError
from orchestrator.interfaces.api.dependencies import SLOW_AT_ONCE
from orchestrator.interfaces.api.guard import OPEN_PATHS, Guard
from orchestrator.interfaces.api.problems import answer
from orchestrator.interfaces.api.reports import REPORTS_PATH, Desk, reports_router
from orchestrator.interfaces.api.routes import ROUTERS, metrics
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.wire import API, METRICS_PATH, PROBLEM_TYPE, ProblemDocument
from orchestrator.records import Report
from orchestrator.settings import Settings

logger = logging.getLogger(__name__)

__all__ = ["REPORTS_PATH", "create_app", "create_reports_app"]

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What is wrong, as RFC 9457 has it.",
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
}


class Json(JSONResponse):
    """JSON, in which a loss that is no number is the text "NaN"."""

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="strings")


def create_app(service: Service) -> FastAPI:
    """The whole API."""
    app = FastAPI(
        title="orchestrator",
        summary="Queues, places and follows fine-tuning jobs.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        default_response_class=Json,
        generate_unique_id_function=_operation_id,
    )
    app.state.service = service
    app.state.slow = asyncio.Semaphore(SLOW_AT_ONCE)
    _tell_errors(app)
    _probes(app, service)
    app.include_router(reports_router(service.desk), responses=_PROBLEMS)
    documented = Depends(HTTPBearer(scheme_name="token", auto_error=False))  # the guard decides
    for router in ROUTERS:
        app.include_router(router, prefix=API, dependencies=[documented], responses=_PROBLEMS)
    app.include_router(metrics.router, dependencies=[documented], responses=_PROBLEMS)
    app.add_middleware(
        Guard,
        authenticator=service.authenticator,
        audit=service.audit,
        clock=service.clock,
        metrics=service.metrics,
        max_upload_bytes=service.settings.max_upload_bytes,
        open_paths=_open_paths(service.settings),
    )
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


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


def _probes(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["probes"])
    async def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["probes"], responses=_PROBLEMS)
    def readyz() -> dict[str, str]:
        """It can do its work: the database answers."""
        service.database.now()
        return {"status": "ready"}


def _open_paths(settings: Settings) -> frozenset[str]:
    return OPEN_PATHS | ({METRICS_PATH} if settings.metrics_access == "open" else set())


def _tell_errors(app: FastAPI) -> None:
    def tell(request: Request, error: Exception) -> Response:
        if isinstance(error, DatabaseUnavailable):
            logger.warning("%s", error.message)  # which the client is not told
        return answer(error)

    for kind in (OrchestratorError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, tell)


def _operation_id(route: APIRoute) -> str:
    return route.name


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with our problems in place of the framework's own errors."""
    if app.openapi_schema:
        return app.openapi_schema
    document = FastAPI.openapi(app)
    components = document["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    for model in (ProblemDocument, Report):  # which no parameter of a route has
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        components["schemas"].update(schema.pop("$defs", {}))
        components["schemas"][model.__name__] = schema
    attempt = "The token of a live Attempt, which its workers have."
    components["securitySchemes"]["attempt"] = {
        "type": "http",
        "scheme": "bearer",
        "description": attempt,
    }
    for path in document["paths"].values():
        for operation in path.values():
            operation["responses"].pop("422", None)
    return document
