"""What a list of jobs is narrowed to, and a page of it; asked for by the API and the CLI."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, select

from orchestrator.control.store.schema import job_labels, jobs
from orchestrator.records import JobState

_LIVE = [str(state) for state in JobState if not state.is_terminal]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """All that is given must hold; what is absent or empty holds for every job."""

    team: str | None = None
    states: Collection[JobState] = ()
    queue: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    created_by: str | None = None
    identity: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """At most `limit` entries, from where the page before it said to go on."""

    limit: int = 100
    cursor: str | None = None

    def __post_init__(self) -> None:
        assert self.limit > 0, "a page has room"


def conditions(filter: JobFilter) -> Iterator[ColumnElement[bool]]:
    """What the filter asks of rows of `jobs`."""
    exact = {
        jobs.c.team: filter.team,
        jobs.c.queue: filter.queue,
        jobs.c.name: filter.name,
        jobs.c.created_by: filter.created_by,
        jobs.c.identity: filter.identity,
    }
    for column, value in exact.items():
        if value is not None:
            yield column == value
    if filter.states:
        yield jobs.c.state.in_([str(state) for state in filter.states])
    for name, value in filter.labels.items():
        labelled = select(job_labels.c.job).where(
            job_labels.c.name == name, job_labels.c.value == value
        )
        yield jobs.c.id.in_(labelled)


def is_live() -> ColumnElement[bool]:
    """Rows of `jobs` whose state is not terminal."""
    return jobs.c.state.in_(_LIVE)
