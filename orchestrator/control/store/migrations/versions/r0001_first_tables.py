"""The first tables, and the queue `default`."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    String,
    Text,
)

revision = "0001"
down_revision = None

_Id = String().with_variant(String(collation="C"), "postgresql")
_Serial = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    _create_jobs()
    _create_what_belongs_to_jobs()
    _create_attempts()
    _create_events()
    _create_what_the_operator_sets_up()
    op.execute("INSERT INTO queues (name, record) VALUES ('default', '{}')")


def _create_jobs() -> None:
    op.create_table(
        "jobs",
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
        Column("expires_at", Double),
        Column("identity", String, nullable=False),
        Column("record", Text, nullable=False),
    )
    op.create_index("jobs_by_team", "jobs", ["team", "id"])
    op.create_index("jobs_by_state", "jobs", ["state", "id"])
    op.create_index("jobs_by_identity", "jobs", ["identity"])
    op.create_index("jobs_by_expiry", "jobs", ["expires_at"])


def _create_what_belongs_to_jobs() -> None:
    op.create_table(
        "job_documents",
        Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        Column("written", Text, nullable=False),
        Column("sets", Text, nullable=False),
        Column("spec", Text, nullable=False),
        Column("identity", Text, nullable=False),
        Column("plan", Text, nullable=False),
        Column("record", Text, nullable=False),
    )
    op.create_table(
        "job_labels",
        Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        Column("name", String, primary_key=True),
        Column("value", String, nullable=False),
    )
    op.create_index("job_labels_by_value", "job_labels", ["name", "value", "job"])
    op.create_table(
        "idempotency_keys",
        Column("team", String, primary_key=True),
        Column("key", String, primary_key=True),
        Column(
            "job",
            _Id,
            ForeignKey("jobs.id", ondelete="CASCADE", deferrable=True, initially="DEFERRED"),
            nullable=False,
        ),
        Column("digest", String, nullable=False),
        Column("created_at", Double, nullable=False),
    )
    op.create_index("idempotency_keys_by_job", "idempotency_keys", ["job"])


def _create_attempts() -> None:
    op.create_table(
        "attempts",
        Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("state", String, nullable=False),
        Column("directive", String, nullable=False),
        Column("record", Text, nullable=False),
        Column("token_sha256", String),
        Column("phase", String),
        Column("step", BigInteger),
        Column("max_steps", BigInteger),
        Column("metrics", Text, nullable=False),
        Column("checkpoint_step", BigInteger),
        Column("checkpoint_at", Double),
        Column("reported_at", Double),
        Column("progressed_at", Double),
        Column("intake", Text, nullable=False),
    )
    op.create_index("attempts_by_token", "attempts", ["token_sha256"], unique=True)
    op.create_index("attempts_by_state", "attempts", ["state"])
    op.create_table(
        "points",
        Column("job", _Id, primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("series", String, primary_key=True),
        Column("ordinal", Integer, primary_key=True),
        Column("step", BigInteger, nullable=False),
        Column("time", Double, nullable=False),
        Column("metrics", Text, nullable=False),
        ForeignKeyConstraint(
            ["job", "attempt"], ["attempts.job", "attempts.number"], ondelete="CASCADE"
        ),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        Column("id", _Serial, primary_key=True),
        Column("job", _Id, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
        Column("team", String, nullable=False),
        Column("record", Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_by_job", "events", ["job", "id"])
    op.create_index("events_by_team", "events", ["team", "id"])
    op.create_table(
        "audit",
        Column("id", _Serial, primary_key=True),
        Column("team", String, nullable=False),
        Column("record", Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_by_team", "audit", ["team", "id"])


def _create_what_the_operator_sets_up() -> None:
    op.create_table(
        "queues",
        Column("name", String, primary_key=True),
        Column("record", Text, nullable=False),
    )
    op.create_table(
        "access_tokens",
        Column("id", _Id, primary_key=True),
        Column("secret_sha256", String, nullable=False),
        Column("team", String, nullable=False),
        Column("expires_at", Double),
        Column("revoked_at", Double),
        Column("used_at", Double),
        Column("record", Text, nullable=False),
    )
    op.create_index("access_tokens_by_secret", "access_tokens", ["secret_sha256"], unique=True)
    op.create_table(
        "leases",
        Column("name", String, primary_key=True),
        Column("holder", String, nullable=False),
        Column("token", BigInteger, nullable=False),
        Column("expires_at", Double, nullable=False),
    )
