"""Errors as RFC 9457's problem documents: one renderer for whatever goes wrong.

Called by `guard` (which catches what no handler does) and by the handlers that `app` installs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from orchestrator import errors
from orchestrator.errors import InvalidInput, OrchestratorError
from orchestrator.interfaces.wire import PROBLEM_TYPE, ProblemDetail, ProblemDocument

TYPE = "urn:orchestrator:problem:"

# The first class that an error is an instance of decides.
_STATUS: tuple[tuple[type[OrchestratorError], int, str], ...] = (
    (InvalidInput, 422, "The input is wrong"),
    (errors.PlanRefused, 422, "The job cannot work"),
    (errors.Unauthenticated, 401, "Nobody is known by this token"),
    (errors.Forbidden, 403, "This is not allowed"),
    (errors.NotFound, 404, "Not found"),
    (errors.Conflict, 409, "Contradicts what is there"),
    (errors.AlreadyRunning, 409, "Contradicts what is there"),
    (errors.MissingExtra, 501, "Not installed on the server"),
    (errors.SettingsError, 500, "The server is set up wrongly"),
    (errors.StoreDenied, 502, "The object store refuses the server"),
    (errors.UserError, 400, "The request is wrong"),
    (errors.DatabaseUnavailable, 503, "Not available now"),
    (errors.ServerUnavailable, 503, "Not available now"),
    (errors.StoreUnavailable, 503, "Not available now"),
    (errors.BackendUnavailable, 503, "Not available now"),
    (errors.ObjectNotFound, 404, "Not found"),
    (errors.StoreError, 502, "The object store failed"),
    (OrchestratorError, 500, "The server failed"),
)
_TITLES = {
    404: ("NotFound", "Not found"),
    405: ("MethodNotAllowed", "Not possible here"),
    408: ("TooSlow", "The request came too slowly"),
    413: ("TooLarge", "The request is too large"),
    415: ("UnsupportedMediaType", "This content is not understood here"),
}
RETRY_AFTER_SECONDS = 2


def answer(error: Exception) -> Response:
    """The response that tells an error."""
    document, headers = _document(error)
    if document.status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    if document.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = document.model_dump_json(exclude_none=True)
    return Response(body, document.status, headers, media_type=PROBLEM_TYPE)


def _document(error: Exception) -> tuple[ProblemDocument, dict[str, str]]:
    if isinstance(error, OrchestratorError):
        return _of_ours(error), {}
    if isinstance(error, RequestValidationError):
        return _of_request(error.errors()), {}
    if isinstance(error, HTTPException):
        return _of_http(error), dict(error.headers or {})
    return _told("Defect", "The server failed", 500, "an error of the server itself"), {}


def _of_ours(error: OrchestratorError) -> ProblemDocument:
    if isinstance(error, errors.DatabaseUnavailable):
        # Where it lies is the operator's to know: the server's log has it.
        error = errors.DatabaseUnavailable("the server's database is away", hint="try again")
    status, title = next((s, t) for kind, s, t in _STATUS if isinstance(error, kind))
    details: tuple[ProblemDetail, ...] = ()
    if isinstance(error, InvalidInput | errors.PlanRefused):
        details = tuple(
            ProblemDetail(message=p.message, path=p.path, hint=p.hint, file=p.file, line=p.line)
            for p in error.problems
        )
    return ProblemDocument(
        type=f"{TYPE}{type(error).__name__}",
        title=title,
        status=status,
        detail=error.message,
        hint=error.hint,
        problems=details,
    )


def _of_request(faults: Sequence[Any]) -> ProblemDocument:
    """What the framework found wrong with path, query or body."""
    details = tuple(_details(faults))
    first = details[0]
    document = _told("InvalidInput", "The input is wrong", 422, f"{first.path}: {first.message}")
    return document.model_copy(update={"problems": details})


def _details(faults: Sequence[Any]) -> Iterator[ProblemDetail]:
    for fault in faults:
        where = ".".join(str(part) for part in fault.get("loc", ())[1:])
        yield ProblemDetail(message=str(fault.get("msg", "is wrong")), path=where or "body")


def _of_http(error: HTTPException) -> ProblemDocument:
    kind, title = _TITLES.get(error.status_code, ("Request", "The request is wrong"))
    return _told(kind, title, error.status_code, str(error.detail))


def _told(kind: str, title: str, status: int, detail: str) -> ProblemDocument:
    return ProblemDocument(type=f"{TYPE}{kind}", title=title, status=status, detail=detail)
