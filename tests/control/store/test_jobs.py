from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from orchestrator.control.store import Attempts, Database, Events, JobFilter, Jobs, Page
from orchestrator.errors import Conflict
from orchestrator.records import (
    AttemptState,
    Demand,
    Goal,
    JobDocuments,
    JobState,
    Placed,
    Reason,
    Wait,
    WaitReason,
)
from tests.control.builders import resolved_spec
from tests.control.store.builders import (
    SECRET,
    TIME,
    S,
    a_job,
    a_report,
    added,
    an_attempt,
    an_event,
    documents,
    ended,
    job_name,
    moved,
    rolled_back,
    started,
)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


def test_a_job_comes_back_as_it_was_added(jobs: Jobs) -> None:
    job = a_job(
        labels={"stage": "nightly", "owner": ""},
        queue="gpu",
        priority=-3,
        reason=Reason.PREEMPTED,
        message="gave way to job-2 …",
        wanted=Goal.SUSPEND,
        not_before=TIME + 30.5,
        demand=Demand(workers=4, gpus_per_worker=1, accelerator="H200", node_labels={"a": "b"}),
        engine={"offload": "optimizer", "micro_batch_size": 4},
        failures={Reason.OUT_OF_MEMORY: 2},
        node_failures={"n1": 1},
        after=(job_name(8), job_name(9)),
        ttl_seconds_after_finished=3600.0,
        waits=(Wait(reason=WaitReason.QUOTA, message="the team holds 8 of 8 GPUs"),),
    )

    assert jobs.add(job, documents(job.id), an_event(job)) == job
    assert jobs.get(job.id) == job


def test_what_is_not_there(jobs: Jobs) -> None:
    assert jobs.get(job_name(1)) is None
    assert jobs.documents(job_name(1)) is None
    assert jobs.delete(job_name(1)) is False
    assert jobs.list(JobFilter(), Page()) == ([], None)
    assert jobs.live() == []


def test_documents_come_back_as_they_were(jobs: Jobs) -> None:
    job = a_job()
    written: JobDocuments = documents(
        job.id,
        written="# naïve\nkind: FineTune\n",
        spec=resolved_spec(resources={"workers": 3}, output={"name": "other"}),
    )
    jobs.add(job, written, an_event(job))

    assert jobs.documents(job.id) == written


def test_a_key_gives_one_job(jobs: Jobs, database: Database) -> None:
    first = added(jobs, 1, key="k")

    assert added(jobs, 2, key="k") == first
    assert added(jobs, 3, key="other").id == job_name(3)
    assert added(jobs, 4, key="k", team="speech").id == job_name(4)  # keys are a team's own
    assert added(jobs, 5).id == job_name(5)
    assert jobs.get(job_name(2)) is None
    assert len(Events(database).list()) == 4


def test_a_key_answers_with_the_job_as_it_is_now(jobs: Jobs) -> None:
    first = added(jobs, 1, key="k")
    changed = jobs.apply(moved(first, S.CANCELLED, Reason.CANCELLED))

    assert added(jobs, 2, key="k") == changed


@pytest.mark.parametrize(
    "submitted",
    [
        pytest.param({"written": "kind: FineTune  # changed\n"}, id="other text"),
        pytest.param({"sets": ()}, id="other sets"),
    ],
)
def test_a_key_with_another_spec_is_a_conflict(jobs: Jobs, submitted: dict[str, object]) -> None:
    added(jobs, 1, key="k")
    job = a_job(2)

    with pytest.raises(Conflict, match=f"'k' was used for {job_name(1)}, with another spec"):
        jobs.add(job, documents(job.id, **submitted), an_event(job), idempotency_key="k")
    assert jobs.get(job.id) is None


def test_adding_the_same_again_changes_nothing(jobs: Jobs, database: Database) -> None:
    """As after a commit whose answer was lost."""
    job = added(jobs, 1, labels={"a": "b"})

    assert added(jobs, 1, labels={"a": "b"}) == job
    assert len(Events(database).list()) == 1
    with pytest.raises(Conflict, match="is there already"):
        jobs.add(job, documents(job.id, written="else"), an_event(job))


def test_of_racing_submits_with_one_key_one_adds(
    jobs: Jobs, database: Database, other: Database
) -> None:
    together = Barrier(8)

    def submit(number: int) -> str:
        mine = Jobs(database if number % 2 else other)
        together.wait()
        return added(mine, number, key="k").id

    with ThreadPoolExecutor(8) as pool:
        ids = set(pool.map(submit, range(8)))

    shown, _ = jobs.list(JobFilter(), Page())
    assert [job.id for job in shown] == list(ids)
    assert len(Events(database).list()) == 1


FILTERS = [
    pytest.param(JobFilter(), [4, 3, 2, 1], id="all, the newest first"),
    pytest.param(JobFilter(team="vision"), [4, 2, 1], id="team"),
    pytest.param(JobFilter(states={S.QUEUED, S.STARTING}), [4, 3, 2], id="states"),
    pytest.param(JobFilter(states=[S.FAILED]), [], id="state nobody is in"),
    pytest.param(JobFilter(queue="gpu"), [2], id="queue"),
    pytest.param(JobFilter(name="news"), [3, 2], id="name"),
    pytest.param(JobFilter(created_by="ada"), [4, 2, 1], id="who"),
    pytest.param(JobFilter(identity="77"), [4], id="identity"),
    pytest.param(JobFilter(labels={"stage": "dev"}), [4, 2], id="label"),
    pytest.param(JobFilter(labels={"stage": "dev", "n": "1"}), [4], id="both labels"),
    pytest.param(JobFilter(labels={"stage": ""}), [], id="label with another value"),
    pytest.param(JobFilter(team="vision", name="news"), [2], id="all conditions hold"),
]


@pytest.fixture
def four(jobs: Jobs) -> Jobs:
    job = added(jobs, 1)
    jobs.apply(moved(job, S.CANCELLED, Reason.CANCELLED))
    added(jobs, 2, queue="gpu", name="news", labels={"stage": "dev"})
    added(jobs, 3, team="speech", created_by="bob", name="news", labels={"stage": "live"})
    added(jobs, 4, identity="77", labels={"stage": "dev", "n": "1"})
    return jobs


@pytest.mark.parametrize(("filter", "numbers"), FILTERS)
def test_a_list_is_narrowed(four: Jobs, filter: JobFilter, numbers: list[int]) -> None:
    found, following = four.list(filter, Page())

    assert [job.id for job in found] == [job_name(number) for number in numbers]
    assert following is None


def test_pages_go_on_where_the_last_one_ended(four: Jobs) -> None:
    first, cursor = four.list(JobFilter(), Page(limit=2))
    added(four, 5)  # in between; pages are not shifted by it
    second, end = four.list(JobFilter(), Page(limit=2, cursor=cursor))

    assert [job.id for job in first + second] == [job_name(n) for n in (4, 3, 2, 1)]
    assert end is None


def test_only_an_ended_job_is_deleted_and_all_of_it(jobs: Jobs, database: Database) -> None:
    job = started(jobs)
    kept = started(jobs, 2, secret="bb" * 32)
    Attempts(database).report(SECRET, a_report(job.id, 1, step=1, metrics={"loss": 1.0}), TIME)
    assert jobs.delete(job.id) is False

    ended(jobs, job)

    assert jobs.delete(job.id) is True
    assert jobs.get(job.id) is None
    assert jobs.documents(job.id) is None
    assert Attempts(database).list(job.id) == []
    assert Attempts(database).points(job.id, 1) == []
    assert Events(database).list(job=job.id) == []
    assert jobs.list(JobFilter(labels=job.labels), Page())[0] == [kept]


def test_the_key_of_a_deleted_job_is_free(jobs: Jobs) -> None:
    job = added(jobs, 1, key="k")
    jobs.apply(moved(job, S.CANCELLED, Reason.CANCELLED))
    jobs.delete(job.id)

    assert added(jobs, 2, key="k").id == job_name(2)


def test_jobs_expire_after_their_end(jobs: Jobs) -> None:
    for number, ttl in ((1, 100.0), (2, 50.0), (3, None), (4, 0.0)):
        job = started(jobs, number, secret=f"{number}" * 64)
        if number != 4:
            jobs.apply(
                moved(
                    job,
                    S.FAILED,
                    updates={"finished_at": TIME, "ttl_seconds_after_finished": ttl},
                )
            )

    assert jobs.expired(TIME + 49.9) == []
    assert [job.id for job in jobs.expired(TIME + 50)] == [job_name(2)]
    assert [job.id for job in jobs.expired(TIME + 1e6)] == [job_name(2), job_name(1)]
    assert [job.id for job in jobs.expired(TIME + 1e6, limit=1)] == [job_name(2)]


def test_live_jobs_with_their_newest_attempt(jobs: Jobs) -> None:
    waiting = added(jobs, 1)
    job = started(jobs, 2)
    job = jobs.apply(moved(job, S.QUEUED, Reason.RETRYING))
    placed = (Placed(backend="fake", node="n1", workers=2),)
    second = an_attempt(job_name(2), 2, placement=placed)
    job = jobs.apply(moved(job, S.STARTING, updates={"attempt": 2}, attempt=second))
    ended(jobs, started(jobs, 3, secret="cc" * 32))

    assert jobs.live() == [(waiting, None), (job, second)]


def test_live_jobs_are_read_again_when_they_change(jobs: Jobs, other: Database) -> None:
    first, second = added(jobs, 1), added(jobs, 2)
    before = jobs.live()

    jobs_there = Jobs(other)
    changed = jobs_there.apply(moved(second, S.SUSPENDED, Reason.SUSPENDED))
    third = added(jobs_there, 3)
    jobs_there.apply(moved(first, S.CANCELLED, Reason.CANCELLED))

    assert before == [(first, None), (second, None)]
    assert jobs.live() == [(changed, None), (third, None)]
    assert jobs.live()[1][0] is jobs.live()[1][0]  # what has not changed is not read again


def test_what_was_rolled_back_is_not_remembered(jobs: Jobs, database: Database) -> None:
    job = added(jobs, 1)

    def cancel() -> None:
        jobs.apply(moved(job, S.CANCELLED, Reason.CANCELLED))
        assert jobs.live() == []

    def suspend() -> None:
        jobs.apply(moved(job, S.SUSPENDED, Reason.SUSPENDED))
        assert [found.state for found, _ in jobs.live()] == [JobState.SUSPENDED]

    rolled_back(database, cancel)
    rolled_back(database, suspend)
    starting = jobs.apply(moved(job, S.STARTING))

    assert jobs.live() == [(starting, None)]


def test_abandoned_attempts_with_their_jobs(jobs: Jobs) -> None:
    """Whatever became of the job: here it has ended, and its newest attempt too."""
    job = started(jobs, 1)
    given_up = an_attempt(job.id, state=AttemptState.ABANDONED)
    job = jobs.apply(moved(job, S.QUEUED, Reason.NODE_LOST, attempt=given_up))
    second = an_attempt(job_name(1), 2, state=AttemptState.ENDED)
    job = jobs.apply(moved(job, S.STARTING, updates={"attempt": 2}, attempt=second))
    job = ended(jobs, job)
    started(jobs, 2, secret="bb" * 32)

    assert jobs.abandoned() == [(job, given_up)]


def test_many_live_jobs_are_all_found(jobs: Jobs, database: Database) -> None:
    with database.transaction():
        for number in range(600):
            added(jobs, number)

    assert [job.id for job, _ in jobs.live()] == [job_name(number) for number in range(600)]
