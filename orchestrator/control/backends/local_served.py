"""Attempts on this machine under a server: one embedded Ray that outlives it and is adopted again.

Ray is started by the first launch, and again by the next one after it died. Attempts of a Ray that
is gone are absent: an embedded Ray takes them with it.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    Observation,
)
from orchestrator.control.backends.cluster import ClusterSize
from orchestrator.control.backends.detached import DetachedCluster
from orchestrator.control.backends.local import EmbeddedBackend, RayStart
from orchestrator.control.backends.rayjobs import RayJobs, open_api
from orchestrator.inspect.hardware import inspect_hardware


class ServedLocalBackend(EmbeddedBackend):
    """This machine, for as long as servers come and go."""

    def __init__(self, place: Path, start: RayStart, *, name: str = "local") -> None:
        """
        Args:
            place: Folder that remembers the Ray, below the operator's `state_dir`.
            start: How it is started.
            name: Of this backend.
        """
        super().__init__(name, start)
        self._place = place
        self._cluster: DetachedCluster | None = None
        self._jobs: RayJobs | None = None
        self._starting = threading.Lock()  # held while a Ray comes up: minutes, perhaps
        self._changing = threading.Lock()  # held while the two above change
        self._last_words = ""

    @property
    def cluster(self) -> DetachedCluster | None:
        """The Ray that is up, as far as this process has met it."""
        return self._cluster

    def observe(self, handle: AttemptHandle) -> Observation:
        jobs = self._present_jobs()
        if jobs is None:
            cause = f"the embedded Ray ended: {self._last_words}" if self._last_words else ""
            return Observation(AttemptStatus.ABSENT, cause or "no Ray is up on this machine")
        return jobs.look(handle.submission_id)

    def close(self, *, keep: bool = False) -> None:
        with self._changing:
            if self._jobs is not None:
                self._jobs.close()
            self._cluster = self._jobs = None
        if not keep:
            self.end()

    def end(self) -> bool:
        """Ends the Ray that is up, with all that runs there; False where there is none."""
        cluster = DetachedCluster.remembered(self._place)
        if cluster is None:
            return False
        cluster.stop()
        return True

    def _ready_jobs(self, request: LaunchRequest) -> RayJobs:
        with self._starting:
            jobs = self._present_jobs()
            if jobs is not None:
                return jobs
            found, start = inspect_hardware(self._start.root), self._start
            size = ClusterSize(found.cpus, len(found.gpus), socket.gethostname())
            cluster = DetachedCluster.start(self._place, start.root, size)
            cluster.wait_ready(start.timeout_seconds, start.cancelled)
            with self._changing:
                return self._adopt(cluster)

    def _present_jobs(self) -> RayJobs | None:
        """Adopts what a server before this one, or beside it, has started."""
        with self._changing:
            cluster = self._cluster or DetachedCluster.remembered(self._place)
            if cluster is not None and not cluster.is_alive:
                told = cluster.errors().partition("\n---")[0].replace("\n", "; ")
                self._last_words = told or "killed"
                # Its client is not closed: another thread may be using it.
                self._cluster = self._jobs = None
                cluster = DetachedCluster.remembered(self._place)
            if cluster is None or not cluster.is_alive or cluster.address is None:
                return None
            return self._adopt(cluster)

    def _session(self) -> Path | None:
        return self._cluster.folder if self._cluster is not None else None

    def _adopt(self, cluster: DetachedCluster) -> RayJobs:
        if self._jobs is None or self._cluster is None:
            address = cluster.address
            assert address is not None, "it is up"
            self._cluster = cluster
            self._jobs = RayJobs(open_api(address.dashboard_url, cluster.token))
        return self._jobs
