"""A cluster whose machines, gangs and answers fail as the weather has it.

This is the truth that promises are held against; controllers see it through `wire` only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.errors import BackendUnavailable
from tests.control.simulation.gang import Gang

if TYPE_CHECKING:
    from tests.control.simulation.world import World


@dataclass
class Machine:
    """One node."""

    name: str
    cpus: int
    is_alive: bool = True

    def info(self) -> NodeInfo:
        return NodeInfo(self.name, self.cpus, memory_bytes=10**12, is_alive=self.is_alive)


@dataclass
class Cluster:
    """One backend's truth."""

    world: World
    name: str
    machines: list[Machine]
    away_since: float | None = None
    back_at: float = 0.0  # when it last came back
    silences: list[tuple[float, float]] = field(default_factory=list)  # that are over
    restarts: list[float] = field(default_factory=list)
    gangs: dict[AttemptHandle, Gang] = field(default_factory=dict)  # those it remembers
    all: list[Gang] = field(default_factory=list)

    # What a controller may ask for, once its request has arrived.

    def nodes(self) -> tuple[NodeInfo, ...]:
        self._answer()
        return tuple(machine.info() for machine in self.machines)

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        handle = AttemptHandle(request.job, request.attempt)
        if handle not in self.gangs:
            gang = Gang(self.world, self, request, self.world.weather.fate(self.world))
            self.gangs[handle] = gang
            self.all.append(gang)
            self.world.say(f"{self.name}: {gang} accepted, fate {gang.fate}")
            self.world.promises.launched(gang)
            gang.begin()
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        if self.away_since is not None:
            return Observation(AttemptStatus.UNKNOWN, f"{self.name} does not answer")
        gang = self.gangs.get(handle)
        if gang is None:
            return Observation(AttemptStatus.ABSENT)
        return Observation(gang.status, gang.message, gang.exit_code)

    def stop(self, handle: AttemptHandle) -> None:
        gang = self.gangs.get(handle)
        if self.away_since is None and gang is not None and not gang.is_over:
            self.world.promises.stopped(gang)
            gang.stop()

    def log_tail(self, handle: AttemptHandle) -> str:
        gang = self.gangs.get(handle)
        return gang.log if gang is not None and self.away_since is None else ""

    # What happens to it.

    def go_away(self) -> None:
        if self.away_since is None:
            self.away_since = self.world.time.now
            self.world.say(f"{self.name}: away")

    def come_back(self) -> None:
        if self.away_since is not None:
            self.silences.append((self.away_since, self.world.time.now))
            self.away_since, self.back_at = None, self.world.time.now
            self.world.say(f"{self.name}: back")

    def restart(self) -> None:
        """Its head is lost with everything that ran, and knows nothing any more."""
        self.world.say(f"{self.name}: restarted empty")
        self.restarts.append(self.world.time.now)
        for gang in self.gangs.values():
            gang.fall("the cluster was restarted", cause="restarted")
        self.gangs.clear()

    def lose(self, machine: Machine) -> None:
        if not machine.is_alive:
            return
        machine.is_alive = False
        self.world.say(f"{self.name}: {machine.name} is lost")
        for gang in list(self.running()):
            if machine.name in gang.machines:
                gang.fall(f"node {machine.name} died", cause="node")

    def heal(self, machine: Machine) -> None:
        if not machine.is_alive:
            self.world.say(f"{self.name}: {machine.name} is back")
        machine.is_alive = True

    # What is true.

    def running(self) -> Iterator[Gang]:
        return (gang for gang in self.gangs.values() if not gang.is_over)

    def held(self) -> Counter[str]:
        """Cores in use by machine: a driver takes none."""
        found: Counter[str] = Counter()
        for gang in (gang for gang in self.running() if gang.has_ranks):
            for part in gang.request.placement:
                found[part.node] += part.workers * gang.request.cpus_per_worker
        return found

    def _answer(self) -> None:
        if self.away_since is not None:
            raise BackendUnavailable(f"{self.name} does not answer")
