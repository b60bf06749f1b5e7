"""Lists and the controller's reads go through an index: what ended long ago costs them nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from orchestrator.control.store import Database, JobFilter, Jobs, Page
from orchestrator.records import JobState


@pytest.fixture
def database(shared_file: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{shared_file}")
    yield opened
    opened.close()


def steps(database: Database, ask: Callable[[Jobs], object]) -> list[str]:
    """How SQLite goes about all that `ask` reads."""
    found: list[str] = []

    def explain(connection: Connection, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            raw = cursor.connection.cursor()
            raw.execute(f"EXPLAIN QUERY PLAN {statement}", values)
            found.extend(row[3] for row in raw.fetchall())

    event.listen(database._engine, "before_cursor_execute", explain)
    try:
        ask(Jobs(database))
    finally:
        event.remove(database._engine, "before_cursor_execute", explain)
    assert found
    return found


@pytest.mark.parametrize(
    ("filter", "columns"),
    [
        ({}, "team=?"),
        ({"name": "x"}, "team=? AND name=?"),
        ({"created_by": "x"}, "team=? AND created_by=?"),
        ({"queue": "x"}, "team=? AND queue=?"),
        ({"states": (JobState.FAILED,)}, "team=? AND state=?"),
        ({"identity": "x", "states": (JobState.SUCCEEDED,)}, "team=? AND identity=?"),
        ({"labels": {"a": "b"}}, "name=? AND value=?"),
    ],
)
def test_a_list_is_found_by_what_it_is_narrowed_to(
    database: Database, filter: dict[str, Any], columns: str
) -> None:
    page = Page(limit=10)
    plan = steps(database, lambda jobs: jobs.list(JobFilter(team="vision", **filter), page))
    assert any(f"({columns})" in step for step in plan), plan
    assert not any(step.startswith("SCAN") for step in plan), plan
    if len(filter.get("states", ())) < 2:
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan, "the page is read, and no more"


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda jobs: jobs.live(), id="live"),
        pytest.param(lambda jobs: jobs.abandoned(), id="abandoned"),
        pytest.param(lambda jobs: jobs.expired(1.0), id="expired"),
        pytest.param(lambda jobs: jobs.get("job-x"), id="get"),
    ],
)
def test_no_cycle_reads_jobs_that_have_ended(
    database: Database, ask: Callable[[Jobs], object]
) -> None:
    plan = steps(database, ask)
    assert not any(step.startswith("SCAN") for step in plan), plan
