"""`show`: everything about one job, and its spec."""

import io
import json

import pytest
import yaml
from rich.console import Console

from orchestrator.interfaces.cli.jobview import job_views, next_command
from orchestrator.interfaces.wire import JobView, Progress
from orchestrator.records import (
    Attempt,
    AttemptState,
    JobState,
    Outcome,
    Placed,
    Reason,
    Wait,
    WaitReason,
)
from orchestrator.specs.loading import load_spec
from tests.control.store.builders import TIME, a_job, job_name
from tests.interfaces.api.builders import write_project

S = JobState
JOB = job_name(1)


def a_view(*, progress=None, **fields):
    return JobView(**dict(a_job(**fields)), progress=progress)


def printed(job, attempts=(), plan=None, metrics=("accuracy",), width=80):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False)
    for view in job_views(job, attempts, plan or {}, metrics, TIME + 300):
        console.print(view)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def an_attempt(number, **fields):
    placement = (Placed(backend="gpus", node="node-1", workers=2),)
    given = {"state": AttemptState.ENDED, "backend": "gpus", "placement": placement}
    return Attempt(job=JOB, number=number, created_at=TIME + 60, **{**given, **fields})


def an_outcome(number, **fields):
    return Outcome(job=JOB, attempt=number, **fields)


def test_a_waiting_job_says_why_and_what_would_make_it_start():
    waits = (
        Wait(reason=WaitReason.QUOTA, message="It needs 4 GPUs.", remedy="Ask for less."),
        Wait(reason=WaitReason.BEHIND, message="Another comes first.", remedy=""),
    )
    lines = printed(a_view(waits=waits, priority=20, queue="gpus", labels={"project": "x"}))
    assert lines[:6] == [
        "camera  QUEUED",
        JOB,
        "",
        "Waits       It needs 4 GPUs. Ask for less.",
        "            Another comes first.",
        "Queue       gpus, urgent priority",
    ]
    assert "Team        vision, submitted by ada" in lines
    assert "Gang        1 × 1 CPU" in lines
    assert "Labels      project=x" in lines


def test_a_running_one_says_how_far_it_is():
    progress = Progress(
        attempt=1,
        phase="train",
        step=50,
        max_steps=200,
        metrics={"loss": 0.4322},
        checkpoint_step=40,
        running_at=TIME + 100,
        reported_at=TIME + 298,
    )
    job = a_view(
        state=S.RUNNING, reason=Reason.TRAINING, progress=progress, started_at=TIME + 90, attempt=1
    )
    running = an_attempt(1, state=AttemptState.RUNNING, step=50, max_steps=200, checkpoint_step=40)
    lines = printed(job, [running], width=120)
    assert lines[0] == "camera  RUNNING  train 50/200"
    # 50 steps in 200 s: 150 more take 600 s.
    assert (
        "Progress    train 50/200, loss 0.4322, about 10:00 of training left, saved at step 40, "
        "heard of just now"
    ) in lines
    assert lines[-1].split() == [
        *("1", "RUNNING", "gpus:", "node-1", "×", "2", "4:00", "50/200", "40")
    ]


def test_a_failed_one_tells_each_attempt_and_what_to_do():
    lost = an_outcome(1, state=S.FAILED, reason=Reason.WORKER_LOST, message="rank 1 is gone")
    wrong = an_outcome(
        2,
        state=S.FAILED,
        reason=Reason.USER_ERROR,
        message="no column `label`",
        hint="name it in columns",
        rank=1,
    )
    job = a_view(
        state=S.FAILED,
        reason=Reason.USER_ERROR,
        message="no column `label`",
        attempt=2,
        started_at=TIME + 60,
        finished_at=TIME + 200,
    )
    lines = printed(
        job, [an_attempt(1, outcome=lost, ended_at=TIME + 90), an_attempt(2, outcome=wrong)]
    )
    assert lines[0] == "camera  FAILED  UserError"
    assert lines[3:5] == [
        "Message     no column `label`",
        "Hint        name it in columns",
    ]
    assert any(line.startswith("Ended       ") and line.endswith("after 2:20") for line in lines)
    rows = [line for line in lines if "gpus: node-1" in line]
    assert [row.split()[:3] for row in rows] == [
        ["1", "FAILED", "WorkerLost"],
        ["2", "FAILED", "UserError,"],
    ]
    assert lines[-1] == "  1: rank 1 is gone"


def test_what_a_job_says_neither_colours_nor_moves_anything():
    told = "\x1b[31m[/red] :fire:\x07\nsecond line"
    job = a_view(state=S.FAILED, reason=Reason.UNKNOWN, message=told)
    lines = printed(job)
    assert lines[3:5] == ["Message     ?[31m[/red] :fire:?", "            second line"]
    stopping = printed(a_view(state=S.STOPPING, goal="cancel"))
    assert "Note        It stops to be cancelled." in stopping


@pytest.mark.parametrize("width", [80, 120])
def test_a_finished_one_has_its_figures(width):
    outcome = an_outcome(
        1,
        state=S.SUCCEEDED,
        reason=Reason.COMPLETED,
        model="camera@2",
        metrics={"camera": {"accuracy": 0.875, "num_rows": 120, "majority_accuracy": 0.5}},
        before={"camera": {"accuracy": 0.5}},
    )
    job = a_view(state=S.SUCCEEDED, reason=Reason.COMPLETED, model="camera@2", attempt=1)
    plan = {
        "time": {"total_seconds": 95.0},
        "steps": {"total": 40},
        "memory": {"worker_bytes": 1_520_000_000},
        "trainable_parameters": 1_000_000,
        "total_parameters": 22_700_000,
    }
    lines = printed(job, [an_attempt(1, outcome=outcome)], plan, width=width)
    assert "Model       camera@2" in lines
    planned = "Plan        about 1:35, 40 steps, 1.52 GB a worker, 1.00 M of 22.7 M parameters"
    assert planned in lines
    assert lines[-1].split() == [
        *("camera", "accuracy", "0.500", "0.875", "+0.375", "–", "0.500", "120")
    ]
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (S.QUEUED, None),
        (S.RUNNING, f"orchestrator logs -f {JOB}"),
        (S.FAILED, f"orchestrator retry {JOB}"),
        (S.CANCELLED, f"orchestrator retry {JOB}"),
        (S.SUSPENDED, f"orchestrator resume {JOB}"),
        (S.SUCCEEDED, None),
    ],
)
def test_the_next_command(state, command):
    assert next_command(a_view(state=state)) == command


# Asked of a server


def test_a_job_by_its_id_and_by_its_name(ask, place):
    older, newer = place.job("cameras"), place.job("cameras")
    place.started(older.id)
    by_id, by_name = (ask("show", name, "--json") for name in (older.id, "cameras"))
    assert (by_id.exit_code, by_name.exit_code) == (0, 0)
    document = json.loads(by_id.stdout)
    assert document["job"]["id"] == older.id
    assert [attempt["number"] for attempt in document["attempts"]] == [1]
    assert document["plan"] == {"verdict": "fits", "bytes": 12}
    assert json.loads(by_name.stdout)["job"]["id"] == newer.id
    shown = ask("show", older.id)
    assert shown.stdout.startswith(f"cameras  RUNNING\n{older.id}\n")
    assert shown.stderr == f"\nNext: orchestrator logs -f {older.id}\n"


def test_the_spec_is_two_documents_that_can_be_used_again(ask, tmp_path):
    spec = write_project(tmp_path)
    ask("submit", spec, "--set", "training.seed=5")
    shown = ask("show", "cameras", "--spec").stdout
    written, _, resolved = shown.partition("\n---\n")
    assert written.startswith("# As a person writes it.\n")
    assert "# --set training.seed=5\n" in written
    file = tmp_path / "resolved.yaml"
    file.write_text(resolved)
    assert load_spec(file).spec.spec.training.seed == 5
    assert yaml.safe_load(written)["metadata"]["name"] == "cameras"
    document = json.loads(ask("show", "cameras", "--spec", "--json").stdout)
    assert document["written"] == spec.read_text()
    assert document["sets"][0] == "training.seed=5"
    assert document["spec"]["spec"]["training"]["seed"] == 5


@pytest.mark.parametrize("words", [["show"], ["show", "--spec"], ["cancel"], ["compare", "x"]])
def test_a_job_of_nobody_or_of_others_is_not_there(ask, place, words):
    foreign = place.job("secret", team="nlp")
    for name in ("nix", "secret", foreign.id):
        done = ask(*words, name)
        assert done.exit_code == 2
        assert done.stdout == ""
        assert "there is no job" in done.stderr
