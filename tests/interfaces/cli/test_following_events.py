"""`events` and `stacks`."""

import json

import pytest

from orchestrator.interfaces.api.routes import changes
from orchestrator.interfaces.cli.events import line
from orchestrator.records import Event, JobState, Reason
from orchestrator.storage.checkpoints import CheckpointStore

S = JobState


@pytest.fixture
def job(place):
    job = place.job()
    place.started(job.id)
    return job


def test_the_columns_stand_below_each_other():
    events = [
        Event(
            id=n,
            time=1_800_000_000.0,
            job="job-01kax7m0f2c3d4e5f6g7h8j9k0",
            kind=kind,
            state=state,
            reason=reason,
            message="what\nwas  said",
        )
        for n, (kind, state, reason) in enumerate(
            [
                ("StateChanged", S.SUCCEEDED, Reason.STORE_UNAVAILABLE),
                ("Created", S.QUEUED, Reason.HANG),
            ]
        )
    ]
    shown = [line(event, with_job=True) for event in events]
    assert {text.index("what was said") for text in shown} == {len(shown[0]) - 13}
    assert "job-01kax7m0f2c3d4e5f6g7h8j9k0  Created " in shown[1]
    assert "job-" not in line(events[0], with_job=False)


def test_what_happened_to_a_job(ask, job):
    done = ask("events", "cameras")
    assert done.exit_code == 0
    assert [text.split()[2:5] for text in done.stdout.splitlines()] == [
        ["Created", "QUEUED", "Submitted"],
        ["StateChanged", "STARTING", "Launched"],
        ["StateChanged", "RUNNING", "Training"],
    ]
    (last,) = ask("events", job.id, "--tail", "1").stdout.splitlines()
    assert "RUNNING" in last


def test_what_happened_to_a_team(ask, place, job):
    place.job("of others", team="text")
    other = place.job("other")
    done = ask("events", "--json")
    told = [json.loads(text) for text in done.stdout.splitlines()]
    assert [(event["type"], event["job"]) for event in told] == [("event", job.id)] * 3 + [
        ("event", other.id)
    ]
    assert len(ask("events", "--tail", "2").stdout.splitlines()) == 2
    assert ask("events", team="nobody", name="eve").stderr == "nothing has happened yet\n"


def test_a_job_is_followed_to_its_end(ask, place, job):
    place.ended(job.id)
    done = ask("events", job.id, "-f", "--tail", "2")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [text.split()[3] for text in done.stdout.splitlines()] == ["RUNNING", "SUCCEEDED"]


def test_an_error_is_a_line_too(ask):
    done = ask("events", "nobody", "-f", "--json")
    assert done.exit_code == 2
    (text,) = done.stdout.splitlines()
    assert json.loads(text)["type"] == "error"
    assert json.loads(text)["error"]["kind"] == "NotFound"


# Stacks


@pytest.fixture
def answers(monkeypatch):
    """Which ranks answer."""
    ranks = [0, 1]

    class Answered(CheckpointStore):
        def stacks(self, attempt):
            for rank in ranks:
                self.put_stacks(attempt, rank, f"Thread MainThread:\n  in train of {rank}\n")
            return super().stacks(attempt)

    monkeypatch.setattr(changes, "CheckpointStore", Answered)
    return ranks


def test_one_block_a_rank(ask, job, answers):
    done = ask("stacks", job.id)
    assert done.exit_code == 0
    assert done.stdout == (
        "rank 0 of attempt 1\nThread MainThread:\n  in train of 0\n\n"
        "rank 1 of attempt 1\nThread MainThread:\n  in train of 1\n"
    )
    told = json.loads(ask("stacks", job.id, "--json").stdout)
    assert (told["silent"], sorted(told["ranks"])) == ([], ["0", "1"])


def test_ranks_that_did_not_answer_are_named(ask, job, answers):
    answers.remove(0)
    done = ask("stacks", job.id, "--timeout", "0")
    assert done.exit_code == 1
    assert "rank 1 of attempt 1" in done.stdout
    assert "rank 0 did not answer within 0 s" in done.stderr
    assert json.loads(ask("stacks", job.id, "--timeout", "0", "--json").stdout)["silent"] == [0]
    answers.clear()
    place_of_others = ask("stacks", job.id, "--timeout", "0")
    assert "no rank answered within 0 s" in place_of_others.stderr


def test_a_job_without_workers_has_no_stacks(ask, place):
    done = ask("stacks", place.job().id)
    assert done.exit_code == 2
    assert "has no workers: it is QUEUED" in done.stderr
