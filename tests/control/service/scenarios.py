"""What is killed, by name: a server on SQLite, the leader of two or the database on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from orchestrator.control.store import Database
from tests.control.service.load import Lived, Load, live_through
from tests.control.service.outages import (
    BothKilled,
    DatabaseKilled,
    LeaderKilled,
    OnPostgres,
    ServerKilled,
)
from tests.control.service.process import ServerProcess
from tests.control.store.postgres import PostgresServer, postgres_folder

Lives = Iterator[tuple[Lived, Database]]
Scenario = Callable[[Path, int, int, int], AbstractContextManager[tuple[Lived, Database]]]
"""(folder, jobs, kills, seed) -> what was lived through, and the rows."""


@contextmanager
def on_sqlite(folder: Path, jobs: int, kills: int, seed: int) -> Lives:
    load = Load(jobs, "sqlite:///{folder}/rows.db", seed=seed)
    with live_through(load, folder, lambda s, lived: ServerKilled(s, lived, kills)) as found:
        yield found


def on_postgres(kind: type[OnPostgres]) -> Scenario:
    @contextmanager
    def scenario(folder: Path, jobs: int, kills: int, seed: int) -> Lives:
        with started_postgres() as postgres:
            load = Load(jobs, postgres.address(), servers=2, seed=seed)

            def outage(servers: list[ServerProcess], lived: Lived) -> OnPostgres:
                found = kind(servers, lived, kills)
                found.postgres = postgres
                return found

            with live_through(load, folder, outage) as found:
                yield found

    return scenario


@contextmanager
def started_postgres() -> Iterator[PostgresServer]:
    programs = postgres_folder()
    assert programs is not None, "PostgreSQL is installed"
    server = PostgresServer(programs)
    server.create()
    server.start()
    try:
        yield server
    finally:
        server.kill()
        server.remove()


SCENARIOS: Mapping[str, Scenario] = {
    "server": on_sqlite,
    "leader": on_postgres(LeaderKilled),
    "database": on_postgres(DatabaseKilled),
    "both": on_postgres(BothKilled),
}
