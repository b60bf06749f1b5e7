"""An append-only fact about a job: written with each change of its state, never changed."""

from __future__ import annotations

from pydantic import Field

from orchestrator.records.base import Record
from orchestrator.records.states import JobState, Reason


class Event(Record):
    """One thing that happened to a job."""

    id: int | None = Field(default=None, description="Grows with every event; by the store.")
    time: float = Field(description="Seconds since the epoch.")
    job: str
    attempt: int | None = None
    kind: str = Field(description="What happened, e.g. `StateChanged`.")
    state: JobState = Field(description="The job's state from then on.")
    reason: Reason
    message: str = ""
