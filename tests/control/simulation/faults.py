"""What goes wrong in a history, and how often: drawn from its seed before it begins.

Most histories see a few kinds of faults often rather than all of them rarely. From `calm_at` on
nothing new goes wrong, and what is away comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from orchestrator.control.backends.base import AttemptStatus, Observation
from tests.control.simulation.gang import Fate

if TYPE_CHECKING:
    from tests.control.simulation.world import World

CHANCES = {
    "kill": 0.006,  # of a process, at each point
    "pause": 0.006,
    "lost_commit": 0.01,
    "lost_report": 0.5,
    "late_report": 0.3,
    "failed_look": 0.3,
    "bad_launch": 0.5,
    "bad_fate": 0.7,
    "slow": 0.3,  # an act that takes seconds
    "cluster_away": 0.5,  # these: every half minute
    "long_away": 0.15,
    "cluster_restart": 0.15,
    "node": 0.4,
    "store_away": 0.4,
    "database_away": 0.3,
    "skew": 0.4,
}
"""kind -> the highest chance, each time it could happen."""

FATES = ("kill", "kill", "hang", "hang", "silent", "fall")


@dataclass(frozen=True, slots=True)
class Weather:
    """The chance of each kind of fault in one history."""

    calm_at: float  # seconds from the start
    chances: Mapping[str, float]

    def happens(self, kind: str, world: World) -> bool:
        chance = self.chances.get(kind, 0.0)
        if chance == 0.0 or world.time.elapsed >= self.calm_at:
            return False
        return world.chance.random() < chance

    def pause(self, world: World) -> float:
        """For how long a process stands still now; beyond the life of a lease, now and then."""
        if not self.happens("pause", world):
            return 0.0
        return world.chance.choice((0.5, 3.0, 12.0, 40.0))

    def slowness(self, world: World) -> float:
        """How long an act, or its answer, takes."""
        if self.happens("slow", world):
            return world.chance.uniform(0.5, 20.0)
        return world.chance.uniform(0.0, 0.2)

    def launch_fault(self, world: World) -> str | None:
        if not self.happens("bad_launch", world):
            return None
        return world.chance.choice(("refused", "late", "unanswered"))

    def blur(self, world: World, seen: Observation) -> Observation:
        if self.happens("failed_look", world):
            return Observation(AttemptStatus.UNKNOWN, "ReadTimeout")
        return seen

    def fate(self, world: World) -> Fate:
        if not self.happens("bad_fate", world):
            return Fate()
        kind = world.chance.choice(FATES)
        return Fate(kind, world.chance.uniform(0.0, 60.0), world.chance.choice((0, 5, 10, 25)))

    def deliveries(self, world: World) -> list[float]:
        """After how many seconds a Report arrives, for each of its copies."""
        if self.happens("lost_report", world):
            return []
        if self.happens("late_report", world):
            copies = world.chance.choice((1, 2))
            return [world.chance.uniform(0.0, 15.0) for _ in range(copies)]
        return [0.05]

    def hears(self, world: World) -> bool:
        """Whether an answer, or a request to stop, gets through."""
        return not self.happens("lost_report", world)


def weather(chance: Random, calm_at: float) -> Weather:
    """Of one history: each kind is absent, mild or at its worst."""
    share = chance.choice((0.0, 0.3, 0.5, 0.8))
    worst = {
        kind: most * chance.choice((0.1, 0.5, 1.0))
        for kind, most in CHANCES.items()
        if chance.random() < share
    }
    return Weather(calm_at, worst)


class Storm:
    """What goes away and comes back: clusters, nodes, the store, the database, clocks."""

    EVERY_SECONDS = 15.0

    def __init__(self, world: World) -> None:
        self._world = world
        world.time.after(self.EVERY_SECONDS, self._blow)

    def _blow(self) -> None:
        world = self._world
        if world.time.elapsed >= world.weather.calm_at:
            self._calm()
            return
        chance, happens = world.chance, world.weather.happens
        for cluster in world.clusters:
            if happens("cluster_away", world):
                cluster.go_away()
                world.time.after(chance.uniform(1.0, 60.0), cluster.come_back)
            if happens("long_away", world):
                cluster.go_away()
                world.time.after(world.policy.unreachable_seconds * 2, cluster.come_back)
            if happens("cluster_restart", world):
                cluster.restart()
            for machine in cluster.machines:
                if happens("node", world):
                    cluster.lose(machine)
                    seconds = chance.uniform(1.0, 90.0)
                    world.time.after(seconds, lambda c=cluster, m=machine: c.heal(m))
        if happens("store_away", world):
            world.cut_store(chance.uniform(1.0, 60.0))
        if happens("database_away", world):
            world.cut_database(chance.uniform(0.5, 30.0))
        for process in world.processes:
            if happens("skew", world):
                process.skew = chance.uniform(-5.0, 5.0)
        world.time.after(self.EVERY_SECONDS, self._blow)

    def _calm(self) -> None:
        world = self._world
        world.say("calm: nothing new goes wrong")
        for cluster in world.clusters:
            cluster.come_back()
            for machine in cluster.machines:
                cluster.heal(machine)
        world.mend()
