"""The tables, once: what statements name and what migrations must lead to.

A table has columns for what is filtered, sorted or guarded; the rest of a record is JSON in its
column `record` (`rows` maps between the two), so that a new field of a record needs no migration.
Called by every module of the package.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

HEAD = "0002"
"""The newest migration in `migrations/versions`; a test compares."""


class JsonText(TypeDecorator[Any]):
    """JSON in a text column, on both databases.

    Not PostgreSQL's own types: a loss that became NaN has to survive, and they refuse it.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else to_json(value, inf_nan_mode="constants").decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else from_json(value)


# Ids grow with time as bytes do, whatever language the database sorts texts in.
_Id = String().with_variant(String(collation="C"), "postgresql")
_Serial = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String, nullable=False),
    Column("team", String, nullable=False),
    Column("created_by", String, nullable=False),
    Column("queue", String, nullable=False),
    Column("priority", BigInteger, nullable=False),
    Column("state", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("wanted", String),
    Column("version", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("finished_at", Double),
    Column("expires_at", Double),  # finished_at + ttl_seconds_after_finished
    Column("identity", String, nullable=False),
    Column("record", JsonText, nullable=False),
    Index("jobs_by_team", "team", "id"),
    Index("jobs_by_state", "state", "id"),
    # What lists are narrowed to comes before the id they are sorted by: without a match they would
    # read every job of the team, and there are more of them with every day.
    Index("jobs_by_team_state", "team", "state", "id"),
    Index("jobs_by_name", "team", "name", "id"),
    Index("jobs_by_user", "team", "created_by", "id"),
    Index("jobs_by_queue", "team", "queue", "id"),
    Index("jobs_by_identity", "team", "identity", "id"),
    Index("jobs_by_expiry", "expires_at"),
)

job_documents = Table(
    "job_documents",
    metadata,
    Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("written", Text, nullable=False),
    Column("sets", JsonText, nullable=False),
    Column("spec", JsonText, nullable=False),
    Column("identity", JsonText, nullable=False),
    Column("plan", JsonText, nullable=False),
    Column("record", JsonText, nullable=False),
)

job_labels = Table(
    "job_labels",
    metadata,
    Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
    Index("job_labels_by_value", "name", "value", "job"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("team", String, primary_key=True),
    Column("key", String, primary_key=True),
    # Deferred: the key is claimed first, so that of two racing submits one never writes a job.
    Column(
        "job",
        _Id,
        ForeignKey("jobs.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
        nullable=False,
    ),
    Column("digest", String, nullable=False),
    Column("created_at", Double, nullable=False),
    Index("idempotency_keys_by_job", "job"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("state", String, nullable=False),
    Column("directive", String, nullable=False),
    Column("record", JsonText, nullable=False),
    Column("token_sha256", String),
    # What Reports say; nothing else writes these.
    Column("phase", String),
    Column("step", BigInteger),
    Column("max_steps", BigInteger),
    Column("metrics", JsonText, nullable=False),
    Column("checkpoint_step", BigInteger),
    Column("checkpoint_at", Double),
    Column("reported_at", Double),
    Column("progressed_at", Double),
    Column("intake", JsonText, nullable=False),
    Index("attempts_by_token", "token_sha256", unique=True),
    Index("attempts_by_state", "state"),
)

points = Table(
    "points",
    metadata,
    Column("job", _Id, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("series", String, primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("step", BigInteger, nullable=False),
    Column("time", Double, nullable=False),
    Column("metrics", JsonText, nullable=False),
    ForeignKeyConstraint(
        ["job", "attempt"], ["attempts.job", "attempts.number"], ondelete="CASCADE"
    ),
)

events = Table(
    "events",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("team", String, nullable=False),
    Column("record", JsonText, nullable=False),
    Index("events_by_job", "job", "id"),
    Index("events_by_team", "team", "id"),
    sqlite_autoincrement=True,  # the id of a deleted event is never given again
)

queues = Table(
    "queues",
    metadata,
    Column("name", String, primary_key=True),
    Column("record", JsonText, nullable=False),
)

access_tokens = Table(
    "access_tokens",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("secret_sha256", String, nullable=False),
    Column("team", String, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("used_at", Double),
    Column("record", JsonText, nullable=False),
    Index("access_tokens_by_secret", "secret_sha256", unique=True),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _Serial, primary_key=True),
    Column("team", String, nullable=False),
    Column("record", JsonText, nullable=False),
    Index("audit_by_team", "team", "id"),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("holder", String, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Double, nullable=False),
)
