"""Where a gang's workers belong: the scheduler's choice, in the words of Ray's nodes. Pure.

Called by the driver. A placement group bundle takes label selectors, and every Ray node is labelled
with its own id: so each worker lands on the very node the quota was taken from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.errors import OrchestratorError
from orchestrator.records import Launch

NODE_ID_LABEL = "ray.io/node-id"


class GangMisplaced(OrchestratorError):
    """A node the scheduler chose is not there any more."""


def label_selectors(
    launch: Launch, nodes: Iterable[Mapping[str, Any]]
) -> list[dict[str, str]] | None:
    """One selector a worker, or None where the gang may go anywhere.

    Args:
        launch: Its placement names nodes by name, or by Ray's id where names are not unique.
        nodes: `ray.nodes()`.

    Raises:
        GangMisplaced: A node of the placement is gone.
    """
    if not launch.placement:
        return None
    alive = [node for node in nodes if node["Alive"]]
    ids = {str(node["NodeName"]): str(node["NodeID"]) for node in alive}
    ids |= {str(node["NodeID"]): str(node["NodeID"]) for node in alive}
    gone = [part.node for part in launch.placement if part.node not in ids]
    if gone:
        raise GangMisplaced(f"the cluster has no node {', '.join(gone)} any more")
    return [
        {NODE_ID_LABEL: ids[part.node]} for part in launch.placement for _ in range(part.workers)
    ]
