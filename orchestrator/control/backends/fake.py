"""A backend that starts nothing: a whole peer of the others, whose Attempts follow a script.

For tests of the controller and whoever wants to see the control plane move without a cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Capacity,
    LaunchRequest,
    Observation,
)
from orchestrator.errors import LaunchFailed

Script = Callable[[LaunchRequest], Iterator[Observation]]
"""What an Attempt does: each look takes one Observation; the last one stays."""


def succeeds(request: LaunchRequest) -> Iterator[Observation]:
    yield Observation(AttemptStatus.PENDING)
    yield Observation(AttemptStatus.RUNNING)
    yield Observation(AttemptStatus.SUCCEEDED, exit_code=0)


class FakeBackend:
    """Attempts that exist as Observations only."""

    name = "fake"

    def __init__(self, script: Script = succeeds, *, refuses: str | None = None) -> None:
        """
        Args:
            script: Played once for each Attempt.
            refuses: The message every launch fails with, if any.
        """
        self.launched: list[LaunchRequest] = []
        self.stopped: list[AttemptHandle] = []
        self.is_closed = False
        self._script = script
        self._refuses = refuses
        self._playing: dict[AttemptHandle, Iterator[Observation]] = {}
        self._seen: dict[AttemptHandle, Observation] = {}

    def capacity(self) -> Capacity:
        return Capacity(cpus=2, gpus=0, memory_bytes=8_000_000_000)

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        handle = AttemptHandle(request.job, request.attempt)
        if self._refuses is not None:
            raise LaunchFailed(self._refuses)
        if handle not in self._playing:
            self.launched.append(request)
            self._playing[handle] = self._script(request)
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        if handle not in self._playing:
            return Observation(AttemptStatus.UNKNOWN, "never launched")
        seen = self._seen.get(handle, Observation(AttemptStatus.PENDING))
        if seen.status.is_terminal:
            return seen
        self._seen[handle] = next(self._playing[handle], seen)
        return self._seen[handle]

    def stop(self, handle: AttemptHandle) -> None:
        self.stopped.append(handle)
        if handle in self._playing and not self.observe(handle).status.is_terminal:
            self._seen[handle] = Observation(AttemptStatus.STOPPED, "stopped")

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        text: Sequence[str] = [f"{handle.submission_id}: {self._seen.get(handle)}"]
        return "\n".join(text[-lines:]) if handle in self._seen else ""

    def keep_logs(self, handle: AttemptHandle, folder: Path) -> bool:
        text = self.log_tail(handle, 1)
        if text:
            folder.mkdir(parents=True)
            (folder / "driver.log").write_text(text)
        return bool(text)

    def close(self) -> None:
        self.is_closed = True
