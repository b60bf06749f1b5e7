"""A database that goes away and comes back: told as one error, and nothing is half-written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

from orchestrator.control.store import (
    Attempts,
    Database,
    Events,
    JobFilter,
    Jobs,
    Leases,
    Page,
    Queues,
    Retry,
)
from orchestrator.errors import DatabaseUnavailable
from orchestrator.records import JobState
from tests.control.store.builders import SECRET, TIME, S, a_report, added, moved, started
from tests.control.store.conftest import NEVER, started_server
from tests.control.store.postgres import PostgresServer


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that tests kill; each leaves it running."""
    running = started_server()
    yield running
    running.kill()
    running.remove()


def test_a_server_that_comes_back_is_not_noticed(server: PostgresServer) -> None:
    slept: list[float] = []

    def come_back(seconds: float) -> None:
        if not slept:
            server.start()
        slept.append(seconds)

    retry = Retry(delays_seconds=(0.1, 0.2, 0.3), sleep=come_back)
    database = Database.open(server.new_database("back"), retry=retry)
    jobs = Jobs(database)
    job = added(jobs)
    server.kill()

    changed = jobs.apply(moved(job, S.STARTING))

    assert changed is not None
    assert jobs.get(job.id) == changed
    assert slept == [0.1]
    database.close()


def test_a_restart_between_two_verbs_needs_no_second_try(server: PostgresServer) -> None:
    database = Database.open(server.new_database("between"), retry=NEVER)
    job = added(Jobs(database))
    server.kill()
    server.start()

    assert Jobs(database).get(job.id) == job
    database.close()


def test_a_server_that_stays_away_is_told_and_then_used_again(server: PostgresServer) -> None:
    slept: list[float] = []
    retry = Retry(delays_seconds=(0.1, 0.2), sleep=slept.append)
    database = Database.open(server.new_database("away"), retry=retry)
    jobs = Jobs(database)
    job = added(jobs)
    server.kill()
    try:
        with pytest.raises(DatabaseUnavailable, match=r"postgresql://tester@/away.* unavailable"):
            jobs.apply(moved(job, S.STARTING))
        with pytest.raises(DatabaseUnavailable):
            jobs.live()
        with pytest.raises(DatabaseUnavailable):
            Leases(database).acquire("controller", "a", 10)
        assert slept == [0.1, 0.2] * 3
    finally:
        server.start()

    assert jobs.get(job.id) == job
    assert jobs.apply(moved(job, S.STARTING)) is not None
    assert len(Events(database).list()) == 2
    database.close()


def test_a_server_that_dies_within_a_change_leaves_nothing_of_it(server: PostgresServer) -> None:
    database = Database.open(server.new_database("within"), retry=NEVER)
    jobs = Jobs(database)
    job = added(jobs)

    def die_before_the_commit() -> None:
        with database.transaction():
            jobs.apply(moved(job, S.STARTING))
            server.kill()

    try:
        with pytest.raises(DatabaseUnavailable):
            die_before_the_commit()
    finally:
        server.start()

    assert jobs.get(job.id) == job
    assert len(Events(database).list()) == 1
    database.close()


def test_a_server_that_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    slept: list[float] = []
    retry = Retry(delays_seconds=(0.1, 0.2), sleep=slept.append)

    with pytest.raises(DatabaseUnavailable, match="is unavailable"):
        Database.open(f"postgresql://tester@/rows?host={tmp_path}", retry=retry)
    assert slept == [0.1, 0.2]


def test_a_file_that_another_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    slept: list[float] = []
    retry = Retry(delays_seconds=(0.1, 0.2), sleep=slept.append)
    database = Database.open(f"sqlite:///{path}?timeout=0", retry=retry)
    jobs = Jobs(database)
    job = added(jobs)
    foreign = sqlite3.connect(path, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")

    with pytest.raises(DatabaseUnavailable, match=r"rows\.db\S* is locked by another process"):
        jobs.apply(moved(job, S.STARTING))
    assert slept == [0.1, 0.2]
    assert jobs.get(job.id) == job, "readers do not wait for writers"
    foreign.execute("ROLLBACK")
    foreign.close()

    assert jobs.apply(moved(job, S.STARTING)) is not None
    database.close()


def test_a_transaction_that_writes_later_keeps_others_out_from_its_beginning(
    tmp_path: Path,
) -> None:
    """Else it would fail if another one wrote between what it reads and what it writes."""
    path = tmp_path / "rows.db"
    database = Database.open(f"sqlite:///{path}", retry=NEVER)
    foreign = sqlite3.connect(path, isolation_level=None, timeout=0)

    with database.transaction():
        database.now()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            foreign.execute("BEGIN IMMEDIATE")

    foreign.execute("BEGIN IMMEDIATE")
    foreign.close()
    database.close()


def test_a_full_pool_is_an_outage_too(tmp_path: Path) -> None:
    path = f"sqlite:///{tmp_path}/rows.db"
    Database.open(path).close()
    engine = create_engine(path, pool_size=1, max_overflow=0, pool_timeout=0)
    database = Database(engine, clock=None, retry=NEVER, is_in_memory=False)

    with engine.connect(), pytest.raises(DatabaseUnavailable, match=r"all connections .* in use"):
        Queues(database).list()
    database.close()


class LostAnswer:
    """The first commit is done, but its answer never arrives."""

    def __init__(self, database: Database) -> None:
        self._dialect: Any = database._engine.dialect
        self._commit = self._dialect.do_commit
        self._dialect.do_commit = self

    def __call__(self, connection: Any) -> None:
        self._commit(connection)
        self._dialect.do_commit = self._commit
        lost = ConnectionError("lost")
        raise OperationalError("COMMIT", None, lost, connection_invalidated=True)


@pytest.fixture
def patient(address: str, clock: Any) -> Iterator[Database]:
    once = Retry(delays_seconds=(0.1,), sleep=lambda _: None)
    opened = Database.open(address, clock=clock, retry=once)
    yield opened
    opened.close()


def test_adding_twice_adds_once(patient: Database) -> None:
    LostAnswer(patient)

    job = added(Jobs(patient), key="k")

    assert Jobs(patient).list(JobFilter(), Page())[0] == [job]
    assert len(Events(patient).list()) == 1


def test_changing_twice_changes_once(patient: Database) -> None:
    jobs = Jobs(patient)
    job = added(jobs)
    LostAnswer(patient)

    assert jobs.apply(moved(job, S.STARTING)) is None, "stale: the caller looks again"

    found = jobs.get(job.id)
    assert found is not None
    assert (found.state, found.version) == (JobState.STARTING, 2)
    assert len(Events(patient).list()) == 2


def test_reporting_twice_reports_once(patient: Database) -> None:
    job = started(Jobs(patient))
    LostAnswer(patient)

    said = a_report(job.id, 1, step=1, metrics={"loss": 1.0})
    assert Attempts(patient).report(SECRET, said, TIME) is not None
    assert len(Attempts(patient).points(job.id, 1)) == 1


def test_a_lease_taken_twice_is_held(patient: Database) -> None:
    LostAnswer(patient)

    lease = Leases(patient).acquire("controller", "a", 10)

    assert lease is not None
    assert Leases(patient).renew(lease) == lease
