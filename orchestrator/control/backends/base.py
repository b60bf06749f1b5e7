"""What the controller asks of a place where Attempts run: nodes, launch, observe, stop.

A failed look at an Attempt is not a failed Attempt: `observe` answers UNKNOWN where it could not
learn the truth, and never raises for it. One contract suite runs over every backend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from orchestrator.records import Placed, Reason
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
    ABSENT = "ABSENT"  # the backend was asked and knows no such Attempt
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
    reason: Reason | None = None  # of a failure whose cause the backend itself knows
    hint: str | None = None  # what to do about that


def is_alive(seen: Observation | None) -> bool:
    """Whether a look found the Attempt, not ended."""
    return seen is not None and seen.status in (AttemptStatus.PENDING, AttemptStatus.RUNNING)


def is_absent(seen: Observation | None) -> bool:
    """Whether a look found that the backend knows no such Attempt."""
    return seen is not None and seen.status is AttemptStatus.ABSENT


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """One machine of a backend, and what gangs may hold of it altogether."""

    name: str  # unique in its backend, and the same after a restart of the machine's Ray
    cpus: float
    gpus: int = 0
    memory_bytes: int = 0
    accelerator: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    is_alive: bool = True


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """One Attempt, as a backend sees it."""

    job: str
    attempt: int
    launch_path: str  # JSON of a records.Launch: a file, or a URL of the object store
    workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: int = 0
    placement: tuple[Placed, ...] = ()  # by the scheduler; empty: wherever there is room
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

    def nodes(self) -> tuple[NodeInfo, ...]:
        """Every machine there is. Raises BackendUnavailable where it cannot be asked now."""
        ...

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        """Starts an Attempt; a second call for the same Attempt changes nothing.

        Raises LaunchFailed when it is refused, BackendUnavailable when nobody can be asked now.
        May wait for a place that is coming up; call it on a thread.
        """
        ...

    def observe(self, handle: AttemptHandle) -> Observation: ...

    def stop(self, handle: AttemptHandle) -> None:
        """Asks an Attempt to end; `observe` tells when it has. Does nothing where it is over."""
        ...

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        """The last lines of the driver's output; empty where they cannot be had."""
        ...

    def close(self, *, keep: bool = False) -> None:
        """Gives back what the backend holds for this process.

        Args:
            keep: Leaves the machines that the backend has started to whoever comes next, and with
                them the Attempts that run there; else nothing stays behind.
        """
        ...


@runtime_checkable
class BackendWithLogFiles(Protocol):
    """A backend that has the logs of driver and ranks as files, for as long as it is open."""

    def keep_logs(self, handle: AttemptHandle, folder: Path) -> bool:
        """Copies them to a new folder; false where there are none."""
        ...
