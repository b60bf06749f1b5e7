"""The connection to the control plane's rows: opening, transactions, time, and outages.

Built by `server`; the classes beside it (`Jobs`, `Attempts`, `Leases` …) are the verbs on it.
Nothing outside this package sees SQL.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any, Self, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Engine,
    Table,
    bindparam,
    cast,
    extract,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.control.store import engines
from orchestrator.control.store.faults import translate
from orchestrator.control.store.migrating import create_in_memory, migrate
from orchestrator.control.store.retry import Retry
from orchestrator.errors import UserError

T = TypeVar("T")

_UNIX_EPOCH_DAYS = 2440587.5  # as a Julian day


class Database:
    """Rows in SQLite or PostgreSQL. Thread-safe."""

    def __init__(
        self, engine: Engine, *, clock: Callable[[], float] | None, retry: Retry, is_in_memory: bool
    ) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        # All statements of a read see one moment; SQLite's transactions do of themselves.
        snapshot = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reads = engine if self.is_sqlite else engine.execution_options(**snapshot)
        self._writes = engine.execution_options(**{engines.WRITES: True})
        self._clock = clock
        self._retry = retry
        # SQLite lets one writer in. Within this process they queue here: its own waiting is a
        # sleep that grows, and unfair. In memory there is one connection, for readers too.
        gate: AbstractContextManager[Any] = threading.Lock() if self.is_sqlite else nullcontext()
        self._write_gate = gate
        self._read_gate = gate if is_in_memory else nullcontext()
        self._open = threading.local()

    @classmethod
    def open(
        cls, address: str, *, clock: Callable[[], float] | None = None, retry: Retry | None = None
    ) -> Self:
        """Connects, and creates or upgrades the tables.

        Args:
            address: `sqlite://` (in memory, gone when closed), `sqlite:///FILE` or
                `postgresql://USER@HOST/NAME`.
            clock: The database's time in tests and simulations; absent: its own.

        Raises:
            SettingsError: the address, the file or the version of the tables is wrong.
            MissingExtra: PostgreSQL's driver is not installed.
            DatabaseUnavailable: it did not answer for the seconds that `retry` allows.
        """
        url = engines.parsed(address)
        in_memory = engines.is_in_memory(url)
        database = cls(
            engines.create(url), clock=clock, retry=retry or Retry(), is_in_memory=in_memory
        )
        try:
            if in_memory:
                create_in_memory(database._writes)
            else:
                database._retry.call(database._migrate)
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Ends all connections; transactions that are open are rolled back."""
        self._engine.dispose()

    @property
    def where(self) -> str:
        """Its address, without the password and whatever else is said to the driver."""
        shown = self._engine.url.set(drivername=self._engine.dialect.name, query={})
        return shown.render_as_string()

    def now(self) -> float:
        """The database's time: what leases are measured by, the same for every process."""
        if self._clock is not None:
            return self._clock()
        return self.read(lambda connection: float(connection.scalar(select(self.time)) or 0.0))

    @cached_property
    def time(self) -> ColumnElement[float]:
        """The database's time when a statement runs, not when its transaction began."""
        if self._clock is not None:
            return bindparam(None, callable_=self._clock, type_=Double, unique=True)
        if self.is_sqlite:
            days: ColumnElement[float] = func.julianday("now", type_=Double)
            return (days - _UNIX_EPOCH_DAYS) * 86_400.0
        return cast(extract("epoch", func.clock_timestamp()), Double)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds in one snapshot; it may be called again when the database was away."""
        return self._run(self._reads, self._read_gate, work)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, when all it wrote is committed.

        Work may be called again after a commit whose answer was lost: each of this package's
        writes is guarded by a version, a sequence or a key, and then finds itself done.
        """
        return self._run(self._writes, self._write_gate, work)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Verbs on this database within it, by this thread, are one commit.

        Unlike a single verb it is not tried again: whoever opened it knows what to repeat.
        """
        with self._translated(), self._begun(self._writes, self._write_gate):
            yield

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is within `transaction`."""
        return self._joined() is not None

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that can say ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def _run(
        self, engine: Engine, gate: AbstractContextManager[Any], work: Callable[[Connection], T]
    ) -> T:
        def attempt() -> T:
            with self._translated(), self._begun(engine, gate) as connection:
                return work(connection)

        # Part of a larger transaction: it cannot be tried again alone.
        return attempt() if self._joined() else self._retry.call(attempt)

    @contextmanager
    def _begun(self, engine: Engine, gate: AbstractContextManager[Any]) -> Iterator[Connection]:
        if (outer := self._joined()) is not None:
            yield outer
            return
        with gate, engine.begin() as connection:
            self._open.connection = connection
            try:
                yield connection
            finally:
                self._open.connection = None

    def _joined(self) -> Connection | None:
        connection: Connection | None = getattr(self._open, "connection", None)
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            meant = translate(error, self.where)
            if meant is None:
                raise
            raise meant from error
        except (OverflowError, UnicodeEncodeError) as error:  # of a driver, binding a value
            raise UserError(f"a value cannot be stored: {error}") from error

    def _migrate(self) -> None:
        with self._translated(), self._write_gate:
            migrate(self._engine, self.where)
