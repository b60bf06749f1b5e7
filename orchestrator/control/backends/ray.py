"""Attempts on an existing Ray cluster, reached at its dashboard's address over HTTP.

The cluster is somebody else's: nothing of it is started or stopped here but our own jobs. Its nodes
must have this package, in the server's version.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx

from orchestrator import __version__
from orchestrator.control.backends.base import (
    WORKER_MODULE,
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.control.backends.rayjobs import STOP_WAIT, RayJobs, open_api
from orchestrator.control.backends.raystate import keep_node_logs, node_infos, read_nodes
from orchestrator.records import Reason

PATIENCE_SECONDS = 30.0  # of a launch, for a cluster that is away; the controller asks again
INSTALL = (
    f"on every node of the cluster: uv pip install 'finetune-orchestrator[worker]=={__version__}'"
)

_LOG_LINES = 20
_NO_PACKAGE = re.compile(r"No module named '?orchestrator(\.[\w.]+)?'?\W")
_NO_PYTHON = 127  # a shell's word for a command it does not find


class RayBackend:
    """One cluster. Safe to share between threads."""

    def __init__(
        self,
        name: str,
        url: str,
        token: str | None,
        *,
        environment: Mapping[str, str] | None = None,
        python: str = "python",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """
        Args:
            name: Of this backend.
            url: Of the cluster's dashboard.
            token: The cluster's; None where it asks for none.
            environment: Variables of every driver and rank; Ray shows them to who has the token.
            python: The cluster's Python that has this package.
            transport: For tests; absent: the network.
        """
        self.name = name
        # Where Ray's mode is left open it goes by the files it finds, and without a token a driver
        # hangs for a minute before it says something misleading.
        mode = {"RAY_AUTH_MODE": "disabled" if token is None else "token"}
        self._environment = {**STOP_WAIT, **mode, **(environment or {})}
        self._python = python
        self._http = open_api(url, token, transport)
        self._jobs = RayJobs(self._http)

    def nodes(self) -> tuple[NodeInfo, ...]:
        return node_infos(read_nodes(self._http))

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        handle = AttemptHandle(request.job, request.attempt)
        self._jobs.submit(
            handle.submission_id,
            shlex.join([self._python, "-m", WORKER_MODULE, "--launch", request.launch_path]),
            environment={**self._environment, **request.environment},
            patience_seconds=PATIENCE_SECONDS,
        )
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        seen = self._jobs.look(handle.submission_id)
        if seen.status is AttemptStatus.FAILED and self._lacks_package(seen, handle):
            message = f"the cluster {self.name} has no finetune-orchestrator for {self._python}"
            return replace(seen, message=message, reason=Reason.VERSION_MISMATCH, hint=INSTALL)
        return seen

    def stop(self, handle: AttemptHandle) -> None:
        self._jobs.stop(handle.submission_id)

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        return self._jobs.log_tail(handle.submission_id, lines)

    def keep_logs(self, handle: AttemptHandle, folder: Path) -> bool:
        patterns = [f"job-driver-{handle.submission_id}.log"]
        if number := self._jobs.ray_job(handle.submission_id):
            patterns += [f"worker-*-{number}-*.out", f"worker-*-{number}-*.err"]
        return keep_node_logs(self._http, patterns, folder)

    def close(self, *, keep: bool = False) -> None:
        """What runs goes on either way: the cluster is not ours."""
        self._jobs.close()

    def _lacks_package(self, seen: Observation, handle: AttemptHandle) -> bool:
        """A driver that cannot even begin leaves no Outcome, only its interpreter's complaint."""
        if seen.exit_code == _NO_PYTHON:
            return True
        log = self.log_tail(handle, _LOG_LINES) if seen.exit_code == 1 else ""
        return _NO_PACKAGE.search(log + "\n") is not None
