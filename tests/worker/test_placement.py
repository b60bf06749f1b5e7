from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from orchestrator.records import Launch, Placed
from orchestrator.worker.placement import (
    GangMisplaced,
    Nodes,
    NodeWatch,
    is_reachable,
    label_selectors,
    node_ids,
)
from tests.control.builders import JOB, launch_of

NODES = [
    {"Alive": True, "NodeName": "n1", "NodeID": "id-1"},
    {"Alive": False, "NodeName": "n2", "NodeID": "id-2-of-old"},
    {"Alive": True, "NodeName": "n2", "NodeID": "id-2"},
    {"Alive": False, "NodeName": "n3", "NodeID": "id-3"},
]


def placed(*parts: tuple[str, int]) -> Launch:
    placement = tuple(Placed(backend="ray", node=node, workers=count) for node, count in parts)
    return launch_of(JOB, "camera", store=Path("/m")).model_copy(update={"placement": placement})


@pytest.mark.parametrize(
    ("parts", "ids"),
    [
        ((("n2", 1), ("n1", 2)), ["id-2", "id-1", "id-1"]),
        ((("id-1", 1),), ["id-1"]),  # where names are not unique
    ],
)
def test_each_worker_goes_to_the_node_it_was_given(
    parts: tuple[tuple[str, int], ...], ids: list[str]
) -> None:
    launch = placed(*parts)
    selectors = label_selectors(launch, node_ids(launch, NODES))
    assert selectors == [{"ray.io/node-id": node} for node in ids]


def test_without_a_placement_there_is_no_choice() -> None:
    assert label_selectors(placed(), {}) is None


def test_a_node_that_is_gone_is_named() -> None:
    with pytest.raises(GangMisplaced, match="no node n3 any more"):
        node_ids(placed(("n1", 1), ("n3", 1)), NODES)


def test_the_watch_tells_of_a_node_that_died_and_of_no_failed_look() -> None:
    looks: list[Nodes | Exception] = [
        NODES,
        RuntimeError("nobody answers"),
        [],  # not listed: no news
        [{"Alive": False, "NodeName": "n1", "NodeID": "id-1"}, NODES[2]],
    ]
    told: list[list[str]] = []
    heard = threading.Event()

    def look() -> Nodes:
        seen = looks.pop(0)
        if isinstance(seen, Exception):
            raise seen
        return seen

    def lost(names: list[str]) -> None:
        told.append(names)
        heard.set()

    with NodeWatch({"n1": "id-1", "n2": "id-2"}, look, lost, seconds=0.001):
        assert heard.wait(30)
    assert (told, looks) == ([["n1"]], [])


def test_a_node_that_died_just_now_refuses_before_it_is_called_dead() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        node = {"NodeManagerAddress": "127.0.0.1", "NodeManagerPort": port}
        assert is_reachable(node)
    assert not is_reachable(node)
