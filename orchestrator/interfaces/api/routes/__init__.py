"""The routes below /api/v1, one noun a file. `app` puts them together."""

from fastapi import APIRouter

from orchestrator.interfaces.api.routes import (
    admin,
    changes,
    cluster,
    events,
    jobs,
    logs,
    models,
    overview,
    uploads,
)

ROUTERS: tuple[APIRouter, ...] = (
    jobs.router,
    changes.router,
    events.router,
    logs.router,
    cluster.router,
    overview.router,
    models.router,
    uploads.router,
    admin.router,
)
