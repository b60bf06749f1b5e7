"""Leases: of several processes on one database, who may decide.

The controller holds one while it reconciles, and every change it makes names it. Time is the
database's alone, so clocks of machines need not agree. The token grows with every new holder:
what a former holder still sends carries an old one and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sqlalchemy import Connection, bindparam, select, update

from orchestrator.control.store.database import Database
from orchestrator.control.store.schema import leases


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act under `name`, until `expires_at` of the database's time."""

    name: str
    holder: str
    token: int
    expires_at: float
    ttl_seconds: float


class Leases:
    """Takes, keeps and gives back leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, name: str, holder: str, ttl_seconds: float) -> Lease | None:
        """The lease, with a token of its own; None: another holder has it.

        Args:
            holder: Differs between processes. The same one gets it again, with a new token.
        """
        now = self._database.time
        # A standby asks several times a second: as long as another one has it, it writes nothing.
        others = select(leases.c.token).where(
            leases.c.name == name, leases.c.holder != holder, leases.c.expires_at > now
        )
        if self._database.read(lambda connection: connection.scalar(others)) is not None:
            return None
        claim = self._database.insert(leases).values(
            name=name, holder=holder, token=1, expires_at=now + ttl_seconds
        )
        new = claim.excluded
        statement = claim.on_conflict_do_update(
            index_elements=[leases.c.name],
            set_={
                "holder": new.holder,
                "token": leases.c.token + 1,
                # Not the time of `new`, which is from before a wait for the row.
                "expires_at": now + ttl_seconds,
            },
            where=(leases.c.expires_at <= now) | (leases.c.holder == new.holder),
        ).returning(leases.c.token, leases.c.expires_at)
        row = self._database.write(lambda connection: connection.execute(statement).first())
        return None if row is None else Lease(name, holder, row.token, row.expires_at, ttl_seconds)

    def renew(self, lease: Lease) -> Lease | None:
        """The lease with all its time again; None: it has expired, so stop deciding."""
        now = self._database.time
        statement = (
            update(leases)
            .where(leases.c.name == lease.name, leases.c.token == lease.token)
            .where(leases.c.expires_at > now)
            .values(expires_at=now + lease.ttl_seconds)
            .returning(leases.c.expires_at)
        )
        expires_at = self._database.write(lambda connection: connection.scalar(statement))
        return None if expires_at is None else replace(lease, expires_at=expires_at)

    def release(self, lease: Lease) -> None:
        """Lets the next holder in at once; the row stays, for its token."""
        statement = (
            update(leases)
            .where(leases.c.name == lease.name, leases.c.token == lease.token)
            .values(expires_at=self._database.time)
        )
        self._database.write(lambda connection: connection.execute(statement))


class HeldLease:
    """Whether a lease is held: what `changes` asks within its transactions."""

    def __init__(self, database: Database) -> None:
        self._query = (
            select(leases.c.token)
            .where(leases.c.name == bindparam("name"), leases.c.token == bindparam("token"))
            .where(leases.c.expires_at > database.time)
            # Locked, so that a next holder begins when this transaction's writes are there.
            .with_for_update(read=True)
        )

    def is_held(self, connection: Connection, lease: Lease) -> bool:
        """Now, and until this transaction ends."""
        named = {"name": lease.name, "token": lease.token}
        return connection.scalar(self._query, named) is not None
