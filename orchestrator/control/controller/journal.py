"""A job's state and the facts that made it so: the one place where a state changes."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.records import Event, JobState, Reason, may_follow


class Journal:
    """The state of one job, moved only along the transition table, each move with its Event."""

    def __init__(self, job: str, clock: Callable[[], float]) -> None:
        self.job = job
        self.attempt: int | None = None
        self.state = JobState.QUEUED
        self.events: list[Event] = []
        self._clock = clock
        self._note("Created", Reason.SUBMITTED, "")

    def move(self, state: JobState, reason: Reason, message: str = "") -> None:
        """Moves to a state; an end that needs STOPPING first passes through it."""
        if state is self.state:
            return
        if not may_follow(self.state, state) and may_follow(self.state, JobState.STOPPING):
            self._set(JobState.STOPPING, reason, message)
        assert may_follow(self.state, state), f"{self.job}: {self.state} -> {state}"
        self._set(state, reason, message)

    def as_lines(self) -> bytes:
        """The events as JSON lines."""
        return b"".join(event.model_dump_json().encode() + b"\n" for event in self.events)

    def _set(self, state: JobState, reason: Reason, message: str) -> None:
        self.state = state
        self._note("StateChanged", reason, message)

    def _note(self, kind: str, reason: Reason, message: str) -> None:
        self.events.append(
            Event(
                time=self._clock(),
                job=self.job,
                attempt=self.attempt,
                kind=kind,
                state=self.state,
                reason=reason,
                message=message,
            )
        )
