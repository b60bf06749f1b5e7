"""What the controller asks of a place where Attempts run: capacity, launch, observe, stop.

A failed look at an Attempt is not a failed Attempt: `observe` answers UNKNOWN where it could not
learn the truth, and never raises for it. One contract suite runs over every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from orchestrator.records.ids import submission_id

WORKER_MODULE = "orchestrator.worker.training.main"
"""What an Attempt runs: named here, never imported."""


class AttemptStatus(StrEnum):
    """What a backend knows of an Attempt."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"  # its process ended with 0; whether it did its work is told elsewhere
    FAILED = "FAILED"
    STOPPED = "STOPPED"
    UNKNOWN = "UNKNOWN"  # could not be looked up now

    @property
    def is_terminal(self) -> bool:
        return self in (self.SUCCEEDED, self.FAILED, self.STOPPED)


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at an Attempt."""

    status: AttemptStatus
    message: str = ""
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a backend could give a gang that has it to itself."""

    cpus: float
    gpus: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One Attempt, as a backend sees it."""

    job: str
    attempt: int
    launch_path: str  # JSON file of a records.Launch, readable where the driver runs
    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttemptHandle:
    """Names an Attempt to the backend that launched it; survives the process that did."""

    job: str
    attempt: int

    @property
    def submission_id(self) -> str:
        return submission_id(self.job, self.attempt)


class Backend(Protocol):
    """A place where Attempts run."""

    @property
    def name(self) -> str: ...

    def capacity(self) -> Capacity: ...

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        """Starts an Attempt; a second call for the same Attempt changes nothing.

        Raises LaunchFailed when it cannot be started.
        """
        ...

    def observe(self, handle: AttemptHandle) -> Observation: ...

    def stop(self, handle: AttemptHandle) -> None:
        """Asks an Attempt to end; `observe` tells when it has. Does nothing where it is over."""
        ...

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        """The last lines of the driver's output; empty where they cannot be had."""
        ...

    def close(self) -> None:
        """Gives back what the backend holds for this process; nothing of it stays behind."""
        ...


@runtime_checkable
class BackendWithLogFiles(Protocol):
    """A backend that has the logs of driver and ranks as files, for as long as it is open."""

    def keep_logs(self, handle: AttemptHandle, folder: Path) -> bool:
        """Copies them to a new folder; false where there are none."""
        ...
