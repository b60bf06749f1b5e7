from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from orchestrator.control.store import Attempts, Database, JobChange, Jobs
from orchestrator.control.store.intake import Intake, Series
from orchestrator.control.store.schema import attempts as rows
from orchestrator.errors import UserError
from orchestrator.records import Action, AttemptState, Directive, Point
from tests.control.store.builders import (
    SECRET,
    TIME,
    a_report,
    an_attempt,
    job_name,
    started,
)
from tests.control.store.conftest import NEVER
from tests.control.store.postgres import somebody_waits_for_a_lock


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def attempts(database: Database) -> Attempts:
    return Attempts(database)


def test_a_report_is_answered_and_remembered(jobs: Jobs, attempts: Attempts) -> None:
    job = started(jobs)
    report = a_report(job.id, 1, step=3, max_steps=9, metrics={"loss": 0.25}, checkpoint_step=2)

    assert attempts.report(SECRET, report, TIME + 1) == Directive(action=Action.CONTINUE)
    (found,) = attempts.list(job.id)
    assert (found.phase, found.step, found.max_steps) == ("train", 3, 9)
    assert (found.metrics, found.checkpoint_step) == ({"loss": 0.25}, 2)
    assert (found.checkpoint_at, found.reported_at, found.progressed_at) == (TIME + 1,) * 3
    assert attempts.points(job.id, 1) == [Point(step=3, time=TIME, metrics={"loss": 0.25})]


def test_a_repeated_or_overtaken_report_is_only_answered(jobs: Jobs, attempts: Attempts) -> None:
    job = started(jobs)
    attempts.report(SECRET, a_report(job.id, 2, step=2, metrics={"loss": 2.0}), TIME)
    before = attempts.list(job.id)

    for sequence in (2, 1):
        late = a_report(job.id, sequence, step=1, metrics={"loss": 9.0})
        assert attempts.report(SECRET, late, TIME + 5) == Directive()
    assert attempts.list(job.id) == before
    assert len(attempts.points(job.id, 1)) == 1


def test_the_newest_attempts_of_some_jobs(jobs: Jobs, attempts: Attempts) -> None:
    first, second, third = (started(jobs, n, secret=f"{n}" * 64) for n in (1, 2, 3))
    again = JobChange(second, {"attempt": 2}, attempt=an_attempt(second.id, 2))
    assert jobs.apply(again) is not None
    newest = attempts.newest([first.id, second.id, job_name(9)])
    assert {job: attempt.number for job, attempt in newest.items()} == {first.id: 1, second.id: 2}
    assert newest[first.id] == attempts.list(first.id)[-1]
    assert attempts.newest([]) == {}
    assert attempts.newest([third.id]).keys() == {third.id}


REFUSED = [
    pytest.param("bb" * 32, {}, id="unknown token"),
    pytest.param(SECRET, {"attempt": 2}, id="token of another attempt"),
    pytest.param(SECRET, {"job": job_name(2)}, id="token of another job"),
]


@pytest.mark.parametrize(("secret", "said"), REFUSED)
def test_a_token_opens_its_own_attempt(
    jobs: Jobs, attempts: Attempts, secret: str, said: dict[str, object]
) -> None:
    job = started(jobs)
    report = a_report(job.id, 1, step=1).model_copy(update=said)

    assert attempts.report(secret, report, TIME) is None
    assert attempts.list(job.id)[0].reported_at is None


def test_an_attempt_that_ended_takes_no_reports(jobs: Jobs, attempts: Attempts) -> None:
    job = started(jobs)
    over = an_attempt(job.id, state=AttemptState.ENDED, ended_at=TIME)
    jobs.apply(JobChange(job, {}, attempt=over))

    assert attempts.report(SECRET, a_report(job.id, 1, step=1), TIME) is None
    assert attempts.list(job.id) == [over]


def test_a_new_attempt_has_its_own_token(jobs: Jobs, attempts: Attempts) -> None:
    job = started(jobs)
    second = an_attempt(job.id, 2, directive="dump_stacks")
    jobs.apply(JobChange(job, {"attempt": 2}, attempt=second, token_sha256="cc" * 32))

    answer = attempts.report("cc" * 32, a_report(job.id, 1, attempt=2), TIME)

    assert answer == Directive(action=Action.DUMP_STACKS)
    assert attempts.report("cc" * 32, a_report(job.id, 2), TIME) is None
    assert [attempt.number for attempt in attempts.list(job.id)] == [1, 2]


def test_ranks_report_at_the_same_time(
    jobs: Jobs, attempts: Attempts, database: Database, other: Database
) -> None:
    job = started(jobs)

    def rank(number: int) -> None:
        there = Attempts(other) if number % 2 else attempts
        for sequence in range(1, 6):
            there.report(SECRET, a_report(job.id, sequence, rank=number, step=sequence), TIME)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(rank, range(4)))

    assert sequences(database, job.id) == {0: 5, 1: 5, 2: 5, 3: 5}
    assert attempts.list(job.id)[0].step == 5


def test_a_report_waits_for_the_one_before_it(shared_address: str) -> None:
    """Else both would begin with what was there, and one would be forgotten."""
    first, second = (Database.open(shared_address, retry=NEVER) for _ in range(2))
    secret = "dd" * 32
    job = started(Jobs(first), 301, secret=secret)
    with ThreadPoolExecutor(1) as pool:
        with first.transaction():
            Attempts(first).report(secret, a_report(job.id, 1, step=1), TIME)
            late = a_report(job.id, 1, rank=1)
            answer = pool.submit(Attempts(second).report, secret, late, TIME)
            while not (answer.done() or somebody_waits_for_a_lock(shared_address)):
                pass
        assert answer.result() == Directive()

    assert sequences(second, job.id) == {0: 1, 1: 1}
    first.close()
    second.close()


def sequences(database: Database, job: str) -> dict[int, int]:
    query = select(rows.c.intake).where(rows.c.job == job)
    kept = database.read(lambda connection: connection.scalar(query))
    return Intake.model_validate(kept).sequences


def test_a_loss_that_became_nan_survives(jobs: Jobs, attempts: Attempts) -> None:
    job = started(jobs)
    metrics = {"loss": math.nan, "grad_norm": math.inf}

    attempts.report(SECRET, a_report(job.id, 1, step=1, metrics=metrics), TIME)

    (attempt,) = attempts.list(job.id)
    (point,) = attempts.points(job.id, 1)
    for found in (attempt.metrics, point.metrics, jobs.live()[0][1].metrics):  # type: ignore[union-attr]
        assert math.isnan(found["loss"])
        assert found["grad_norm"] == math.inf


def test_a_step_no_database_takes_is_told_and_not_written(jobs: Jobs, attempts: Attempts) -> None:
    job = started(jobs)

    with pytest.raises(UserError, match="cannot be stored"):
        attempts.report(SECRET, a_report(job.id, 1, step=10**30), TIME)
    assert attempts.list(job.id)[0].step is None


def test_curves_are_thinned_when_they_are_full(
    jobs: Jobs, attempts: Attempts, database: Database
) -> None:
    job = started(jobs)
    for sequence in range(4):
        said = {"step": sequence, "metrics": {"loss": 1.0, "camera/f1": 0.5}}
        attempts.report(SECRET, a_report(job.id, sequence, **said), TIME)
    # As if 1,996 more had come in between: the next point is the 2,001st.
    intake = Intake(series={"training": Series(seen=2000), "evaluation": Series(seen=4)})
    database.write(
        lambda connection: connection.execute(rows.update().values(intake=intake.model_dump()))
    )

    said = {"step": 2000, "metrics": {"loss": 1.0, "camera/f1": 0.5}}
    attempts.report(SECRET, a_report(job.id, 2000, **said), TIME)

    both, evaluation = {"loss": 1.0, "camera/f1": 0.5}, {"camera/f1": 0.5}
    assert [(point.step, point.metrics) for point in attempts.points(job.id, 1)] == [
        (0, both),
        (1, evaluation),
        (2, both),
        (3, evaluation),
        (2000, both),
    ]
