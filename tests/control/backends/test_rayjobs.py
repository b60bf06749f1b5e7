from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.control.backends.rayjobs import RayJobs, open_api
from orchestrator.errors import BackendUnavailable, LaunchFailed

Answer = Callable[[httpx.Request], httpx.Response]


class ScriptedCluster:
    """Answers `METHOD path` with the next of its answers; the last one is repeated."""

    def __init__(self, **answers: list[httpx.Response | Exception]) -> None:
        self.answers = answers
        self.requests: list[httpx.Request] = []
        self.now = 0.0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        kind = {"GET": "get", "POST": "post"}[request.method]
        if request.url.path.endswith("/stop"):
            kind = "stop"
        if request.url.path.endswith("/logs"):
            kind = "logs"
        script = self.answers[kind]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def client(self) -> RayJobs:
        http = open_api("http://ray", "secret", httpx.MockTransport(self))
        return RayJobs(http, clock=lambda: self.now, sleep=self.sleep)


def job(status: str, **fields: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": status, "message": "m", **fields})


UNKNOWN_JOB = httpx.Response(404, text="Job job-1-a1 does not exist")
ACCEPTED = httpx.Response(200, json={"submission_id": "job-1-a1"})


def test_submitting_looks_first_and_sends_the_token() -> None:
    cluster = ScriptedCluster(get=[UNKNOWN_JOB], post=[ACCEPTED])
    cluster.client().submit("job-1-a1", "python x", environment={"A": "1"})
    look, post = cluster.requests
    assert look.url.path == "/api/jobs/job-1-a1"
    assert post.url.path == "/api/jobs/"
    assert post.headers["authorization"] == "Bearer secret"
    assert json.loads(post.content) == {
        "entrypoint": "python x",
        "submission_id": "job-1-a1",
        "runtime_env": {"env_vars": {"A": "1"}},
    }


def test_a_job_that_is_there_is_not_submitted_again() -> None:
    cluster = ScriptedCluster(get=[job("RUNNING")], post=[])
    cluster.client().submit("job-1-a1", "python x", environment={})
    assert [request.method for request in cluster.requests] == ["GET"]


def test_a_young_cluster_is_asked_again() -> None:
    no_agent = httpx.Response(500, text="No available agent to submit job")
    away = httpx.ConnectError("refused")
    cluster = ScriptedCluster(get=[away, UNKNOWN_JOB, UNKNOWN_JOB], post=[no_agent, ACCEPTED])
    cluster.client().submit("job-1-a1", "python x", environment={})
    assert [request.method for request in cluster.requests] == ["GET", "GET", "POST", "GET", "POST"]


def test_an_answer_that_was_lost_is_found_by_looking() -> None:
    cluster = ScriptedCluster(
        get=[UNKNOWN_JOB, job("PENDING")], post=[httpx.ReadTimeout("no answer")]
    )
    cluster.client().submit("job-1-a1", "python x", environment={})
    assert [request.method for request in cluster.requests] == ["GET", "POST", "GET"]


def test_a_refused_token_is_not_tried_again() -> None:
    cluster = ScriptedCluster(get=[UNKNOWN_JOB], post=[httpx.Response(403, text="wrong token\n")])
    with pytest.raises(LaunchFailed, match=r"job-1-a1: HTTP 403: wrong token"):
        cluster.client().submit("job-1-a1", "python x", environment={})
    assert len(cluster.requests) == 2


def test_patience_ends_with_the_last_thing_ray_said() -> None:
    answer = httpx.Response(500, text="Traceback\n  File x\nNo available agent.\n.\n")
    cluster = ScriptedCluster(get=[UNKNOWN_JOB], post=[answer])
    with pytest.raises(BackendUnavailable, match=r"HTTP 500: No available agent\."):
        cluster.client().submit("job-1-a1", "python x", environment={}, patience_seconds=10)
    assert cluster.now == pytest.approx(10.2, abs=0.2)


def test_submitting_ends_when_it_is_cancelled() -> None:
    cluster = ScriptedCluster(get=[UNKNOWN_JOB], post=[httpx.Response(500, text="wait")])
    with pytest.raises(LaunchFailed):
        cluster.client().submit(
            "job-1-a1", "x", environment={}, cancelled=lambda: len(cluster.requests) >= 2
        )
    assert len(cluster.requests) == 2


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (job("PENDING"), Observation(AttemptStatus.PENDING, "m")),
        (job("RUNNING"), Observation(AttemptStatus.RUNNING, "m")),
        (job("SUCCEEDED", driver_exit_code=0), Observation(AttemptStatus.SUCCEEDED, "m", 0)),
        (job("FAILED", driver_exit_code=137), Observation(AttemptStatus.FAILED, "m", 137)),
        (job("STOPPED"), Observation(AttemptStatus.STOPPED, "m")),
        (job("SOMETHING_NEW"), Observation(AttemptStatus.UNKNOWN, "m")),
        (
            UNKNOWN_JOB,
            Observation(AttemptStatus.ABSENT, "the cluster does not know the job job-1-a1"),
        ),
    ],
)
def test_looking(answer: httpx.Response, expected: Observation) -> None:
    cluster = ScriptedCluster(get=[answer])
    assert cluster.client().look("job-1-a1") == expected


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500, text="boom"),
        httpx.Response(200, text="<html>"),
        httpx.Response(404, text="404 page not found"),  # a proxy that has lost its upstream
        httpx.Response(401, text="wrong token"),
    ],
)
def test_a_failed_look_is_not_a_failed_job(failure: httpx.Response | Exception) -> None:
    cluster = ScriptedCluster(get=[failure])
    assert cluster.client().look("job-1-a1").status is AttemptStatus.UNKNOWN


def test_the_log_tail_is_the_last_lines() -> None:
    cluster = ScriptedCluster(logs=[httpx.Response(200, json={"logs": "a\nb\nc\n"})])
    assert cluster.client().log_tail("job-1-a1", 2) == "b\nc"


def test_a_log_that_cannot_be_had_is_empty() -> None:
    cluster = ScriptedCluster(logs=[httpx.ConnectError("refused")])
    assert cluster.client().log_tail("job-1-a1", 2) == ""


def test_stopping_a_cluster_that_is_gone_is_no_error() -> None:
    cluster = ScriptedCluster(stop=[httpx.ConnectError("refused")])
    cluster.client().stop("job-1-a1")
    assert cluster.requests[0].url.path == "/api/jobs/job-1-a1/stop"
