"""Serves an application from a thread of this process.

Whoever connects and says nothing, or says it without end, is cut off: connections are files, and
the controller needs some too.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import threading
from types import TracebackType

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from orchestrator.errors import SettingsError

STOP_SECONDS = 5.0
HEAD_SECONDS = 10.0  # in which the head of a request comes
MOST_FILES = 65_536


class ApiServer:
    """Use as a context manager; `url` is valid from the beginning."""

    def __init__(self, app: FastAPI, host: str, port: int = 0) -> None:
        """Binds at once; the kernel chooses a port for 0.

        Raises SettingsError where the address cannot be bound.
        """
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host, port), family=family, backlog=128)
        except OSError as error:
            raise _cannot_listen(error, host, port) from None
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            app,
            http=Impatient,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=allow_files() // 2,  # more are answered with 503
            timeout_graceful_shutdown=1,
        )
        # Of an application with streams: they would hold the server, which would break them off.
        self._closing: threading.Event | None = getattr(
            getattr(app.state, "service", None), "closing", None
        )
        if self._closing is not None:
            self._closing.clear()
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="api", daemon=True)

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._closing is not None:
            self._closing.set()
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


class Impatient(H11Protocol):
    """A connection that is closed when no request begins on it in time."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # The loop does so only for sockets that say their protocol, which listening ones of the
        # standard library do not: each answer would wait 40 ms for the client's acknowledgement.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._head is not None:
            self._head.cancel()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        """Not begun anew by what comes of it: that may come byte by byte."""
        if self._is_answering and self._head is not None:
            self._head.cancel()
            self._head = None
        elif not self._is_answering and self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _give_up(self) -> None:
        self._head = None
        if not self._is_answering:
            self.transport.close()

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = vars(self)["cycle"]  # its type has no None
        return cycle is not None and not cycle.response_complete


def allow_files() -> int:
    """How many files this process may open: as many as it may allow itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def _cannot_listen(error: OSError, host: str, port: int) -> SettingsError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if port and error.errno == errno.EADDRINUSE:
        hint = "another server has it; choose another port: --port, or the setting api_port"
        return SettingsError(f"cannot listen on {host}, port {port}: {reason}", hint=hint)
    return SettingsError(
        f"cannot listen on {host}: {reason}",
        hint="set api_host (of a one-shot run: report_host) to an address of this machine",
    )
