"""Who sees and does what. The routes are those of the OpenAPI document: a new one is here too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.errors import SettingsError
from orchestrator.interfaces.api.app import create_app
from orchestrator.interfaces.api.authentication import LOCAL, authenticator_for
from orchestrator.interfaces.api.service import Service
from orchestrator.records import JobState, Role
from orchestrator.settings import load_settings
from tests.interfaces.api.builders import API, Place

PROBES = {"/healthz", "/readyz"}
METHODS = ("get", "head", "post", "put", "delete")


def operations(place: Place) -> Iterator[tuple[str, str]]:
    """(method, path) of everything that is served but the probes."""
    for path, found in place.app.openapi()["paths"].items():
        if path not in PROBES:
            yield from ((method, path) for method in METHODS if method in found)
    yield from (("get", path) for path in ("/openapi.json", "/docs", "/", "/api/v1/nothing"))


def url_of(path: str, job: str) -> str:
    values = {"sha256": "a" * 64, "name": "default", "version": "1", "alias": "best", "id": job}
    return path.format(**values)


BODIES: dict[tuple[str, str], Any] = {
    ("post", f"{API}/jobs"): {"spec": "kind: FineTune"},
    ("post", f"{API}/plan"): {"spec": "kind: FineTune"},
    ("post", f"{API}/tokens"): {"name": "eve", "team": "text", "role": "admin"},
    ("put", f"{API}/queues/{{name}}"): {},
    ("put", f"{API}/models/{{name}}/aliases/{{alias}}"): {"version": 1},
}


def test_there_are_routes(place: Place) -> None:
    assert len(list(operations(place))) > 35


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Bearer orc_wrong", "Basic b3A6b3A=", "Bearer a.b.c", "orc"],
)
def test_no_route_but_the_probes_opens_without_a_token(
    place: Place, authorization: str | None
) -> None:
    job = place.job()
    place.started(job.id)
    client = place.stranger({"Authorization": authorization} if authorization is not None else {})
    opened = []
    for method, path in operations(place):
        answer = client.request(method, url_of(path, job.id), json=BODIES.get((method, path)))
        if answer.status_code != 401 or answer.headers.get("www-authenticate") != "Bearer":
            opened.append((method, path, answer.status_code))
    assert opened == []
    assert [client.get(path).status_code for path in sorted(PROBES)] == [200, 200]


def test_revoked_and_expired_tokens_open_nothing(place: Place) -> None:
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    asked = {"name": "ada", "team": "vision", "role": "viewer", "expires_in_seconds": 60}
    short = admin.post(f"{API}/tokens", json=asked).json()
    long = admin.post(f"{API}/tokens", json={**asked, "expires_in_seconds": None}).json()
    assert short["secret"].startswith("orc_")
    assert len(short["secret"]) == 47
    headers = [{"Authorization": f"Bearer {token['secret']}"} for token in (short, long)]
    asks = [place.stranger(header) for header in headers]
    whoami = f"{API}/whoami"
    assert [ask.get(whoami).status_code for ask in asks] == [200, 200]
    place.clock.sleep(61)
    assert [ask.get(whoami).status_code for ask in asks] == [401, 200]
    assert admin.delete(f"{API}/tokens/{long['token']['id']}").status_code == 200
    assert [ask.get(whoami).status_code for ask in asks] == [401, 401]
    assert admin.delete(f"{API}/tokens/{long['token']['id']}").status_code == 404
    # What is kept of a token is not the token.
    listed = admin.get(f"{API}/tokens").text
    assert short["secret"] not in listed
    assert short["token"]["id"] in listed


def test_another_team_finds_nothing(place: Place) -> None:
    """Its lead asks every route about a job of the other team."""
    job = place.job()
    place.started(job.id)
    client = place.client(team="text", role=Role.LEAD, name="eve")
    before = place.service.jobs.get(job.id)
    for method, path in operations(place):
        if "{id}" not in path or "tokens" in path:
            continue
        answer = client.request(method, url_of(path, job.id))
        assert answer.status_code == 404, (method, path, answer.text)
    assert place.service.jobs.get(job.id) == before
    assert client.get(f"{API}/jobs").json()["items"] == []
    assert client.get(f"{API}/events").json()["items"] == []
    assert client.get(f"{API}/audit?team=vision").json()["items"] == []
    queues = client.get(f"{API}/queues").json()
    assert [(q["name"], q["running"]) for q in queues] == [("default", 0)]


def test_another_teams_models_are_not_there(place: Place) -> None:
    folder = place.folder / "export"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"x")
    registry = place.service.registry("vision")
    registry.publish("cameras", folder, run="job-1")
    own = place.client(role=Role.LEAD)
    assert [m["name"] for m in own.get(f"{API}/models").json()] == ["cameras"]
    shown = own.get(f"{API}/models/cameras/versions/latest").json()
    assert (shown["version"], shown["job"], shown["aliases"]) == (1, "job-1", ["latest"])
    answer = own.put(f"{API}/models/cameras/aliases/best", json={"version": 1})
    assert answer.json() == {"best": 1, "latest": 1}
    other = place.client(team="text", role=Role.LEAD, name="eve")
    assert other.get(f"{API}/models").json() == []
    for method, path in (
        ("get", "cameras"),
        ("get", "cameras/versions/1"),
        ("put", "cameras/aliases/best"),
        ("delete", "cameras/aliases/best"),
    ):
        answer = other.request(
            method, f"{API}/models/{path}", json={"version": 1} if method == "put" else None
        )
        assert answer.status_code == 404, (method, path, answer.text)
    assert own.delete(f"{API}/models/cameras/aliases/best").json() == {"latest": 1}
    submitter = place.client()
    answer = submitter.put(f"{API}/models/cameras/aliases/best", json={"version": 1})
    assert answer.status_code == 403


MAY = {
    # (who asks, whose job) -> the status of cancelling it
    (Role.VIEWER, "ada"): 403,
    (Role.SUBMITTER, "ada"): 200,
    (Role.SUBMITTER, "bob"): 403,
    (Role.LEAD, "bob"): 200,
    (Role.ADMIN, "bob"): 200,
}


@pytest.mark.parametrize(("role", "by"), MAY)
@pytest.mark.parametrize("verb", ["cancel", "suspend", "stacks"])
def test_roles_within_a_team(place: Place, role: Role, by: str, verb: str) -> None:
    job = place.job(by=by)
    place.started(job.id)
    answer = place.client(role=role, name="ada").post(f"{API}/jobs/{job.id}/{verb}")
    expected = MAY[role, by] if verb != "stacks" or MAY[role, by] == 403 else 202
    assert answer.status_code == expected, answer.text


@pytest.mark.parametrize("role", [Role.VIEWER, Role.SUBMITTER, Role.LEAD])
def test_only_admins_set_up_the_service(place: Place, role: Role) -> None:
    client = place.client(role=role, name="eve")
    token = {"name": "eve", "team": "vision", "role": "admin"}
    assert client.put(f"{API}/queues/fast", json={}).status_code == 403
    assert client.delete(f"{API}/queues/default").status_code == 403
    assert client.post(f"{API}/tokens", json=token).status_code == 403
    assert client.get(f"{API}/tokens").status_code == 403
    assert client.delete(f"{API}/tokens/tok-1").status_code == 403
    assert [queue.name for queue in place.service.queues.list()] == ["default"]


def test_admins_set_up_queues(place: Place) -> None:
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    asked = {"quota": {"gpu": 8}, "teams": ["vision", "text"], "weights": {"vision": 2, "text": 1}}
    assert admin.put(f"{API}/queues/fast", json=asked).status_code == 200
    # A team sees its own part of it.
    (shown,) = (q for q in place.client().get(f"{API}/queues").json() if q["name"] == "fast")
    assert (shown["quota"], shown["teams"], shown["weights"]) == (
        {"gpu": 8.0},
        ["vision"],
        {"vision": 2.0},
    )
    others = place.client(team="speech").get(f"{API}/queues").json()
    assert [q["name"] for q in others] == ["default"]
    for wrong in (
        {"quota": {"gpu": -1}},
        {"weights": {"a": 0}},
        {"pause": True},
        {"quota": {"gpus": 1}},
    ):
        assert admin.put(f"{API}/queues/fast", json=wrong).status_code == 422
    job = place.job()
    assert admin.delete(f"{API}/queues/default").status_code == 409
    place.move(job.id, JobState.CANCELLED)
    assert admin.delete(f"{API}/queues/default").status_code == 200
    assert admin.delete(f"{API}/queues/default").status_code == 404


def test_admins_reach_other_teams(place: Place) -> None:
    job = place.job()
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    assert admin.get(f"{API}/jobs/{job.id}").status_code == 200
    assert admin.post(f"{API}/jobs/{job.id}/cancel").json()["state"] == "CANCELLED"
    assert admin.post(f"{API}/jobs/{job.id}/rerun").status_code == 403


@pytest.mark.parametrize("team", ["local", "Vision", "a/b", "..", ""])
def test_no_token_is_of_what_cannot_be_a_team(place: Place, team: str) -> None:
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    answer = admin.post(f"{API}/tokens", json={"name": "x", "team": team, "role": "viewer"})
    assert answer.status_code == 422


# The trail


def test_the_audit_trail_holds_what_was_changed_and_what_was_refused(place: Place) -> None:
    job = place.job()
    ada, vi = place.client(), place.client(role=Role.VIEWER, name="vi")
    ada.get(f"{API}/jobs")  # looking leaves no trace
    ada.post(f"{API}/jobs/{job.id}/cancel")
    vi.post(f"{API}/jobs/{job.id}/cancel")
    ada.post(f"{API}/jobs/job-nothing/cancel")
    ada.get(f"{API}/tokens")
    place.stranger().post(f"{API}/jobs/{job.id}/cancel")
    lead = place.client(role=Role.LEAD, name="lea")
    found = lead.get(f"{API}/audit").json()["items"]
    assert [(e["principal"], e["action"], e["target"], e["status"]) for e in found] == [
        ("ada", f"GET {API}/tokens", "", 403),
        ("ada", f"POST {API}/jobs/job-nothing/cancel", "job-nothing", 404),
        ("vi", f"POST {API}/jobs/{job.id}/cancel", job.id, 403),
        ("ada", f"POST {API}/jobs/{job.id}/cancel", job.id, 200),
    ]
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    (newest, *_) = admin.get(f"{API}/audit").json()["items"]
    assert (newest["principal"], newest["team"], newest["status"]) == ("-", "-", 401)
    assert ada.get(f"{API}/audit").status_code == 403
    page = lead.get(f"{API}/audit?limit=1").json()
    assert page["items"][0]["principal"] == "ada"
    assert lead.get(f"{API}/audit?limit=1&cursor={page['next']}").json()["items"] != page["items"]
    assert lead.get(f"{API}/audit?cursor=x").status_code == 400


def test_strangers_do_not_fill_the_trail(place: Place) -> None:
    stranger = place.stranger()
    for _ in range(100):
        assert stranger.post(f"{API}/jobs").status_code == 401
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    assert len(admin.get(f"{API}/audit?limit=200").json()["items"]) == 60
    place.clock.sleep(60)
    stranger.post(f"{API}/jobs")
    assert len(admin.get(f"{API}/audit?limit=200").json()["items"]) == 61


def test_the_made_job_is_the_target(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    lead = place.client(role=Role.LEAD, name="lea")
    (newest, *_) = lead.get(f"{API}/audit").json()["items"]
    assert (newest["action"], newest["target"]) == (f"POST {API}/jobs", job.id)


# Without tokens


def open_client(place: Place, host: str) -> Any:
    settings = place.settings.model_copy(update={"authentication": "off"})
    service = Service.of(
        place.database, settings, desk=place.service.desk, logs=place.logs, clock=place.clock
    )
    place.app = create_app(service)
    return place.stranger({"Host": host})


@pytest.mark.parametrize("host", ["127.0.0.1:8642", "localhost:1", "[::1]:8642", "localhost"])
def test_where_nobody_is_asked_everybody_is_the_local_admin(place: Place, host: str) -> None:
    answer = open_client(place, host).get(f"{API}/whoami")
    assert answer.json() == LOCAL.model_dump()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "10.0.0.1", ""])
def test_a_page_of_another_site_cannot_ask_under_its_own_name(place: Place, host: str) -> None:
    assert open_client(place, host).get(f"{API}/whoami").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "server.example"])
def test_a_server_that_others_can_reach_asks_for_tokens(place: Place, host: str) -> None:
    settings = place.settings.model_copy(update={"authentication": "off"})
    with pytest.raises(SettingsError, match="authentication is off"):
        authenticator_for(settings, host, place.service.tokens, place.clock)


def test_authentication_is_on_unless_the_setting_says_otherwise(place: Place) -> None:
    assert load_settings(environ={"HOME": str(place.folder)}).authentication == "tokens"


# What every answer has


def test_errors_are_problem_documents(place: Place) -> None:
    client = place.client()
    for method, path, status, kind in (
        ("get", "/nothing", 404, "NotFound"),
        ("get", f"{API}/jobs/", 404, "NotFound"),
        ("get", f"{API}/jobs/job-x", 404, "NotFound"),
        ("patch", f"{API}/jobs", 405, "MethodNotAllowed"),
        ("get", f"{API}/jobs?limit=x", 422, "InvalidInput"),
    ):
        answer = client.request(method, path)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert (document["status"], document["type"]) == (
            status,
            f"urn:orchestrator:problem:{kind}",
        )
        assert document["title"]
        assert document["detail"]


def test_a_defect_is_told_without_its_details(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(place.service.jobs, "get", fails)
    answer = place.client().get(f"{API}/jobs/job-x")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "an error of the server itself"
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("jobs", 4 * 1024 * 1024 + 1, 413), ("reports", 128 * 1024 + 1, 401), ("plan", 10**9, 413)],
)
def test_requests_have_a_size(place: Place, path: str, size: int, status: int) -> None:
    client = place.client()
    answer = client.post(f"{API}/{path}", headers={"Content-Length": str(size)}, content=b"")
    assert answer.status_code in (status, 413)

    def endless() -> Iterator[bytes]:
        for _ in range(size // 65536 + 1 if size < 10**8 else 100):
            yield b" " * 65536

    assert client.post(f"{API}/{path}", content=endless()).status_code in (status, 413)
