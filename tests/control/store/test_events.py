from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.control.store import Database, Events, JobChange, Jobs
from orchestrator.records import Event, Job, Reason
from tests.control.builders import Clock
from tests.control.store.builders import TIME, S, added, an_event, job_name, moved
from tests.control.store.conftest import NEVER
from tests.control.store.postgres import somebody_waits_for_a_lock


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def events(database: Database) -> Events:
    return Events(database)


def note(jobs: Jobs, job: Job, message: str) -> Job:
    changed = jobs.apply(JobChange(job, {}, an_event(job, kind="Note", message=message)))
    assert changed is not None
    return changed


def test_an_event_comes_back_with_its_id(jobs: Jobs, events: Events) -> None:
    job = added(jobs)
    assert events.newest_id() > 0
    told = Event(
        time=TIME + 2,
        job=job.id,
        attempt=1,
        kind="StateChanged",
        state=S.STARTING,
        reason=Reason.LAUNCHED,
        message="on 2 nodes",
    )
    jobs.apply(JobChange(job, {"state": S.STARTING}, told))

    _, found = events.list()
    assert found == told.model_copy(update={"id": events.newest_id()})


def test_events_are_narrowed_and_go_on(jobs: Jobs, events: Events) -> None:
    assert events.newest_id() == 0
    one, two = added(jobs, 1), added(jobs, 2, team="speech")
    one = note(jobs, one, "a")
    note(jobs, two, "b")
    note(jobs, one, "c")

    def said(found: list[Event]) -> list[str]:
        return [event.message or event.kind for event in found]

    everything = events.list()
    assert said(everything) == ["Created", "Created", "a", "b", "c"]
    assert said(events.list(job=job_name(1))) == ["Created", "a", "c"]
    assert said(events.list(team="speech")) == ["Created", "b"]
    assert said(events.list(team="speech", job=job_name(1))) == []
    after = everything[1].id
    assert after is not None
    assert said(events.list(after_id=after, limit=2)) == ["a", "b"]
    assert events.list(after_id=events.newest_id()) == []


def test_the_id_of_a_deleted_event_is_not_given_again(jobs: Jobs, events: Events) -> None:
    job = added(jobs, 1)
    jobs.apply(moved(job, S.CANCELLED, Reason.CANCELLED))
    newest = events.newest_id()
    jobs.delete(job.id)

    added(jobs, 2)

    assert events.newest_id() > newest


def test_a_follower_sees_every_event_once(
    jobs: Jobs, events: Events, database: Database, other: Database
) -> None:
    started = [added(jobs, number) for number in range(4)]
    seen = [event.id or 0 for event in events.list()]

    def write(number: int) -> None:
        mine = Jobs(database if number % 2 else other)
        job = started[number]
        for turn in range(15):
            job = note(mine, job, str(turn))

    with ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(write, number) for number in range(4)]
        while not all(writer.done() for writer in writers):
            seen += [event.id or 0 for event in events.list(after_id=seen[-1])]
    for writer in writers:
        writer.result()
    seen += [event.id or 0 for event in events.list(after_id=seen[-1])]

    assert seen == sorted(seen)
    assert len(seen) == len(set(seen)) == 4 + 4 * 15


def test_who_appends_waits_for_who_appended_before(shared_address: str, clock: Clock) -> None:
    """Else a follower sees the later event, goes on from its id, and misses the earlier one."""
    first, second = (Database.open(shared_address, clock=clock, retry=NEVER) for _ in range(2))
    one, two = added(Jobs(first), 101), added(Jobs(first), 102)
    before = Events(first).newest_id()
    with ThreadPoolExecutor(1) as pool:
        with first.transaction():
            note(Jobs(first), one, "early")
            late = pool.submit(note, Jobs(second), two, "late")
            while not (late.done() or somebody_waits_for_a_lock(shared_address)):
                pass
            assert not late.done()
            assert Events(second).list(after_id=before) == []
        late.result()

    assert [event.message for event in Events(second).list(after_id=before)] == ["early", "late"]
    first.close()
    second.close()
