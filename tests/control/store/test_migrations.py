from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import alembic.op
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from orchestrator.control.store import Database, Queues, migrating
from orchestrator.control.store.schema import HEAD, metadata
from orchestrator.errors import SettingsError
from orchestrator.records import Queue
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
