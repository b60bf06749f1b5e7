"""What lists of jobs are narrowed to is found by an index, however many jobs have ended."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_index("jobs_by_identity", "jobs")
    for name, column in (
        ("jobs_by_team_state", "state"),
        ("jobs_by_name", "name"),
        ("jobs_by_user", "created_by"),
        ("jobs_by_queue", "queue"),
        ("jobs_by_identity", "identity"),
    ):
        op.create_index(name, "jobs", ["team", column, "id"])
