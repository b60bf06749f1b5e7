from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.records import JobState, Queue, Role
from tests.interfaces.api.builders import API, Place, rows_of


def problems(answer: Any) -> dict[str, str]:
    return {problem["path"]: problem["message"] for problem in answer.json()["problems"]}


def test_a_spec_becomes_a_queued_job(place: Place) -> None:
    client = place.client()
    spec = place.spec(client, scheduling={"priority": "high", "active_seconds": 60.0})
    answer = client.post(f"{API}/jobs", json={"spec": spec, "sets": ["training.seed=3"]})
    assert answer.status_code == 201, answer.text
    job = answer.json()["job"]
    assert answer.headers["location"] == f"{API}/jobs/{job['id']}"
    assert (job["name"], job["team"], job["created_by"]) == ("cameras", "vision", "ada")
    assert (job["state"], job["queue"], job["priority"]) == ("QUEUED", "default", 10)
    assert (job["active_seconds"], job["labels"]) == (60.0, {"project": "reviews"})
    assert (job["demand"]["workers"], job["demand"]["cpus_per_worker"]) == (2, 1.0)
    assert job["demand"]["memory_bytes_per_worker"] > 10**8
    assert job["estimated_seconds"] > 0
    assert place.wakes == 1
    documents = client.get(f"{API}/jobs/{job['id']}/spec").json()
    assert documents["written"] == spec
    assert documents["sets"] == ["training.seed=3"]
    assert documents["spec"]["spec"]["training"]["seed"] == 3
    # Teams share no store: what is resolved lies below the team's own.
    store = f"{place.folder}/store/.teams/vision"
    assert documents["spec"]["spec"]["output"]["store"] == job["store"] == store
    path = documents["spec"]["spec"]["data"]["domains"]["camera"]["train"][0]["path"]
    assert path.startswith(f"{store}/.uploads/")
    assert path.endswith("/train.jsonl")
    assert documents["spec"]["spec"]["model"]["base"].startswith(f"{store}/.uploads/")
    events = client.get(f"{API}/jobs/{job['id']}/events").json()["items"]
    assert [(e["kind"], e["message"]) for e in events] == [("Created", "submitted by ada")]


def test_everything_wrong_is_told_at_once_with_its_line(place: Place) -> None:
    client = place.client()
    text = place.spec(client).replace('"max_length": 8', '"max_length": 8, "epoch": 1')
    answer = client.post(f"{API}/jobs", json={"spec": text, "sets": ["resources.workers=three"]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == "urn:orchestrator:problem:InvalidInput"
    assert (document["status"], document["title"]) == (422, "The input is wrong")
    assert set(problems(answer)) == {"training.epoch", "resources.workers"}
    by_path = {problem["path"]: problem for problem in document["problems"]}
    (line,) = (n for n, row in enumerate(text.splitlines(), 1) if '"epoch"' in row)
    assert (by_path["training.epoch"]["file"], by_path["training.epoch"]["line"]) == (
        "<text>",
        line,
    )
    assert place.service.jobs.live() == []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("model.base", "base", "a server reads no local path"),
        ("model.base", "/etc", "a server reads no local path"),
        ("model.base", "file:///etc", "a server reads no local path"),
        ("model.base", "~/base", "a server reads no local path"),
        ("model.base", "s3://elsewhere/base", "this place is not open to this team"),
        ("output.store", "/srv/models", "a server writes to no local folder"),
        ("output.store", "s3://elsewhere/models", "this place is not open to this team"),
        ("output.store", "upload://" + "a" * 64 + "/x", "nothing can be published there"),
        ("data.domains.camera.train[0].path", "/etc/passwd", "a server reads no local path"),
        ("data.domains.camera.train[0].path", "FILE:///etc/passwd", "a server reads no local path"),
        ("data.domains.camera.train[0].path", "../*.jsonl", "a server reads no local path"),
        (
            "data.domains.camera.train[0].path",
            "gs://x/y.jsonl",
            "this place is not open to this team",
        ),
        (
            "data.domains.camera.train[0].path",
            "upload://" + "a" * 64 + "/x.jsonl",
            "x.jsonl was not uploaded",
        ),
        (
            "data.domains.camera.train[0].path",
            "upload://" + "a" * 64 + "/../../x",
            "'../../x' cannot be the name of an upload",
        ),
        ("data.domains.camera.train[0].path", "upload://zz/x", "'zz' is no sha256"),
    ],
)
def test_a_server_reads_nothing_that_a_client_may_not_name(
    place: Place, path: str, value: str, message: str
) -> None:
    client = place.client()
    body = {"spec": place.spec(client), "sets": [f"{path}={json.dumps(value)}"]}
    for route in ("jobs", "plan"):
        answer = client.post(f"{API}/{route}", json=body)
        assert answer.status_code == 422, answer.text
        assert problems(answer) == {path: message}


@pytest.mark.parametrize("name", ["json", "tests", "../tests", "/etc", "tests/interfaces"])
def test_a_folder_of_the_server_is_no_hub_data_set(place: Place, name: str) -> None:
    client = place.client()
    source = "data.domains.camera.train[0]"
    sets = [f"{source}.path=null", f"{source}.hub={json.dumps(name)}", f"{source}.split=train"]
    answer = client.post(f"{API}/plan", json={"spec": place.spec(client), "sets": sets})
    assert answer.status_code == 422
    assert problems(answer) == {f"{source}.hub": f"{name!r} is no hub data set"}


def test_another_teams_uploads_are_not_there(place: Place) -> None:
    spec = place.spec(place.client())
    answer = place.client(team="text").post(f"{API}/plan", json={"spec": spec})
    assert answer.status_code == 422
    assert set(problems(answer).values()) == {
        "base was not uploaded",
        "train.jsonl was not uploaded",
        "test.jsonl was not uploaded",
    }


def test_a_plan_creates_nothing(place: Place) -> None:
    client = place.client()
    answer = client.post(f"{API}/plan", json={"spec": place.spec(client)})
    assert (answer.status_code, answer.json()["verdict"]) == (200, "fits")
    assert client.get(f"{API}/jobs").json() == {"items": [], "next": None}


def test_what_cannot_work_anywhere_is_refused(place: Place) -> None:
    client = place.client()
    body = {"spec": place.spec(client), "sets": ["resources.memory_gb_per_worker=0.001"]}
    answer = client.post(f"{API}/jobs", json=body)
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:orchestrator:problem:PlanRefused"
    assert list(problems(answer)) == ["resources.memory_gb_per_worker"]


def test_what_another_machine_could_run_is_no_reason_where_the_cluster_is_elsewhere(
    place: Place,
) -> None:
    client = place.client()
    body = {"spec": place.spec(client), "sets": ["resources.cpus_per_worker=1000"]}
    assert client.post(f"{API}/jobs", json=body).status_code == 422
    ground = replace(place.service.ground, runs_here=False)
    place.app.state.service = replace(place.service, ground=ground)
    assert client.post(f"{API}/jobs", json=body).status_code == 201


def test_the_same_key_gives_the_same_job(place: Place) -> None:
    client = place.client()
    body = {"spec": place.spec(client)}
    key = {"Idempotency-Key": "k-1"}
    first = client.post(f"{API}/jobs", json=body, headers=key)
    second = client.post(f"{API}/jobs", json=body, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["job"]["id"] == second.json()["job"]["id"]
    assert second.json()["is_new"] is False
    other = {"spec": place.spec(client, training={"seed": 7})}
    answer = client.post(f"{API}/jobs", json=other, headers=key)
    assert answer.status_code == 409
    # Keys belong to a team.
    text = place.client(team="text")
    answer = text.post(f"{API}/jobs", json={"spec": place.spec(text)}, headers=key)
    assert answer.status_code == 201


def test_a_live_job_that_does_the_same_is_named(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    body = {"spec": place.spec(client, name="other-name", output={"name": "cameras"})}
    answer = client.post(f"{API}/jobs", json=body)
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"{job.id} (cameras) does the same and is QUEUED"
    answer = client.post(f"{API}/jobs", json={**body, "new": True})
    assert answer.status_code == 201
    assert answer.json()["job"]["identity"] == job.identity
    # Another team does not even learn of it.
    text = place.client(team="text")
    assert text.post(f"{API}/jobs", json={"spec": place.spec(text)}).status_code == 201


def test_a_finished_job_that_did_the_same_is_shown(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    place.ended(job.id, model="cameras@1")
    answer = client.post(f"{API}/jobs", json={"spec": place.spec(client)})
    assert answer.status_code == 200
    assert (answer.json()["job"]["id"], answer.json()["is_new"]) == (job.id, False)
    assert answer.json()["message"] == (
        f"trained before as cameras@1 by {job.id}; --new trains again"
    )


def test_after_a_failed_try_a_new_one_is_made_and_the_old_one_told(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    place.ended(job.id, JobState.FAILED)
    answer = client.post(f"{API}/jobs", json={"spec": place.spec(client)})
    assert answer.status_code == 201
    assert f"`orchestrator retry {job.id}`" in answer.json()["message"]


def test_dependencies_are_resolved_within_the_team(place: Place) -> None:
    client, other = place.client(), place.client(team="text")
    first = place.submit(client)
    second = place.submit(client, name="second", scheduling={"after": [first.name]})
    assert second.after == (first.id,)
    third = place.submit(client, name="third", scheduling={"after": [second.id, "cameras"]})
    assert third.after == (second.id, first.id)
    body = {"spec": place.spec(other, scheduling={"after": [first.id, "cameras"]})}
    answer = other.post(f"{API}/jobs", json=body)
    assert answer.status_code == 422
    assert problems(answer) == {
        "scheduling.after[0]": f"team text has no job '{first.id}'",
        "scheduling.after[1]": "team text has no job 'cameras'",
    }
    place.ended(first.id, JobState.FAILED)
    body = {"spec": place.spec(client, name="fourth", scheduling={"after": [first.id]})}
    answer = client.post(f"{API}/jobs", json=body)
    assert "is FAILED: waiting for it would never end" in problems(answer)["scheduling.after[0]"]


def test_a_base_that_another_job_will_make(place: Place) -> None:
    client = place.client()
    first = place.submit(client)
    second = place.submit(client, name="second", model={"base": "job://cameras"})
    assert second.after == (first.id,)
    resolved = client.get(f"{API}/jobs/{second.id}/spec").json()
    assert resolved["spec"]["spec"]["model"]["base"] == f"job://{first.id}"
    third = place.submit(client, name="third", model={"base": f"job://{second.id}"})
    assert third.after == (second.id,)
    plan = client.get(f"{API}/jobs/{third.id}/plan").json()
    assert plan["model"]["hidden_size"] == 8
    # The base's identity follows from the job that makes it.
    assert len({first.identity, second.identity, third.identity}) == 3
    other = place.client(team="text")
    body = {"spec": place.spec(other, model={"base": f"job://{first.id}"})}
    assert other.post(f"{API}/jobs", json=body).status_code == 422


def test_the_queue_must_be_open_to_the_team(place: Place) -> None:
    place.service.queues.put(Queue(name="fast", teams=("vision",)))
    vision, text = place.client(), place.client(team="text")
    assert place.submit(vision, scheduling={"queue": "fast"}).queue == "fast"
    for name, hint in (
        ("fast", "queues of team text: default"),
        ("defalt", "did you mean default?"),
    ):
        answer = text.post(
            f"{API}/jobs", json={"spec": place.spec(text, scheduling={"queue": name})}
        )
        assert answer.status_code == 422
        (problem,) = answer.json()["problems"]
        assert (problem["path"], problem["message"], problem["hint"]) == (
            "scheduling.queue",
            f"team text has no queue '{name}'",
            hint,
        )


def test_viewers_only_look(place: Place) -> None:
    spec = place.spec(place.client())
    viewer = place.client(role=Role.VIEWER, name="vi")
    for route in ("jobs", "plan"):
        assert viewer.post(f"{API}/{route}", json={"spec": spec}).status_code == 403
    assert viewer.get(f"{API}/jobs").status_code == 200


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "spec"),
        ({"spec": ""}, "spec"),
        ({"spec": 3}, "spec"),
        ({"spec": "a: 1", "nwe": True}, "nwe"),
        ({"spec": "a: 1", "sets": "x"}, "sets"),
        ([], "body"),
    ],
)
def test_a_wrong_request_is_told_as_a_problem(place: Place, body: Any, path: str) -> None:
    answer = place.client().post(f"{API}/jobs", json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(problems(answer)) == [path]


def test_an_uploaded_folder_is_whole_or_not_there(place: Place) -> None:
    client = place.client()
    data = rows_of("train").encode()
    url = place.upload(client, "part-1.jsonl", data)
    sha256 = url.partition("://")[2].partition("/")[0]
    assert client.head(f"{API}/uploads/{sha256}/part-1.jsonl").status_code == 200
    assert client.head(f"{API}/uploads/{sha256}/part-2.jsonl").status_code == 404
    assert place.client(team="text").head(f"{API}/uploads/{sha256}/part-1.jsonl").status_code == 404
    folder = place.folder / "rows"
    folder.mkdir()
    for number in (1, 2):
        (folder / f"part-{number}.jsonl").write_text(rows_of(f"train{number}"))
    url = place.upload_folder(client, "rows", folder)
    sets = [f"data.domains.camera.train[0].path={url}"]
    answer = client.post(f"{API}/plan", json={"spec": place.spec(client), "sets": sets})
    assert answer.status_code == 200, answer.text
    splits = {(s["split"], s["num_rows"]) for s in answer.json()["splits"] if not s["held_out"]}
    assert ("test", 60) in splits


@pytest.mark.parametrize(
    ("sha256", "name", "content", "status"),
    [
        ("a" * 64, "x.jsonl", b"other bytes", 422),
        ("a" * 63, "x.jsonl", b"", 422),
        ("A" * 64, "x.jsonl", b"", 422),
        ("a" * 64, ".hidden", b"", 400),
        ("a" * 64, "a*b.jsonl", b"", 400),
        ("a" * 64, "a%2Fb", b"", 404),
    ],
)
def test_wrong_uploads_are_refused(
    place: Place, sha256: str, name: str, content: bytes, status: int
) -> None:
    answer = place.client().put(f"{API}/uploads/{sha256}/{name}", content=content)
    assert answer.status_code == status, answer.text
    assert list((place.settings.state_dir / "uploads").glob("*")) == []


def test_an_upload_over_the_limit_is_cut_off(tmp_path: Any) -> None:
    place = Place(tmp_path, max_upload_bytes=1000)
    client = place.client()
    answer = client.put(f"{API}/uploads/{'a' * 64}/x", content=b"x" * 1001)
    assert answer.status_code == 413
    answer = client.put(f"{API}/uploads/{'a' * 64}/x", content=iter([b"x" * 600] * 2))
    assert answer.status_code == 413
    place.close()


def test_viewers_upload_nothing(place: Place) -> None:
    answer = place.client(role=Role.VIEWER).put(f"{API}/uploads/{'a' * 64}/x", content=b"x")
    assert answer.status_code == 403
