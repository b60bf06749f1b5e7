"""Attempts as rows: written with a change of their job, and by the Reports of their workers.

The two write different columns of a row, so neither undoes what the other has just written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

from sqlalchemy import Connection, Executable, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.control.store.database import Database
from orchestrator.control.store.intake import Intake, NewPoint, hear
from orchestrator.control.store.rows import ATTEMPTS
from orchestrator.control.store.schema import attempts, points
from orchestrator.records import Action, Attempt, AttemptState, Directive, Point, Report

_OF_TOKEN = (
    select(*ATTEMPTS.columns, attempts.c.intake)
    .where(attempts.c.token_sha256 == bindparam("token"))
    .with_for_update()
)
_UPDATE = update(attempts).where(
    attempts.c.job == bindparam("of_job"), attempts.c.number == bindparam("of_number")
)
_ADD_POINT = insert(points)


class Attempts:
    """Reads attempts, and takes their Reports in."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, job: str) -> list[Attempt]:
        """By number."""
        query = select(*ATTEMPTS.columns).where(attempts.c.job == job).order_by(attempts.c.number)
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [ATTEMPTS.record(row) for row in rows]

    def newest(self, jobs: Collection[str]) -> dict[str, Attempt]:
        """job -> its newest attempt, of those that have one; one question for a page of them."""
        query = (
            select(*ATTEMPTS.columns)
            .where(attempts.c.job.in_(jobs))
            .order_by(attempts.c.job, attempts.c.number)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        last = {row.job: row for row in rows}
        return {job: ATTEMPTS.record(row) for job, row in last.items()}

    def points(self, job: str, attempt: int) -> Sequence[Point]:
        """Its live curves by step, thinned; the whole history is in the object store."""
        query = (
            select(points.c.step, points.c.time, points.c.metrics)
            .where(points.c.job == job, points.c.attempt == attempt)
            .order_by(points.c.step, points.c.time)
        )
        rows = self._database.read(lambda connection: connection.execute(query).all())
        by_step: dict[int, Point] = {}
        for step, time, metrics in rows:
            earlier = by_step[step].metrics if step in by_step else {}
            by_step[step] = Point(step=step, time=time, metrics={**earlier, **metrics})
        return list(by_step.values())

    def knows(self, token_sha256: str) -> bool:
        """Whether a live attempt reports with this token."""
        query = select(attempts.c.job).where(
            attempts.c.token_sha256 == token_sha256,
            attempts.c.state != str(AttemptState.ENDED),
        )
        return self._database.read(lambda connection: connection.scalar(query)) is not None

    def report(self, token_sha256: str, report: Report, now: float) -> Directive | None:
        """Takes a Report in, once, and answers it.

        A repeated or overtaken one is only answered. None: the token is unknown or another
        attempt's or of no rank of the gang, or the attempt has ended.
        """

        def work(connection: Connection) -> Directive | None:
            row = connection.execute(_OF_TOKEN, {"token": token_sha256}).first()
            attempt = None if row is None else ATTEMPTS.record(row[:-1])
            if row is None or attempt is None or attempt.state is AttemptState.ENDED:
                return None
            if (attempt.job, attempt.number) != (report.job, report.attempt):
                return None
            if attempt.placement and report.rank >= sum(p.workers for p in attempt.placement):
                return None  # the gang has no such rank
            heard = hear(attempt, Intake.model_validate(row.intake), report, now)
            if heard is not None:
                this = {"of_job": attempt.job, "of_number": attempt.number}
                connection.execute(_UPDATE, {**heard.updates, **this})
                for point in heard.points:
                    _add_point(connection, report, point)
            return Directive(action=Action(attempt.directive), at=attempt.directive_at)

        return self._database.write(work)


class WrittenAttempts:
    """How `changes`, and nobody else, writes attempts: the row of their job is locked."""

    def __init__(self, database: Database) -> None:
        self._statement = _upsert(database.is_sqlite)

    def put(self, connection: Connection, attempt: Attempt, token_sha256: str | None) -> None:
        """Adds it, or writes what the control plane knows of it over what it knew."""
        values = {**ATTEMPTS.values(attempt), "token_sha256": token_sha256}
        connection.execute(self._statement, {**values, "intake": Intake().model_dump()})


@cache
def _upsert(is_sqlite: bool) -> Executable:
    claim = sqlite.insert(attempts) if is_sqlite else postgresql.insert(attempts)
    new = claim.excluded
    return claim.on_conflict_do_update(
        index_elements=[attempts.c.job, attempts.c.number],
        set_={
            "state": new.state,
            "directive": new.directive,
            "record": new.record,
            "token_sha256": func.coalesce(new.token_sha256, attempts.c.token_sha256),
        },
    )


def _add_point(connection: Connection, report: Report, point: NewPoint) -> None:
    if point.is_thinning:
        series = (
            (points.c.job == report.job)
            & (points.c.attempt == report.attempt)
            & (points.c.series == point.series)
        )
        connection.execute(delete(points).where(series, points.c.ordinal % point.stride != 0))
    if point.is_kept:
        values = {
            "job": report.job,
            "attempt": report.attempt,
            "series": point.series,
            "ordinal": point.ordinal,
            "step": point.step,
            "time": report.time,
            "metrics": point.metrics,
        }
        connection.execute(_ADD_POINT, values)
