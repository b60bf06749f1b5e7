"""What `top` is made of: one document, and a stream of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from orchestrator.control.scheduler import standings
from orchestrator.interfaces.api import board
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.board import Board
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.records import JobState, Queue, Role, Wait, WaitReason
from tests.control.builders import report
from tests.interfaces.api.builders import API, SECRET, Place

SSE = {"Accept": "text/event-stream"}


@pytest.fixture
def server(place: Place) -> Iterator[ApiServer]:
    service = replace(place.service, stream_seconds=60.0)
    with ApiServer(create_app(service), "127.0.0.1") as server:
        yield server


def seen(place: Place, path: str = "overview", **who: Any) -> Any:
    answer = place.client(**who).get(f"{API}/{path}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_who_runs_who_waits_and_what_is_used(place: Place) -> None:
    first, second, third = (place.job(name) for name in ("first", "second", "third"))
    place.started(first.id)
    place.service.desk.receive(
        SECRET, report(1, job=first.id, step=3, max_steps=9, metrics={"loss": 0.5})
    )
    why = (Wait(reason=WaitReason.NO_ROOM, message="There is no room."),)
    place.move(third.id, JobState.SUSPENDED)
    found = place.service.jobs.get(second.id)
    assert found is not None
    place.move(second.id, JobState.SUSPENDED)
    place.move(second.id, JobState.QUEUED, waits=why)

    told = seen(place)
    (running,), (waiting,) = told["running"], told["waiting"]
    assert (running["id"], running["progress"]["step"]) == (first.id, 3)
    assert running["progress"]["placement"][0]["node"] == "node-1"
    assert (waiting["id"], waiting["position"]) == (second.id, 1)
    assert waiting["waits"][0]["message"] == "There is no room."
    assert (told["suspended"], told["num_running"], told["num_waiting"]) == (1, 1, 1)
    (node,), (queue,) = told["nodes"], told["queues"]
    assert (node["used_cpus"], node["cpus"]) == (2.0, 8.0)
    assert (queue["waiting"], queue["running"], queue["used"]["cpu"]) == (1, 1, 2.0)
    assert told["team"] == "vision"


def test_a_team_sees_its_own_jobs_and_what_others_leave_to_it(place: Place) -> None:
    place.started(place.job("ours").id)
    place.started(place.job("theirs", team="text").id, secret="other" * 9)
    place.job("theirs too", team="text")
    told = seen(place)
    assert [job["name"] for job in told["running"]] == ["ours"]
    assert told["waiting"] == []
    # Use is of all teams, without a word about them: it is why jobs wait.
    assert told["nodes"][0]["used_cpus"] == 4.0
    assert "text" not in json.dumps(told)
    assert seen(place, "overview?team=text")["running"] == []
    everything = seen(place, role=Role.ADMIN, name="op")
    assert (everything["num_running"], everything["team"]) == (2, None)
    theirs = seen(place, "overview?team=text", role=Role.ADMIN, name="op")
    assert [job["name"] for job in theirs["running"]] == ["theirs"]


def test_those_that_stand_first_are_shown_first(place: Place) -> None:
    place.service.queues.put(Queue(name="shut", is_paused=True))
    for name in ("a", "b", "c"):
        place.job(name)
    paused = place.job("paused")
    place.move(paused.id, JobState.SUSPENDED)
    place.move(paused.id, JobState.QUEUED, queue="shut", queued_at=0.0)
    told = seen(place, "overview?limit=4")
    assert [(job["name"], job["position"]) for job in told["waiting"]] == [
        ("a", 1),
        ("b", 2),
        ("c", 3),
        ("paused", None),
    ]
    told = seen(place, "overview?limit=2")
    assert [job["name"] for job in told["waiting"]] == ["a", "b"]
    assert told["num_waiting"] == 4


def test_a_change_is_streamed_and_nothing_else(place: Place, server: ApiServer) -> None:
    headers = {"Authorization": f"Bearer {place.token()}", **SSE}
    with httpx.stream("GET", f"{server.url}{API}/overview", headers=headers, timeout=20) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        documents = (json.loads(line.removeprefix("data: ")) for line in lines)
        assert next(documents)["num_waiting"] == 0
        job = place.job("new")
        assert next(documents)["num_waiting"] == 1
        place.job("of others", team="text")
        place.started(job.id)
        # The other team's job changes nothing that is shown here, but the place in line.
        assert next(d for d in documents if d["num_running"])["running"][0]["id"] == job.id


def test_many_screens_share_a_look(place: Place) -> None:
    now = [0.0]
    service = place.service
    board = Board(
        service.jobs, service.queues, service.nodes, place.clock, monotonic=lambda: now[0]
    )
    first = board.glance()
    place.job()
    assert board.glance() is first
    now[0] += 0.3
    second = board.glance()
    assert len(second.live) == 1
    now[0] += 0.3
    assert board.glance() is second
    place.job()
    assert len(board.look().live) == 2


def test_places_in_line_take_little_of_the_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ten thousand jobs something changes all the time: then they are a little old."""
    now, count = [0.0], [0]

    def slow(snapshot: Any) -> dict[str, int]:
        now[0] += 0.5
        count[0] += 1
        return standings(snapshot)

    monkeypatch.setattr(board, "standings", slow)
    service = place.service
    looked = Board(
        service.jobs, service.queues, service.nodes, place.clock, monotonic=lambda: now[0]
    )
    first = place.job()
    assert looked.look().places == {first.id: 1}
    second = place.job()
    now[0] += 4.0
    assert looked.look().places == {first.id: 1}
    now[0] += 1.0
    assert looked.look().places == {first.id: 1, second.id: 2}
    assert count[0] == 2
