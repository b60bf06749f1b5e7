from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Connection, event

from orchestrator.control.store import (
    Attempts,
    Audit,
    Database,
    Events,
    JobChange,
    Jobs,
    Leases,
    Page,
)
from orchestrator.records import (
    AttemptState,
    AuditEntry,
    Goal,
    Job,
    Reason,
    Wait,
    WaitReason,
)
from tests.control.builders import Clock, resolved_spec
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
    job_name,
    moved,
    rolled_back,
    started,
)

WAITS = (Wait(reason=WaitReason.BEHIND, message="2 older jobs of the queue come first"),)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


def told(database: Database) -> list[tuple[str, str]]:
    return [(event.kind, str(event.state)) for event in Events(database).list()]


def test_a_change_is_one_commit_with_all_that_belongs_to_it(jobs: Jobs, database: Database) -> None:
    job = added(jobs)
    attempt = an_attempt(job.id)
    resumed = documents(job.id, sets=("engine.offload=none",), spec=resolved_spec())

    changed = jobs.apply(
        moved(
            job,
            S.STARTING,
            updates={"attempt": 1, "changed_at": TIME + 5, "waits": ()},
            attempt=attempt,
            token_sha256=SECRET,
            documents=resumed,
        )
    )

    assert changed is not None
    assert (changed.state, changed.reason, changed.version) == (S.STARTING, Reason.LAUNCHED, 2)
    assert (changed.attempt, changed.changed_at) == (1, TIME + 5)
    assert jobs.get(job.id) == changed
    assert jobs.documents(job.id) == resumed
    assert Attempts(database).list(job.id) == [attempt]
    assert told(database) == [("Created", "QUEUED"), ("StateChanged", "STARTING")]


def test_every_field_that_may_change_is_written(jobs: Jobs) -> None:
    job = added(jobs)
    updates: dict[str, Any] = {
        "queue": "gpu",
        "priority": 7,
        "wanted": Goal.CANCEL,
        "message": "asked by ada",
        "not_before": TIME + 9,
        "failures": {Reason.HANG: 1},
        "model": "camera@3",
        "queued_at": TIME - 1,
        "estimated_seconds": 12.5,
    }

    jobs.apply(JobChange(job, updates))

    assert jobs.get(job.id) == job.model_copy(update={**updates, "version": 2})


def test_a_stale_change_writes_nothing(jobs: Jobs, database: Database) -> None:
    job = added(jobs)
    newer = jobs.apply(JobChange(job, {"wanted": Goal.CANCEL}))
    stale = moved(job, S.STARTING, updates={"attempt": 1}, attempt=an_attempt(job.id))

    assert jobs.apply(stale) is None
    assert jobs.get(job.id) == newer
    assert Attempts(database).list(job.id) == []
    assert told(database) == [("Created", "QUEUED")]


def test_a_deleted_job_is_not_written(jobs: Jobs) -> None:
    job = added(jobs)
    gone = jobs.apply(moved(job, S.CANCELLED, Reason.CANCELLED))
    assert gone is not None
    jobs.delete(job.id)

    assert jobs.apply(JobChange(gone, {"model": "camera@1"})) is None


def test_what_a_user_wants_is_a_change_without_a_lease(jobs: Jobs, database: Database) -> None:
    job = started(jobs)
    asked = an_event(job, kind="CancelRequested", message="by ada")

    wanted = jobs.apply(JobChange(job, {"wanted": Goal.CANCEL}, asked))

    assert wanted is not None
    assert (wanted.state, wanted.wanted) == (S.STARTING, Goal.CANCEL)
    assert told(database)[-1] == ("CancelRequested", "STARTING")


QUEUED = a_job()
FORBIDDEN = [
    pytest.param(moved(QUEUED, S.RUNNING), "QUEUED -> RUNNING", id="not in the table"),
    pytest.param(JobChange(QUEUED, {"state": S.STARTING}), "with its event", id="without event"),
    pytest.param(JobChange(QUEUED, {"team": "x"}), "no change of", id="another team"),
    pytest.param(JobChange(QUEUED, {"version": 9}), "no change of", id="version"),
    pytest.param(JobChange(QUEUED, {"stat": "x"}), "no change of", id="unknown field"),
    pytest.param(
        JobChange(QUEUED, {}, an_event(a_job(2))), "another job's event", id="event of another job"
    ),
    pytest.param(
        JobChange(QUEUED, {"state": S.STARTING}, an_event(QUEUED)),
        "another job's event",
        id="event of another state",
    ),
    pytest.param(
        JobChange(QUEUED, {}, attempt=an_attempt(job_name(2))), "another job's", id="attempt"
    ),
]


@pytest.mark.parametrize(("change", "why"), FORBIDDEN)
def test_a_change_that_cannot_be_is_our_defect(change: JobChange, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        change.after()


def test_nothing_is_half_written(jobs: Jobs, database: Database) -> None:
    """The last statement of the change fails; the first ones are undone."""
    job = added(jobs)

    def refuse(_: Connection, __: Any, statement: str, *___: Any) -> None:
        if statement.startswith("UPDATE job_documents"):
            raise ZeroDivisionError

    event.listen(database._engine, "before_cursor_execute", refuse)
    change = moved(
        job,
        S.STARTING,
        updates={"attempt": 1},
        attempt=an_attempt(job.id),
        documents=documents(job.id, sets=()),
    )
    with pytest.raises(ZeroDivisionError):
        jobs.apply(change)

    assert jobs.get(job.id) == job
    assert Attempts(database).list(job.id) == []
    assert told(database) == [("Created", "QUEUED")]


def test_several_verbs_are_one_commit(jobs: Jobs, database: Database) -> None:
    entry = AuditEntry(
        time=TIME, principal="ada", team="vision", action="POST /api/v1/jobs", status=201
    )

    def work() -> None:
        added(jobs)
        Audit(database).add(entry)

    rolled_back(database, work)
    assert jobs.get(job_name(1)) is None
    assert Audit(database).list(Page()) == ([], None)

    with database.transaction():
        work()
    assert jobs.get(job_name(1)) is not None
    assert Audit(database).list(Page()) == ([entry], None)


def test_a_held_lease_lets_its_holder_write(jobs: Jobs, database: Database, clock: Clock) -> None:
    job = added(jobs)
    lease = Leases(database).acquire("controller", "a", 10)
    clock.now += 9.9

    assert jobs.apply(moved(job, S.STARTING), lease) is not None


@pytest.mark.parametrize("many", [False, True])
def test_a_lost_lease_changes_nothing(
    jobs: Jobs, database: Database, clock: Clock, many: bool
) -> None:
    job = added(jobs)
    leases = Leases(database)
    expired = leases.acquire("controller", "a", 10)
    clock.now += 10

    def write() -> Job | None:
        change = JobChange(job, {"waits": WAITS})
        return jobs.apply_many([change], expired)[0] if many else jobs.apply(change, expired)

    assert write() is None
    assert leases.acquire("controller", "b", 10) is not None
    assert write() is None  # nor when another holds it
    assert jobs.get(job.id) == job


def test_the_attempt_keeps_what_reports_said(jobs: Jobs, database: Database) -> None:
    job = started(jobs)
    attempts = Attempts(database)
    said = a_report(job.id, 1, step=5, max_steps=10, metrics={"loss": 0.5}, checkpoint_step=4)
    attempts.report(SECRET, said, TIME + 3)
    # The controller decided before it knew of that report.
    seen = an_attempt(job.id, state=AttemptState.LAUNCHED, directive="save_and_stop")

    jobs.apply(JobChange(job, {"message": "stopping"}, attempt=seen))

    assert attempts.list(job.id) == [
        an_attempt(
            job.id,
            state=AttemptState.LAUNCHED,
            directive="save_and_stop",
            phase="train",
            step=5,
            max_steps=10,
            metrics={"loss": 0.5},
            checkpoint_step=4,
            checkpoint_at=TIME + 3,
            reported_at=TIME + 3,
            progressed_at=TIME + 3,
        )
    ]
    answer = attempts.report(SECRET, a_report(job.id, 2), TIME + 4)
    assert answer is not None, "its token still opens"
    assert answer.action == "save_and_stop"


def test_many_changes_are_one_commit_without_the_stale_ones(jobs: Jobs, database: Database) -> None:
    one, two, three = (added(jobs, number) for number in (1, 2, 3))
    moved_on = jobs.apply(JobChange(two, {"priority": 1}))
    lease = Leases(database).acquire("controller", "a", 10)

    written = jobs.apply_many(
        [JobChange(job, {"waits": WAITS}) for job in (three, two, one)], lease
    )

    expected = [job.model_copy(update={"waits": WAITS, "version": 2}) for job in (three, one)]
    assert written == [expected[0], None, expected[1]]
    assert [job for job, _ in jobs.live()] == [expected[1], moved_on, expected[0]]
    assert jobs.apply_many([]) == []


def test_many_changes_have_no_events(jobs: Jobs) -> None:
    job = added(jobs)

    with pytest.raises(AssertionError, match="applied by itself"):
        jobs.apply_many([moved(job, S.CANCELLED)])
    with pytest.raises(AssertionError, match="one change a job"):
        jobs.apply_many([JobChange(job, {"priority": n}) for n in (1, 2)])


def test_of_two_leaders_one_writes(jobs: Jobs, database: Database, other: Database) -> None:
    """Both saw the same jobs; each job is started once."""
    seen = [added(jobs, number) for number in range(20)]
    together = Barrier(2)

    def lead(mine: Jobs, backend: str) -> list[str]:
        together.wait()
        won = []
        for job in seen:
            attempt = an_attempt(job.id, backend=backend)
            change = moved(job, S.STARTING, updates={"attempt": 1}, attempt=attempt)
            if mine.apply(change) is not None:
                won.append(job.id)
        return won

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lead, jobs, "a")
        second = pool.submit(lead, Jobs(other), "b")
        won = {"a": first.result(), "b": second.result()}

    assert sorted(won["a"] + won["b"]) == [job.id for job in seen]
    for backend, ids in won.items():
        for id in ids:
            assert [a.backend for a in Attempts(database).list(id)] == [backend]
    assert told(database).count(("StateChanged", "STARTING")) == 20


def test_many_threads_share_one_database(jobs: Jobs, database: Database) -> None:
    together = Barrier(6)

    def work(number: int) -> list[int]:
        together.wait()
        job: Job | None = added(jobs, number)
        for turn in range(10):
            assert job is not None
            jobs.live()
            job = jobs.apply(JobChange(job, {"priority": turn}, an_event(job)))
        assert job is not None
        return [job.version]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == [[11]] * 6
    assert len(told(database)) == 66
