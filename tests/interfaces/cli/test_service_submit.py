"""`submit`, and what is done to a job afterwards."""

import json

import pytest

from orchestrator.control.store import JobFilter, Page
from orchestrator.interfaces.cli import changes, watching
from orchestrator.records import JobState, Reason, Role
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from tests.interfaces.api.builders import write_project

S = JobState


@pytest.fixture
def spec(work):
    return write_project(work)


def submitted(ask, spec, *words):
    done = ask("submit", spec, "--json", *words)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def test_a_spec_with_its_files_becomes_a_job(ask, place, spec):
    done = ask("submit", spec)
    assert done.exit_code == 0
    (job,), _ = place.service.jobs.list(JobFilter(), Page())
    assert done.stdout == f"{job.id} (cameras) is QUEUED\n"
    sent = [line for line in done.stderr.splitlines() if line.startswith("sending ")]
    assert len(sent) == 5
    assert any(line.startswith("sending train.jsonl (") for line in sent)
    assert done.stderr.endswith(f"Follow it: orchestrator watch {job.id}\n")
    assert (job.team, job.created_by) == ("vision", "ada")
    again = ask("submit", spec, "--set", "training.seed=2")
    assert "sending" not in again.stderr


def test_the_same_again_is_refused_and_new_makes_another(ask, place, spec):
    first = submitted(ask, spec)
    assert (first["is_new"], first["job"]["state"]) == (True, "QUEUED")
    again = ask("submit", spec)
    assert again.exit_code == 2
    assert f"{first['job']['id']} (cameras) does the same and is QUEUED" in again.stderr
    assert "--new makes another job" in again.stderr
    assert submitted(ask, spec, "--new")["job"]["id"] != first["job"]["id"]


def test_one_key_is_one_job(ask, spec):
    ids = {submitted(ask, spec, "--idempotency-key", "k1")["job"]["id"] for _ in range(2)}
    assert len(ids) == 1
    other = ask("submit", spec, "--idempotency-key", "k1", "--set", "training.seed=7", "--new")
    assert other.exit_code == 2
    assert "k1" in other.stderr


def test_what_was_trained_is_shown(ask, place, spec):
    first = submitted(ask, spec)
    place.ended(first["job"]["id"], model="cameras@1")
    done = ask("submit", spec)
    assert done.exit_code == 0
    assert done.stdout == f"{first['job']['id']} (cameras) is SUCCEEDED\n"
    assert "trained before as cameras@1" in done.stderr
    assert "Follow it" not in done.stderr


def test_wait_follows_and_ends_as_the_job_did(ask, spec, monkeypatch):
    followed = []

    def follow(handle, *, as_json):
        followed.append((handle.job.name, as_json))
        return 1

    monkeypatch.setattr(watching, "follow", follow)
    assert ask("submit", spec, "--wait").exit_code == 1
    done = ask("submit", spec, "--new", "--wait", "--json")
    assert done.exit_code == 1
    assert followed == [("cameras", False), ("cameras", True)]
    (line,) = done.stdout.splitlines()  # and those of `follow`
    assert json.loads(line)["type"] == "submitted"


def test_everything_wrong_with_a_spec_is_told_in_its_own_terms(ask, spec, place):
    text = (
        spec.read_text().replace("max_steps: 4", "max_step: 4").replace("train.jsonl", "no.jsonl")
    )
    spec.write_text(text)
    done = ask("submit", spec)
    assert done.exit_code == 2
    assert "spec.yaml:11: training.max_step: unknown field" in done.stderr
    assert done.stdout == ""
    spec.write_text(text.replace("max_step:", "max_steps:"))
    done = ask("submit", spec, "--json")
    assert done.exit_code == 2
    (problem,) = json.loads(done.stdout)["error"]["problems"]
    assert problem["path"] == "data.domains.camera.train[0].path"
    assert place.service.jobs.list(JobFilter(), Page())[0] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["submit", "nix.yaml"], "nix.yaml"),
        (["submit", "spec.yaml", "--set", "training.seeed=1"], "did you mean"),
        (["submit", "spec.yaml", "--set", "scheduling.queue=fast"], "team vision has no queue"),
        (["submit", "spec.yaml", "--set", "scheduling.after=[nobody]"], "has no job 'nobody'"),
        (["submit", "spec.yaml", "--set", "resources.workers=900"], "among 900 workers"),
    ],
)
def test_what_cannot_be_queued_is_refused(ask, spec, words, told):
    done = ask(*words)
    assert done.exit_code == 2
    assert told in done.stderr
    assert done.stdout == ""


def test_a_viewer_only_looks(ask, spec):
    done = ask("submit", spec, role=Role.VIEWER, name="vera")
    assert done.exit_code == 2
    assert "vera is a viewer of vision, this takes a submitter" in done.stderr


def test_a_job_is_suspended_resumed_cancelled_and_tried_again(ask, place):
    job = place.job("cameras").id
    for words, told in (
        (["suspend", "cameras"], "SUSPENDED"),
        (["resume", job], "QUEUED: Resumed"),
        (["cancel", "cameras"], "CANCELLED"),
        (["retry", "cameras"], "QUEUED: Retried"),
    ):
        done = ask(*words)
        assert (done.exit_code, done.stderr) == (0, "")
        assert done.stdout == f"{job} (cameras) is {told}\n"
    document = json.loads(ask("suspend", job, "--json").stdout)
    assert document["job"]["state"] == "SUSPENDED"


def test_of_a_running_job_it_is_said_what_will_happen(ask, place):
    job = place.job("cameras").id
    place.started(job)
    done = ask("cancel", job)
    assert done.stdout == f"{job} (cameras) is RUNNING\n"
    assert done.stderr == "It was asked to be cancelled.\n"
    assert place.wakes == 1


def test_a_suspended_job_may_change_how_it_runs_and_not_what_it_learns(ask, spec, place):
    job = submitted(ask, spec)["job"]["id"]
    ask("suspend", job)
    refused = ask("resume", job, "--set", "training.seed=3")
    assert refused.exit_code == 2
    assert "training.seed: a job that has begun keeps what it learns" in refused.stderr
    assert ask("resume", job, "--set", "resources.memory_gb_per_worker=1").exit_code == 0
    assert place.service.jobs.get(job).demand.memory_bytes_per_worker == 1_000_000_000


def test_rerun_makes_another_job_of_the_same_documents(ask, place):
    job = place.ended(place.job("cameras").id).id
    document = json.loads(ask("rerun", "cameras", "--json").stdout)
    assert document["job"]["id"] != job
    assert document["job"]["identity"] == place.service.jobs.get(job).identity
    again = ask("rerun", job, "--idempotency-key", "again").stdout
    assert ask("rerun", job, "--idempotency-key", "again").stdout == again
    assert again.endswith("(cameras) is QUEUED\n")


@pytest.mark.parametrize(
    ("state", "words", "told"),
    [
        (S.SUCCEEDED, ["cancel", "cameras"], "has ended: it is SUCCEEDED"),
        (S.SUCCEEDED, ["retry", "cameras"], "trains it again"),
        (S.FAILED, ["resume", "cameras"], "orchestrator retry"),
        (S.QUEUED, ["delete", "cameras", "--yes"], "has not ended"),
    ],
)
def test_what_does_not_go_is_told_with_what_does(ask, place, state, words, told):
    job = place.job("cameras")
    if state is not S.QUEUED:
        place.ended(job.id, state)
    done = ask(*words)
    assert done.exit_code == 2
    assert told in done.stderr


def test_jobs_of_others_are_a_leads_to_change(ask, place):
    place.job("cameras", by="bob")
    done = ask("cancel", "cameras")
    assert done.exit_code == 2
    assert "can be changed by bob or a lead of vision, not by ada" in done.stderr
    assert ask("cancel", "cameras", role=Role.LEAD, name="lea").exit_code == 0


def test_deleting_asks_and_takes_what_was_saved_along(ask, place, monkeypatch):
    job = place.ended(place.job("cameras").id, S.FAILED)
    CheckpointStore(open_store(job.store), job.id).put_outcome(1, {"format": 1}, create_only=True)
    asked = ask("delete", "cameras")
    assert asked.exit_code == 2
    assert "give --yes" in asked.stderr  # nobody is there to answer
    monkeypatch.setattr(changes, "_is_answered", lambda: True)
    kept = ask("delete", "cameras", input="n\n")
    assert (kept.exit_code, kept.stdout) == (130, "")
    assert kept.stderr.endswith("Nothing was deleted.\n")
    done = ask("delete", "cameras", input="y\n")
    assert done.stdout == f"{job.id} (cameras) is deleted\n"
    assert done.exit_code == 0
    assert place.service.jobs.get(job.id) is None
    assert list(open_store(job.store).list(f".checkpoints/{job.id}")) == []


def test_what_could_not_be_deleted_is_a_failure(ask, place, monkeypatch):
    job = place.ended(place.job("cameras").id, S.FAILED)
    monkeypatch.setattr(
        "orchestrator.control.controller.verbs.clear_bytes", lambda job: "s3://x is still there"
    )
    done = ask("delete", "cameras", "--yes", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"id": job.id, "message": "s3://x is still there"}


def test_a_stopping_job_says_why(ask, place):
    job = place.job("cameras").id
    place.started(job)
    place.move(job, S.STOPPING, Reason.PREEMPTED, goal="requeue")
    assert "It stops to go back into its queue." in ask("jobs").stdout
