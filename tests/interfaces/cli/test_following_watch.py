"""`watch` and `submit --wait`: the display of `run` for a job of a server."""

import json

import pytest

from orchestrator.control.store import JobChange
from orchestrator.interfaces.cli import watching
from orchestrator.interfaces.client import Progress, Waiting
from orchestrator.interfaces.client.handle import Watch
from orchestrator.records import (
    AttemptState,
    Event,
    JobState,
    Outcome,
    Phase,
    Reason,
    SelectionOutcome,
    Wait,
    WaitReason,
)
from tests.control.builders import report
from tests.interfaces.api.builders import SECRET, write_project

S = JobState


def ended(place, job, **said):
    """Its attempt has left an Outcome, and the job ends as it says."""
    outcome = Outcome(
        **{"job": job, "attempt": 1, "state": S.SUCCEEDED, "reason": Reason.COMPLETED, **said}
    )
    seen = place.service.jobs.get(job)
    attempt = place.service.attempts.list(job)[-1]
    attempt = attempt.model_copy(update={"state": AttemptState.ENDED, "outcome": outcome})
    assert place.service.jobs.apply(JobChange(seen, {}, attempt=attempt)) is not None
    place.ended(job, outcome.state, message=outcome.message or "", model=outcome.model)


@pytest.fixture
def job(place):
    job = place.job()
    place.started(job.id)
    return job


def test_it_ends_with_the_metrics_and_how_to_use_the_model(ask, place, job):
    place.service.desk.receive(SECRET, report(1, job=job.id, step=40, max_steps=40))
    measured = {"camera": {"accuracy": 0.81, "macro_f1": 0.79, "num_rows": 60}}
    ended(
        place,
        job.id,
        model="cameras@1",
        url=f"{job.store}/cameras/1",
        metrics=measured,
        selection=SelectionOutcome(step=40, last=True),
    )
    done = ask("watch", job.id)
    assert done.exit_code == 0
    assert "0.810" in done.stdout
    assert "cameras@1" in done.stdout


def test_a_failure_is_told_with_what_goes_on(ask, place, job):
    ended(
        place,
        job.id,
        state=S.FAILED,
        reason=Reason.USER_ERROR,
        message="the label is missing",
        hint="add it",
        rank=1,
        checkpoint_step=20,
    )
    done = ask("watch", job.id)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "failed (UserError, rank 1): the label is missing" in done.stderr
    assert "hint: add it" in done.stderr
    assert done.stderr.endswith(f"orchestrator retry {job.id}\n")


def test_a_job_that_failed_in_its_queue_says_why(ask, place):
    job = place.job()
    place.move(
        job.id, S.FAILED, Reason.DEADLINE_EXCEEDED, message="not running 60 s after", attempt=0
    )
    done = ask("watch", job.id)
    assert done.exit_code == 1
    assert "failed (DeadlineExceeded): not running 60 s after" in done.stderr


def test_cancelled_is_no_success(ask, place):
    job = place.job()
    place.move(job.id, S.CANCELLED, Reason.CANCELLED, message="cancelled by ada")
    done = ask("watch", job.id)
    assert (done.exit_code, done.stderr) == (1, "cancelled: cancelled by ada\n")


def test_each_update_is_a_line_of_json(ask, place, job):
    ended(place, job.id, metrics={"camera": {"accuracy": float("nan")}})
    done = ask("watch", job.id, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == [*["event"] * 4, "progress", "end"]
    assert lines[-1]["state"] == "SUCCEEDED"
    assert lines[-1]["metrics"] == {"camera": {"accuracy": None}}
    assert lines[-1]["error"] is None
    missing = ask("watch", "nobody", "--json")
    assert missing.exit_code == 2
    assert json.loads(missing.stdout)["type"] == "error"


def test_ctrl_c_ends_the_watching_and_not_the_job(ask, place, job, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Watch, "__next__", interrupted)
    for words in ((), ("--json",)):
        done = ask("watch", job.id, *words)
        assert done.exit_code == 130
        assert done.stderr.endswith(
            f"{job.id} goes on. To follow it again, or to end it:\n"
            f"  orchestrator watch {job.id}\n  orchestrator cancel {job.id}\n"
        )
    assert place.service.jobs.get(job.id).state is S.RUNNING


def test_submit_waits_with_the_plan_on_the_display(ask, place, work, monkeypatch):
    """The plan that the server has made is told as `run` tells its own."""

    def over(self):
        handle = self.handle
        place.started(handle.id)
        ended(place, handle.id, model="cameras@1")
        return next(self._updates)

    first = Watch.__next__
    steps = iter([over])
    monkeypatch.setattr(Watch, "__next__", lambda self: next(steps, first)(self))
    done = ask("submit", write_project(work), "--wait")
    assert done.exit_code == 0, done.stderr
    assert "4 steps, about" in done.stderr


# What a display is told


class Display:
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *words: self.told.append((name, *words))

    def report(self, report):
        self.told.append((report.phase, report.step, report.metrics))


class Handle:
    id = "job-1"


def event(state, kind="StateChanged", message="", reason=Reason.LAUNCHED):
    return Event(time=0.0, job="job-1", kind=kind, state=state, reason=reason, message=message)


def told(*updates):
    display = Display()
    shown = watching._Shown(display, Handle())
    for update in updates:
        shown.take(update)
    return display.told


def test_a_job_in_its_queue_says_why_it_waits():
    wait = Wait(reason=WaitReason.NO_ROOM, message="There is no room.")
    assert told(
        event(S.QUEUED, "Created", "submitted by ada"),
        Waiting(waits=(wait,)),
        event(S.STARTING, message="attempt 1: 2 on n1"),
        event(S.STARTING, "Launched"),
        event(S.RUNNING),
        Progress(attempt=1),
        Progress(attempt=1, phase="train", step=3, metrics={"loss": 0.5}),
    ) == [
        ("waiting", "submitted by ada"),
        ("waiting", "There is no room."),
        ("phase", Phase.LAUNCH, "attempt 1: 2 on n1"),
        ("phase", Phase.LAUNCH, ""),
        ("phase", Phase.IMPORT, ""),
        (Phase.TRAIN, 3, {"loss": 0.5}),
    ]


def test_what_happens_beside_its_phases_is_noted():
    assert told(
        event(S.RUNNING),
        event(S.RUNNING, "StacksRequested", "asked for by ada"),
        event(S.STOPPING, message="asked for by a user", reason=Reason.SUSPENDED),
        event(S.SUSPENDED),
        event(S.QUEUED, message="WorkerLost: killed; goes on", reason=Reason.RETRYING),
    ) == [
        ("note", "stacks requested: asked for by ada"),
        ("note", "stopping (Suspended): asked for by a user"),
        ("waiting", "suspended; `orchestrator resume job-1` lets it go on"),
        ("waiting", "WorkerLost: killed; goes on"),
    ]
