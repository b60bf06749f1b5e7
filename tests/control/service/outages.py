"""What goes wrong while a service is used: servers and databases are killed at random."""

from __future__ import annotations

import random
import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psycopg

from tests.control.service.process import ServerProcess
from tests.control.store.postgres import PostgresServer

if TYPE_CHECKING:
    from tests.control.service.load import Lived

PAUSE = (0.5, 3.0)  # seconds between two kills, at random
TAKEOVER_SECONDS = 15.0


class Outage(AbstractContextManager["Outage"]):
    """Does its worst so many times, from a thread of its own; the block ends when it is done."""

    def __init__(self, servers: list[ServerProcess], lived: Lived, kills: int) -> None:
        self.servers = servers
        self.lived = lived
        self.chance = random.Random(lived.load.seed)
        self.error: BaseException | None = None
        self._kills = kills
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outage")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.error is not None and error is None:
            raise self.error

    def strike(self) -> None:
        """One blow, and the way back to a whole service."""
        raise NotImplementedError

    def _run(self) -> None:
        try:
            while self.lived.killed < self._kills:
                self._stop.wait(self.chance.uniform(*PAUSE))
                self.strike()
                self.lived.killed += 1
        except BaseException as error:  # noqa: BLE001 (told where the block ends)
            self.error = error


class ServerKilled(Outage):
    """The only server is killed, and started again."""

    def strike(self) -> None:
        (server,) = self.servers
        server.kill()
        server.start()
        server.wait()


class OnPostgres(Outage):
    """Two servers on one database."""

    postgres: PostgresServer

    def kill_leader(self) -> None:
        """Of several servers the one that decides; how soon another one does is measured."""
        holder = self._holder()
        leader = next(s for s in self.servers if f"/{s.pid}/" in holder)
        begun = time.monotonic()
        leader.kill()
        while self._holder() == holder:
            if time.monotonic() - begun > TAKEOVER_SECONDS:
                raise TimeoutError(f"nobody decides {TAKEOVER_SECONDS} s after {leader.name} died")
            time.sleep(0.02)
        self.lived.takeovers.append(time.monotonic() - begun)
        leader.start()
        leader.wait()

    def _holder(self) -> str:
        with psycopg.connect(self.postgres.address()) as connection:
            row = connection.execute("SELECT holder FROM leases WHERE name = 'controller'")
            found = row.fetchone()
        assert found is not None, "somebody has decided before"
        return str(found[0])

    def kill_database(self) -> None:
        """The database's own server, which comes back a moment later; ours stay up."""
        self.postgres.crash()
        time.sleep(self.chance.uniform(0.5, 4.0))
        self.postgres.start()
        assert all(s.process is not None and s.process.poll() is None for s in self.servers)


class LeaderKilled(OnPostgres):
    def strike(self) -> None:
        self.kill_leader()


class DatabaseKilled(OnPostgres):
    def strike(self) -> None:
        self.kill_database()


class BothKilled(OnPostgres):
    """In turns."""

    def strike(self) -> None:
        if self.lived.killed % 2:
            self.kill_database()
        else:
            self.kill_leader()
