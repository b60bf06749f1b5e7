"""Around every request: its size, who asks, what is kept of it, and how errors are told.

ASGI middleware, installed by `app`: what is not open is closed before a route is even looked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.control.store import Audit
from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.api.authentication import Authenticator
from orchestrator.interfaces.api.problems import answer
from orchestrator.interfaces.api.reports import MAX_REPORT_BYTES, REPORTS_PATH
from orchestrator.interfaces.wire import API, FOLDER_TYPE
from orchestrator.records import AuditEntry, Principal
from orchestrator.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
UPLOADS = f"{API}/uploads/"
MAX_BODY_BYTES = 4 * 1024 * 1024  # a spec of 1 MB, escaped as JSON
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
BODY_SECONDS = 30.0  # in which a body comes, and
BODY_BYTES_A_SECOND = 10_000  # longer by its size: who sends slowly holds nothing for ever
STRANGERS_A_MINUTE = 60  # entries of the audit trail: who is unknown shall not fill the disk
UNKNOWN = "-"


@dataclass
class Throttle:
    """At most so many a minute."""

    most: int
    clock: Callable[[], float]
    _minute: int = field(default=0, init=False)
    _count: int = field(default=0, init=False)

    def allows(self) -> bool:
        minute = int(self.clock() // 60)
        if minute != self._minute:
            self._minute, self._count = minute, 0
        self._count += 1
        return self._count <= self.most


class Guard:
    """The middleware."""

    def __init__(  # noqa: PLR0913 (each part is another's to make)
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        audit: Audit,
        clock: Callable[[], float],
        metrics: Metrics,
        max_upload_bytes: int,
        open_paths: frozenset[str] = OPEN_PATHS,
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._audit = audit
        self._clock = clock
        self._metrics = metrics
        self._max_upload_bytes = max_upload_bytes
        self._open_paths = open_paths
        self._strangers = Throttle(STRANGERS_A_MINUTE, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there are none: they would pass unseen
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        await _Exchange(self, scope, send).run(self._app, receive)

    def limit_bytes(self, scope: Scope, headers: Headers) -> int:
        path: str = scope["path"]
        if path == REPORTS_PATH:
            return MAX_REPORT_BYTES
        # A file is written as it comes; the list of a folder is read as a whole.
        is_file = path.startswith(UPLOADS) and headers.get("content-type") != FOLDER_TYPE
        return self._max_upload_bytes if is_file else MAX_BODY_BYTES

    def is_open(self, path: str) -> bool:
        """Whether nobody is asked who they are, or the route itself asks for an Attempt's token."""
        return path in self._open_paths or path == REPORTS_PATH

    def measure(self, scope: Scope, status: int, seconds: float) -> None:
        # Versions of the framework differ in whether a route's path begins with its router's.
        route = getattr(scope.get("route"), "path", "").removeprefix(API)
        self._metrics.request(scope["method"], route or None, status, seconds)

    def principal_of(self, headers: Headers) -> Principal:
        return self._authenticator.principal(
            headers.get("authorization"), headers.get("host", ""), headers.get("origin")
        )

    def note(self, scope: Scope, principal: Principal | None, status: int) -> None:
        """Keeps what was asked, if it was to change something or was refused."""
        path: str = scope["path"]
        if self.is_open(path):
            return
        if scope["method"] in SAFE_METHODS and status not in (401, 403):
            return
        if principal is None and not self._strangers.allows():
            return
        entry = AuditEntry(
            time=self._clock(),
            principal=principal.name if principal is not None else UNKNOWN,
            team=principal.team if principal is not None else UNKNOWN,
            action=_printable(f"{scope['method']} {path}"),
            target=_printable(_target(scope)),
            status=status,
        )
        try:
            self._audit.add(entry)
        except OrchestratorError as error:
            logger.error("not in the audit trail: %s (%s)", entry, error)


@dataclass
class _Exchange:
    """One request and its answer."""

    guard: Guard
    scope: Scope
    downstream: Send
    principal: Principal | None = None
    has_begun: bool = False
    received: int = 0
    is_received: bool = False
    begun: float = field(default_factory=time.monotonic)

    async def run(self, app: ASGIApp, receive: Receive) -> None:
        try:
            # 1. How large.
            headers = Headers(scope=self.scope)
            limit = self.guard.limit_bytes(self.scope, headers)
            _check_length(headers.get("content-length"), limit)
            # 2. Who.
            if not self.guard.is_open(self.scope["path"]):
                self.principal = await run_in_threadpool(self.guard.principal_of, headers)
                self.scope.setdefault("state", {})["principal"] = self.principal
            # 3. What.
            await app(self.scope, self._counted(receive, limit), self._send)
        except Exception as error:
            if not isinstance(error, OrchestratorError | HTTPException):
                logger.exception("%s", _printable(f"{self.scope['method']} {self.scope['path']}"))
            if self.has_begun:
                raise
            await answer(error)(self.scope, receive, self._send)

    def _counted(self, receive: Receive, limit: int) -> Receive:
        """The body, as long as it is neither too large nor too slow."""
        loop = asyncio.get_running_loop()
        begun = loop.time()

        async def counted() -> Message:
            if self.is_received:  # what is waited for now is the client's end
                return await receive()
            until = begun + BODY_SECONDS + self.received / BODY_BYTES_A_SECOND
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise _too_slow() from None
            self.received += len(message.get("body", b""))
            self.is_received = not message.get("more_body", False)
            if self.received > limit:
                raise _too_large(limit)
            return message

        return counted

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            # Kept before it is answered: who was told it is done finds it in the trail.
            status: int = message["status"]
            await run_in_threadpool(self.guard.note, self.scope, self.principal, status)
            self.guard.measure(self.scope, status, time.monotonic() - self.begun)
            self.has_begun = True
            headers = [*message.get("headers", []), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": headers}
        await self.downstream(message)


def _check_length(header: str | None, limit: int) -> None:
    digits = (header or "").lstrip("0")
    if digits.isdecimal() and (len(digits), digits) > (len(str(limit)), str(limit)):
        raise _too_large(limit)


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"a request to this place has at most {limit} bytes")


def _too_slow() -> HTTPException:
    return HTTPException(408, "the body came too slowly", headers={"Connection": "close"})


def _target(scope: Scope) -> str:
    """What was changed: as the route said, else what its path names."""
    state: dict[str, Any] = scope.get("state", {})
    if "target" in state:
        return str(state["target"])
    return " ".join(str(value) for value in scope.get("path_params", {}).values())


def _printable(text: str) -> str:
    """What any database stores and any terminal shows."""
    return "".join(c if c.isprintable() else "?" for c in text[:300])
