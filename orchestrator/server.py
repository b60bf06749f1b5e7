"""The composition root: the one module that wires looking, planning, controller and Ray together.

`plan` and `run` are what the command line calls. Settings, listener and stop signal are arguments;
everything else is made here and gone when the call returns.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.control.admission.plan import Plan
from orchestrator.control.backends.local import LocalBackend
from orchestrator.control.controller.attempt import AttemptRun, Desk, Work
from orchestrator.control.controller.endings import finished_outcome
from orchestrator.control.controller.inbox import Inboxes
from orchestrator.control.controller.locks import hold, lock_key
from orchestrator.control.controller.look import Looked, located, look, store_of
from orchestrator.control.controller.resume import pinned_engine, resume_points
from orchestrator.control.controller.runs import RunIndex
from orchestrator.control.controller.scratch import run_scratch
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.errors import PlanRefused
from orchestrator.records import JobState, Outcome, Phase, Reason, Report
from orchestrator.records.ids import job_id
from orchestrator.settings import Settings
from orchestrator.storage.bases import fetch_base
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.telemetry.logs import log_context

__all__ = ["Plan", "RunListener", "StopSignal", "plan", "run"]

GIT_SECONDS = 5.0


class RunListener(Protocol):
    """Who is told what happens in a run; called from the thread that called `run`."""

    def planned(self, plan: Plan) -> None: ...

    def phase(self, phase: Phase, message: str) -> None: ...

    def report(self, report: Report) -> None: ...


def plan(source: Path, sets: Sequence[str] = (), *, settings: Settings) -> Plan:
    """What the job needs and whether it fits; starts and creates nothing.

    Raises InvalidInput with everything that is wrong with spec, data and base.
    """
    os.environ.update(settings.store_environment())
    return look(source, sets, settings, probe_store=False).plan


def run(
    source: Path,
    sets: Sequence[str] = (),
    *,
    settings: Settings,
    listener: RunListener,
    stop: StopSignal,
    new: bool = False,
) -> Outcome:
    """Trains, evaluates and publishes; returns when it has ended, with nothing left behind.

    Args:
        source: The spec's file.
        sets: Overrides, `path=value`.
        settings: The operator's.
        listener: Told what happens.
        stop: Asks for an early end; may be requested from a signal handler.
        new: Train again, even if this run is finished or begun.

    Raises:
        InvalidInput: Spec, data or base are wrong, or do not fit what was begun.
        PlanRefused: The job does not fit this machine.
        AlreadyRunning: The same run is live.
        StoreError: The store cannot be used.
    """
    began = time.monotonic()
    os.environ.update(settings.store_environment())
    # 1. Look before anything starts.
    listener.phase(Phase.PLAN, "reading the spec, the data and the base model")
    looked = look(source, sets, settings, probe_store=True)
    listener.planned(looked.plan)
    _refuse_misfit(looked.plan)
    # 2. One process a run.
    host = _Host(
        settings, listener, stop, store_of(looked.loaded, settings, settings.store_retry_seconds)
    )
    key = lock_key(host.store.url, looked.plan.identity.run)
    with hold(host.locks, key) as lock:
        # 3. Which job it is.
        job = _job_of(looked.plan, RunIndex(host.store), new=new)
        lock.tell(job)
        with log_context(job=job):
            return _go_on(looked, job, host, key, began)


@dataclass(frozen=True, slots=True)
class _Host:
    """What one call of `run` works with."""

    settings: Settings
    listener: RunListener
    stop: StopSignal
    store: ObjectStore

    @property
    def locks(self) -> Path:
        return self.settings.state_dir / "locks"


def _go_on(looked: Looked, job: str, host: _Host, key: str, began: float) -> Outcome:
    """Shows a finished job; makes the next attempt of any other."""
    checkpoints = CheckpointStore(host.store, job)
    # 1. Finished: nothing to do.
    finished = finished_outcome(host.store, checkpoints, _model_name(looked.plan), job)
    if finished is not None:
        shown = f"already trained: {finished.model}; --new trains again"
        return finished.model_copy(update={"message": shown})
    # 2. What the run began with stays.
    looked = _pinned(looked, checkpoints)
    _refuse_misfit(looked.plan)
    if host.stop.level > 0:
        return _not_begun(job, checkpoints)
    work = Work(
        spec=looked.plan.spec,
        written=looked.loaded.text,
        identity=looked.plan.identity,
        base_path=fetch_base(looked.base),
        submitted_at=time.time(),
        seconds={Phase.PLAN: time.monotonic() - began},
        git_commit=_git_commit(looked.loaded.base_dir),
    )
    # 3. The next attempt.
    with run_scratch(host.settings.state_dir / "scratch", host.locks, key) as scratch:
        return _attempt(work, job, host, scratch)


def _attempt(work: Work, job: str, host: _Host, scratch: Path) -> Outcome:
    """One attempt on a Ray of its own, which starts while the receiver of Reports does."""
    settings, stop = host.settings, host.stop
    resources = work.spec.spec.resources
    backend = LocalBackend(
        settings.ray_temp_dir,
        start_timeout_seconds=settings.launch_timeout_seconds,
        cancelled=lambda: stop.level > 0,
    )
    with backend:
        backend.prepare(
            num_cpus=resources.workers * resources.cpus_per_worker,
            num_gpus=resources.workers * resources.gpus_per_worker,
        )
        from orchestrator.interfaces.api.app import REPORTS_PATH, create_app
        from orchestrator.interfaces.api.serving import ApiServer

        inboxes = Inboxes()
        with ApiServer(create_app(inboxes), settings.report_host) as api:
            desk = Desk(
                store=host.store,
                backend=backend,
                inboxes=inboxes,
                report_url=f"{api.url}{REPORTS_PATH}",
                scratch=scratch,
                cache=settings.cache_dir,
                logs=settings.state_dir / "logs",
                listener=host.listener,
                stop=stop,
            )
            return AttemptRun(work, desk, job).run()


def _refuse_misfit(plan: Plan) -> None:
    if not plan.fits:
        reasons = [f"{reason.path}: {reason.message}" for reason in plan.reasons]
        changes = [reason.change for reason in plan.reasons]
        raise PlanRefused("\n".join(reasons), hint="; ".join(changes))


def _job_of(plan: Plan, index: RunIndex, *, new: bool) -> str:
    run, name = plan.identity.run, plan.spec.metadata.name
    fresh = job_id(time.time(), secrets.token_bytes(10))
    take = index.replace if new else index.adopt
    return take(run, new_job=fresh, name=name).job


def _pinned(looked: Looked, checkpoints: CheckpointStore) -> Looked:
    """What the run began with stays, where the spec leaves it open; else it is refused here."""
    candidates = checkpoints.candidates()
    if not candidates:
        return looked
    record = checkpoints.attempt_record(candidates[0].attempt)
    engine = pinned_engine(looked.loaded.spec.spec.engine, record.get("engine") or {})
    looked = looked.with_engine(engine)
    with located(looked.loaded.positions):
        resume_points(looked.plan.spec.spec, candidates)
    return looked


def _not_begun(job: str, checkpoints: CheckpointStore) -> Outcome:
    resume = checkpoints.resume_point()
    return Outcome(
        job=job,
        attempt=max(checkpoints.attempts(), default=0),
        state=JobState.SUSPENDED,
        reason=Reason.INTERRUPTED,
        message="interrupted before anything was started",
        hint="run the same command again",
        checkpoint_step=resume.step if resume else None,
    )


def _model_name(plan: Plan) -> str:
    name = plan.spec.spec.output.name
    assert name is not None, "a resolved spec has it"
    return name


def _git_commit(folder: Path) -> str | None:
    """The commit the spec's folder is at, `-dirty` where something is not committed."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(
            [*command, "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
