"""Queues, teams and who is asking: what the operator sets up before anyone submits."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from orchestrator.records.base import Record

CPU = "cpu"
MEMORY = "memory_bytes"
GPU = "gpu"
"""Names of resources in quotas; `gpu/<accelerator>` limits one kind of GPU."""


class Queue(Record):
    """Where jobs wait, and how much of the cluster those admitted from it may hold at once."""

    name: str
    quota: dict[str, float] = Field(
        default_factory=dict, description="resource -> amount; what is absent is not limited."
    )
    weights: dict[str, float] = Field(
        default_factory=dict, description="team -> share of the queue; absent: 1."
    )
    teams: tuple[str, ...] = Field(default=(), description="Who may submit; empty: everyone.")
    is_paused: bool = Field(default=False, description="Admits nothing; what runs goes on.")
    allows_preemption: bool = Field(
        default=True, description="Whether its jobs may be stopped for more important ones."
    )


class Role(StrEnum):
    """What a principal may do, each including the ones before it."""

    VIEWER = "viewer"  # sees its team's jobs
    SUBMITTER = "submitter"  # submits, and changes its own
    LEAD = "lead"  # changes its team's
    ADMIN = "admin"  # every team, queues, tokens

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    def includes(self, other: Role) -> bool:
        return self.rank >= other.rank


class Principal(Record):
    """Who is asking: from a token, never from what a request says of itself."""

    name: str
    team: str
    role: Role


class AccessToken(Record):
    """A token as it is remembered; the secret itself is shown once and kept hashed."""

    id: str
    name: str = Field(description="Who holds it.")
    team: str
    role: Role
    created_at: float
    created_by: str
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None


class AuditEntry(Record):
    """Who did what, and how it was answered."""

    time: float
    principal: str
    team: str
    action: str = Field(description="The request, e.g. `POST /api/v1/jobs`.")
    target: str = ""
    status: int
