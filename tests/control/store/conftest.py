"""Databases for the contract: each test of it runs on all three."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from orchestrator.control.store import Database, Retry
from orchestrator.control.store.schema import metadata
from tests.control.builders import Clock
from tests.control.store.postgres import PostgresServer, postgres_folder

KINDS = ("memory", "file", "postgres")
NEVER = Retry(delays_seconds=())
_numbers = count()


def started_server() -> PostgresServer:
    programs = postgres_folder()
    if programs is None:
        pytest.skip(
            "no PostgreSQL server: initdb is neither on the PATH nor in /usr/lib/postgresql"
        )
    server = PostgresServer(programs)
    server.create()
    server.start()
    return server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that all tests share."""
    server = started_server()
    yield server
    server.kill()
    server.remove()


@pytest.fixture(scope="session")
def shared_address(postgres: PostgresServer) -> str:
    """A database that is emptied before each test, which is quicker than a new one."""
    address = postgres.new_database("contract")
    Database.open(address).close()
    return address


@pytest.fixture(scope="session")
def shared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that is copied for each test, for the same reason."""
    path = tmp_path_factory.mktemp("rows") / "rows.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=KINDS)
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that has the tables and no rows but the default queue's."""
    if request.param == "memory":
        return "sqlite://"
    if request.param == "file":
        shutil.copy(request.getfixturevalue("shared_file"), tmp_path)
        return f"sqlite:///{tmp_path}/rows.db"
    shared: str = request.getfixturevalue("shared_address")
    tables = [f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)]
    queue = "INSERT INTO queues VALUES ('default', '{}')"
    with psycopg.connect(shared) as connection:
        connection.execute("; ".join([*tables, queue]).encode())
    return shared


@pytest.fixture(params=[kind for kind in KINDS if kind != "memory"])
def empty_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of a database that nobody has opened yet and several may."""
    if request.param == "file":
        return f"sqlite:///{tmp_path}/empty.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_database(f"empty{next(_numbers)}")


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.0)


@pytest.fixture
def database(address: str, clock: Clock) -> Iterator[Database]:
    opened = Database.open(address, clock=clock, retry=NEVER)
    yield opened
    opened.close()


@pytest.fixture
def other(database: Database, address: str, clock: Clock) -> Iterator[Database]:
    """The same rows as another process sees them; in memory there is only one."""
    if address == "sqlite://":
        yield database
        return
    opened = Database.open(address, clock=clock, retry=NEVER)
    yield opened
    opened.close()
