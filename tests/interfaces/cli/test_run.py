import json
import logging
import os
import signal

import pytest

from orchestrator import server
from orchestrator.control.admission.records import PlanReason
from orchestrator.errors import (
    AlreadyRunning,
    InvalidInput,
    LaunchFailed,
    PlanRefused,
    Problem,
    StoreDenied,
    StoreUnavailable,
)
from orchestrator.records import JobState, Outcome, Phase, Reason, SelectionOutcome
from tests.interfaces.cli.scripted import JOB, FakeClock, Script, plan

AFTER = {
    "camera": {
        "accuracy": 0.886,
        "macro_f1": 0.825,
        "majority_accuracy": 0.808,
        "majority_macro_f1": 0.447,
        "intervals": {"accuracy": [0.836, 0.931], "macro_f1": [0.76, 0.881]},
        "num_rows": 167,
    },
    "movie": {"accuracy": 0.7, "macro_f1": float("nan"), "num_rows": 700},
}
BEFORE = {"camera": {"accuracy": 0.512, "macro_f1": 0.401}, "movie": {"accuracy": 0.71}}


def outcome(state=JobState.SUCCEEDED, reason=Reason.COMPLETED, **fields):
    return Outcome(job=JOB, attempt=1, state=state, reason=reason, **fields)


@pytest.fixture
def published(work):
    return outcome(
        step=120,
        checkpoint_step=120,
        model="reviews@3",
        url=str(work / "models/reviews/3"),
        metrics=AFTER,
        before=BEFORE,
        selection=SelectionOutcome(metric="camera/macro_f1", mode="max", value=0.82, step=80),
        seconds={Phase.PLAN: 0.8, Phase.LAUNCH: 12.1, Phase.EVALUATE_BEFORE: 4, Phase.TRAIN: 182},
    )


@pytest.fixture
def serve(monkeypatch):
    """Lets the server answer: with an outcome, or by an error that is raised."""
    calls = []

    def serve(answer, script=lambda listener, stop: None):
        def run(source, sets=(), *, settings, listener, stop, new=False):
            calls.append({"source": source, "sets": sets, "new": new, "stop": stop})
            script(listener, stop)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(server, "run", run)
        return calls

    return serve


def test_the_final_table_and_the_next_command(orchestrator, serve, published):
    serve(published)
    done = orchestrator("run", "job.yaml")
    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert [line.split() for line in lines[3:7]] == [
        ["camera", "accuracy", "0.512", "0.886", "+0.374", "0.836", "to", "0.931", "0.808", "167"],
        ["macro_f1", "0.401", "0.825", "+0.424", "0.760", "to", "0.881", "0.447"],
        ["movie", "accuracy", "0.710", "0.700", "-0.010", "–", "–", "700"],
        ["macro_f1", "–", "–", "–", "–", "–"],
    ]
    assert max(map(len, lines)) <= 80
    told = " ".join(done.stdout.split())
    assert "Weights of step 80, camera/macro_f1 0.820 on valid" in told
    assert "Time 3:19: plan 0.8 s, launch 12 s, evaluate before 4.0 s, train 3:02" in told
    assert lines[-2:] == ["Try it:", "  orchestrator predict reviews@3 --text 'your text'"]


def test_the_table_shows_the_metrics_that_the_spec_asks_for(orchestrator, serve, published):
    asked = plan()
    evaluation = asked.spec.spec.evaluation.model_copy(update={"metrics": ("accuracy",)})
    body = asked.spec.spec.model_copy(update={"evaluation": evaluation})
    asked = asked.model_copy(update={"spec": asked.spec.model_copy(update={"spec": body})})
    serve(published, lambda listener, stop: listener.planned(asked))
    done = orchestrator("run", "job.yaml")
    assert "accuracy" in done.stdout
    assert "macro_f1  " not in done.stdout


def test_a_store_of_its_own_is_named_in_the_next_command(orchestrator, serve, published, work):
    serve(published.model_copy(update={"url": str(work / "elsewhere/reviews/3")}))
    told = orchestrator("run", "job.yaml").stdout.splitlines()[-1]
    assert told == "  orchestrator predict reviews@3 --text 'your text' --store elsewhere"


def test_a_resumed_run_says_so(orchestrator, serve, published):
    serve(published.model_copy(update={"resumed_from_step": 40, "attempt": 2}))
    assert "Resumed     from step 40, attempt 2" in orchestrator("run", "job.yaml").stdout


def test_progress_goes_to_stderr_as_lines(orchestrator, serve, published):
    def script(listener, stop):
        reports = Script(FakeClock())
        listener.phase(Phase.PLAN, "")
        listener.planned(plan(steps=9))
        listener.report(reports.report(Phase.TRAIN, step=1, max_steps=9, metrics={"loss": 0.5}))

    serve(published, script)
    done = orchestrator("run", "job.yaml", "--json")
    assert json.loads(done.stdout)["state"] == "SUCCEEDED"
    assert "train            step 1 of 9  loss 0.5000" in done.stderr


def test_success_as_json(orchestrator, serve, published, work):
    serve(published)
    done = orchestrator("run", "job.yaml", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document.pop("metrics")["movie"] == {
        "accuracy": 0.7,
        "macro_f1": None,  # JSON has no NaN
        "num_rows": 700,
    }
    assert document == {
        "job": JOB,
        "attempt": 1,
        "resumed_from_step": None,
        "state": "SUCCEEDED",
        "reason": "Completed",
        "message": None,
        "model": "reviews@3",
        "url": str(work / "models/reviews/3"),
        "before": BEFORE,
        "selection": {
            "metric": "camera/macro_f1",
            "mode": "max",
            "value": 0.82,
            "step": 80,
            "last": False,
        },
        "gates": [],
        "promoted": None,
        "seconds": {"plan": 0.8, "launch": 12.1, "evaluate_before": 4.0, "train": 182.0},
        "step": 120,
        "checkpoint_step": 120,
        "rank": None,
        "error": None,
    }


FAILED = {
    "state": JobState.FAILED,
    "reason": Reason.OUT_OF_MEMORY,
    "message": "rank 1 ran out of memory",
    "hint": "lower engine.micro_batch_size",
    "rank": 1,
    "checkpoint_step": 40,
}


def test_a_failed_job_says_why_and_how_to_go_on(orchestrator, serve):
    serve(outcome(**FAILED))
    done = orchestrator("run", "job.yaml", "--set", "training.epochs=3", "--new")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "failed (OutOfMemory, rank 1): rank 1 ran out of memory",
        "  hint: lower engine.micro_batch_size",
        "The checkpoint of step 40 is kept. To go on from it:",
        "  orchestrator run job.yaml --set training.epochs=3",
    ]


def test_a_failed_job_as_json(orchestrator, serve):
    serve(outcome(**FAILED))
    done = orchestrator("run", "job.yaml", "--json")
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert (document["job"], document["state"], document["reason"]) == (
        JOB,
        "FAILED",
        "OutOfMemory",
    )
    assert document["error"] == {
        "kind": "JobFailed",
        "message": "rank 1 ran out of memory",
        "hint": "lower engine.micro_batch_size",
        "exit_code": 1,
        "problems": [],
    }


def test_ctrl_c_saves_and_says_how_to_go_on(orchestrator, serve):
    def script(listener, stop):
        listener.report(Script(FakeClock()).report(Phase.TRAIN, step=57, max_steps=120))
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.level == 1

    saved = {"message": "interrupted", "step": 57, "checkpoint_step": 57}
    calls = serve(outcome(JobState.SUSPENDED, Reason.INTERRUPTED, **saved), script)
    done = orchestrator("run", "job.yaml", "--store", "s3://bucket/models", "--new")
    assert done.exit_code == 130
    assert calls[0]["new"] is True
    assert done.stderr.splitlines()[-3:] == [
        "Interrupted at step 57; the checkpoint of step 57 is saved.",
        "To go on:",
        "  orchestrator run job.yaml --store s3://bucket/models",
    ]


def test_an_interruption_before_any_checkpoint(orchestrator, serve):
    serve(outcome(JobState.SUSPENDED, Reason.INTERRUPTED))
    done = orchestrator("run", "job.yaml", "--json")
    assert done.exit_code == 130
    document = json.loads(done.stdout)
    assert (document["state"], document["reason"], document["error"]) == (
        "SUSPENDED",
        "Interrupted",
        None,
    )
    assert "Interrupted; no checkpoint was saved. To begin again:" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (InvalidInput([Problem("empty", file="job.yaml", line=1)]), 2, "UserError"),
        (AlreadyRunning("this run is live in process 7"), 2, "UserError"),
        (StoreDenied("wrong key"), 2, "StoreDenied"),
        (StoreUnavailable("no route"), 1, "StoreUnavailable"),
        (LaunchFailed("Ray did not come up"), 1, "LaunchFailed"),
        (ZeroDivisionError("division by zero"), 1, "Unknown"),
    ],
)
def test_whatever_is_raised_is_one_document(orchestrator, serve, error, code, reason):
    serve(error)
    done = orchestrator("run", "job.yaml", "--json")
    assert done.exit_code == code
    document = json.loads(done.stdout)
    assert (document["state"], document["reason"], document["job"]) == ("FAILED", reason, None)
    assert (document["metrics"], document["seconds"]) == ({}, {})
    assert document["error"]["kind"] in (type(error).__name__, "Defect")
    assert document["error"]["exit_code"] == code
    assert done.stderr


def refuse(listener, stop):
    reason = PlanReason(path="resources.workers", message="9 workers need 13 GB", change="write 2")
    listener.planned(plan(verdict="refused", reasons=(reason,)))


def test_a_refused_plan_shows_its_reasons(orchestrator, serve):
    serve(PlanRefused("resources.workers: 9 workers need 13 GB", hint="write 2"), refuse)
    done = orchestrator("run", "job.yaml")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-4:] == [
        "refused: it would not work like this",
        "  resources.workers: 9 workers need 13 GB",
        "    → write 2",
        "Nothing was started; `orchestrator plan` shows the whole plan.",
    ]


def test_a_refused_plan_as_json_has_its_reasons_as_problems(orchestrator, serve):
    serve(PlanRefused("resources.workers: 9 workers need 13 GB", hint="write 2"), refuse)
    document = json.loads(orchestrator("run", "job.yaml", "--json").stdout)
    assert document["error"]["kind"] == "PlanRefused"
    (problem,) = document["error"]["problems"]
    assert (problem["path"], problem["hint"]) == ("resources.workers", "write 2")


def test_the_store_is_an_override_that_wins(orchestrator, serve, published, work):
    calls = serve(published)
    orchestrator("run", "job.yaml", "--set", "output.store=a", "--store", "b/c d")
    assert calls[0]["sets"] == ("output.store=a", f'output.store="{work}/b/c d"')


def test_the_log_goes_to_stderr_at_the_set_level(orchestrator, serve, published, monkeypatch):
    def script(listener, stop):
        logging.getLogger("orchestrator.storage").info("the store is away")

    serve(published, script)
    assert "the store is away" not in orchestrator("run", "job.yaml").stderr
    monkeypatch.setenv("ORCHESTRATOR_LOG_LEVEL", "INFO")
    done = orchestrator("run", "job.yaml", "--json")
    assert "the store is away" in done.stderr
    assert json.loads(done.stdout)["state"] == "SUCCEEDED"


def test_wrong_settings_are_told_before_anything(orchestrator, serve, published, work):
    calls = serve(published)
    (work / "orchestrator.toml").write_text("stoer = 1\n")
    done = orchestrator("run", "job.yaml", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"]["kind"] == "SettingsError"
    assert calls == []
