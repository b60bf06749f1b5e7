"""Jobs: submit, list, look at, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from orchestrator.control.admission.plan import Plan
from orchestrator.control.controller import submission, verbs
from orchestrator.control.store import JobFilter
from orchestrator.errors import NotFound, UserError
from orchestrator.interfaces.api.dependencies import (
    IDEMPOTENCY_KEY,
    InTurn,
    PageAsked,
    ServiceHere,
    Who,
)
from orchestrator.interfaces.api.service import Service
from orchestrator.interfaces.wire import (
    Deleted,
    History,
    JobView,
    Page,
    PlanRequest,
    Progress,
    SpecView,
    SubmitAnswer,
    SubmitRequest,
)
from orchestrator.records import Attempt, Job, JobDocuments, JobState, Principal, Role

router = APIRouter(tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=IDEMPOTENCY_KEY,
        min_length=1,
        max_length=200,
        description="The same key gives the same job: a request may be sent again.",
    ),
]
Labels = Annotated[
    list[str], Query(alias="label", max_length=20, description="key=value; all must hold.")
]


@router.post("/plan", dependencies=[InTurn])
def plan(asked: PlanRequest, service: ServiceHere, who: Who) -> Plan:
    """What a spec needs and whether it fits; nothing is created."""
    return submission.plan(who, submission.Submission(asked.spec, asked.sets), service.ground)


@router.post(
    "/jobs",
    status_code=201,
    responses={200: {"model": SubmitAnswer}},
    dependencies=[InTurn],
)
def submit(
    asked: SubmitRequest,
    request: Request,
    response: Response,
    service: ServiceHere,
    who: Who,
    key: IdempotencyKey = None,
) -> SubmitAnswer:
    """Queues the job of a spec; 200 where one that did the same is shown instead."""
    wanted = submission.Submission(
        asked.spec,
        asked.sets,
        new=asked.new,
        idempotency_key=key,
        git_commit=asked.git_commit,
    )
    done = submission.submit(who, wanted, service.ground, service.clock())
    return submitted(done, request, response, service)


def submitted(
    done: submission.Submitted, request: Request, response: Response, service: Service
) -> SubmitAnswer:
    """The answer to whatever makes a job."""
    request.state.target = done.job.id
    response.status_code = 201 if done.is_new else 200
    response.headers["Location"] = f"/api/v1/jobs/{done.job.id}"
    service.wake()
    return SubmitAnswer(job=done.job, is_new=done.is_new, message=done.message)


@router.get("/jobs")
def jobs(
    service: ServiceHere,
    who: Who,
    page: PageAsked,
    labels: Labels = [],  # noqa: B006 (never changed)
    state: Annotated[list[JobState], Query(description="One of these.")] = [],  # noqa: B006
    team: Annotated[str | None, Query(description="Of others: admins only.")] = None,
    queue: str | None = None,
    name: str | None = None,
    created_by: str | None = None,
) -> Page[JobView]:
    """The newest first."""
    wanted = JobFilter(
        team=team if who.role is Role.ADMIN else who.team,
        states=tuple(state),
        queue=queue,
        labels=dict(_label(text) for text in labels),
        name=name,
        created_by=created_by,
    )
    if team not in (None, wanted.team):
        return Page(items=())
    found, following = service.jobs.list(wanted, page)
    return Page(items=job_views(found, service), next=following)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{text!r} is no label", hint="write key=value")
    return key, value


@router.get("/jobs/{id}")
def job(id: str, service: ServiceHere, who: Who) -> JobView:
    """One job and how far it is."""
    return job_view(verbs.visible(service.jobs, id, who), service)


@router.delete("/jobs/{id}", dependencies=[InTurn])
def delete(id: str, service: ServiceHere, who: Who) -> Deleted:
    """Deletes an ended job with its checkpoints and logs; what it published stays."""
    return Deleted(id=id, message=verbs.delete(service.jobs, id, who))


@router.get("/jobs/{id}/spec")
def spec(id: str, service: ServiceHere, who: Who) -> SpecView:
    """The spec as it was written and as it was resolved."""
    documents = _documents(id, service, who)
    fields = documents.model_dump(include={"job", "written", "sets", "git_commit"})
    return SpecView(**fields, spec=documents.spec, identity=documents.identity)


@router.get("/jobs/{id}/plan")
def plan_of_job(id: str, service: ServiceHere, who: Who) -> dict[str, Any]:
    """The plan it was admitted with; its resolved spec is at `spec`."""
    return _documents(id, service, who).plan


@router.get("/jobs/{id}/attempts")
def attempts(id: str, service: ServiceHere, who: Who) -> list[Attempt]:
    """By number."""
    return service.attempts.list(verbs.visible(service.jobs, id, who).id)


@router.get("/jobs/{id}/history")
def history(
    id: str, service: ServiceHere, who: Who, attempt: Annotated[int | None, Query(ge=1)] = None
) -> History:
    """The curves of an Attempt, the newest unless another is named."""
    found = attempt_of(verbs.visible(service.jobs, id, who), attempt, service)
    points = service.attempts.points(id, found.number)
    return History(attempt=found.number, points=tuple(points))


def attempt_of(job: Job, number: int | None, service: Service) -> Attempt:
    """An Attempt by its number, else the newest; raises NotFound."""
    known = service.attempts.list(job.id)
    for attempt in reversed(known):
        if number in (None, attempt.number):
            return attempt
    if number is None:
        raise NotFound(f"{job.id} has not started yet", hint=_why_it_waits(job))
    raise NotFound(f"{job.id} has no attempt {number}", hint=f"it has {len(known)}")


def job_view(job: Job, service: Service) -> JobView:
    """A job with the progress of its newest Attempt."""
    (view,) = job_views([job], service)
    return view


def job_views(jobs: Sequence[Job], service: Service) -> tuple[JobView, ...]:
    begun = [job.id for job in jobs if job.attempt and job.state is not JobState.QUEUED]
    newest = service.attempts.newest(begun) if begun else {}
    progress = {job: progress_of(attempt) for job, attempt in newest.items()}
    return tuple(JobView(**dict(job), progress=progress.get(job.id)) for job in jobs)


def progress_of(attempt: Attempt) -> Progress:
    names = Progress.model_fields.keys() - {"attempt"}
    return Progress(attempt=attempt.number, **{name: getattr(attempt, name) for name in names})


def _why_it_waits(job: Job) -> str | None:
    return job.waits[0].message if job.waits else None


def _documents(id: str, service: Service, who: Principal) -> JobDocuments:
    found = service.jobs.documents(verbs.visible(service.jobs, id, who).id)
    if found is None:
        raise NotFound(f"there is no job {id}", hint="it was deleted just now")
    return found
