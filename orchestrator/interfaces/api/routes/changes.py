"""What users do to jobs: each verb a route."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from orchestrator.control.controller import verbs
from orchestrator.control.controller.submission import STORE_SECONDS
from orchestrator.interfaces.api.dependencies import InTurn, ServiceHere, Who
from orchestrator.interfaces.api.routes.jobs import (
    IdempotencyKey,
    attempt_of,
    job_view,
    submitted,
)
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.wire import JobView, ResumeRequest, Stacks, SubmitAnswer
from orchestrator.records import Job
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store

router = APIRouter(tags=["jobs"])


@router.post("/jobs/{id}/cancel")
def cancel(id: str, service: ServiceHere, who: Who) -> JobView:
    """Ends a job for good. One that runs is stopped; its state tells when it is over."""
    return _changed(verbs.cancel(service.jobs, id, who, service.clock()), service)


@router.post("/jobs/{id}/suspend")
def suspend(id: str, service: ServiceHere, who: Who) -> JobView:
    """Takes a job out of its queue; one that trains saves a checkpoint first."""
    return _changed(verbs.suspend(service.jobs, id, who, service.clock()), service)


@router.post("/jobs/{id}/resume", dependencies=[InTurn])
def resume(
    id: str,
    service: ServiceHere,
    who: Who,
    asked: Annotated[ResumeRequest, Body()] = ResumeRequest(),  # noqa: B008 (frozen)
) -> JobView:
    """Puts a suspended job back into its queue, perhaps with another engine or resources."""
    job = verbs.resume(service.ground, id, asked.sets, who, service.clock())
    return _changed(job, service)


@router.post("/jobs/{id}/retry")
def retry(id: str, service: ServiceHere, who: Who) -> JobView:
    """Queues a job that failed or was cancelled again; it goes on where it was."""
    return _changed(verbs.retry(service.jobs, id, who, service.clock()), service)


@router.post("/jobs/{id}/rerun", status_code=201, responses={200: {"model": SubmitAnswer}})
def rerun(
    id: str,
    request: Request,
    response: Response,
    service: ServiceHere,
    who: Who,
    key: IdempotencyKey = None,
) -> SubmitAnswer:
    """A new job from the documents of another one."""
    done = verbs.rerun(service.ground, id, who, service.clock(), key)
    return submitted(done, request, response, service)


@router.post("/jobs/{id}/stacks", status_code=202, dependencies=[InTurn])
def ask_for_stacks(id: str, service: ServiceHere, who: Who) -> JobView:
    """Asks all ranks for the stacks of their threads; they arrive within seconds."""
    job = verbs.dump_stacks(service.jobs, service.attempts, id, who, service.clock())
    return _changed(job, service)


@router.get("/jobs/{id}/stacks", dependencies=[InTurn])
def stacks(id: str, service: ServiceHere, who: Who) -> Stacks:
    """The stacks that have arrived since they were asked for last."""
    job = verbs.visible(service.jobs, id, who)
    attempt = attempt_of(job, None, service)
    store = open_store(job.store, retry_seconds=STORE_SECONDS)
    found = CheckpointStore(store, job.id).stacks(attempt.number)
    return Stacks(attempt=attempt.number, workers=job.demand.workers, ranks=found)


def _changed(job: Job, service: Service) -> JobView:
    service.wake()
    return job_view(job, service)
