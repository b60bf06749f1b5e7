"""Whether each job reached its right end exactly once, by all that remembers it.

Each check is a function of what was lived through and of the rows; it raises AssertionError.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import httpx

from orchestrator.control.controller.places import places_of
from orchestrator.control.store import Attempts, Database, Events, JobFilter, Jobs, Page
from orchestrator.records import AttemptState, Event, Job, JobState, may_follow
from orchestrator.settings import load_settings
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.service.load import KINDS, TEAMS, Kind, Lived


def check_all(lived: Lived, database: Database) -> None:
    submitted_once(lived, database)
    ended_rightly(lived, database)
    told_in_order(database)
    heard_without_gaps(lived, database)
    launched_once(lived, database)
    published_once(lived, database)
    one_leads(lived)


def submitted_once(lived: Lived, database: Database) -> None:
    """Whoever asked again by the same key was given the same job, and there are no others."""
    refused = [text for user in lived.users for text in user.refused]
    assert refused == []
    assert lived.again == lived.ids
    found = {job.name: job.id for job in _jobs(database)}
    assert found == lived.ids
    assert len(set(lived.ids.values())) == len(lived.ids) >= lived.load.jobs


def ended_rightly(lived: Lived, database: Database) -> None:
    attempts = Attempts(database)
    for job in _jobs(database):
        kind = _kind(job)
        seen = (job.state, job.reason, job.attempt)
        assert seen == (kind.state, kind.reason, kind.attempts), f"{job.name}: {seen}"
        found = attempts.list(job.id)
        assert [attempt.number for attempt in found] == list(range(1, kind.attempts + 1))
        for attempt in found:
            assert attempt.state is AttemptState.ENDED, f"{job.name}: {attempt}"
            assert attempt.outcome is not None
            assert attempt.outcome.state is kind.state


def told_in_order(database: Database) -> None:
    """Of each job: one beginning, steps of the one table, one end, and nothing after it."""
    told: dict[str, list[Event]] = {}
    for event in _events(database):
        told.setdefault(event.job, []).append(event)
    for job in _jobs(database):
        events = told.pop(job.id)
        assert events[0].kind == "Created", job.name
        assert [e.kind for e in events].count("Created") == 1, job.name
        states = [events[0].state]
        for event in events[1:]:
            if event.kind == "StateChanged":
                assert may_follow(states[-1], event.state), f"{job.name}: {states} {event}"
                states.append(event.state)
            assert event.state is states[-1], f"{job.name}: {event}"
        assert states[-1] is job.state
        assert events[-1].state.is_terminal
        assert sum(state.is_terminal for state in states) == 1, f"{job.name}: {states}"
        assert states.count(JobState.STARTING) == job.attempt, f"{job.name}: {states}"
    assert told == {}


def heard_without_gaps(lived: Lived, database: Database) -> None:
    """One follower, cut off with every server, heard each event once and in order."""
    assert [event.id for event in lived.events] == [event.id for event in _events(database)]


def launched_once(lived: Lived, database: Database) -> None:
    """What the machines were given is what the rows have: no attempt more, none less."""
    machines = lived.folder / "state" / "backends" / "toy"
    launched = Counter(path.stem for path in machines.glob("*.json"))
    known = Counter(
        f"{job.id}-a{number}" for job in _jobs(database) for number in range(1, job.attempt + 1)
    )
    assert launched == known


def published_once(lived: Lived, database: Database) -> None:
    """Each job that succeeded has one version, named in its row; nothing else is published."""
    flags = {"store": str(lived.folder / "store")}
    settings = load_settings(flags, environ={"HOME": str(lived.folder)}, directory=lived.folder)
    published = {}
    for team in TEAMS:
        registry = ModelRegistry(open_store(places_of(settings, team).store))
        for name in registry.models():
            for version in registry.versions(name):
                published[f"{name}@{version.version}"] = version.run
    succeeded = {
        f"{job.model}": job.id for job in _jobs(database) if job.state is JobState.SUCCEEDED
    }
    assert published == succeeded
    assert all(name.endswith("@1") for name in published)


def one_leads(lived: Lived) -> None:
    """By what Prometheus would scrape of each server: one decides, and all are asked."""
    (urls,) = {tuple(user.urls) for user in lived.users}
    leaders = []
    for url in urls:
        text = httpx.get(f"{url}/metrics", trust_env=False).text
        told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        leaders.append(float(told["orchestrator_leader"]))
        assert float(told["orchestrator_cycle_seconds_count"]) > 0 or not leaders[-1]
        assert any("orchestrator_request_seconds_count" in name for name in told)
    assert sum(leaders) == 1, leaders


def _kind(job: Job) -> Kind:
    return KINDS[job.name.partition("-")[0]]


def _jobs(database: Database) -> Iterator[Job]:
    cursor: str | None = None
    while True:
        found, cursor = Jobs(database).list(JobFilter(), Page(500, cursor))
        yield from found
        if cursor is None:
            return


def _events(database: Database) -> Iterator[Event]:
    after = 0
    while found := Events(database).list(after_id=after):
        yield from found
        after = found[-1].id or 0
