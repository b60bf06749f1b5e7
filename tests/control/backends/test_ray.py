from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from orchestrator import __version__
from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    Observation,
)
from orchestrator.control.backends.ray import RayBackend
from orchestrator.errors import LaunchFailed
from orchestrator.records import Reason

JOB = "job-01kax7m0f2c3d4e5f6g7h8j9k0"
HANDLE = AttemptHandle(JOB, 1)


class Cluster:
    """Answers for one job."""

    def __init__(self, job: dict[str, Any] | None = None, log: str = "") -> None:
        self.job, self.log = job, log
        self.submitted: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.submitted.append(json.loads(request.content))
            return httpx.Response(200, json={"submission_id": "x"})
        if request.url.path.endswith("/logs"):
            return httpx.Response(200, json={"logs": self.log})
        if self.job is None:
            return httpx.Response(404, text=f"Job {HANDLE.submission_id} does not exist")
        return httpx.Response(200, json=self.job)

    def backend(self, token: str | None = "t", **more: Any) -> RayBackend:
        return RayBackend("prod", "http://ray", token, transport=httpx.MockTransport(self), **more)


@pytest.mark.parametrize(("token", "mode"), [("t", "token"), (None, "disabled")])
def test_a_launch_is_the_worker_with_its_url(token: str | None, mode: str) -> None:
    cluster = Cluster()
    backend = cluster.backend(token, environment={"NCCL_SOCKET_IFNAME": "eth1", "X": "theirs"})
    url = "s3://b/.checkpoints/j/a1/launch.json"
    handle = backend.launch(LaunchRequest(JOB, 1, url, environment={"X": "ours"}))
    assert handle == HANDLE
    assert cluster.submitted == [
        {
            "submission_id": f"{JOB}-a1",
            "entrypoint": f"python -m orchestrator.worker.training.main --launch {url}",
            "runtime_env": {
                "env_vars": {
                    "RAY_JOB_STOP_WAIT_TIME_S": "30",
                    "RAY_AUTH_MODE": mode,
                    "NCCL_SOCKET_IFNAME": "eth1",
                    "X": "ours",
                }
            },
        }
    ]


def test_a_python_with_spaces_is_one_word() -> None:
    cluster = Cluster()
    cluster.backend(python="/opt/my env/python").launch(LaunchRequest(JOB, 1, "/a b.json"))
    assert cluster.submitted[0]["entrypoint"] == (
        "'/opt/my env/python' -m orchestrator.worker.training.main --launch '/a b.json'"
    )


def failed(exit_code: int | None) -> dict[str, Any]:
    return {"status": "FAILED", "message": "m", "driver_exit_code": exit_code}


MISSING = Observation(
    AttemptStatus.FAILED,
    "the cluster prod has no finetune-orchestrator for python",
    1,
    Reason.VERSION_MISMATCH,
    f"on every node of the cluster: uv pip install 'finetune-orchestrator[worker]=={__version__}'",
)


@pytest.mark.parametrize(
    ("exit_code", "log", "expected"),
    [
        (
            1,
            "/usr/bin/python: Error while finding module specification for "
            "'orchestrator.worker.training.main' "
            "(ModuleNotFoundError: No module named 'orchestrator')",
            MISSING,
        ),
        (1, "python: No module named orchestrator.worker.training", MISSING),
        (127, "", Observation(MISSING.status, MISSING.message, 127, MISSING.reason, MISSING.hint)),
        (1, "No module named 'orchestrator_plugin'", Observation(AttemptStatus.FAILED, "m", 1)),
        (1, "ValueError: no", Observation(AttemptStatus.FAILED, "m", 1)),
        (137, "No module named 'orchestrator'", Observation(AttemptStatus.FAILED, "m", 137)),
    ],
)
def test_a_cluster_without_the_package(exit_code: int, log: str, expected: Observation) -> None:
    assert Cluster(failed(exit_code), log).backend().observe(HANDLE) == expected


def test_a_refusal_is_a_failed_launch() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(403, text="forbidden")
        return httpx.Response(404, text="it does not exist")

    backend = RayBackend("prod", "http://ray", "t", transport=httpx.MockTransport(refuse))
    with pytest.raises(LaunchFailed, match="HTTP 403: forbidden"):
        backend.launch(LaunchRequest(JOB, 1, "s3://b/l.json"))
