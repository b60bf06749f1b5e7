"""`orchestrator run`: the whole system in one process, made for one job and gone with it."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from orchestrator.control.admission.plan import Plan
from orchestrator.control.backends.local import LocalBackend
from orchestrator.control.controller.acts import HostFolders, Workplace
from orchestrator.control.controller.creation import Request, job_of_plan
from orchestrator.control.controller.effects import ThreadedEffects
from orchestrator.control.controller.endings import finished_outcome
from orchestrator.control.controller.locks import hold, lock_key
from orchestrator.control.controller.look import Looked, keep_code, located, look, store_of
from orchestrator.control.controller.loop import Controller, Means, Rows
from orchestrator.control.controller.oneshot import OneShot
from orchestrator.control.controller.policy import RULES, Policy, Rule
from orchestrator.control.controller.reports import ReportDesk
from orchestrator.control.controller.resume import begun_engine, pinned_engine, resume_points
from orchestrator.control.controller.runs import RunIndex
from orchestrator.control.controller.scratch import run_scratch
from orchestrator.control.controller.secrets import Secrets
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.control.store import Database
from orchestrator.errors import PlanRefused
from orchestrator.inspect.commit import commit_of
from orchestrator.interfaces.api.app import create_reports_app
from orchestrator.interfaces.api.reports import REPORTS_PATH
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.records import JobState, Outcome, Phase, Principal, Reason, Report, Role
from orchestrator.records.ids import job_id
from orchestrator.server.asked import Asked, RunListener
from orchestrator.settings import Settings
from orchestrator.specs.sizes import fewer_workers
from orchestrator.specs.task import publishes
from orchestrator.storage.bases import fetch_base
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.telemetry.logs import log_context


def run_once(asked: Asked, settings: Settings, listener: RunListener, stop: StopSignal) -> Outcome:
    """What `server.run` does."""
    began = time.monotonic()
    os.environ.update(settings.store_environment())
    # 1. Look before anything starts.
    listener.phase(Phase.PLAN, "reading the spec, the data and the base model")
    looked = look(asked.source, asked.sets, settings, probe_store=True)
    listener.planned(looked.plan)
    _refuse_misfit(looked.plan)
    # 2. One process a run.
    host = _Host(
        settings, listener, stop, store_of(looked.loaded, settings, settings.store_retry_seconds)
    )
    key = lock_key(host.store.url, looked.plan.identity.run)
    with hold(host.locks, key) as lock:
        # 3. Which job it is.
        job = _job_of(looked.plan, RunIndex(host.store), new=asked.new)
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
    """Shows a finished job; drives any other to its end."""
    checkpoints = CheckpointStore(host.store, job)
    # 1. Finished: nothing to do.
    finished = finished_outcome(
        host.store,
        checkpoints,
        _model_name(looked.plan),
        job,
        publishes=publishes(looked.plan.spec.spec.task),
    )
    if finished is not None:
        what = f"trained: {finished.model}" if finished.model else "done"
        shown = f"already {what}; --new trains again"
        return finished.model_copy(update={"message": shown})
    # 2. What the run began with stays.
    looked = _pinned(looked, checkpoints)
    _refuse_misfit(looked.plan)
    if host.stop.level > 0:
        return _not_begun(job, checkpoints)
    base = fetch_base(looked.base) if looked.base is not None else None
    keep_code(looked, host.store)
    # 3. The whole system, for one job.
    with run_scratch(host.settings.state_dir / "scratch", host.locks, key) as scratch:
        seconds = {Phase.PLAN: time.monotonic() - began}
        folders = HostFolders(scratch, host.settings.cache_dir, lambda _: base)
        return _one_shot(looked, job, host, folders, seconds)


def _one_shot(
    looked: Looked,
    job: str,
    host: _Host,
    folders: HostFolders,
    seconds: Mapping[Phase, float],
) -> Outcome:
    """One job on rows in memory and a Ray of its own, which starts while the rest does."""
    settings, stop = host.settings, host.stop
    cpus, gpus = _offered(looked.plan)
    backend = LocalBackend(
        settings.ray_temp_dir,
        start_timeout_seconds=settings.launch_timeout_seconds,
        cancelled=lambda: stop.level > 0,
    )
    with closing(backend):
        backend.prepare(
            num_cpus=cpus,
            num_gpus=gpus,
        )
        with closing(Database.open("sqlite://")) as database:
            rows = Rows.of(database)
            desk = ReportDesk(rows.attempts, time.time)
            heard: SimpleQueue[Report] = SimpleQueue()
            desk.subscribe(heard.put)
            with ApiServer(create_reports_app(desk), settings.report_host) as api:
                place = Workplace(
                    backends={backend.name: backend},
                    store=lambda _: host.store,
                    documents=rows.jobs.documents,
                    report_url=f"{api.url}{REPORTS_PATH}",
                    logs=settings.state_dir / "logs",
                    folders={backend.name: folders},
                    go_on=lambda _: "run the same command again",
                    seconds=seconds,
                    secrets=Secrets.of(settings),
                )
                means = Means(place, ThreadedEffects(threads=4), policy=POLICY)
                controller = Controller(rows, means, holder="run")
                with closing(controller):
                    _add(looked, job, host, rows)
                    shot = OneShot(controller, job, host.store, host.listener, stop)
                    shot.between = partial(_pass_on, heard, host.listener)
                    return shot.to_the_end()


def _offered(plan: Plan) -> tuple[int, int]:
    """Cores and GPUs of the Ray to be started: what the gang asks for.

    Where it may be smaller, no more than there is: the scheduler then makes it as large as fits.
    """
    resources, hardware = plan.spec.spec.resources, plan.hardware
    cpus = resources.workers * resources.cpus_per_worker
    gpus = resources.workers * resources.gpus_per_worker
    if fewer_workers(plan.spec.spec):
        return min(cpus, hardware.cpus), min(gpus, len(hardware.gpus))
    return cpus, gpus


POLICY = Policy(
    rules={**RULES, Reason.UNKNOWN: Rule(0, "see the message")}, first_backoff_seconds=1.0
)
"""Somebody is watching: what nobody can explain is told at once instead of tried again."""


def _add(looked: Looked, job: str, host: _Host, rows: Rows) -> None:
    """Adds the run's job; numbers of its Attempts go on from those in the store."""
    principal = Principal(name=getpass.getuser(), team="local", role=Role.ADMIN)
    request = Request(
        principal,
        looked.loaded.text,
        looked.loaded.sets,
        commit_of(looked.loaded.base_dir),
    )
    new = job_of_plan(looked.plan, request, id=job, now=time.time(), store=host.store.url)
    begun = max(CheckpointStore(host.store, job).attempts(), default=0)
    # The plan has compared its needs with what is free here; what else runs is not ours to count.
    demand = new.job.demand.model_copy(update={"memory_bytes_per_worker": 0})
    alone = new.job.model_copy(update={"attempt": begun, "demand": demand, "queue": "default"})
    rows.jobs.add(alone, new.documents, new.event)


def _pass_on(heard: SimpleQueue[Report], listener: RunListener) -> None:
    """Reports that arrived, told on the thread that called `run`."""
    while not heard.empty():
        listener.report(heard.get_nowait())


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
    begun = begun_engine(record, looked.plan.spec.spec)
    looked = looked.with_engine(pinned_engine(looked.loaded.spec.spec.engine, begun))
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
