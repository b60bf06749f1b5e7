"""Brings a database's tables to what this version of the code knows; called by `Database.open`.

Alembic is imported only where there is something to migrate: it costs a fifth of a second.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, column, insert, inspect, select, table, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from orchestrator.control.store.engines import WRITES
from orchestrator.control.store.rows import QUEUES
from orchestrator.control.store.schema import HEAD, metadata, queues
from orchestrator.errors import SettingsError
from orchestrator.records import Queue

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = text(f"SELECT pg_advisory_xact_lock({0x6F72636873_01})")
"""A number of our own among the database's advisory locks."""

_version = table("alembic_version", column("version_num"))

# Alembic keeps the migration it is in as a global of its own.
_one_at_a_time = threading.Lock()


def migrate(engine: Engine, where: str) -> None:
    """Creates or upgrades the tables, in one transaction; several may try at once.

    Raises:
        SettingsError: a newer version of the code has been here.
    """
    with engine.begin() as connection:
        if revision(connection) == HEAD:
            return
    with engine.execution_options(**{WRITES: True}).begin() as connection:
        # 1. One at a time: SQLite's transactions that write are, PostgreSQL's are made to be, for
        #    as long as it takes.
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            connection.execute(_LOCK)
        # 2. Whoever came first has done it.
        current = revision(connection)
        if current != HEAD:
            _upgrade(connection, current, where)


def create_in_memory(engine: Engine) -> None:
    """The same tables in an empty SQLite database, without Alembic."""
    connection = engine.raw_connection()
    try:
        connection.cursor().executescript(_script())
    finally:
        connection.close()


def revision(connection: Connection) -> str | None:
    """The newest migration that the database has seen."""
    if not inspect(connection).has_table(_version.name):
        return None
    return connection.scalar(select(_version.c.version_num))


def _upgrade(connection: Connection, current: str | None, where: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {step.revision for step in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise SettingsError(
            f"{where} was last opened by a newer version of the orchestrator "
            f"(its tables are at {current}, this version knows them up to {HEAD})",
            hint="install the newer version, or restore the backup from before it",
        )
    with _one_at_a_time:
        command.upgrade(config, "head")


@cache
def _script() -> str:
    """What creates the tables in SQLite, with the queue that the first migration adds."""
    dialect = sqlite.dialect()
    statements = [str(CreateTable(t).compile(dialect=dialect)) for t in metadata.sorted_tables]
    for found in metadata.sorted_tables:
        for index in sorted(found.indexes, key=lambda index: str(index.name)):
            statements.append(str(CreateIndex(index).compile(dialect=dialect)))
    default = insert(queues).values(QUEUES.values(Queue(name="default")))
    literal = default.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return ";\n".join([*statements, str(literal)])
