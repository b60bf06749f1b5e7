from __future__ import annotations

import pytest

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    LaunchRequest,
    NodeInfo,
    Observation,
)
from orchestrator.control.backends.fake import FakeBackend, lasting
from orchestrator.errors import BackendUnavailable, LaunchFailed
from orchestrator.records import Placed
from tests.control.builders import KILLED, RUNNING, SUCCEEDED, Clock, plays

JOB = "job-01kax7m0f2c3d4e5f6g7h8j9k0"
HANDLE = AttemptHandle(JOB, 1)
NODES = (NodeInfo("n1", cpus=4), NodeInfo("n2", cpus=4))


def request(*nodes: str) -> LaunchRequest:
    placement = tuple(Placed(backend="fake", node=node, workers=1) for node in nodes)
    return LaunchRequest(JOB, 1, "unused", placement=placement)


def test_a_look_that_fails_moves_nothing() -> None:
    backend = FakeBackend(plays(RUNNING, SUCCEEDED))
    backend.launch(request())
    backend.faults.is_away = True
    assert backend.observe(HANDLE).status is AttemptStatus.UNKNOWN
    backend.stop(HANDLE)  # is lost on the way
    with pytest.raises(BackendUnavailable):
        backend.nodes()
    with pytest.raises(BackendUnavailable):
        backend.launch(request())
    backend.faults.is_away = False
    assert [backend.observe(HANDLE) for _ in range(3)] == [RUNNING, SUCCEEDED, SUCCEEDED]


def test_a_launch_that_is_refused_did_not_happen() -> None:
    backend = FakeBackend(refuses="no port left")
    with pytest.raises(LaunchFailed, match="no port left"):
        backend.launch(request())
    assert backend.observe(HANDLE).status is AttemptStatus.ABSENT


def test_a_launch_whose_answer_is_lost_did_happen() -> None:
    backend = FakeBackend(plays(RUNNING))
    backend.faults.loses_answers = True
    with pytest.raises(BackendUnavailable):
        backend.launch(request())
    assert backend.observe(HANDLE) == RUNNING
    assert backend.live() == [HANDLE]
    assert len(backend.launched) == 1


def test_a_lost_node_takes_with_it_what_runs_there() -> None:
    backend = FakeBackend(plays(RUNNING), nodes=NODES)
    backend.launch(request("n1", "n2"))
    assert backend.observe(HANDLE) == RUNNING
    backend.faults.lost_nodes.add("n2")
    assert [(node.name, node.is_alive) for node in backend.nodes()] == [("n1", True), ("n2", False)]
    expected = Observation(AttemptStatus.FAILED, "the node n2 was lost", 1)
    assert backend.observe(HANDLE) == expected
    backend.faults.lost_nodes.clear()
    assert backend.observe(HANDLE) == expected  # what has ended stays so
    assert backend.live() == []


@pytest.mark.parametrize("ending", [SUCCEEDED, KILLED])
def test_a_script_by_the_clock(ending: Observation) -> None:
    clock = Clock()
    backend = FakeBackend(lasting(10.0, clock, lambda request: ending))
    backend.launch(request())
    clock.sleep(9.0)  # nobody looks
    assert backend.observe(HANDLE) == RUNNING
    clock.sleep(1.0)
    assert backend.observe(HANDLE) == ending
