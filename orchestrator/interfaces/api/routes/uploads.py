"""Files that users hand over with a spec: sent once, found again by their digest."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as PathParameter
from starlette.concurrency import run_in_threadpool

from orchestrator.control.controller.submission import require, team_store
from orchestrator.control.controller.uploads import Uploads, check_upload
from orchestrator.errors import NotFound
from orchestrator.interfaces.api.dependencies import ServiceHere, Who
from orchestrator.interfaces.api.receiving import received
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.wire import FOLDER_TYPE, Upload
from orchestrator.records import Principal, Role

router = APIRouter(tags=["uploads"])

Digest = Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$", description="sha256 of the bytes.")]
Name = Annotated[str, PathParameter(max_length=200)]

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            FOLDER_TYPE: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@router.head("/uploads/{sha256}/{name}")
def has_upload(sha256: Digest, name: Name, service: ServiceHere, who: Who) -> Response:
    """Whether the team has handed it over; 404 where not."""
    if _uploads(service, who).url(sha256, name) is None:
        raise NotFound(f"{name} was not uploaded")
    return Response(status_code=200)


@router.put("/uploads/{sha256}/{name}", openapi_extra=_BODY)
async def put_upload(
    sha256: Digest, name: Name, request: Request, service: ServiceHere, who: Who
) -> Upload:
    """Takes a file whose bytes have this digest, or the list of a folder's files.

    The same upload may be sent again. A folder's files are sent first, each by itself.
    """
    require(who, Role.SUBMITTER)
    check_upload(sha256, name)
    uploads = await run_in_threadpool(_uploads, service, who)
    if request.headers.get("content-type") == FOLDER_TYPE:
        body = await request.body()
        await run_in_threadpool(uploads.put_folder, sha256, name, body)
    else:
        async with received(request, sha256, service.settings.state_dir / "uploads") as file:
            await run_in_threadpool(uploads.put_file, sha256, name, file)
    return Upload(url=f"upload://{sha256}/{name}")


def _uploads(service: Service, who: Principal) -> Uploads:
    return Uploads(team_store(service.settings, who.team))
