"""The server's problem documents as the errors they came from."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from pydantic import ValidationError

from orchestrator import errors
from orchestrator.errors import InvalidInput, OrchestratorError, PlanRefused, Problem
from orchestrator.interfaces.wire import ProblemDocument

Localize = Callable[[Problem], Problem]
"""Tells a problem in terms of the user's own files."""

_TYPE = "urn:orchestrator:problem:"
_BY_STATUS: dict[int, type[OrchestratorError]] = {
    400: errors.UserError,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    422: errors.UserError,
    502: errors.ServerUnavailable,
    503: errors.ServerUnavailable,
    504: errors.ServerUnavailable,
}


def error_of(answer: httpx.Response, url: str) -> OrchestratorError:
    """The error that a response tells; its body has been read."""
    try:
        document = ProblemDocument.model_validate_json(answer.content)
    except ValidationError:
        return _of_stranger(answer, url)
    kind = getattr(errors, document.type.removeprefix(_TYPE), None)
    if kind is InvalidInput and document.problems:
        return InvalidInput(_problems(document))
    if kind is PlanRefused:
        return PlanRefused(document.detail, hint=document.hint, problems=_problems(document))
    known = isinstance(kind, type) and issubclass(kind, OrchestratorError)
    if not known or kind is InvalidInput:
        kind = None
    told: type[OrchestratorError] = kind or _BY_STATUS.get(document.status, OrchestratorError)
    return told(document.detail, hint=document.hint)


def localized(error: OrchestratorError, localize: Localize) -> OrchestratorError:
    """The error with its problems in the user's own terms."""
    if isinstance(error, InvalidInput):
        return InvalidInput([localize(problem) for problem in error.problems])
    if isinstance(error, PlanRefused):
        told = [localize(problem) for problem in error.problems]
        return PlanRefused(error.message, hint=error.hint, problems=told)
    return error


def _problems(document: ProblemDocument) -> list[Problem]:
    return [Problem(p.message, p.path, p.hint, p.file, p.line) for p in document.problems]


def _of_stranger(answer: httpx.Response, url: str) -> OrchestratorError:
    """No answer of ours: a proxy's, or some other server's."""
    kind = _BY_STATUS.get(answer.status_code, errors.ServerUnavailable)
    message = f"{url} answered {answer.status_code} {answer.reason_phrase}, not as our server does"
    return kind(message, hint="check the address: orchestrator login --url URL")
