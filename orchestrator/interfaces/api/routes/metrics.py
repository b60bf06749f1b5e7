"""What Prometheus scrapes: numbers of all teams, so an admin's, unless the operator opens it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from orchestrator.control.controller.submission import require
from orchestrator.interfaces.api.dependencies import ServiceHere
from orchestrator.interfaces.wire import METRICS_PATH
from orchestrator.records import Role
from orchestrator.telemetry.metrics import CONTENT_TYPE_LATEST

router = APIRouter(tags=["metrics"])

_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}}
}


@router.get(METRICS_PATH, response_class=Response, responses=_TEXT)
def metrics(request: Request, service: ServiceHere) -> Response:
    """Jobs by queue and state, the controller's cycles, requests: in Prometheus's format."""
    if service.settings.metrics_access == "admins":
        require(request.state.principal, Role.ADMIN)
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)
