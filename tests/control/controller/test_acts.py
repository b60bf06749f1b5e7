"""What acts do outside of the rows, on a store in memory and a scripted backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import __version__
from orchestrator.control.backends.base import LaunchRequest, NodeInfo, Observation
from orchestrator.control.backends.fake import FakeBackend
from orchestrator.control.controller import acts
from orchestrator.control.controller.acts import Workplace
from orchestrator.records import Attempt, Identity, Job, JobDocuments, Launch, Placed, Reason
from orchestrator.storage.objectstore import open_store
from tests.control.builders import JOB, KILLED, RUN, resolved_spec

PLACEMENT = (
    Placed(backend="fake", node="n1", workers=1),
    Placed(backend="fake", node="n2", workers=1),
)
ATTEMPT = Attempt(job=JOB, number=1, backend="fake", placement=PLACEMENT, created_at=1.0)


def a_job(store: Path) -> Job:
    return Job(
        id=JOB,
        name="camera",
        team="nlp",
        created_by="ada",
        created_at=0.0,
        changed_at=0.0,
        queued_at=0.0,
        identity=RUN,
        store=str(store),
    )


def workplace(
    store: Path, *seen: Observation, nodes: tuple[NodeInfo, ...] = ()
) -> tuple[Workplace, list[LaunchRequest]]:
    requests: list[LaunchRequest] = []

    def script(request: LaunchRequest) -> Iterator[Observation]:
        requests.append(request)
        return iter(seen)

    identity = Identity(run=RUN, data={}, base="cd", recipe="1")
    documents = JobDocuments(
        job=JOB, written="", spec=resolved_spec(output={"store": str(store)}), identity=identity
    )
    place = Workplace(
        backends={"fake": FakeBackend(script, nodes=nodes)},
        store=open_store,
        documents=lambda job: documents,
        report_url=None,
        logs=store / "logs",
        folders={},
        go_on=lambda job: "again",
        seconds={},
    )
    return place, requests


def test_a_launch_carries_its_place_and_the_servers_version(tmp_path: Path) -> None:
    place, requests = workplace(tmp_path)
    acts.launch(place, a_job(tmp_path), ATTEMPT, "secret")
    (request,) = requests
    assert request.placement == PLACEMENT
    url = request.launch_path.removeprefix("file://")
    launch = Launch.model_validate_json(Path(url).read_text())
    assert (launch.placement, launch.version) == (PLACEMENT, __version__)
    assert (launch.cache, launch.scratch, launch.base_path) == (None, None, None)


def test_a_smaller_gang_is_launched_as_what_it_is(tmp_path: Path) -> None:
    place, requests = workplace(tmp_path)
    alone = ATTEMPT.model_copy(update={"placement": PLACEMENT[:1]})
    acts.launch(place, a_job(tmp_path), alone, "secret")
    (request,) = requests
    assert request.workers == 1
    spec = Launch.model_validate_json(
        Path(request.launch_path.removeprefix("file://")).read_text()
    ).spec.spec
    assert (spec.resources.workers, spec.engine.micro_batch_size) == (1, 16)
    assert spec.engine.zero_stage == 2


@pytest.mark.parametrize(
    ("alive", "reason", "told"),
    [
        (("n1", "n2"), Reason.WORKER_LOST, "the attempt was killed (exit code 137)"),
        (("n1",), Reason.NODE_LOST, "the cluster lost the node n2; the attempt was killed"),
    ],
)
def test_a_gang_that_was_killed_with_its_node_is_told_from_one_that_was_not(
    tmp_path: Path, alive: tuple[str, ...], reason: Reason, told: str
) -> None:
    place, _ = workplace(tmp_path, KILLED, nodes=tuple(NodeInfo(name, cpus=1) for name in alive))
    job = a_job(tmp_path)
    acts.launch(place, job, ATTEMPT, "secret")
    concluded = acts.conclude_attempt(place, job, ATTEMPT, acts.look(place, ATTEMPT), None)
    assert concluded.outcome.reason is reason
    assert (concluded.outcome.message or "").startswith(told)
    assert concluded.lost_nodes == tuple({"n1", "n2"} - set(alive))
