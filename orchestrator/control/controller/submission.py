"""From a spec's text to a queued Job: planned, refused or found to be there already.

Called by the API. Whoever submits names no file of this machine (`places`), and the cluster may be
elsewhere: what only this machine lacks is no reason to refuse.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from orchestrator.control.admission.plan import Plan
from orchestrator.control.controller.creation import NewJob, Request, job_of_plan
from orchestrator.control.controller.feeding import PendingBases, job_called
from orchestrator.control.controller.look import Looked, Vantage, keep_code, look
from orchestrator.control.controller.places import may_lead_to, places_of, relocated
from orchestrator.control.controller.uploads import Uploads
from orchestrator.control.store import Database, JobFilter, Jobs, Page, Queues
from orchestrator.errors import Conflict, Forbidden, InvalidInput, PlanRefused, Problem
from orchestrator.inspect.hardware import HardwareFacts, inspect_hardware
from orchestrator.records import Job, JobState, Principal, Role
from orchestrator.records.ids import is_job_id, job_id
from orchestrator.settings import Settings
from orchestrator.specs.suggest import closest
from orchestrator.storage.objectstore import ObjectStore, open_store

STORE_SECONDS = 10.0  # a request waits so long for a store that is away

LIVE = tuple(state for state in JobState if not state.is_terminal)


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody asks for."""

    spec: str  # YAML or JSON
    sets: Sequence[str] = ()
    new: bool = False  # also where the same is queued or done already
    idempotency_key: str | None = None
    git_commit: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """The job, and whether this submission made it."""

    job: Job
    is_new: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What submissions are judged by and where they go; made by the composition root.

    Attributes:
        hardware: Of where jobs run, by the folder whose disk counts.
        runs_here: Whether that is this machine: what it lacks is then a reason to refuse.
    """

    database: Database
    jobs: Jobs
    queues: Queues
    settings: Settings
    hardware: Callable[[Path], HardwareFacts] = inspect_hardware
    runs_here: bool = True
    randomness: Callable[[int], bytes] = secrets.token_bytes


def team_store(settings: Settings, team: str) -> ObjectStore:
    """What a team publishes to and uploads to."""
    return open_store(places_of(settings, team).store, retry_seconds=STORE_SECONDS)


def plan(principal: Principal, submission: Submission, ground: Ground) -> Plan:
    """What the job would need; nothing is created. Raises InvalidInput."""
    require(principal, Role.SUBMITTER)
    return looked_at(principal.team, submission, ground).plan


def submit(principal: Principal, submission: Submission, ground: Ground, now: float) -> Submitted:
    """Queues the job of a spec, or finds the one that does the same.

    Raises:
        InvalidInput: With everything that is wrong with spec, data and base.
        PlanRefused: It cannot work anywhere.
        Conflict: The same is queued or running, or the key came with another spec before.
        Forbidden: The principal may only look.
    """
    require(principal, Role.SUBMITTER)
    # 1. Facts and plan.
    looked = looked_at(principal.team, submission, ground)
    refuse_misfit(looked.plan, runs_here=ground.runs_here)
    # 2. What only the rows know.
    after = _dependencies(principal, looked, ground)
    # 3. The job, and what its workers run.
    keep_code(looked, open_store(looked.store_url, retry_seconds=STORE_SECONDS))
    request = Request(principal, looked.loaded.text, tuple(submission.sets), submission.git_commit)
    new = job_of_plan(
        looked.plan,
        request,
        id=job_id(now, ground.randomness(10)),
        now=now,
        store=looked.store_url,
        after=after,
    )
    return _add(new, submission, ground)


def require(principal: Principal, role: Role) -> None:
    """Raises Forbidden where the principal has a lesser role."""
    if not principal.role.includes(role):
        has, takes = (f"{'an' if r is Role.ADMIN else 'a'} {r}" for r in (principal.role, role))
        raise Forbidden(
            f"{principal.name} is {has} of {principal.team}, this takes {takes}",
            hint="ask an admin for another token",
        )


def refuse_misfit(plan: Plan, *, runs_here: bool) -> None:
    """Raises PlanRefused for what stands in the way wherever the job would run."""
    reasons = [reason for reason in plan.reasons if runs_here or not reason.of_machine]
    if reasons:
        raise PlanRefused(
            "\n".join(f"{reason.path}: {reason.message}" for reason in reasons),
            hint="; ".join(reason.change for reason in reasons),
            problems=[Problem(r.message, path=r.path, hint=r.change) for r in reasons],
        )


def looked_at(team: str, submission: Submission, ground: Ground) -> Looked:
    """Facts and plan, from where the team stands; raises InvalidInput."""
    settings = ground.settings
    places = places_of(settings, team)
    uploads = Uploads(team_store(settings, team))
    bases = PendingBases(ground.jobs, team, settings.cache_dir)
    vantage = Vantage(
        team=team,
        default_store=places.store,
        relocate=partial(relocated, places=places, find=uploads.url),
        find_base=bases.find,
        hardware=ground.hardware,
        may_read=partial(may_lead_to, places=places),
    )
    looked = look(submission.spec, submission.sets, settings, probe_store=False, vantage=vantage)
    _check_queue(team, looked, ground.queues)
    return looked


def _check_queue(team: str, looked: Looked, queues: Queues) -> None:
    path, name = "scheduling.queue", looked.plan.spec.spec.scheduling.queue
    queue = queues.get(name)
    if queue is not None and (not queue.teams or team in queue.teams):
        return
    open_ones = [q.name for q in queues.list() if not q.teams or team in q.teams]
    near = closest(name, open_ones)
    known = ", ".join(open_ones) or "none"
    hint = f"did you mean {near}?" if near else f"queues of team {team}: {known}"
    message = f"team {team} has no queue {name!r}"
    raise InvalidInput([looked.loaded.problem(path, message, hint)])


def _dependencies(principal: Principal, looked: Looked, ground: Ground) -> tuple[str, ...]:
    """Ids of the jobs to wait for: those named, and the one that makes the base."""
    found: dict[str, None] = {}
    problems: list[Problem] = []
    for index, name in enumerate(looked.plan.spec.spec.scheduling.after):
        path = f"scheduling.after[{index}]"
        job = job_called(ground.jobs, principal.team, name)
        if job is None:
            message = f"team {principal.team} has no job {name!r}"
            hint = "give the id or the name of a job that was submitted before"
            problems.append(looked.loaded.problem(path, message, hint))
        elif job.state in (JobState.FAILED, JobState.CANCELLED):
            message = f"{job.id} ({job.name}) is {job.state}: waiting for it would never end"
            hint = f"`orchestrator retry {job.id}` first, or leave it out"
            problems.append(looked.loaded.problem(path, message, hint))
        else:
            found[job.id] = None
    if problems:
        raise InvalidInput(problems)
    base = (looked.base.pinned.base or "") if looked.base is not None else ""
    scheme, _, maker = base.partition("://")
    if scheme == "job" and is_job_id(maker):
        found[maker] = None
    return tuple(found)


class _SameExists(Exception):
    """Rolls the new job back: another one does the same."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.id)
        self.job = job


def _add(new: NewJob, submission: Submission, ground: Ground) -> Submitted:
    """Adds the job, unless the same is there.

    It is added first: until the end of the transaction no other submission can be added, so that of
    two that meet here the later one sees the earlier.
    """
    try:
        with ground.database.transaction():
            key = submission.idempotency_key
            job = ground.jobs.add(new.job, new.documents, new.event, idempotency_key=key)
            if job.id != new.job.id:
                return Submitted(job, is_new=False, message="submitted before, by the same key")
            if not submission.new:
                _check_same(job, ground.jobs)
    except _SameExists as same:
        return _of_same(same.job)
    return Submitted(job, is_new=True, message=_about_earlier(job, ground.jobs))


def _check_same(job: Job, jobs: Jobs) -> None:
    for states in (LIVE, (JobState.SUCCEEDED,)):
        same = JobFilter(team=job.team, identity=job.identity, states=states)
        found = [other for other in jobs.list(same, Page(limit=2))[0] if other.id != job.id]
        if found:
            raise _SameExists(found[0])


def _of_same(job: Job) -> Submitted:
    if job.state is JobState.SUCCEEDED:
        published = f" as {job.model}" if job.model else ""
        message = f"trained before{published} by {job.id}; --new trains again"
        return Submitted(job, is_new=False, message=message)
    remedy = f"orchestrator show {job.id}"
    if job.state is JobState.SUSPENDED:
        remedy = f"orchestrator resume {job.id}"
    raise Conflict(
        f"{job.id} ({job.name}) does the same and is {job.state}",
        hint=f"{remedy}; --new makes another job",
    )


def _about_earlier(job: Job, jobs: Jobs) -> str:
    """What is worth knowing of an earlier try."""
    states = (JobState.FAILED, JobState.CANCELLED)
    found, _ = jobs.list(
        JobFilter(team=job.team, identity=job.identity, states=states), Page(limit=1)
    )
    if not found:
        return ""
    earlier = found[0]
    return (
        f"{earlier.id} tried the same and is {earlier.state}; `orchestrator retry {earlier.id}` "
        "would go on from its newest checkpoint"
    )
