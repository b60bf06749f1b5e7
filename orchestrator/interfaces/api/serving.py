"""Serves an application from a thread of this process."""

from __future__ import annotations

import errno
import os
import socket
import threading
from types import TracebackType

import uvicorn
from fastapi import FastAPI

from orchestrator.errors import SettingsError

STOP_SECONDS = 5.0


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
            app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1
        )
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
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _cannot_listen(error: OSError, host: str, port: int) -> SettingsError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if port and error.errno == errno.EADDRINUSE:
        hint = "another server has it; choose another port: --port, or the setting api_port"
        return SettingsError(f"cannot listen on {host}, port {port}: {reason}", hint=hint)
    return SettingsError(
        f"cannot listen on {host}: {reason}",
        hint="set api_host (of a one-shot run: report_host) to an address of this machine",
    )
