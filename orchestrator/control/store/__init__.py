"""Durable rows of the control plane, on SQLite or PostgreSQL.

`Database.open` connects and migrates; the other classes are the verbs on it, one noun each. A job's
state is written by `Jobs.apply` and by nothing else. See docs/store.md.
"""

from orchestrator.control.store.attempts import Attempts
from orchestrator.control.store.audit import Audit
from orchestrator.control.store.changes import JobChange
from orchestrator.control.store.database import Database
from orchestrator.control.store.events import Events
from orchestrator.control.store.jobs import Jobs
from orchestrator.control.store.leases import Lease, Leases
from orchestrator.control.store.listing import JobFilter, Page
from orchestrator.control.store.queues import Queues
from orchestrator.control.store.retry import Retry
from orchestrator.control.store.tokens import Tokens

__all__ = [
    "Attempts",
    "Audit",
    "Database",
    "Events",
    "JobChange",
    "JobFilter",
    "Jobs",
    "Lease",
    "Leases",
    "Page",
    "Queues",
    "Retry",
    "Tokens",
]
