"""One Attempt of a job, from claiming its number to remembering how it ended.

Called by `server` with everything it needs; the steps are numbered.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Backend,
    BackendWithLogFiles,
    Observation,
)
from orchestrator.control.controller.decisions import Ending, conclude
from orchestrator.control.controller.endings import patiently, read_remains, remember
from orchestrator.control.controller.follow import Following, Listener
from orchestrator.control.controller.inbox import AttemptInbox, Inboxes
from orchestrator.control.controller.journal import Journal
from orchestrator.control.controller.launching import launch_request, write_launch
from orchestrator.control.controller.resume import RECORDED_ENGINE, resume_points
from orchestrator.control.controller.scratch import log_folder
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.errors import LaunchFailed
from orchestrator.records import (
    CheckpointRef,
    Identity,
    JobState,
    Launch,
    Outcome,
    Phase,
    Reason,
)
from orchestrator.specs import FineTune
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore

LOG_LINES = 20
PUZZLING = frozenset({Reason.UNKNOWN, Reason.WORKER_LOST, Reason.NO_OUTCOME, Reason.OUT_OF_MEMORY})
"""Reasons behind which the logs have more to say."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be trained: planned, resolved, its base on this host."""

    spec: FineTune
    written: str
    identity: Identity
    base_path: Path
    submitted_at: float
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    git_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Desk:
    """What a run works with on this host."""

    store: ObjectStore
    backend: Backend
    inboxes: Inboxes
    report_url: str
    scratch: Path  # of this run alone, on a disk with room for checkpoints
    cache: Path
    logs: Path  # where the logs of failed attempts are kept
    listener: Listener
    stop: StopSignal
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class AttemptRun:
    """The next Attempt of one job."""

    def __init__(self, work: Work, desk: Desk, job: str) -> None:
        self.work = work
        self.desk = desk
        self.job = job
        self.checkpoints = CheckpointStore(desk.store, job)
        self.journal = Journal(job, desk.clock)

    def run(self) -> Outcome:
        """Runs the Attempt to its end.

        Raises InvalidInput where the run cannot go on with this spec: nothing is claimed then.
        """
        # 1. Where to go on.
        resume = resume_points(self.work.spec.spec, self.checkpoints.candidates())
        # 2. A number of its own, for good.
        attempt = self.checkpoints.claim_attempt(self._record(resume))
        # 3. Launch it and follow it to its end.
        token = secrets.token_urlsafe(32)
        inbox = self.desk.inboxes.open(self.job, attempt, token)
        self.journal.attempt = attempt
        self.journal.move(JobState.STARTING, Reason.LAUNCHED)
        try:
            outcome = self._launch_and_follow(self._launch(attempt, resume), inbox, token)
        finally:
            self.desk.inboxes.close(inbox)
        # 4. Remember how it ended.
        self.journal.move(outcome.state, outcome.reason, outcome.message or "")
        remember(self.desk.store, self.checkpoints, outcome, self.journal.as_lines())
        return outcome

    def _record(self, resume: tuple[CheckpointRef, ...]) -> dict[str, Any]:
        """What is known before the start; the next Attempt's plan is pinned to `engine`."""
        spec = self.work.spec.spec
        best = resume[0] if resume else None
        return {
            "run": self.work.identity.run,
            "started_at": self.desk.clock(),
            "workers": spec.resources.workers,
            "engine": {name: getattr(spec.engine, name) for name in RECORDED_ENGINE},
            "resumed_from": {"attempt": best.attempt, "step": best.step} if best else None,
        }

    def _launch(self, attempt: int, resume: tuple[CheckpointRef, ...]) -> Launch:
        work, desk = self.work, self.desk
        return Launch(
            job=self.job,
            attempt=attempt,
            spec=work.spec,
            written=work.written,
            identity=work.identity,
            store=desk.store.url,
            base_path=str(work.base_path),
            resume=resume,
            report_url=desk.report_url,
            cache=str(desk.cache),
            scratch=str(desk.scratch),
            submitted_at=work.submitted_at,
            seconds=dict(work.seconds),
            git_commit=work.git_commit,
        )

    def _launch_and_follow(self, launch: Launch, inbox: AttemptInbox, token: str) -> Outcome:
        desk = self.desk
        desk.listener.phase(Phase.LAUNCH, "starting Ray")
        handle = AttemptHandle(launch.job, launch.attempt)
        try:
            file = write_launch(launch)
            handle = desk.backend.launch(launch_request(launch, file, token))
        except LaunchFailed as error:
            if desk.stop.level == 0:
                return _not_launched(launch, error)
            return self._conclude(launch, handle, Observation(AttemptStatus.STOPPED))
        desk.listener.phase(Phase.LAUNCH, "starting the workers")
        following = Following(
            desk.backend,
            handle,
            inbox,
            self.journal,
            desk.listener,
            desk.stop,
            clock=desk.clock,
            sleep=desk.sleep,
        )
        seen = following.to_the_end()
        return self._conclude(launch, handle, seen, following.phase or Phase.LAUNCH)

    def _conclude(
        self,
        launch: Launch,
        handle: AttemptHandle,
        seen: Observation,
        phase: Phase = Phase.LAUNCH,
    ) -> Outcome:
        desk, name = self.desk, launch.spec.spec.output.name
        assert name is not None, "the plan resolves output.name"
        remains = patiently(
            lambda: read_remains(desk.store, self.checkpoints, name, self.job, launch.attempt),
            stop=desk.stop,
            waiting=lambda message: desk.listener.phase(phase, f"waiting for the store: {message}"),
            clock=desk.clock,
            sleep=desk.sleep,
        )
        silent = remains is not None and remains.outcome is None
        outcome = conclude(
            Ending(
                job=launch.job,
                attempt=launch.attempt,
                observation=seen,
                remains=remains,
                stop_level=desk.stop.level,
                resumed_from_step=launch.resume[0].step if launch.resume else None,
                log_tail=desk.backend.log_tail(handle, LOG_LINES) if silent else "",
            )
        )
        return outcome if outcome.reason not in PUZZLING else self._with_logs(outcome, handle)

    def _with_logs(self, outcome: Outcome, handle: AttemptHandle) -> Outcome:
        """Keeps driver's and ranks' logs beyond the cluster's life, and says where."""
        backend = self.desk.backend
        if not isinstance(backend, BackendWithLogFiles):
            return outcome
        try:
            folder = log_folder(self.desk.logs, handle.submission_id)
            kept = backend.keep_logs(handle, folder)
        except OSError:  # a full disk, most likely: the outcome matters more
            return outcome
        message = f"{outcome.message}\nLogs: {folder}"
        return outcome.model_copy(update={"message": message}) if kept else outcome


def _not_launched(launch: Launch, error: LaunchFailed) -> Outcome:
    return Outcome(
        job=launch.job,
        attempt=launch.attempt,
        state=JobState.FAILED,
        reason=Reason.LAUNCH_FAILED,
        message=error.message,
        hint=error.hint,
        checkpoint_step=launch.resume[0].step if launch.resume else None,
    )
