from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import Barrier, Event

import alembic.command
import alembic.op
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from orchestrator.control.store import Database, JobFilter, Jobs, Page, Queues, migrating
from orchestrator.control.store.schema import HEAD, metadata
from orchestrator.errors import SettingsError
from orchestrator.records import JobState, Queue
from tests.control.store.builders import added, moved
from tests.control.store.conftest import NEVER


def test_the_code_knows_its_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrating._FOLDER))

    assert ScriptDirectory.from_config(config).get_current_head() == HEAD


def test_migrations_lead_to_the_tables_that_statements_name(empty_address: str) -> None:
    database = Database.open(empty_address)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, metadata))

    assert database.read(differences) == []
    assert database.read(migrating.revision) == HEAD
    assert Queues(database).list() == [Queue(name="default")]
    database.close()


def test_opening_again_finds_what_was_there(empty_address: str) -> None:
    first = Database.open(empty_address)
    Queues(first).put(Queue(name="gpu"))
    first.close()

    second = Database.open(empty_address)

    assert [queue.name for queue in Queues(second).list()] == ["default", "gpu"]
    second.close()


def test_a_database_of_the_first_revision_is_upgraded_with_its_rows(
    empty_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_only(config: Config, revision: str) -> None:
        upgrade(config, "0001")

    upgrade = alembic.command.upgrade
    with monkeypatch.context() as patched:
        patched.setattr(alembic.command, "upgrade", first_only)
        old = Database.open(empty_address)
    assert old.read(migrating.revision) == "0001"
    job = added(Jobs(old), name="camera")
    old.close()

    new = Database.open(empty_address)
    assert new.read(migrating.revision) == HEAD
    found, _ = Jobs(new).list(JobFilter(team="vision", name="camera"), Page())
    assert found == [job]
    new.close()


def test_many_may_open_a_new_database_at_once(empty_address: str) -> None:
    together = Barrier(4)

    def start(_: int) -> list[Queue]:
        together.wait()
        database = Database.open(empty_address)
        found = Queues(database).list()
        database.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [[Queue(name="default")]] * 4


def test_a_newer_database_is_refused(empty_address: str) -> None:
    database = Database.open(empty_address)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    database.write(lambda connection: connection.execute(newer))
    database.close()

    with pytest.raises(SettingsError, match=r"a newer version of the orchestrator .*at 9999"):
        Database.open(empty_address)


THIRD = """
revision, down_revision = "0003", "0002"


def upgrade():
    from alembic import op
    from sqlalchemy import Column, String

    op.add_column("jobs", Column("note", String))
    op.create_index("jobs_by_note", "jobs", ["note"])
"""


def test_an_old_server_goes_on_while_a_new_one_upgrades(
    empty_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Servers are replaced one by one: the new one's migration comes while the old one writes."""
    old = Database.open(empty_address)
    upgraded = Event()
    numbers = count(1)

    def go_on() -> int:
        while not upgraded.is_set():
            job = added(Jobs(old), next(numbers))
            assert Jobs(old).apply(moved(job, JobState.CANCELLED)) is not None
        return next(numbers) - 1

    folder = tmp_path / "migrations"
    shutil.copytree(migrating._FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "r0003_a_note.py").write_text(THIRD)
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(go_on)
        with monkeypatch.context() as patched:
            patched.setattr(migrating, "_FOLDER", folder)
            patched.setattr(migrating, "HEAD", "0003")
            new = Database.open(empty_address)
        upgraded.set()
        total = written.result(60)
    assert new.read(migrating.revision) == "0003"
    # Both see the same, and the old one still writes.
    last = added(Jobs(old), total + 1)
    assert Jobs(new).get(last.id) == last
    assert len(Jobs(new).list(JobFilter(), Page(limit=10_000))[0]) == total + 1
    old.close()
    # But it does not come back: what it would not know it could damage.
    with pytest.raises(SettingsError, match="a newer version of the orchestrator"):
        Database.open(empty_address)
    new.close()


def test_a_migration_that_fails_leaves_nothing(
    empty_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(alembic.op, "execute", fail)  # its last step
        with pytest.raises(ZeroDivisionError):
            Database.open(empty_address, retry=NEVER)

    # Opening would find a table that is there already.
    database = Database.open(empty_address)
    names = database.read(lambda connection: inspect(connection).get_table_names())
    assert sorted(names) == sorted([*metadata.tables, "alembic_version"])
    database.close()
