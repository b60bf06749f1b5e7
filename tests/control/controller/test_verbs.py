"""What people may do to a job in each state; who may; and what two at once come to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orchestrator.control.controller import verbs
from orchestrator.control.controller.submission import Ground
from orchestrator.control.store import Database, Events, Jobs
from orchestrator.errors import Conflict, Forbidden, InvalidInput, NotFound
from orchestrator.records import Goal, Job, JobState, Principal, Reason, Role
from tests.control.store.builders import TIME, added, documents, moved

S = JobState
NOW = TIME + 50


def somebody(name: str = "ada", team: str = "vision", role: Role = Role.SUBMITTER) -> Principal:
    return Principal(name=name, team=team, role=role)


ADA = somebody()
Verb = Callable[[Jobs, str, Principal], Job]


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with closing(Database.open("sqlite://", clock=lambda: NOW)) as database:
        yield Jobs(database)


def ground(jobs: Jobs) -> Ground:
    return cast(Ground, SimpleNamespace(jobs=jobs, randomness=lambda count: bytes(count)))


def cancel(jobs: Jobs, id: str, who: Principal = ADA) -> Job:
    return verbs.cancel(jobs, id, who, NOW)


def suspend(jobs: Jobs, id: str, who: Principal = ADA) -> Job:
    return verbs.suspend(jobs, id, who, NOW)


def resume(jobs: Jobs, id: str, who: Principal = ADA) -> Job:
    return verbs.resume(ground(jobs), id, (), who, NOW)


def retry(jobs: Jobs, id: str, who: Principal = ADA) -> Job:
    return verbs.retry(jobs, id, who, NOW)


CHANGES: list[tuple[Verb, JobState, dict[str, Any], JobState, Goal | None]] = [
    (cancel, S.QUEUED, {}, S.CANCELLED, None),
    (cancel, S.SUSPENDED, {}, S.CANCELLED, None),
    (cancel, S.STARTING, {}, S.STARTING, Goal.CANCEL),
    (cancel, S.RUNNING, {}, S.RUNNING, Goal.CANCEL),
    (cancel, S.RUNNING, {"wanted": Goal.SUSPEND}, S.RUNNING, Goal.CANCEL),
    (cancel, S.STOPPING, {"goal": Goal.SUSPEND}, S.STOPPING, Goal.CANCEL),
    (cancel, S.CANCELLED, {}, S.CANCELLED, None),
    (suspend, S.QUEUED, {}, S.SUSPENDED, None),
    (suspend, S.RUNNING, {}, S.RUNNING, Goal.SUSPEND),
    (suspend, S.STOPPING, {"goal": Goal.REQUEUE}, S.STOPPING, Goal.SUSPEND),
    (suspend, S.SUSPENDED, {}, S.SUSPENDED, None),
    (resume, S.SUSPENDED, {}, S.QUEUED, None),
    (resume, S.QUEUED, {}, S.QUEUED, None),
    (resume, S.RUNNING, {"wanted": Goal.SUSPEND}, S.RUNNING, None),  # taken back
    (retry, S.FAILED, {}, S.QUEUED, None),
    (retry, S.CANCELLED, {}, S.QUEUED, None),
    (retry, S.QUEUED, {}, S.QUEUED, None),
    (retry, S.RUNNING, {}, S.RUNNING, None),
]


@pytest.mark.parametrize(("verb", "state", "said", "becomes", "wanted"), CHANGES)
def test_changes(
    jobs: Jobs,
    verb: Verb,
    state: JobState,
    said: dict[str, Any],
    becomes: JobState,
    wanted: Goal | None,
) -> None:
    job = added(jobs, state=state, **said)
    changed = verb(jobs, job.id, ADA)
    assert (changed.state, changed.wanted) == (becomes, wanted)
    assert changed == jobs.get(job.id)
    assert verb(jobs, job.id, ADA).version == changed.version, "asking twice is asking once"


REFUSED: list[tuple[Verb, JobState, dict[str, Any], str]] = [
    (cancel, S.SUCCEEDED, {}, "has ended"),
    (cancel, S.FAILED, {}, "has ended"),
    (suspend, S.CANCELLED, {}, "has ended"),
    (suspend, S.STOPPING, {"goal": Goal.CANCEL}, "is being cancelled"),
    (suspend, S.RUNNING, {"wanted": Goal.CANCEL}, "is being cancelled"),
    (resume, S.FAILED, {}, "has ended"),
    (resume, S.STOPPING, {"goal": Goal.SUSPEND}, "is being stopped"),
    (resume, S.RUNNING, {"wanted": Goal.CANCEL}, "is being stopped"),
    (retry, S.SUCCEEDED, {}, "has succeeded"),
    (retry, S.SUSPENDED, {}, "is suspended"),
]


@pytest.mark.parametrize(("verb", "state", "said", "why"), REFUSED)
def test_what_is_refused_changes_nothing(
    jobs: Jobs, verb: Verb, state: JobState, said: dict[str, Any], why: str
) -> None:
    job = added(jobs, state=state, **said)
    with pytest.raises(Conflict, match=why):
        verb(jobs, job.id, ADA)
    assert jobs.get(job.id) == job


def test_every_change_is_told_with_who_made_it(jobs: Jobs) -> None:
    job = added(jobs)
    cancel(jobs, job.id, somebody("lea", role=Role.LEAD))
    event = Events(jobs._database).list(job=job.id)[-1]
    assert (event.kind, event.state, event.reason) == (
        "StateChanged",
        S.CANCELLED,
        Reason.CANCELLED,
    )
    assert event.message == "cancelled by lea"


def test_a_retry_begins_with_a_full_budget_at_the_end_of_the_line(jobs: Jobs) -> None:
    job = added(
        jobs,
        state=S.FAILED,
        failures={Reason.WORKER_LOST: 6},
        node_failures={"n1": 2},
        started_at=TIME,
        finished_at=TIME + 9,
    )
    again = retry(jobs, job.id)
    assert (again.failures, again.node_failures) == ({}, {})
    assert (again.started_at, again.finished_at, again.queued_at) == (None, None, NOW)


def test_a_retry_is_refused_while_another_job_does_the_same(jobs: Jobs) -> None:
    failed = added(jobs, 1, state=S.FAILED)
    other = added(jobs, 2, state=S.RUNNING)
    with pytest.raises(Conflict, match=f"{other.id} does the same and is RUNNING"):
        retry(jobs, failed.id)


@pytest.mark.parametrize(
    ("who", "answer"),
    [
        (ADA, None),
        (somebody("bob"), Forbidden),  # of her team, no lead
        (somebody("ada", role=Role.VIEWER), Forbidden),
        (somebody("lea", role=Role.LEAD), None),
        (somebody("eve", team="speech", role=Role.LEAD), NotFound),  # it does not exist for her
        (somebody("root", team="ops", role=Role.ADMIN), None),
    ],
)
@pytest.mark.parametrize("verb", [cancel, suspend, resume, retry])
def test_who_may(jobs: Jobs, verb: Verb, who: Principal, answer: type[Exception] | None) -> None:
    state = {resume: S.SUSPENDED, retry: S.FAILED}.get(verb, S.QUEUED)
    job = added(jobs, state=state)
    if answer is None:
        assert verb(jobs, job.id, who).state is not state
        return
    with pytest.raises(answer):
        verb(jobs, job.id, who)
    assert jobs.get(job.id) == job


@pytest.mark.parametrize(
    "changed", ["training.epochs=3", "spec.data.train_on=[news]", "metadata.name=x"]
)
def test_resuming_changes_engine_and_resources_only(jobs: Jobs, changed: str) -> None:
    job = added(jobs, state=S.SUSPENDED)
    with pytest.raises(InvalidInput) as raised:
        verbs.resume(ground(jobs), job.id, (changed,), ADA, NOW)
    assert raised.value.problems[0].path == changed.partition("=")[0].removeprefix("spec.")
    assert jobs.get(job.id) == job


def test_a_job_that_moved_on_meanwhile_is_decided_about_anew(jobs: Jobs) -> None:
    """It started between the look and the change: so it is not simply CANCELLED."""
    job = added(jobs)
    apply, is_first = jobs.apply, True

    def raced(change: Any, lease: Any = None) -> Any:
        nonlocal is_first
        if is_first:
            is_first = False
            assert apply(moved(job, S.STARTING)) is not None
        return apply(change, lease)

    jobs.apply = raced  # type: ignore[method-assign]
    changed = cancel(jobs, job.id)
    assert (changed.state, changed.wanted) == (S.STARTING, Goal.CANCEL)


def test_a_rerun_is_a_new_job_of_the_same_documents(jobs: Jobs) -> None:
    job = added(jobs, state=S.SUCCEEDED, priority=10, labels={"a": "b"})
    again = verbs.rerun(ground(jobs), job.id, ADA, NOW, "key-1")
    assert again.is_new
    assert (again.job.priority, again.job.labels, again.job.state) == (10, {"a": "b"}, S.QUEUED)
    assert jobs.documents(again.job.id) == documents(again.job.id)
    assert jobs.get(job.id) == job
    twice = verbs.rerun(ground(jobs), job.id, ADA, NOW + 1, "key-1")
    assert (twice.is_new, twice.job.id) == (False, again.job.id)


def test_only_an_ended_job_is_deleted(jobs: Jobs) -> None:
    live, ended = added(jobs, 1, state=S.RUNNING), added(jobs, 2, state=S.FAILED)
    with pytest.raises(Conflict, match="has not ended"):
        verbs.delete(jobs, live.id, ADA)
    assert verbs.delete(jobs, ended.id, ADA) == ""
    assert jobs.get(ended.id) is None
