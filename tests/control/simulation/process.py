"""One server process: a controller with its threads, which can be killed or paused anywhere.

Whatever leaves the process, a commit, a request or an operation of the store, passes `point` before
and after: there it may die, or stand still while the rest of the world goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.control.controller.acts import Workplace
from orchestrator.control.controller.effects import Key, Result
from orchestrator.control.controller.loop import Controller, Means, Rows
from orchestrator.control.controller.values import Act, Concluded
from orchestrator.errors import BackendUnavailable, DatabaseUnavailable, LaunchFailed
from tests.control.simulation.cluster import Cluster
from tests.control.simulation.store import open_simulated

if TYPE_CHECKING:
    from tests.control.simulation.world import World

T = TypeVar("T")

IDLE_SECONDS = 2.5  # between cycles at most; a real one looks five times a second


class Killed(BaseException):
    """The process is no more: whatever it was doing is not done."""


class Process:
    """A server from its start to its death."""

    def __init__(self, world: World, name: str, holder: str) -> None:
        self.world = world
        self.name = name
        self.is_dead = False
        self.resumes_at = 0.0  # it stands still until then
        self.skew = 0.0  # of its clock
        self.effects = SlowEffects(self)
        rows = Rows.of(Seam(world.database, self))
        place = Workplace(
            backends={c.name: Wire(self, c) for c in world.clusters},
            store=lambda url: open_simulated(world.memory, self._before_store),
            documents=world.users.documents.get,
            report_url="http://simulation/reports",
            logs=Path("/nonexistent"),
            folders={},
            go_on=lambda job: "try again",
            seconds={},
        )
        means = Means(
            place,
            self.effects,
            policy=world.policy,
            scheduling=world.scheduling,
            clock=lambda: world.time.now + self.skew,
            token=lambda: f"{world.chance.getrandbits(64):016x}",
        )
        self.controller = Controller(rows, means, holder)
        world.say(f"{name}: started as {holder}")
        world.time.after(world.chance.uniform(0.1, 1.0), self.turn)

    @property
    def is_paused(self) -> bool:
        return self.world.time.now < self.resumes_at

    def turn(self) -> None:
        """A cycle, as the loop's thread makes them."""
        if self.is_dead:
            return
        if self.is_paused:
            self.world.time.after(self.resumes_at - self.world.time.now, self.turn)
            return
        try:
            began = self.world.time.now
            is_busy = self.controller.turn()
            self.world.promises.turned(self, began)
        except Killed:
            return
        pause = 0.05 if is_busy else self.world.chance.uniform(0.2, IDLE_SECONDS)
        self.world.time.after(pause, self.turn)

    def point(self, what: str, *, is_slow: bool = False) -> None:
        """Here the process may die or pause; raises Killed in what was its thread."""
        if self.is_dead:
            raise Killed
        seconds = self.world.weather.pause(self.world)
        if self.world.weather.happens("kill", self.world):
            self.kill(what)
            raise Killed
        if seconds and self.world.time.depth < 3:
            self.world.say(f"{self.name}: stands still for {seconds:.1f} s at {what}")
            self.resumes_at = max(self.resumes_at, self.world.time.now + seconds)
            self.world.time.run(seconds)
            self.world.say(f"{self.name}: goes on at {what}")
            if self.is_dead:
                raise Killed

    def kill(self, where: str) -> None:
        if not self.is_dead:
            self.is_dead = True
            self.world.say(f"{self.name}: killed at {where}")
            self.world.restart_soon()

    def _before_store(self) -> None:
        self.point("the store")
        self.world.check_store()


class Seam:
    """The database as one process sees it."""

    def __init__(self, database: Any, process: Process) -> None:
        self._database = database
        self._process = process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def read(self, work: Callable[[Any], T]) -> T:
        if self._process.is_dead:
            raise Killed
        self._process.world.check_database()
        found: T = self._database.read(work)
        return found

    def write(self, work: Callable[[Any], T]) -> T:
        self._process.point("a commit")
        self._process.world.check_database()
        written: T = self._database.write(work)
        self._process.world.promises.written()
        self._process.point("after a commit")
        if self._process.world.weather.happens("lost_commit", self._process.world):
            raise DatabaseUnavailable("the answer to a commit was lost")
        return written


class SlowEffects:
    """Acts on threads whose pace nobody knows; they die with their process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._ended: list[Result] = []
        self._busy: dict[tuple[str, int, Act], None] = {}

    def start(self, key: Key, work: Callable[[], object]) -> None:
        name = (key.job, key.attempt, key.act)
        if name in self._busy:
            return
        self._process.point(f"{key.act} of {self._process.world.name(key.job)}")
        self._busy[name] = None
        world = self._process.world
        if world.chance.random() < 0.5:
            self._carry_out(key, work)
        else:
            world.time.after(world.weather.slowness(world), lambda: self._later(key, work))

    def finished(self) -> list[Result]:
        ended, self._ended = self._ended, []
        for key, _ in ended:
            self._busy.pop((key.job, key.attempt, key.act), None)
        return ended

    def under_way(self, job: str, attempt: int) -> frozenset[Act]:
        return frozenset(act for *name, act in self._busy if tuple(name) == (job, attempt))

    def close(self) -> None:
        self._ended.clear()

    def _later(self, key: Key, work: Callable[[], object]) -> None:
        process = self._process
        if process.is_dead:
            return
        if process.is_paused:
            seconds = process.resumes_at - process.world.time.now
            process.world.time.after(seconds, lambda: self._later(key, work))
            return
        try:
            self._carry_out(key, work)
        except Killed:
            return

    def _carry_out(self, key: Key, work: Callable[[], object]) -> None:
        try:
            result: object = work()
        except Exception as error:  # noqa: BLE001 (as on a thread)
            result = error
        world = self._process.world
        told = _in_short(result)
        world.say(f"{self._process.name}: {key.act} {world.name(key.job)}/a{key.attempt}: {told}")
        world.time.after(world.weather.slowness(world), lambda: self._ended.append((key, result)))


def _in_short(result: object) -> str:
    if isinstance(result, Observation):
        return f"{result.status} {result.message}".rstrip()
    if isinstance(result, Concluded):
        return f"{result.outcome.state} ({result.outcome.reason})"
    if isinstance(result, Exception):
        return f"{type(result).__name__}: {result}"
    return "done"


class Wire:
    """A cluster as one process reaches it: requests and answers are late, lost or refused."""

    def __init__(self, process: Process, cluster: Cluster) -> None:
        self._process = process
        self._cluster = cluster
        self.name = cluster.name

    def nodes(self) -> tuple[NodeInfo, ...]:
        return self._cluster.nodes()

    def launch(self, request: LaunchRequest) -> AttemptHandle:
        world, handle = self._process.world, AttemptHandle(request.job, request.attempt)
        try:
            self._process.point("a launch")
        except Killed:
            if world.chance.random() < 0.5:  # it was on its way already
                world.time.after(world.chance.uniform(0.0, 4.0), lambda: self._arrive(request))
            raise
        if self._cluster.away_since is not None:
            raise BackendUnavailable(f"{self.name} does not answer")
        fault = world.weather.launch_fault(world)
        if fault == "refused" and self._cluster.observe(handle).status is AttemptStatus.ABSENT:
            world.promises.refused(handle)
            raise LaunchFailed("no agent of the cluster took it")
        if fault == "late":
            world.time.after(world.chance.uniform(0.0, 8.0), lambda: self._arrive(request))
            raise BackendUnavailable("the request timed out")
        self._cluster.launch(request)
        self._process.point("after a launch")
        if fault == "unanswered":
            raise BackendUnavailable("the answer was lost")
        return handle

    def observe(self, handle: AttemptHandle) -> Observation:
        self._process.point("a look")
        return self._process.world.weather.blur(self._process.world, self._cluster.observe(handle))

    def stop(self, handle: AttemptHandle) -> None:
        self._process.point("a stop")
        self._cluster.stop(handle)

    def log_tail(self, handle: AttemptHandle, lines: int) -> str:
        return self._cluster.log_tail(handle)

    def close(self, *, keep: bool = False) -> None:
        return

    def _arrive(self, request: LaunchRequest) -> None:
        if self._cluster.away_since is None:
            self._cluster.launch(request)
