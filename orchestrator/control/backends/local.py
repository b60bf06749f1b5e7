"""Attempts on this machine: an embedded Ray of the run's own, started for it and ended with it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.control.backends.base import (
    WORKER_MODULE,
    AttemptHandle,
    AttemptStatus,
    Capacity,
    LaunchRequest,
    Observation,
)
from orchestrator.control.backends.cluster import ClusterSize, EmbeddedCluster
from orchestrator.control.backends.rayjobs import RayJobs
from orchestrator.errors import LaunchFailed
from orchestrator.inspect.hardware import inspect_hardware

START_TIMEOUT_SECONDS = 300.0
MAX_LOG_BYTES = 5_000_000
STOP_WAIT_SECONDS = 30  # from SIGTERM to SIGKILL for a driver that was asked to stop


def worker_command(launch_path: str) -> tuple[str, ...]:
    """The driver of an Attempt, in this process's own Python."""
    return (sys.executable, "-m", WORKER_MODULE, "--launch", launch_path)


class LocalBackend:
    """Use as a context manager, or call `close`: it owns processes."""

    name = "local"

    def __init__(
        self,
        root: Path,
        *,
        start_timeout_seconds: float = START_TIMEOUT_SECONDS,
        command: Callable[[str], Sequence[str]] = worker_command,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            root: Folder of embedded clusters (the setting `ray_temp_dir`).
            start_timeout_seconds: How long Ray may take to come up.
            command: What to run for a launch file.
            cancelled: Asked while waiting for Ray; true ends the wait with LaunchFailed.
        """
        self._root = root
        self._timeout_seconds = start_timeout_seconds
        self._command = command
        self._cancelled = cancelled
        self._cluster: EmbeddedCluster | None = None
        self._jobs: RayJobs | None = None

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def cluster(self) -> EmbeddedCluster | None:
        return self._cluster

    def capacity(self) -> Capacity:
        found = inspect_hardware(self._root)
        return Capacity(found.cpus, len(found.gpus), found.available_memory_bytes)

    def prepare(self, *, num_cpus: int, num_gpus: int = 0) -> None:
        """Begins to start Ray and returns at once, so that other work can go on meanwhile."""
        if self._cluster is None:
            size = ClusterSize(num_cpus=num_cpus, num_gpus=num_gpus)
            self._cluster = EmbeddedCluster.spawn(self._root, size)

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        self.prepare(
            num_cpus=request.workers * request.cpus_per_worker,
            num_gpus=request.workers * request.gpus_per_worker,
        )
        handle = AttemptHandle(request.job, request.attempt)
        stop_wait = {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_SECONDS)}
        self._ready_jobs().submit(
            handle.submission_id,
            shlex.join(self._command(request.launch_path)),
            environment={**stop_wait, **request.environment},
            cancelled=self._cancelled,
        )
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        if self._cluster is None or self._jobs is None:
            return Observation(AttemptStatus.UNKNOWN, "no cluster was started here")
        seen = self._jobs.look(handle.submission_id)
        if seen.status is AttemptStatus.UNKNOWN and not self._cluster.is_alive:
            # Not a failed look but a fact: an embedded cluster takes its Attempts with it.
            cause = self._cluster.errors().partition("\n---")[0].replace("\n", "; ")
            return Observation(AttemptStatus.FAILED, f"the embedded Ray ended: {cause or 'killed'}")
        return seen

    def stop(self, handle: AttemptHandle) -> None:
        if self._jobs is not None:
            self._jobs.stop(handle.submission_id)

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        return self._jobs.log_tail(handle.submission_id, lines) if self._jobs is not None else ""

    def keep_logs(self, handle: AttemptHandle, folder: Path) -> bool:
        if self._cluster is None:
            return False
        driver = f"job-driver-{handle.submission_id}.log"
        patterns = (driver, "worker-*.out", "worker-*.err")
        found = [
            file
            for pattern in patterns
            for file in sorted(self._cluster.folder.glob(f"session_2*/logs/{pattern}"))
            if file.stat().st_size > 0
        ]
        if found:
            folder.mkdir(parents=True, mode=0o700)
        for file in found:
            (folder / file.name).write_bytes(_tail(file))
        return bool(found)

    def close(self) -> None:
        if self._jobs is not None:
            self._jobs.close()
        if self._cluster is not None:
            self._cluster.stop()
        self._jobs = self._cluster = None

    def _ready_jobs(self) -> RayJobs:
        assert self._cluster is not None
        if self._jobs is None:
            address = self._cluster.wait_ready(self._timeout_seconds, self._cancelled)
            self._jobs = RayJobs(address.dashboard_url, self._cluster.token)
        if not self._cluster.is_alive:
            raise LaunchFailed(f"the embedded Ray ended: {self._cluster.errors()}")
        return self._jobs


def _tail(file: Path) -> bytes:
    """A file's end: a log that ran away must not fill the disk twice."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - MAX_LOG_BYTES))
        return stream.read()
