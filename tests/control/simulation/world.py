"""One history: processes, clusters, people, a store and a database under one seed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from random import Random

from obstore.store import MemoryStore
from sqlalchemy import delete

from orchestrator.control.controller.loop import Rows
from orchestrator.control.controller.policy import Policy
from orchestrator.control.scheduler.values import Policy as SchedulingPolicy
from orchestrator.control.store import Database
from orchestrator.control.store.schema import metadata
from orchestrator.errors import DatabaseUnavailable
from orchestrator.records import Directive, Queue, Report
from orchestrator.storage.objectstore import ObjectStore
from tests.control.simulation.cluster import Cluster, Machine
from tests.control.simulation.faults import Storm, weather
from tests.control.simulation.process import Process
from tests.control.simulation.promises import BrokenPromise, Promises
from tests.control.simulation.store import away, open_simulated
from tests.control.simulation.timeline import Timeline
from tests.control.simulation.users import Users

POLICY = Policy(
    first_backoff_seconds=2.0,
    max_backoff_seconds=20.0,
    hang_seconds=40.0,
    stacks_seconds=8.0,
    save_seconds=30.0,
    stop_again_seconds=10.0,
    look_seconds=1.0,
    unreachable_seconds=90.0,
)
SETTLES_WITHIN_SECONDS = 4000.0


class World:
    """Everything there is."""

    def __init__(self, seed: int, database: Database) -> None:
        self.seed = seed
        self.chance = Random(seed)
        self.time = Timeline()
        self.trace: list[tuple[float, str]] = []
        self.database = database
        self.rows = Rows.of(database)
        self.memory = MemoryStore()
        self.policy = POLICY
        self.scheduling = SchedulingPolicy(preemption_cooldown_seconds=60.0)
        self.weather = weather(self.chance, self.chance.choice((60.0, 150.0, 300.0)))
        self.promises = Promises(self)
        self.users = Users(self)
        self.clusters = self._clusters()
        self._names: dict[str, str] = {}
        self._store_back_at = self._database_back_at = 0.0
        self._num_started = 0
        self.processes: list[Process] = []

    def live(self) -> None:
        """From the first submission to the end of the last job; raises BrokenPromise."""
        with self._complaints():
            self._live()
        self.promises.look_back()

    def _live(self) -> None:
        self.say(f"seed {self.seed}: {self.weather}")
        self._set_up_queues()
        self.users.arrive(self.chance.randint(1, 7), self.weather.calm_at)
        for _ in range(self.chance.choice((1, 1, 2))):
            self._start_process()
        Storm(self)
        self.time.run(self.weather.calm_at + Storm.EVERY_SECONDS)
        self.time.run(SETTLES_WITHIN_SECONDS, self.promises.are_settled)

    @contextmanager
    def _complaints(self) -> Iterator[None]:
        """A defect that the controller outlives and logs is one all the same."""
        logger = logging.getLogger("orchestrator")
        handler = _Complaints()
        logger.addHandler(handler)
        propagates, logger.propagate = logger.propagate, False
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.propagate = propagates

    def say(self, text: str) -> None:
        self.trace.append((self.time.elapsed, text))

    def name(self, job: str) -> str:
        """A short one, for the trace."""
        return self._names.setdefault(job, f"job{len(self._names) + 1}")

    # The store.

    def open_store(self) -> ObjectStore:
        """As a gang sees it."""
        return open_simulated(self.memory, self.check_store)

    def check_store(self) -> None:
        if self.time.now < self._store_back_at:
            raise away()

    def cut_store(self, seconds: float) -> None:
        self.say(f"the store is away for {seconds:.0f} s")
        self._store_back_at = self.time.now + seconds

    # The database, and the processes on it.

    def check_database(self) -> None:
        if self.time.now < self._database_back_at:
            raise DatabaseUnavailable("the database does not answer")

    def cut_database(self, seconds: float) -> None:
        self.say(f"the database is away for {seconds:.0f} s")
        self._database_back_at = self.time.now + seconds

    def mend(self) -> None:
        self._store_back_at = self._database_back_at = 0.0
        for process in self.processes:
            process.skew = 0.0

    def receive(self, token_sha256: str, report: Report) -> Directive | None:
        """As any living process's API takes a Report in; None where there is none."""
        takers = [p for p in self.processes if not p.is_dead and not p.is_paused]
        if not takers:
            return None
        self.check_database()
        now = self.time.now + takers[0].skew
        return self.rows.attempts.report(token_sha256, report, now)

    def restart_soon(self) -> None:
        self.time.after(self.chance.uniform(0.5, 20.0), self._start_process)

    def _start_process(self) -> None:
        self.processes = [process for process in self.processes if not process.is_dead]
        self._num_started += 1
        name = f"server{self._num_started}"
        self.processes.append(Process(self, name, holder=name))

    # Before it begins.

    def _clusters(self) -> list[Cluster]:
        names = ("east", "west")[: self.chance.choice((1, 1, 2))]
        return [
            Cluster(
                self,
                name,
                [
                    Machine(f"{name}-{number}", self.chance.choice((2, 4, 8)))
                    for number in range(self.chance.choice((1, 2, 3)))
                ],
            )
            for name in names
        ]

    def _set_up_queues(self) -> None:
        quota = self.chance.choice(({}, {"cpu": 8.0}, {"cpu": 4.0}))
        self.rows.queues.put(Queue(name="default", quota=quota))
        self.rows.queues.put(Queue(name="small", quota={"cpu": 6.0}))


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        raise BrokenPromise(f"{record.getMessage()}: {error!r}") from error


class _Time:
    """What the one database takes the time from: the history that is going on."""

    def __init__(self) -> None:
        self.line = Timeline()

    def __call__(self) -> float:
        return self.line.now


@cache
def _shared_database() -> tuple[Database, _Time]:
    """One for all histories: what it has compiled takes longer than a history."""
    time = _Time()
    return Database.open("sqlite://", clock=time), time


def live_through(seed: int) -> tuple[World, BaseException | None]:
    """A world after its history, and what went wrong in it, if anything did."""
    broken: list[BaseException] = []
    world = _before_history(seed)

    def live() -> None:
        try:
            world.live()
        except (Exception, BrokenPromise) as error:  # noqa: BLE001 (told with its seed)
            broken.append(error)

    # Not on the main thread: there the store would wait on threads, to let Ctrl-C through.
    thread = threading.Thread(target=live)
    thread.start()
    thread.join()
    return world, broken[0] if broken else None


def _before_history(seed: int) -> World:
    """Over an empty database."""
    database, time = _shared_database()
    tables = list(reversed(metadata.sorted_tables))
    database.write(lambda connection: [connection.execute(delete(table)) for table in tables])
    world = World(seed, database)
    time.line = world.time
    return world
