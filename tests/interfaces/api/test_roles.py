"""Every route, every role, every team: a route that is new fails here until it is told about."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import APIRoute

from orchestrator.interfaces.api.authentication import digest_of
from orchestrator.interfaces.wire import METRICS_PATH
from orchestrator.records import JobState, Queue, Role
from tests.control.builders import report
from tests.interfaces.api.builders import API, SECRET, Place
from tests.interfaces.api.test_access import BODIES, PROBES, url_of

REPORTS = ("post", f"{API}/reports")
"""The one route whose token is an Attempt's."""

V, S, L, A = Role.VIEWER, Role.SUBMITTER, Role.LEAD, Role.ADMIN
LEAST: dict[tuple[str, str], Role] = {
    # (method, path) -> the least role that may ask, about what is its own
    ("post", "/plan"): S,
    ("post", "/jobs"): S,
    ("get", "/jobs"): V,
    ("get", "/jobs/{id}"): V,
    ("delete", "/jobs/{id}"): S,
    ("get", "/jobs/{id}/spec"): V,
    ("get", "/jobs/{id}/plan"): V,
    ("get", "/jobs/{id}/attempts"): V,
    ("get", "/jobs/{id}/history"): V,
    ("post", "/jobs/{id}/cancel"): S,
    ("post", "/jobs/{id}/suspend"): S,
    ("post", "/jobs/{id}/resume"): S,
    ("post", "/jobs/{id}/retry"): S,
    ("post", "/jobs/{id}/rerun"): S,
    ("post", "/jobs/{id}/stacks"): S,
    ("get", "/jobs/{id}/stacks"): V,
    ("get", "/events"): V,
    ("get", "/jobs/{id}/events"): V,
    ("get", "/jobs/{id}/logs"): V,
    ("get", "/queues"): V,
    ("put", "/queues/{name}"): A,
    ("delete", "/queues/{name}"): A,
    ("get", "/nodes"): V,
    ("get", "/overview"): V,
    ("get", "/models"): V,
    ("get", "/models/{name}"): V,
    ("get", "/models/{name}/versions/{version}"): V,
    ("put", "/models/{name}/aliases/{alias}"): L,
    ("delete", "/models/{name}/aliases/{alias}"): L,
    ("head", "/uploads/{sha256}/{name}"): V,
    ("put", "/uploads/{sha256}/{name}"): S,
    ("get", "/whoami"): V,
    ("post", "/tokens"): A,
    ("get", "/tokens"): A,
    ("delete", "/tokens/{id}"): A,
    ("get", "/audit"): L,
    ("get", METRICS_PATH): A,
}


def told(place: Place) -> set[tuple[str, str]]:
    """(method, path) of everything in the OpenAPI document but probes and Reports."""
    paths = place.app.openapi()["paths"]
    found = {(method, path) for path, methods in paths.items() for method in methods}
    return {one for one in found if one[1] not in PROBES and one != REPORTS}


def least(method: str, path: str) -> Role:
    return LEAST[method, path.removeprefix(API)]


def routes_of(routes: Any) -> Iterator[APIRoute]:
    """All of an application, those of included routers too."""
    for route in routes:
        if isinstance(route, APIRoute):
            yield route
        else:
            inner = getattr(route, "original_router", None) or getattr(route, "router", None)
            yield from routes_of(getattr(inner, "routes", ()))


def test_the_table_has_every_route_and_no_other(place: Place) -> None:
    assert {(method, path.removeprefix(API)) for method, path in told(place)} == set(LEAST)


def test_no_route_hides_from_the_document(place: Place) -> None:
    assert all(route.include_in_schema for route in routes_of(place.app.routes))
    served = {route.name for route in routes_of(place.app.routes)}
    operations = {
        operation["operationId"]
        for path in place.app.openapi()["paths"].values()
        for operation in path.values()
    }
    assert served == operations
    assert len(served) > 35


@pytest.mark.parametrize("role", list(Role))
def test_roles(place: Place, role: Role) -> None:
    """A role that is enough is not turned away, a lesser one always is."""
    wrong = []
    for method, path in sorted(told(place)):
        job = place.job(by="ada")
        client = place.client(role=role, name="ada")
        body = BODIES.get((method, path))
        answer = client.request(method, url_of(path, job.id), json=body)
        is_enough = role.includes(least(method, path))
        if (answer.status_code == 403) is is_enough or answer.status_code in (401, 500):
            wrong.append((method, path, answer.status_code, answer.text))
        if place.service.queues.get("default") is None:
            place.service.queues.put(Queue(name="default"))
    assert wrong == []


# Teams

MARK = "zebra"


@pytest.fixture
def furnished(place: Place) -> Place:
    """A service in which one team has some of everything, and all of it is marked."""
    job = place.job(MARK, by=MARK)
    place.started(job.id)
    place.service.desk.receive(SECRET, report(1, job=job.id, metrics={MARK: 1.0}, message=MARK))
    place.logs.printed = {None: MARK.encode(), 0: MARK.encode()}
    place.service.queues.put(Queue(name=f"{MARK}-queue", teams=("vision",)))
    owner = place.client(role=Role.LEAD, name=MARK)
    place.upload(owner, f"{MARK}.jsonl", b"{}")
    owner.post(f"{API}/jobs/{job.id}/suspend")
    folder = place.folder / "export"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    place.service.registry("vision").publish(MARK, folder, run=job.id)
    return place


def marked_job(place: Place) -> str:
    ((job, _),) = place.service.jobs.live()
    return job.id


QUERIES = (
    {},
    {"team": "vision"},
    {"name": MARK},
    {"created_by": MARK},
    {"queue": f"{MARK}-queue"},
    {"label": "project=reviews"},
    {"after": "0", "last": "100"},
    {"cursor": "0"},
    {"cursor": "zzzz"},
    {"rank": "0", "attempt": "1"},
)


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_what_another_team_asks_shows_nothing(furnished: Place, accept: str) -> None:
    """Its lead guesses every id, name and filter; pages and streams alike."""
    job = marked_job(furnished)
    client = furnished.client(team="text", role=Role.LEAD, name="eve")
    names = {"id": job, "name": MARK, "version": "1", "alias": "latest", "sha256": digest_of("{}")}
    shown = []
    for method, path in sorted(told(furnished)):
        if method not in ("get", "head"):
            continue
        for query in QUERIES:
            answer = client.request(
                method, path.format(**names), params=query, headers={"Accept": accept}
            )
            # What was asked for is repeated to whoever asked.
            text = answer.text.replace(f"there is no job {job}", "")
            if answer.status_code == 404:
                continue
            if MARK in text or job in text:
                shown.append((path, query, answer.text[:300]))
    assert shown == []


def test_what_another_team_does_changes_nothing(furnished: Place) -> None:
    job = marked_job(furnished)
    before = furnished.service.jobs.get(job), furnished.service.attempts.list(job)
    client = furnished.client(team="text", role=Role.LEAD, name="eve")
    names = {"id": job, "name": MARK, "version": "1", "alias": "best", "sha256": "a" * 64}
    for method, path in sorted(told(furnished)):
        if method in ("get", "head") or path in (f"{API}/jobs", f"{API}/plan"):
            continue
        body = BODIES.get((method, path))
        answer = client.request(method, path.format(**names), json=body)
        assert answer.status_code in (403, 404, 422), (method, path, answer.text)
    assert (furnished.service.jobs.get(job), furnished.service.attempts.list(job)) == before
    assert furnished.service.registry("vision").aliases(MARK) == {"latest": 1}
    assert [m.name for m in furnished.service.queues.list()] == ["default", f"{MARK}-queue"]


def test_the_owner_sees_what_others_do_not(furnished: Place) -> None:
    """The marks are there: the tests above would find them."""
    job = marked_job(furnished)
    client = furnished.client(role=Role.LEAD, name=MARK)
    for path in ("jobs", f"jobs/{job}", "events", "audit", "queues", "models", "overview"):
        assert MARK in client.get(f"{API}/{path}").text, path
    assert client.get(f"{API}/jobs/{job}/logs").text == MARK


# Tokens of Attempts


def test_an_attempts_token_opens_reports_of_its_attempt_and_nothing_else(place: Place) -> None:
    job = place.job()
    place.started(job.id)
    worker = place.stranger({"Authorization": f"Bearer {SECRET}"})
    opened = [
        (method, path)
        for method, path in sorted(told(place))
        if worker.request(method, url_of(path, job.id), json=BODIES.get((method, path))).status_code
        != 401
    ]
    assert opened == []
    url, sent = f"{API}/reports", report(1, job=job.id).model_dump(mode="json")
    assert worker.post(url, json=sent).status_code == 200
    assert worker.post(url, json={**sent, "attempt": 2}).status_code == 401
    assert worker.post(url, json={**sent, "job": place.job().id}).status_code == 401
    place.end_attempt(job.id)
    assert worker.post(url, json={**sent, "sequence": 2}).status_code == 401
    # And a user's token reports nothing.
    user = place.client(role=Role.ADMIN)
    assert user.post(url, json={**sent, "sequence": 3}).status_code == 401


# Secrets


def test_no_secret_is_logged_shown_or_kept(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    job = place.job()
    place.started(job.id)
    secret = place.token(role=Role.ADMIN)
    shown = []
    for credential in (secret, SECRET, f"{secret}x"):
        client = place.stranger({"Authorization": f"Bearer {credential}"})
        for method, path in sorted(told(place)):
            answer = client.request(method, url_of(path, job.id), json=BODIES.get((method, path)))
            shown.append(answer.text)
    monkeypatch.setattr(place.service.jobs, "get", lambda *_: 1 / 0)
    shown.append(place.stranger({"Authorization": f"Bearer {secret}"}).get(f"{API}/jobs/x").text)
    admin = place.client(role=Role.ADMIN, name="root")
    shown += [admin.get(path).text for path in (f"{API}/audit", f"{API}/tokens", METRICS_PATH)]
    for held in (secret, SECRET, digest_of(secret), digest_of(SECRET)):
        assert held not in caplog.text
        assert not any(held in text for text in shown)


def test_a_job_that_ended_is_still_its_teams(place: Place) -> None:
    job = place.job()
    place.move(job.id, JobState.CANCELLED)
    other = place.client(team="text", role=Role.LEAD, name="eve")
    for method in ("get", "delete"):
        assert other.request(method, f"{API}/jobs/{job.id}").status_code == 404
