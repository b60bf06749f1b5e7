"""One job, driven to its end by the thread that asked for it: what `orchestrator run` follows.

The controller, its rows and its backend are the service's; only who turns the crank differs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.control.backends.base import AttemptHandle, AttemptStatus, Observation
from orchestrator.control.controller.conclusion import Ending, Remains, conclude
from orchestrator.control.controller.endings import keep_events, read_remains
from orchestrator.control.controller.loop import Controller
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.control.store import JobChange
from orchestrator.errors import StoreError
from orchestrator.records import Attempt, Event, Goal, Job, JobState, Outcome, Phase, Reason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore

PAUSE_SECONDS = 0.2


class Listener(Protocol):
    """Who is told what happens; called from the thread that turns the crank."""

    def phase(self, phase: Phase, message: str) -> None: ...


@dataclass
class OneShot:
    """One job that somebody waits for."""

    controller: Controller
    job: str
    store: ObjectStore
    listener: Listener
    stop: StopSignal
    between: Callable[[], None] = lambda: None  # called once a cycle, e.g. to show Reports
    _told: int = field(default=0, init=False)
    _asked: bool = field(default=False, init=False)

    def to_the_end(self) -> Outcome:
        """Blocks until the job has come to rest, or until nobody wants to wait for it."""
        while True:
            # 1. Whether it shall end early.
            if self.stop.level >= 2:
                return self._abandoned()
            if self.stop.level == 1:
                self._ask_to_suspend()
            # 2. One round of the controller.
            moved = self.controller.cycle()
            # 3. Tell what happened.
            self.between()
            self._tell()
            # 4. The end.
            job = self._job()
            if job.state.is_terminal or job.state is JobState.SUSPENDED:
                self._keep_events(job)
                return self._outcome(job)
            if not moved:
                self.controller.wake.wait(PAUSE_SECONDS)
            self.controller.wake.clear()

    def _job(self) -> Job:
        found = self.controller.rows.jobs.get(self.job)
        assert found is not None, "nobody else has these rows"
        return found

    def _attempt(self) -> Attempt | None:
        attempts = self.controller.rows.attempts.list(self.job)
        return attempts[-1] if attempts else None

    def _ask_to_suspend(self) -> None:
        if self._asked:
            return
        job = self._job()
        event = Event(
            time=self.controller.means.clock(),
            job=job.id,
            attempt=job.attempt or None,
            kind="SuspendRequested",
            state=job.state,
            reason=Reason.INTERRUPTED,
        )
        change = JobChange(job, {"wanted": Goal.SUSPEND}, event)
        self._asked = self.controller.rows.jobs.apply(change) is not None

    def _tell(self) -> None:
        for event in self.controller.rows.events.list(job=self.job, after_id=self._told):
            self._told = event.id or self._told
            if event.state is JobState.STARTING and event.kind == "StateChanged":
                self.listener.phase(Phase.LAUNCH, "starting Ray")
            elif event.kind == "Launched":
                self.listener.phase(Phase.LAUNCH, "starting the workers")
            elif event.reason is Reason.RETRYING:
                self.listener.phase(Phase.LAUNCH, event.message)

    def _outcome(self, job: Job) -> Outcome:
        """The last Attempt's outcome, as far as it is the job's."""
        attempt = self._attempt()
        told = attempt.outcome if attempt is not None else None
        if told is not None and told.state is job.state:
            return told
        end = {"state": job.state, "reason": job.reason, "message": job.message or None}
        if told is not None:
            return told.model_copy(update={**end, "message": told.message or end["message"]})
        return Outcome.model_validate({"job": job.id, "attempt": job.attempt, **end})

    def _abandoned(self) -> Outcome:
        """Nobody waits for it any more: it is stopped, and what is saved is told."""
        job, attempt = self._job(), self._attempt()
        number = attempt.number if attempt is not None else job.attempt
        if attempt is not None:
            backend = self.controller.means.place.backends[attempt.backend]
            backend.stop(AttemptHandle(job.id, attempt.number))
        remains = Remains()
        documents = self.controller.rows.jobs.documents(job.id)
        try:
            if documents is not None and documents.spec.spec.output.name is not None:
                remains = read_remains(
                    self.store,
                    CheckpointStore(self.store, job.id),
                    documents.spec.spec.output.name,
                    job.id,
                    number,
                )
        except StoreError:
            pass  # what is saved there is safe, but cannot be told now
        go_on = self.controller.means.place.go_on(job)
        seen = Observation(AttemptStatus.STOPPED)
        ending = Ending(job.id, number, seen, remains, go_on, is_stopping=True)
        outcome = conclude(ending)
        self._keep_events(job)
        return outcome

    def _keep_events(self, job: Job) -> None:
        if job.attempt:
            events = self.controller.rows.events.list(job=job.id)
            keep_events(self.store, job.id, job.attempt, events)
