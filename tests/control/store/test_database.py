from __future__ import annotations

import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.control.store import Database, JobFilter, Jobs, Page, Queues, engines
from orchestrator.errors import MissingExtra, SettingsError, UserError
from orchestrator.records import Queue
from tests.control.store.builders import added
from tests.control.store.conftest import NEVER
from tests.control.store.postgres import PostgresServer


def test_its_time_is_the_worlds(address: str) -> None:
    database = Database.open(address)

    first, second = database.now(), database.now()

    assert first <= second
    assert abs(second - time.time()) < 60
    database.close()


WRONG = [
    ("rows.db", "the database's address is not a URL"),
    ("postgresql://h:port/x", "the database's address is not a URL"),
    ("oracle://h/x", "oracle databases are not supported"),
    ("nosuch://h/x", "nosuch databases are not supported"),
    ("sqlite://rows.db", "four before an absolute path"),
    ("sqlite:////proc/none/rows.db", "/proc/none/rows.db cannot be created: No such file"),
]


@pytest.mark.parametrize(("address", "why"), WRONG)
def test_a_wrong_address_is_told(address: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Database.open(address, retry=NEVER)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.db"
    path.write_text("jobs:\n" * 200)

    with pytest.raises(SettingsError, match=r"rows\.db is not an SQLite database"):
        Database.open(f"sqlite:///{path}", retry=NEVER)
    assert path.read_text().startswith("jobs:")


def test_a_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "rows.db"
    database = Database.open(f"sqlite:///{path}")
    Queues(database).put(Queue(name="gpu"))

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"rows.db": 0o600, "rows.db-shm": 0o600, "rows.db-wal": 0o600}
    database.close()


def test_a_file_survives_kill_9_of_its_writer(tmp_path: Path) -> None:
    """What was committed is there; what was not is not."""
    address = f"sqlite:///{tmp_path}/rows.db"
    program = f"""
import os, signal
from orchestrator.control.store import Database, Queues
from orchestrator.records import Queue
database = Database.open({address!r})
Queues(database).put(Queue(name="committed"))
with database.transaction():
    Queues(database).put(Queue(name="open"))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == -9, done.stderr

    database = Database.open(address)

    assert [queue.name for queue in Queues(database).list()] == ["committed", "default"]
    database.close()


def test_the_password_is_not_shown() -> None:
    engine = engines.create(engines.parsed("postgres://ada:secret@db.example/rows"))
    database = Database(engine, clock=None, retry=NEVER, is_in_memory=False)

    assert database.where == "postgresql://ada:***@db.example/rows"


@pytest.mark.parametrize(
    ("added", "timeout"), [("", "10s"), ("&options=-c%20lock_timeout%3D3s", "3s")]
)
def test_a_server_is_told_limits_and_an_address_its_own(
    postgres: PostgresServer, added: str, timeout: str
) -> None:
    database = Database.open(postgres.address() + added, retry=NEVER)

    shown = text("SHOW lock_timeout")
    assert database.read(lambda connection: connection.scalar(shown)) == timeout
    database.close()


def test_a_missing_driver_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(MissingExtra) as error:
        Database.open("postgresql://db.example/rows", retry=NEVER)
    assert error.value.hint == "pip install 'finetune-orchestrator[postgres]'"


def test_what_no_text_may_hold_is_told_or_matches_nothing(database: Database) -> None:
    jobs = Jobs(database)
    added(jobs)
    for name in ("a\x00b", "\ud800"):
        with suppress(UserError):  # which says so; anything else would be shown as our defect
            assert jobs.list(JobFilter(name=name), Page()) == ([], None)


def test_memory_is_opened_quickly_and_is_its_own() -> None:
    first, second = Database.open("sqlite://"), Database.open("sqlite:///:memory:")
    Queues(first).put(Queue(name="gpu"))

    assert [queue.name for queue in Queues(second).list()] == ["default"]
    started = time.process_time()
    for _ in range(50):
        Database.open("sqlite://").close()
    assert (time.process_time() - started) / 50 < 0.005, "1.5 ms, and simulations open thousands"


def test_opening_in_memory_and_at_the_newest_version_needs_no_alembic(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/rows.db"
    Database.open(address).close()
    program = f"""
import sys
from orchestrator.control.store import Database
Database.open("sqlite://")
Database.open({address!r})
print("alembic" in sys.modules, "psycopg" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert done.stdout == "False False\n", done.stderr
