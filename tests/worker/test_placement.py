from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.records import Launch, Placed
from orchestrator.worker.placement import GangMisplaced, label_selectors
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
    selectors = label_selectors(placed(*parts), NODES)
    assert selectors == [{"ray.io/node-id": node} for node in ids]


def test_without_a_placement_there_is_no_choice() -> None:
    assert label_selectors(placed(), NODES) is None


def test_a_node_that_is_gone_is_named() -> None:
    with pytest.raises(GangMisplaced, match="no node n3 any more"):
        label_selectors(placed(("n1", 1), ("n3", 1)), NODES)
