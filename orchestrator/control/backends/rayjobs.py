"""Ray's Jobs API over HTTP: submit, look, stop, read the log. Shared by every backend on Ray.

HTTP instead of Ray's own client keeps Ray's library out of the control plane.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.errors import LaunchFailed

_STATUSES = {
    "PENDING": AttemptStatus.PENDING,
    "RUNNING": AttemptStatus.RUNNING,
    "SUCCEEDED": AttemptStatus.SUCCEEDED,
    "FAILED": AttemptStatus.FAILED,
    "STOPPED": AttemptStatus.STOPPED,
}

SUBMIT_TIMEOUT_SECONDS = 120.0
_RETRY_SECONDS = 0.3


class RayJobs:
    """A client of one cluster's Jobs API."""

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(
            base_url=url,
            headers=headers,
            # A submission waits for an agent of the cluster for up to ten seconds.
            timeout=httpx.Timeout(10.0, read=30.0),
            transport=transport,
            trust_env=False,  # a proxy of the environment must not see a cluster's traffic
        )
        self._clock = clock
        self._sleep = sleep

    def close(self) -> None:
        self._http.close()

    def submit(
        self,
        job: str,
        entrypoint: str,
        *,
        environment: Mapping[str, str],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Submits `entrypoint` under the id `job`, unless the cluster has a job of that id.

        A young cluster answers 500 until its first agent has registered, and submitting a known id
        answers 500 as well, so each try looks first.

        Args:
            job: The submission id.
            entrypoint: A shell command.
            environment: Variables of the driver and, by inheritance, of the ranks. The Jobs API
                shows them to whoever holds the cluster's token, and Ray's logs to whoever reads
                its temporary folder.
            cancelled: Asked between tries.

        Raises:
            LaunchFailed: refused, or not accepted in time.
        """
        body = {
            "entrypoint": entrypoint,
            "submission_id": job,
            "runtime_env": {"env_vars": dict(environment)},
        }
        deadline = self._clock() + SUBMIT_TIMEOUT_SECONDS
        problem = "no answer"
        while self._clock() < deadline and not cancelled():
            try:
                if self._find(job) is not None:
                    return
                answer = self._http.post("/api/jobs/", json=body)
            except httpx.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.is_success:
                    return
                problem = _told(answer)
                if answer.is_client_error:
                    break  # the request itself is wrong, or the token
            self._sleep(_RETRY_SECONDS)
        raise LaunchFailed(f"Ray did not accept the job {job}: {problem}")

    def look(self, job: str) -> Observation:
        """What Ray says of a job; UNKNOWN where it cannot be asked or does not know it."""
        try:
            found = self._find(job)
        except httpx.HTTPError as error:
            return Observation(AttemptStatus.UNKNOWN, f"{type(error).__name__}: {error}")
        if found is None:
            return Observation(AttemptStatus.UNKNOWN, f"the cluster does not know the job {job}")
        status = _STATUSES.get(str(found.get("status")), AttemptStatus.UNKNOWN)
        exit_code = found.get("driver_exit_code")
        return Observation(status, str(found.get("message") or ""), exit_code)

    def stop(self, job: str) -> None:
        """Asks a job to end. That it cannot be asked is no error: looking at it will show."""
        try:
            self._http.post(f"/api/jobs/{job}/stop")
        except httpx.HTTPError:
            return

    def log_tail(self, job: str, lines: int) -> str:
        try:
            answer = self._http.get(f"/api/jobs/{job}/logs")
            answer.raise_for_status()
            text = str(answer.json().get("logs") or "")
        except (httpx.HTTPError, ValueError):
            return ""
        return "\n".join(text.rstrip().splitlines()[-lines:])

    def _find(self, job: str) -> dict[str, Any] | None:
        """Ray's record of a job; None where there is none. Raises httpx.HTTPError."""
        answer = self._http.get(f"/api/jobs/{job}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        answer.raise_for_status()
        try:
            found = answer.json()
        except ValueError:
            raise httpx.DecodingError("the Jobs API did not answer JSON") from None
        return found if isinstance(found, dict) else None


def _told(answer: httpx.Response) -> str:
    """The last line that says something: Ray answers with whole tracebacks."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip(" .")]
    return f"HTTP {answer.status_code}: {lines[-1] if lines else answer.reason_phrase}"
