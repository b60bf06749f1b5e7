"""Whoever sends too much, too slowly or under a false name: what is held, and what is told."""

from __future__ import annotations

import errno
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.websockets import WebSocketDisconnect

from orchestrator.control.controller.logs import LiveLogs
from orchestrator.control.controller.reports import ReportDesk
from orchestrator.errors import DatabaseUnavailable
from orchestrator.interfaces.api import guard, receiving, serving
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.serving import ApiServer
from orchestrator.interfaces.wire import FOLDER_TYPE
from orchestrator.records import Role
from tests.control.builders import report
from tests.interfaces.api.builders import API, SECRET, Place
from tests.interfaces.api.test_access import open_client

# Connections


@contextmanager
def connected(server: ApiServer) -> Iterator[socket.socket]:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        yield connection


def all_of(connection: socket.socket) -> bytes:
    """What the server says until it closes the connection."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def test_who_connects_and_says_nothing_is_cut_off(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.2)
    with ApiServer(place.app, "127.0.0.1") as server:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"):
            with connected(server) as connection:
                connection.sendall(said)
                assert all_of(connection) == b""


def test_a_connection_that_is_used_again_may_be_slow_no_more_than_the_first_time(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "HEAD_SECONDS", 0.2)
    with ApiServer(place.app, "127.0.0.1") as server, connected(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        assert b"200 OK" not in all_of(connection)


def test_a_body_that_comes_too_slowly_is_not_waited_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.2)
    head = f"POST {API}/plan HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {place.token()}\r\n"
    with ApiServer(place.app, "127.0.0.1") as server, connected(server) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\n\r\nabc".encode())
        answer = all_of(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"urn:orchestrator:problem:TooSlow" in answer


def test_a_flood_of_headers_is_no_request(place: Place) -> None:
    flood = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 100) for number in range(2000))
    with ApiServer(place.app, "127.0.0.1") as server, connected(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + flood[:100_000])
        with suppress_reset():
            assert all_of(connection).startswith(b"HTTP/1.1 400")


@contextmanager
def suppress_reset() -> Iterator[None]:
    """The kernel may drop an answer to somebody who is still sending."""
    try:
        yield
    except OSError as error:
        assert error.errno in (errno.ECONNRESET, errno.EPIPE)  # noqa: PT017


def test_a_server_may_open_as_many_files_as_it_is_allowed() -> None:
    most = serving.allow_files()
    assert 0 < most <= serving.MOST_FILES
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= most


def test_there_are_no_websockets(place: Place) -> None:
    client = place.client()
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"{API}/jobs"):
        pass


# Bodies


def test_the_list_of_a_folder_is_bounded_though_a_file_is_not(place: Place) -> None:
    client = place.client()
    answer = client.put(
        f"{API}/uploads/{'a' * 64}/x",
        content=iter([b" " * 65536] * 100),
        headers={"Content-Type": FOLDER_TYPE},
    )
    assert answer.status_code == 413


def test_what_a_killed_server_was_receiving_is_swept(place: Place) -> None:
    folder = place.settings.state_dir / "uploads"
    folder.mkdir(parents=True)
    left, young = folder / "receiving-left", folder / "receiving-young"
    for file in (left, young):
        file.write_bytes(b"half")
    old = time.time() - 2 * receiving.YOUNG_SECONDS
    os.utime(left, (old, old))
    receiving.sweep(folder)
    assert list(folder.iterdir()) == [young]
    receiving.sweep(folder / "that-is-not-there")


# Pages and cursors


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=501", 422),
        ("limit=0", 422),
        ("limit=-1", 422),
        ("limit=99999999999999999999999", 422),
        ("cursor=" + "x" * 201, 422),
        ("label=" + "&label=".join(f"a{n}=b" for n in range(21)), 422),
        ("label=nothing", 400),
    ],
)
def test_pages_are_bounded(place: Place, query: str, status: int) -> None:
    assert place.client().get(f"{API}/jobs?{query}").status_code == status


@pytest.mark.parametrize("cursor", ["~", "job-", "' OR 1=1 --", "%00", "%ED%A0%80", "\U0001f600"])
def test_a_forged_cursor_shows_nothing_of_another_team(place: Place, cursor: str) -> None:
    place.job(team="text")
    own = place.job()
    answer = place.client().get(f"{API}/jobs?cursor={cursor}")
    assert answer.status_code in (200, 400)
    shown = {job["id"] for job in answer.json().get("items", ())}
    assert shown <= {own.id}


@pytest.mark.parametrize("cursor", ["-1", "1e9", "9" * 30, "٣", "x"])
def test_a_forged_place_among_events_is_refused_or_empty(place: Place, cursor: str) -> None:
    place.job(team="text")
    for path in ("events", "audit"):
        answer = place.client(role=Role.LEAD).get(f"{API}/{path}?cursor={cursor}")
        assert answer.status_code in (200, 400)
        assert answer.json().get("items", []) == []


# Reports


def test_an_attempts_token_makes_up_no_ranks(place: Place) -> None:
    job = place.job()
    place.started(job.id)
    headers = {"Authorization": f"Bearer {SECRET}"}
    client = place.stranger(headers)
    sent = report(1, job=job.id).model_dump(mode="json")
    assert client.post(f"{API}/reports", json=sent).status_code == 200
    assert client.post(f"{API}/reports", json={**sent, "rank": 2}).status_code == 401
    assert client.post(f"{API}/reports", json={**sent, "rank": -1}).status_code == 422


def test_a_script_that_makes_up_metrics_fills_no_row(place: Place) -> None:
    job = place.job()
    place.started(job.id)
    for step in range(10):
        said = {f"loss_{step}_{number}": 1.0 for number in range(200)} | {"loss": float(step)}
        place.service.desk.receive(SECRET, report(step + 1, job=job.id, step=step, metrics=said))
    (attempt,) = place.service.attempts.list(job.id)
    assert len(attempt.metrics) == 500
    assert attempt.metrics["loss"] == 9.0
    assert "loss_9_0" in attempt.metrics
    assert "loss_0_0" not in attempt.metrics


def test_a_full_disk_keeps_no_worker_from_its_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = place.job()
    place.started(job.id)
    logs = LiveLogs(place.folder / "logs")
    desk = ReportDesk(place.service.attempts, place.clock, logs)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(logs, "take", full)
    assert desk.receive(SECRET, report(1, job=job.id, log="text")) is not None


# False names


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:8642", 200),
        ("https://evil.example", 401),
        ("http://localhost:9999", 401),
        ("null", 401),
    ],
)
def test_a_page_of_another_site_changes_nothing_where_nobody_is_asked(
    place: Place, origin: str | None, status: int
) -> None:
    """A browser sends it without being able to read the answer: cancelling needs none."""
    client = open_client(place, "localhost:8642")
    headers = {"Origin": origin} if origin is not None else {}
    assert client.get(f"{API}/whoami", headers=headers).status_code == status


# What errors tell


def test_where_the_database_lies_is_told_to_the_operator_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any) -> None:
        raise DatabaseUnavailable("postgresql://orc@db.internal/rows is unavailable: refused")

    client = place.client()
    assert client.get(f"{API}/whoami").status_code == 200
    monkeypatch.setattr(place.service.jobs, "list", away)
    answer = client.get(f"{API}/jobs")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert "db.internal" not in answer.text
    assert "db.internal" in caplog.text


def test_slow_requests_leave_room_for_quick_ones(place: Place) -> None:
    """More of them than there are threads wait, and a question is answered."""
    begun, go_on = threading.Semaphore(0), threading.Event()

    def registry(self: object, team: str) -> Any:
        begun.release()
        go_on.wait(20)
        raise DatabaseUnavailable("over")

    app = create_app(replace(place.service))
    with (
        pytest.MonkeyPatch.context() as patch,
        ApiServer(app, "127.0.0.1") as server,
    ):
        patch.setattr(type(place.service), "registry", registry)
        head = f"GET {API}/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {place.token()}\r\n"
        connections = [socket.create_connection(_place(server)) for _ in range(60)]
        for connection in connections:
            connection.sendall(f"{head}\r\n".encode())
        for _ in range(8):
            assert begun.acquire(timeout=20)
        with connected(server) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert all_of(connection).startswith(b"HTTP/1.1 200")
        assert not begun.acquire(blocking=False)
        go_on.set()
        for connection in connections:
            connection.close()


def _place(server: ApiServer) -> tuple[str | None, int | None]:
    address = urlsplit(server.url)
    return address.hostname, address.port


def test_answers_leave_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body are two packets: without this the second waits for the client's word."""
    made: list[socket.socket] = []
    connection_made = serving.Impatient.connection_made

    def noted(self: serving.Impatient, transport: Any) -> None:
        connection_made(self, transport)
        made.append(transport.get_extra_info("socket"))

    monkeypatch.setattr(serving.Impatient, "connection_made", noted)
    with ApiServer(place.app, "127.0.0.1") as server, connected(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        assert connection.recv(65536)
        assert made[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
