"""Ray's Jobs API over HTTP: submit, look, stop, read the log. Shared by every backend on Ray.

HTTP instead of Ray's own client keeps Ray's library out of the control plane.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.errors import BackendUnavailable, LaunchFailed

_STATUSES = {
    "PENDING": AttemptStatus.PENDING,
    "RUNNING": AttemptStatus.RUNNING,
    "SUCCEEDED": AttemptStatus.SUCCEEDED,
    "FAILED": AttemptStatus.FAILED,
    "STOPPED": AttemptStatus.STOPPED,
}

# Seconds from SIGTERM to SIGKILL for a driver that was asked to stop; three unless it is told.
STOP_WAIT = {"RAY_JOB_STOP_WAIT_TIME_S": "30"}

SUBMIT_TIMEOUT_SECONDS = 120.0
_RETRY_SECONDS = 0.3
_NO_SUCH_JOB = "does not exist"  # a proxy's 404 says something else


def open_api(
    url: str, token: str | None, transport: httpx.BaseTransport | None = None
) -> httpx.Client:
    """A client of the HTTP server that every Ray head has; safe to share between threads."""
    return httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
        # A submission waits for an agent of the cluster for up to ten seconds.
        timeout=httpx.Timeout(10.0, read=30.0),
        transport=transport,
        trust_env=False,  # a proxy of the environment must not see a cluster's traffic
    )


class RayJobs:
    """A client of one cluster's Jobs API."""

    def __init__(
        self,
        http: httpx.Client,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = http
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
        patience_seconds: float = SUBMIT_TIMEOUT_SECONDS,
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
            patience_seconds: How long a cluster is asked that is away or not ready.
            cancelled: Asked between tries.

        Raises:
            LaunchFailed: It was refused, or cancelled.
            BackendUnavailable: Nobody accepted it in time; it may have been accepted all the same.
        """
        body = {
            "entrypoint": entrypoint,
            "submission_id": job,
            "runtime_env": {"env_vars": dict(environment)},
        }
        deadline = self._clock() + patience_seconds
        problem = "no answer"
        while self._clock() < deadline:
            if cancelled():
                raise LaunchFailed(f"the launch of {job} was interrupted")
            found = self._try_to_submit(job, body)
            if found is None:
                return
            problem = found
            self._sleep(_RETRY_SECONDS)
        raise BackendUnavailable(f"Ray did not accept the job {job}: {problem}")

    def _try_to_submit(self, job: str, body: Mapping[str, Any]) -> str | None:
        """What was in the way; None: the cluster has the job. Raises LaunchFailed if refused."""
        try:
            if self._find(job) is not None:
                return None
            answer = self._http.post("/api/jobs/", json=body)
        except httpx.HTTPError as error:
            return f"{type(error).__name__}: {error}"
        if answer.is_success:
            return None
        if answer.is_client_error:  # the request itself is wrong, or the token
            raise LaunchFailed(f"Ray did not accept the job {job}: {told(answer)}")
        return told(answer)

    def look(self, job: str) -> Observation:
        """What Ray says of a job: UNKNOWN where it cannot be asked, ABSENT where it knows none."""
        try:
            found = self._find(job)
        except httpx.HTTPError as error:
            return Observation(AttemptStatus.UNKNOWN, f"{type(error).__name__}: {error}")
        if found is None:
            return Observation(AttemptStatus.ABSENT, f"the cluster does not know the job {job}")
        status = _STATUSES.get(str(found.get("status")), AttemptStatus.UNKNOWN)
        exit_code = found.get("driver_exit_code")
        return Observation(status, str(found.get("message") or ""), exit_code)

    def stop(self, job: str) -> None:
        """Asks a job to end. That it cannot be asked is no error: looking at it will show."""
        try:
            self._http.post(f"/api/jobs/{job}/stop")
        except httpx.HTTPError:
            return

    def ray_job(self, job: str) -> str | None:
        """Ray's own id of the job's driver, which is part of its log files' names."""
        try:
            found = self._find(job)
        except httpx.HTTPError:
            return None
        number = found.get("job_id") if found else None
        return str(number) if number else None

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
        if answer.status_code == httpx.codes.NOT_FOUND and _NO_SUCH_JOB in answer.text:
            return None
        answer.raise_for_status()
        try:
            found = answer.json()
        except ValueError:
            raise httpx.DecodingError("the Jobs API did not answer JSON") from None
        return found if isinstance(found, dict) else None


def told(answer: httpx.Response) -> str:
    """The last line that says something: Ray answers with whole tracebacks."""
    lines = [line.strip() for line in answer.text.splitlines() if line.strip(" .")]
    return f"HTTP {answer.status_code}: {lines[-1] if lines else answer.reason_phrase}"
