"""Attempts on this machine: an embedded Ray of the run's own, started for it and ended with it.

What its sibling `local_served` has in common with it is here too: both talk to an embedded Ray.
"""

from __future__ import annotations

import re
import shlex
import socket
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.control.backends.base import (
    WORKER_MODULE,
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.control.backends.cluster import ClusterSize, EmbeddedCluster
from orchestrator.control.backends.rayjobs import STOP_WAIT, RayJobs, open_api
from orchestrator.errors import LaunchFailed
from orchestrator.inspect.hardware import HardwareFacts, inspect_hardware

START_TIMEOUT_SECONDS = 300.0
MAX_LOG_BYTES = 5_000_000


def worker_command(launch_path: str) -> tuple[str, ...]:
    """The driver of an Attempt, in this process's own Python."""
    return (sys.executable, "-m", WORKER_MODULE, "--launch", launch_path)


@dataclass(frozen=True, slots=True)
class RayStart:
    """How an embedded Ray is started and what runs on it."""

    root: Path  # folder of embedded clusters (the setting `ray_temp_dir`)
    timeout_seconds: float = START_TIMEOUT_SECONDS
    command: Callable[[str], Sequence[str]] = worker_command  # what to run for a Launch
    cancelled: Callable[[], bool] = lambda: False  # asked while waiting for Ray


class EmbeddedBackend(ABC):
    """What both local backends do with the Ray that is up. Safe to share between threads."""

    def __init__(self, name: str, start: RayStart) -> None:
        self.name = name
        self._start = start

    def nodes(self) -> tuple[NodeInfo, ...]:
        return (this_machine(inspect_hardware(self._start.root)),)

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        handle = AttemptHandle(request.job, request.attempt)
        self._ready_jobs(request).submit(
            handle.submission_id,
            shlex.join(self._start.command(request.launch_path)),
            environment={**STOP_WAIT, **request.environment},
            cancelled=self._start.cancelled,
        )
        return handle

    def stop(self, handle: AttemptHandle) -> None:
        jobs = self._present_jobs()
        if jobs is not None:
            jobs.stop(handle.submission_id)

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        jobs = self._present_jobs()
        return jobs.log_tail(handle.submission_id, lines) if jobs is not None else ""

    def keep_logs(self, handle: AttemptHandle, folder: Path) -> bool:
        jobs, logs = self._present_jobs(), self._session()
        if jobs is None or logs is None:
            return False
        patterns = [f"job-driver-{handle.submission_id}.log"]
        if number := jobs.ray_job(handle.submission_id):
            patterns += [f"worker-*-{number}-*.out", f"worker-*-{number}-*.err"]
        found = [
            file
            for pattern in patterns
            for file in sorted(logs.glob(f"session_2*/logs/{pattern}"))
            if file.stat().st_size > 0
        ]
        if found:
            folder.mkdir(parents=True, mode=0o700)
        for file in found:
            (folder / file.name).write_bytes(_tail(file))
        return bool(found)

    @abstractmethod
    def _ready_jobs(self, request: LaunchRequest) -> RayJobs:
        """Waits for a Ray that is coming up, or starts one. Raises LaunchFailed."""

    @abstractmethod
    def _present_jobs(self) -> RayJobs | None:
        """Of the Ray that is up."""

    @abstractmethod
    def _session(self) -> Path | None:
        """The folder of the Ray that is up."""


class LocalBackend(EmbeddedBackend):
    """Owns processes: use as a context manager, or call `close`."""

    def __init__(
        self,
        root: Path,
        *,
        name: str = "local",
        start_timeout_seconds: float = START_TIMEOUT_SECONDS,
        command: Callable[[str], Sequence[str]] = worker_command,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """
        Args:
            root: Folder of embedded clusters (the setting `ray_temp_dir`).
            name: Of this backend.
            start_timeout_seconds: How long Ray may take to come up.
            command: What to run for a Launch.
            cancelled: Asked while waiting for Ray; true ends the wait with LaunchFailed.
        """
        super().__init__(name, RayStart(root, start_timeout_seconds, command, cancelled))
        self._cluster: EmbeddedCluster | None = None
        self._jobs: RayJobs | None = None
        self._starting = threading.Lock()

    def __enter__(self) -> LocalBackend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def cluster(self) -> EmbeddedCluster | None:
        return self._cluster

    def prepare(self, *, num_cpus: int, num_gpus: int = 0) -> None:
        """Begins to start Ray and returns at once, so that other work can go on meanwhile."""
        if self._cluster is None:
            size = ClusterSize(num_cpus, num_gpus, socket.gethostname())
            self._cluster = EmbeddedCluster.spawn(self._start.root, size)

    def observe(self, handle: AttemptHandle) -> Observation:
        jobs, cluster = self._jobs, self._cluster
        if jobs is None or cluster is None:
            return Observation(AttemptStatus.ABSENT, "no Ray was started here")
        seen = jobs.look(handle.submission_id)
        if seen.status is AttemptStatus.UNKNOWN and not cluster.is_alive:
            # Not a failed look but a fact: an embedded cluster takes its Attempts with it.
            cause = cluster.errors().partition("\n---")[0].replace("\n", "; ")
            return Observation(AttemptStatus.FAILED, f"the embedded Ray ended: {cause or 'killed'}")
        return seen

    def close(self, *, keep: bool = False) -> None:
        """Ends Ray: what it runs is the run's own, so there is nobody to keep it for."""
        if self._jobs is not None:
            self._jobs.close()
        if self._cluster is not None:
            self._cluster.stop()
        self._jobs = self._cluster = None

    def _ready_jobs(self, request: LaunchRequest) -> RayJobs:
        with self._starting:
            self.prepare(
                num_cpus=request.workers * request.cpus_per_worker,
                num_gpus=request.workers * request.gpus_per_worker,
            )
            assert self._cluster is not None, "it was just prepared"
            if self._jobs is None:
                start = self._start
                address = self._cluster.wait_ready(start.timeout_seconds, start.cancelled)
                self._jobs = RayJobs(open_api(address.dashboard_url, self._cluster.token))
            if not self._cluster.is_alive:
                raise LaunchFailed(f"the embedded Ray ended: {self._cluster.errors()}")
            return self._jobs

    def _present_jobs(self) -> RayJobs | None:
        return self._jobs

    def _session(self) -> Path | None:
        return self._cluster.folder if self._cluster is not None else None


def this_machine(found: HardwareFacts) -> NodeInfo:
    """The machine as a node; its Ray is told the same name."""
    return NodeInfo(
        name=socket.gethostname(),
        cpus=found.cpus,
        gpus=len(found.gpus),
        memory_bytes=found.memory_bytes,
        accelerator=_short_name(found.gpus[0].name) if found.gpus else None,
    )


def _short_name(gpu: str) -> str:
    """As Ray names it: "NVIDIA A100-SXM4-40GB" is an A100."""
    match = re.match(r"\w+\s+([A-Z0-9]+)", gpu)
    return match.group(1) if match else gpu


def _tail(file: Path) -> bytes:
    """A file's end: a log that ran away must not fill the disk twice."""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - MAX_LOG_BYTES))
        return stream.read()
