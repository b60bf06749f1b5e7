"""A backend that starts nothing: a whole peer of the others, whose Attempts follow a script.

For tests and simulations of the controller, in one process and with every fault at hand. Its
sibling `fake_machines` is the one that a server runs with: it survives the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.errors import BackendUnavailable, LaunchFailed

Script = Callable[[LaunchRequest], Iterator[Observation]]
"""What an Attempt does: each look takes one Observation; the last one stays."""

ONE_NODE = (NodeInfo("fake-0", cpus=2, memory_bytes=8_000_000_000),)


def succeeds(request: LaunchRequest) -> Iterator[Observation]:
    yield Observation(AttemptStatus.PENDING)
    yield Observation(AttemptStatus.RUNNING)
    yield Observation(AttemptStatus.SUCCEEDED, exit_code=0)


def lasting(
    seconds: float,
    clock: Callable[[], float],
    ending: Callable[[LaunchRequest], Observation],
) -> Script:
    """A script by the clock: it runs for some seconds from its launch, then ends.

    Args:
        seconds: How long it runs.
        clock: Seconds, of any origin.
        ending: What it leaves behind (an Outcome in the store, say) and how it ends.
    """

    def until(ends_at: float, request: LaunchRequest) -> Iterator[Observation]:
        while clock() < ends_at:
            yield Observation(AttemptStatus.RUNNING)
        yield ending(request)

    return lambda request: until(clock() + seconds, request)


@dataclass
class Faults:
    """What goes wrong now; a test or a simulation changes it as it goes."""

    refusal: str | None = None  # the message every launch fails with
    is_away: bool = False  # nobody answers: looks are UNKNOWN, launches and stops get lost
    loses_answers: bool = False  # a launch is carried out, and its caller hears of no success
    lost_nodes: set[str] = field(default_factory=set)  # with them goes whatever runs there


class FakeBackend:
    """Attempts that exist as Observations only. Safe to share between threads."""

    def __init__(
        self,
        script: Script = succeeds,
        *,
        name: str = "fake",
        nodes: Sequence[NodeInfo] = ONE_NODE,
        refuses: str | None = None,
    ) -> None:
        """
        Args:
            script: Played once for each Attempt.
            name: Of this backend.
            nodes: Its machines.
            refuses: The message every launch fails with, if any.
        """
        self.name = name
        self.faults = Faults(refusal=refuses)
        self.launched: list[LaunchRequest] = []
        self.stopped: list[AttemptHandle] = []
        self.is_closed = False
        self._nodes = tuple(nodes)
        self._script = script
        self._requests: dict[AttemptHandle, LaunchRequest] = {}
        self._playing: dict[AttemptHandle, Iterator[Observation]] = {}
        self._seen: dict[AttemptHandle, Observation] = {}
        self._lock = threading.RLock()

    def nodes(self) -> tuple[NodeInfo, ...]:
        if self.faults.is_away:
            raise BackendUnavailable(f"{self.name} is away")
        lost = self.faults.lost_nodes
        return tuple(replace(node, is_alive=node.name not in lost) for node in self._nodes)

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        handle = AttemptHandle(request.job, request.attempt)
        if self.faults.is_away:
            raise BackendUnavailable(f"{self.name} is away")
        if self.faults.refusal is not None:
            raise LaunchFailed(self.faults.refusal)
        with self._lock:
            if handle not in self._playing:
                self.launched.append(request)
                self._requests[handle] = request
                self._playing[handle] = self._script(request)
        if self.faults.loses_answers:
            raise BackendUnavailable(f"{self.name} did not answer")
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        if self.faults.is_away:
            return Observation(AttemptStatus.UNKNOWN, f"{self.name} is away")
        with self._lock:
            return self._look(handle)

    def stop(self, handle: AttemptHandle) -> None:
        if self.faults.is_away:
            return
        with self._lock:
            self.stopped.append(handle)
            if handle in self._playing and not self._look(handle).status.is_terminal:
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

    def close(self, *, keep: bool = False) -> None:
        self.is_closed = True

    def live(self) -> list[AttemptHandle]:
        """Attempts that have not ended, without looking: no script moves on."""
        with self._lock:
            ended = {h for h, seen in self._seen.items() if seen.status.is_terminal}
            return [handle for handle in self._playing if handle not in ended]

    def _look(self, handle: AttemptHandle) -> Observation:
        if handle not in self._playing:
            return Observation(AttemptStatus.ABSENT, "never launched")
        seen = self._seen.get(handle, Observation(AttemptStatus.PENDING))
        if seen.status.is_terminal:
            return seen
        placement = self._requests[handle].placement
        gone = [part.node for part in placement if part.node in self.faults.lost_nodes]
        if gone:
            message = f"the node {gone[0]} was lost"
            self._seen[handle] = Observation(AttemptStatus.FAILED, message, exit_code=1)
        else:
            self._seen[handle] = next(self._playing[handle], seen)
        return self._seen[handle]
