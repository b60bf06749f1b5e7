from __future__ import annotations

from typing import Any

import pytest

from orchestrator.records import Action, Goal, JobState, Reason, Report, Role
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from tests.control.builders import report
from tests.interfaces.api.builders import API, SECRET, Place

S = JobState


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["name"] for job in answer.json()["items"]]


def kinds(place: Place, job: str) -> list[str]:
    return [event.kind for event in place.service.events.list(job=job)]


def says(place: Place, job: str, sequence: int, **said: Any) -> Any:
    sent = report(sequence, **{**said, "job": job})
    headers = {"Authorization": f"Bearer {SECRET}"}
    return place.stranger(headers).post(f"{API}/reports", content=sent.model_dump_json())


# Looking


def test_jobs_are_listed_by_what_is_asked_for(place: Place) -> None:
    ada = place.client()
    place.job("first")
    second = place.job("second", by="bob")
    place.job("third", team="text")
    place.started(second.id)
    assert names(ada.get(f"{API}/jobs")) == ["second", "first"]
    for query, expected in (
        ("state=RUNNING", ["second"]),
        ("state=RUNNING&state=QUEUED", ["second", "first"]),
        ("created_by=ada", ["first"]),
        ("name=second", ["second"]),
        ("queue=default", ["second", "first"]),
        ("queue=other", []),
        ("label=project=reviews", ["second", "first"]),
        ("label=project=other", []),
        ("team=vision", ["second", "first"]),
        ("team=text", []),
    ):
        assert names(ada.get(f"{API}/jobs?{query}")) == expected, query
    admin = place.client(team="ops", role=Role.ADMIN, name="root")
    assert names(admin.get(f"{API}/jobs")) == ["third", "second", "first"]
    assert names(admin.get(f"{API}/jobs?team=text")) == ["third"]
    assert ada.get(f"{API}/jobs?label=project").status_code == 400
    assert ada.get(f"{API}/jobs?state=WALKING").status_code == 422


def test_pages_follow_each_other(place: Place) -> None:
    client = place.client()
    for number in range(5):
        place.job(f"job-{number}")
    seen, query = [], "limit=2"
    for _ in range(3):
        page = client.get(f"{API}/jobs?{query}").json()
        seen.append([job["name"] for job in page["items"]])
        query = f"limit=2&cursor={page['next']}"
    assert seen == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    assert page["next"] is None
    assert client.get(f"{API}/jobs?limit=0").status_code == 422


def test_a_running_job_shows_how_far_it_is(place: Place) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    metrics = {"loss": 0.5, "grad_norm": float("nan")}
    assert says(place, job.id, 1, step=3, max_steps=10, metrics=metrics).status_code == 200
    assert says(place, job.id, 2, step=4, metrics={"loss": 0.25}).status_code == 200
    shown = client.get(f"{API}/jobs/{job.id}").json()
    assert shown["state"] == "RUNNING"
    assert (shown["progress"]["attempt"], shown["progress"]["phase"]) == (1, "train")
    assert (shown["progress"]["step"], shown["progress"]["max_steps"]) == (4, 10)
    assert shown["progress"]["metrics"] == {"loss": 0.25, "grad_norm": "NaN"}
    history = client.get(f"{API}/jobs/{job.id}/history").json()
    assert history["attempt"] == 1
    assert [(p["step"], p["metrics"]["loss"]) for p in history["points"]] == [(3, 0.5), (4, 0.25)]
    (attempt,) = client.get(f"{API}/jobs/{job.id}/attempts").json()
    assert (attempt["number"], attempt["state"], attempt["backend"]) == (1, "RUNNING", "fake")
    (node,) = client.get(f"{API}/nodes").json()
    assert (node["name"], node["cpus"], node["used_cpus"], node["used_gpus"]) == (
        "node-1",
        8.0,
        2.0,
        0,
    )


def test_reports_are_taken_in_once_and_answered_with_the_directive(place: Place) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    heard: list[Report] = []
    place.service.desk.subscribe(heard.append)  # type: ignore[attr-defined]
    assert says(place, job.id, 1, step=1).json()["action"] == "continue"
    assert client.post(f"{API}/jobs/{job.id}/stacks").status_code == 202
    assert says(place, job.id, 2, step=1).json()["action"] == "dump_stacks"
    assert [said.sequence for said in heard] == [1, 2]
    place.move(job.id, S.STOPPING, Reason.CANCELLED)
    assert place.stranger().post(f"{API}/reports", content=b"{}").status_code == 401
    assert client.post(f"{API}/reports", content=report(3).model_dump_json()).status_code == 401


def test_a_job_that_never_ran_has_no_curves_and_says_why(place: Place) -> None:
    client = place.client()
    job = place.job()
    for part in ("history", "logs", "stacks"):
        answer = client.get(f"{API}/jobs/{job.id}/{part}")
        assert (answer.status_code, answer.json()["detail"]) == (
            404,
            f"{job.id} has not started yet",
        )
    assert client.get(f"{API}/jobs/{job.id}/attempts").json() == []


def test_logs_are_text_from_a_byte_on(place: Place) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    place.logs.printed = {None: b"driver\n", 1: "rank 1 écrit\n".encode()}
    assert client.get(f"{API}/jobs/{job.id}/logs").text == "driver\n"
    answer = client.get(f"{API}/jobs/{job.id}/logs?rank=1&offset=7")
    assert (answer.text, answer.headers["x-attempt"]) == ("écrit\n", "1")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    answer = client.get(f"{API}/jobs/{job.id}/logs?rank=7")
    assert (answer.status_code, answer.json()["hint"]) == (404, "its ranks are 0 to 1")
    assert client.get(f"{API}/jobs/{job.id}/logs?attempt=2").status_code == 404
    place.move(job.id, S.FAILED, Reason.UNKNOWN)
    assert client.get(f"{API}/jobs/{job.id}/logs?follow=true").text == "driver\n"


# Verbs


@pytest.mark.parametrize("verb", ["cancel", "suspend"])
def test_a_waiting_job_changes_at_once(place: Place, verb: str) -> None:
    client = place.client()
    job = place.job()
    state = {"cancel": "CANCELLED", "suspend": "SUSPENDED"}[verb]
    for _ in range(2):  # asking twice is asking once
        answer = client.post(f"{API}/jobs/{job.id}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert kinds(place, job.id) == ["Created", "StateChanged"]
    (event,) = place.service.events.list(job=job.id)[1:]
    assert event.message == f"{state.lower()} by ada"
    finished = answer.json()["finished_at"]
    assert (finished is not None) == (verb == "cancel")


@pytest.mark.parametrize(
    ("verb", "goal", "kind"),
    [
        ("cancel", Goal.CANCEL, "CancelRequested"),
        ("suspend", Goal.SUSPEND, "SuspendRequested"),
    ],
)
def test_of_a_running_job_it_is_kept_what_was_asked_for(
    place: Place, verb: str, goal: Goal, kind: str
) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    before = place.wakes
    for _ in range(2):
        answer = client.post(f"{API}/jobs/{job.id}/{verb}")
        assert (answer.status_code, answer.json()["state"]) == (200, "RUNNING")
        assert answer.json()["wanted"] == goal
    assert kinds(place, job.id)[-1] == kind
    assert kinds(place, job.id).count(kind) == 1
    assert place.wakes == before + 2


def test_what_was_asked_for_can_be_taken_back_before_it_has_begun(place: Place) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    client.post(f"{API}/jobs/{job.id}/suspend")
    answer = client.post(f"{API}/jobs/{job.id}/resume")
    assert (answer.status_code, answer.json()["wanted"]) == (200, None)
    client.post(f"{API}/jobs/{job.id}/suspend")
    # Cancelling is the stronger wish.
    assert client.post(f"{API}/jobs/{job.id}/cancel").json()["wanted"] == "cancel"
    assert client.post(f"{API}/jobs/{job.id}/suspend").status_code == 409
    assert client.post(f"{API}/jobs/{job.id}/resume").status_code == 409


def test_a_suspended_job_goes_back_into_its_queue(place: Place) -> None:
    client = place.client()
    job = place.job()
    client.post(f"{API}/jobs/{job.id}/suspend")
    place.clock.sleep(60)
    answer = client.post(f"{API}/jobs/{job.id}/resume")
    assert (answer.json()["state"], answer.json()["reason"]) == ("QUEUED", "Resumed")
    assert answer.json()["queued_at"] == place.clock()
    assert client.post(f"{API}/jobs/{job.id}/resume").status_code == 200


def test_resume_may_change_engine_and_resources_only(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    client.post(f"{API}/jobs/{job.id}/suspend")
    answer = client.post(f"{API}/jobs/{job.id}/resume", json={"sets": ["training.seed=2"]})
    assert (answer.status_code, answer.json()["problems"][0]["path"]) == (422, "training.seed")
    answer = client.post(f"{API}/jobs/{job.id}/resume", json={"sets": ["engine.zero_stage=9"]})
    assert (answer.status_code, answer.json()["problems"][0]["path"]) == (422, "engine.zero_stage")
    sets = ["engine.micro_batch_size=1", "resources.cpus_per_worker=1"]
    answer = client.post(f"{API}/jobs/{job.id}/resume", json={"sets": sets})
    assert (answer.status_code, answer.json()["state"]) == (200, "QUEUED")
    documents = client.get(f"{API}/jobs/{job.id}/spec").json()
    assert documents["sets"] == sets
    assert documents["spec"]["spec"]["engine"]["micro_batch_size"] == 1
    assert answer.json()["identity"] == job.identity
    answer = client.post(f"{API}/jobs/{job.id}/resume", json={"sets": sets})
    assert answer.status_code == 409


def test_what_does_not_fit_the_checkpoint_is_refused(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    checkpoints = CheckpointStore(open_store(job.store), job.id)
    checkpoints.claim_attempt({})
    shards = place.folder / "shards"
    shards.mkdir()
    (shards / "shard").write_text("x")
    for rank in range(2):
        checkpoints.upload_rank(1, 2, rank, shards)
    checkpoints.commit(1, 2, 2, {"strategy": "ddp"}, timeout_seconds=1)
    client.post(f"{API}/jobs/{job.id}/suspend")
    sets = ["engine.zero_stage=2"]
    answer = client.post(f"{API}/jobs/{job.id}/resume", json={"sets": sets})
    assert (answer.status_code, answer.json()["problems"][0]["path"]) == (422, "engine.strategy")
    assert client.get(f"{API}/jobs/{job.id}").json()["state"] == "SUSPENDED"


@pytest.mark.parametrize("state", [S.FAILED, S.CANCELLED])
def test_an_ended_job_is_tried_again(place: Place, state: JobState) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    if state is S.CANCELLED:
        place.move(job.id, S.STOPPING)
    place.ended(job.id, state, failures={Reason.UNKNOWN: 3}, node_failures={"node-1": 2})
    place.clock.sleep(60)
    for _ in range(2):
        answer = client.post(f"{API}/jobs/{job.id}/retry")
        assert (answer.status_code, answer.json()["state"]) == (200, "QUEUED")
    shown = answer.json()
    assert (shown["reason"], shown["failures"], shown["node_failures"]) == ("Retried", {}, {})
    assert (shown["finished_at"], shown["started_at"]) == (None, None)
    assert (shown["queued_at"], shown["attempt"]) == (place.clock(), 1)


def test_no_second_job_of_the_same_run_is_tried(place: Place) -> None:
    client = place.client()
    job = place.submit(client)
    client.post(f"{API}/jobs/{job.id}/cancel")
    other = place.submit(client)
    answer = client.post(f"{API}/jobs/{job.id}/retry")
    assert answer.status_code == 409
    assert answer.json()["detail"] == f"{other.id} does the same and is QUEUED"


def test_rerun_makes_a_new_job_of_the_same_documents(place: Place) -> None:
    client = place.client()
    job = place.job()
    place.ended(job.id)
    lead = place.client(role=Role.LEAD, name="lea")
    key = {"Idempotency-Key": "again"}
    answer = lead.post(f"{API}/jobs/{job.id}/rerun", headers=key)
    assert answer.status_code == 201
    new = answer.json()["job"]
    assert new["id"] != job.id
    assert (new["state"], new["created_by"], new["identity"]) == ("QUEUED", "lea", job.identity)
    assert (new["attempt"], new["model"]) == (0, None)
    first, second = (client.get(f"{API}/jobs/{id}/spec").json() for id in (job.id, new["id"]))
    assert {**first, "job": ""} == {**second, "job": ""}
    answer = lead.post(f"{API}/jobs/{job.id}/rerun", headers=key)
    assert (answer.status_code, answer.json()["job"]["id"]) == (200, new["id"])


def test_an_ended_job_is_deleted_with_its_checkpoints_and_keeps_its_model(place: Place) -> None:
    client = place.client()
    job = place.job()
    store = open_store(job.store)
    store.put_bytes(f".checkpoints/{job.id}/a1/attempt.json", b"{}")
    store.put_bytes("cameras/1/manifest.json", b"{}")
    assert client.delete(f"{API}/jobs/{job.id}").status_code == 409
    client.post(f"{API}/jobs/{job.id}/cancel")
    answer = client.delete(f"{API}/jobs/{job.id}")
    assert (answer.status_code, answer.json()) == (200, {"id": job.id, "message": ""})
    assert client.get(f"{API}/jobs/{job.id}").status_code == 404
    keys = [info.key for info in store.list() if not info.key.startswith(".uploads")]
    assert keys == ["cameras/1/manifest.json"]


ALLOWED = {
    "cancel": {S.QUEUED, S.RUNNING, S.STOPPING, S.SUSPENDED, S.CANCELLED},
    "suspend": {S.QUEUED, S.RUNNING, S.STOPPING, S.SUSPENDED},
    "resume": {S.QUEUED, S.RUNNING, S.SUSPENDED},
    "retry": {S.QUEUED, S.RUNNING, S.STOPPING, S.FAILED, S.CANCELLED},
    "stacks": {S.RUNNING, S.STOPPING},
}
"""What may be asked when: what is already so is no conflict."""


@pytest.mark.parametrize("verb", ALLOWED)
def test_every_verb_in_every_state_is_done_or_refused(place: Place, verb: str) -> None:
    client = place.client()
    for state in set(S) - {S.STARTING}:  # as RUNNING, for the verbs
        job = place.job()
        if state is S.SUSPENDED:
            place.move(job.id, state)
        elif state is not S.QUEUED:
            place.started(job.id, f"{job.id}-secret")
            if state in (S.STOPPING, S.CANCELLED):
                place.move(job.id, S.STOPPING)
            if state.is_terminal:
                place.move(job.id, state)
        answer = client.post(f"{API}/jobs/{job.id}/{verb}")
        expected = (200, 202) if state in ALLOWED[verb] else (409,)
        assert answer.status_code in expected, (state, answer.text)


def test_stacks_are_asked_for_and_those_of_before_are_gone(place: Place) -> None:
    client = place.client()
    job = place.job()
    place.started(job.id)
    checkpoints = CheckpointStore(open_store(job.store), job.id)
    checkpoints.put_stacks(1, 0, "of before")
    assert client.post(f"{API}/jobs/{job.id}/stacks").status_code == 202
    (attempt,) = place.service.attempts.list(job.id)
    assert (attempt.directive, attempt.directive_at) == (Action.DUMP_STACKS, place.clock())
    shown = client.get(f"{API}/jobs/{job.id}/stacks").json()
    assert shown == {"attempt": 1, "workers": 2, "ranks": {}}
    checkpoints.put_stacks(1, 1, "Thread main:\n")
    shown = client.get(f"{API}/jobs/{job.id}/stacks").json()
    assert shown["ranks"] == {"1": "Thread main:\n"}


def test_a_change_that_met_another_one_is_decided_again(place: Place) -> None:
    client = place.client()
    job = place.job()
    apply, calls = place.service.jobs.apply, []

    def overtaken(change: Any, lease: Any = None) -> Any:
        calls.append(change)
        if len(calls) == 1:  # the controller was faster
            place.service.jobs.apply = apply  # type: ignore[method-assign]
            place.started(job.id)
        return apply(change, lease)

    place.service.jobs.apply = overtaken  # type: ignore[method-assign]
    answer = client.post(f"{API}/jobs/{job.id}/cancel")
    assert (answer.json()["state"], answer.json()["wanted"]) == ("RUNNING", "cancel")
