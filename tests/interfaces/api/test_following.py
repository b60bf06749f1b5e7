"""Streams, of a real server: what a follower is told, and how soon."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.routes.logs import SILENT_SECONDS
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.client.connection import STREAM_SILENCE_SECONDS
from orchestrator.records import JobState, Reason
from tests.control.builders import report
from tests.interfaces.api.builders import API, SECRET, Place

SSE = {"Accept": "text/event-stream"}
Message = tuple[str, str | None, Any]


@pytest.fixture
def client(place: Place) -> Iterator[httpx.Client]:
    service = replace(place.service, stream_seconds=60.0)
    headers = {"Authorization": f"Bearer {place.token()}"}
    with (
        ApiServer(create_app(service), "127.0.0.1") as server,
        httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=20) as client,
    ):
        yield client


def messages(answer: httpx.Response) -> Iterator[Message]:
    """(kind, id, data) of each message."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields.get("id"), json.loads(fields["data"])
            fields = {}


def shown(found: list[Message]) -> list[tuple[str, str]]:
    return [(kind, data.get("state") or str(data.get("step"))) for kind, _, data in found]


def says(place: Place, job: str, sequence: int, **said: Any) -> None:
    place.service.desk.receive(SECRET, report(sequence, **{**said, "job": job}))


def test_a_job_is_followed_to_its_end(place: Place, client: httpx.Client) -> None:
    job = place.job()
    found: list[Message] = []
    with client.stream("GET", f"{API}/jobs/{job.id}/events", headers=SSE) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        stream = messages(answer)
        found.append(next(stream))
        place.started(job.id)
        found += [next(stream) for _ in range(3)]
        says(place, job.id, 1, step=7, metrics={"loss": float("nan")})
        found.append(next(stream))
        place.ended(job.id)
        found += stream
    assert shown(found) == [
        ("event", "QUEUED"),
        ("event", "STARTING"),
        ("event", "RUNNING"),
        ("progress", "None"),
        ("progress", "7"),
        ("event", "SUCCEEDED"),
        ("end", "SUCCEEDED"),
    ]
    assert found[4][2]["metrics"] == {"loss": "NaN"}
    ids = [int(id) for kind, id, _ in found if kind == "event" and id]
    assert ids == sorted(ids)
    assert len(ids) == 4


def test_a_follower_that_was_cut_off_misses_nothing(place: Place, client: httpx.Client) -> None:
    job = place.job()
    place.started(job.id)
    place.ended(job.id)
    path = f"{API}/jobs/{job.id}/events"
    with client.stream("GET", path, headers=SSE) as answer:
        found = list(messages(answer))
    second = found[1][1]
    assert second is not None
    with client.stream("GET", path, headers={**SSE, "Last-Event-ID": second}) as answer:
        rest = list(messages(answer))
    assert [m for m in rest if m[0] == "event"] == [m for m in found if m[0] == "event"][2:]
    assert client.get(path, headers={**SSE, "Last-Event-ID": "x"}).status_code == 400


def test_followers_hear_within_a_second(place: Place, client: httpx.Client) -> None:
    job = place.job()
    heard: list[float] = []
    with client.stream("GET", f"{API}/jobs/{job.id}/events", headers=SSE) as answer:
        stream = messages(answer)
        next(stream)
        begun = time.monotonic()
        place.move(job.id, JobState.CANCELLED, Reason.CANCELLED)
        next(stream)
        heard.append(time.monotonic() - begun)
    assert heard[0] < 1.0


def test_a_team_hears_of_its_own_jobs_only(place: Place, client: httpx.Client) -> None:
    place.job("before")
    other = place.job("other", team="text")
    with client.stream("GET", f"{API}/events", headers=SSE) as answer:
        lines = answer.iter_lines()
        assert next(lines) == ": welcome"
        place.move(other.id, JobState.CANCELLED)
        job = place.job("mine")
        data = next(line for line in lines if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: "))["job"] == job.id
    page = client.get(f"{API}/events?limit=1").json()
    assert len(page["items"]) == 1
    rest = client.get(f"{API}/events?cursor={page['next']}").json()
    assert [event["job"] for event in rest["items"]] == [job.id]
    assert rest["next"] is None


def test_a_deleted_job_ends_its_stream(place: Place, client: httpx.Client) -> None:
    job = place.job()
    with client.stream("GET", f"{API}/jobs/{job.id}/events", headers=SSE) as answer:
        stream = messages(answer)
        next(stream)
        place.move(job.id, JobState.SUSPENDED)
        next(stream)
        place.move(job.id, JobState.CANCELLED)
        place.service.jobs.delete(job.id)
        assert [kind for kind, _, _ in stream] in ([], ["event", "end"])


def test_logs_are_followed_to_the_end_of_the_attempt(place: Place, client: httpx.Client) -> None:
    job = place.job()
    place.started(job.id)
    place.logs.printed = {0: b"one\n"}
    path = f"{API}/jobs/{job.id}/logs?rank=0&follow=true"
    with client.stream("GET", path) as answer:
        pieces = answer.iter_bytes()
        assert next(pieces) == b"one\n"
        place.logs.printed = {0: b"one\ntwo\n"}
        assert next(pieces) == b"two\n"
        place.logs.printed = {0: b"one\ntwo\nthe end\n"}
        place.end_attempt(job.id)
        assert b"".join(pieces) == b"the end\n"


def test_followers_do_not_keep_others_waiting(place: Place, client: httpx.Client) -> None:
    """Fifty followers wait, and a question is answered at once."""
    job = place.job()
    ready, stop = threading.Barrier(51), threading.Event()

    def follow() -> None:
        with (
            httpx.Client(base_url=client.base_url, headers=client.headers, trust_env=False) as own,
            own.stream("GET", f"{API}/jobs/{job.id}/events", headers=SSE, timeout=20) as answer,
        ):
            stream = messages(answer)
            next(stream)
            ready.wait(20)
            stop.wait(20)

    threads = [threading.Thread(target=follow, daemon=True) for _ in range(50)]
    for thread in threads:
        thread.start()
    ready.wait(20)
    begun = time.monotonic()
    assert client.get(f"{API}/jobs/{job.id}").status_code == 200
    assert time.monotonic() - begun < 2.0
    stop.set()
    for thread in threads:
        thread.join(20)


def test_a_server_that_stops_ends_its_streams(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """They are not broken off: their followers go on with the next server, and no error is told."""
    job = place.job()
    place.started(job.id)
    place.logs.printed = {None: b"one"}
    app = create_app(replace(place.service, stream_seconds=60.0))
    ends: list[str] = []
    paths = (f"/jobs/{job.id}/events", "/events", "/overview", f"/jobs/{job.id}/logs?follow=true")
    headers = {"Authorization": f"Bearer {place.token()}", **SSE}
    connected = threading.Barrier(len(paths) + 1)

    def follow(url: str) -> None:
        with (
            httpx.Client(headers=headers, timeout=20, trust_env=False) as client,
            client.stream("GET", url) as answer,
        ):
            pieces = answer.iter_bytes()
            next(pieces)
            connected.wait(20)
            try:
                assert all(pieces)
                ends.append("ended")
            except httpx.HTTPError as error:
                ends.append(repr(error))

    with ApiServer(app, "127.0.0.1") as server:
        threads = [
            threading.Thread(target=follow, args=(f"{server.url}{API}{path}",)) for path in paths
        ]
        for thread in threads:
            thread.start()
        connected.wait(20)
    for thread in threads:
        thread.join(20)
    assert ends == ["ended"] * len(paths)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_silent_log_is_asked_for_again(place: Place, client: httpx.Client) -> None:
    """Its stream ends while the Attempt goes on: whoever waits for it cannot tell it from a
    connection that is dead."""
    job = place.job()
    place.started(job.id)
    place.logs.printed = {0: b"one\n"}
    path = f"{API}/jobs/{job.id}/logs?rank=0&follow=true"
    with client.stream("GET", path) as answer:
        pieces = answer.iter_bytes()
        assert next(pieces) == b"one\n"
        place.clock.sleep(SILENT_SECONDS)
        assert list(pieces) == []
    assert SILENT_SECONDS < STREAM_SILENCE_SECONDS
