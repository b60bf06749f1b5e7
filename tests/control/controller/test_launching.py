from __future__ import annotations

from orchestrator.control.controller.launching import launch_request
from orchestrator.records import Identity, Launch, Placed
from tests.control.builders import JOB, RUN, resolved_spec

PLACEMENT = (Placed(backend="ray", node="n1", workers=2),)


def launch(base_path: str | None, **resources: int) -> Launch:
    return Launch(
        job=JOB,
        attempt=3,
        spec=resolved_spec(resources=resources),
        written="",
        identity=Identity(run=RUN, data={}, base="0" * 64, recipe="1"),
        store="memory://x",
        base_path=base_path,
        submitted_at=0.0,
    )


def test_the_token_is_in_the_environment_alone() -> None:
    request = launch_request(launch("/base"), "s3://b/launch.json", "secret", PLACEMENT)
    assert dict(request.environment) == {
        "ORCHESTRATOR_REPORT_TOKEN": "secret",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "DS_ACCELERATOR": "cpu",
    }
    assert (request.job, request.attempt, request.launch_path) == (JOB, 3, "s3://b/launch.json")
    assert (request.workers, request.cpus_per_worker, request.gpus_per_worker) == (2, 1, 0)
    assert request.placement == PLACEMENT


def test_a_node_that_brings_the_base_itself_may_ask_a_hub() -> None:
    request = launch_request(launch(None, gpus_per_worker=1), "s3://b/l", "secret", ())
    assert set(request.environment) == {"ORCHESTRATOR_REPORT_TOKEN", "TOKENIZERS_PARALLELISM"}
