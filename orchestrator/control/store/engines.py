"""How each database is spoken to: addresses, connections, pragmas and timeouts.

Called by `Database.open`. SQLite is for one machine, PostgreSQL for several; both get short, fixed
limits, so that a server that is away is noticed within seconds.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, cast

from sqlalchemy import URL, Connection, Dialect, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from orchestrator.errors import MissingExtra, SettingsError

WRITES = "orchestrator_writes"
"""Execution option of engines whose transactions write."""

_BUSY_SECONDS = 5.0  # how long SQLite waits for another process's transaction
_POSTGRESQL_DEFAULTS: Mapping[str, str | int] = {
    "application_name": "orchestrator",
    "connect_timeout": 5,
    # A server that vanished without a word is noticed in seconds, not in the kernel's minutes.
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    # A client that vanished must not keep its locks: a standby waits for them.
    "options": (
        "-c idle_in_transaction_session_timeout=10000 "
        "-c lock_timeout=10000 -c statement_timeout=30000"
    ),
}


def parsed(address: str) -> URL:
    """The URL with its driver.

    Raises:
        SettingsError: it is none, or neither SQLite's nor PostgreSQL's.
    """
    hint = "sqlite:///FILE, or postgresql://USER@HOST/NAME"
    try:
        url = make_url(address)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):  # a port that is no number
        raise SettingsError("the database's address is not a URL", hint=hint) from None
    if backend == "sqlite":
        if url.host:
            message = "an SQLite address has three slashes, and four before an absolute path"
            raise SettingsError(message, hint=hint)
        return url.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise SettingsError(f"{url.drivername} databases are not supported", hint=hint)


def is_in_memory(url: URL) -> bool:
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def create(url: URL) -> Engine:
    """An engine that has not connected yet.

    Raises:
        SettingsError: the folder of the SQLite file cannot be made or written.
        MissingExtra: PostgreSQL's driver is not installed.
    """
    if url.get_backend_name() == "postgresql":
        return _postgresql(url)
    engine = _memory(url) if is_in_memory(url) else _file(url)
    event.listen(engine, "connect", _hold_foreign_keys)
    event.listen(engine, "begin", _begin)
    return engine


def _memory(url: URL) -> Engine:
    """An engine that shares its dialect and with it all compiled statements.

    Simulations open thousands; compiling anew would cost each more than opening and living.
    """
    dialect = _memory_dialect()
    pool = StaticPool(_connect_to_memory, dialect=dialect)
    shared = {"compiled_cache": _compiled}
    return Engine(pool, dialect, url, execution_options=shared, hide_parameters=True)


_compiled: dict[Any, Any] = {}


def _connect_to_memory() -> DBAPIConnection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    return cast(DBAPIConnection, connection)  # its own types say less than it does


@cache
def _memory_dialect() -> Dialect:
    """It has learned what SQLite can do."""
    engine = create_engine("sqlite://")
    engine.connect().close()
    engine.dispose()
    return engine.dialect


def _file(url: URL) -> Engine:
    _claim_file(Path(url.database or ""))
    arguments: dict[str, Any] = {"isolation_level": None}  # we say BEGIN ourselves
    if "timeout" not in url.query:
        arguments["timeout"] = _BUSY_SECONDS
    engine = create_engine(
        url, pool_size=5, max_overflow=15, connect_args=arguments, hide_parameters=True
    )
    event.listen(engine, "connect", _use_write_ahead_log)
    return engine


def _claim_file(path: Path) -> None:
    """Creates the file for its owner alone: it holds specs, and hashes of tokens."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise SettingsError(f"the database {path} cannot be created: {error.strerror}") from None


def _use_write_ahead_log(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # In WAL mode a crash of the process loses nothing, one of the machine perhaps the last commits,
    # and neither tears the file.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _hold_foreign_keys(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail, and not wait, when another one
    # has written in between: writers queue at their beginning.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql(url: URL) -> Engine:
    arguments = {n: v for n, v in _POSTGRESQL_DEFAULTS.items() if n not in url.query}
    try:
        return create_engine(
            url,
            pool_pre_ping=True,
            pool_size=5,
            max_overflow=15,
            pool_timeout=10,
            connect_args=arguments,
            hide_parameters=True,  # they are specs and digests of secrets
        )
    except ModuleNotFoundError as error:
        message = f"PostgreSQL needs a driver that is not installed ({error.name})"
        hint = "pip install 'finetune-orchestrator[postgres]'"
        raise MissingExtra(message, hint=hint) from None
