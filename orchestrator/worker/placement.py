"""Where a gang's workers belong: the scheduler's choice, in the words of Ray's nodes.

Called by the driver. A placement group bundle takes label selectors, and every Ray node is labelled
with its own id: so each worker lands on the very node the quota was taken from. A node that dies
takes its part of the gang with it, and Ray would wait for another of the same id.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from orchestrator.errors import OrchestratorError
from orchestrator.records import Launch

NODE_ID_LABEL = "ray.io/node-id"
WATCH_SECONDS = 2.0
PROBE_SECONDS = 3.0

Nodes = Iterable[Mapping[str, Any]]
"""As `ray.nodes()` tells them."""


class GangMisplaced(OrchestratorError):
    """A node the scheduler chose is not there any more."""


def node_ids(launch: Launch, nodes: Nodes) -> dict[str, str]:
    """Ray's id of each node of the placement, by the name it has there.

    Args:
        launch: Its placement names nodes by name, or by Ray's id where names are not unique.
        nodes: All there are.

    Raises:
        GangMisplaced: A node of the placement is gone.
    """
    alive = [node for node in nodes if node["Alive"]]
    ids = {str(node["NodeName"]): str(node["NodeID"]) for node in alive}
    ids |= {str(node["NodeID"]): str(node["NodeID"]) for node in alive}
    gone = [part.node for part in launch.placement if part.node not in ids]
    if gone:
        raise GangMisplaced(f"the cluster has no node {', '.join(gone)} any more")
    return {part.node: ids[part.node] for part in launch.placement}


def label_selectors(launch: Launch, ids: Mapping[str, str]) -> list[dict[str, str]] | None:
    """One selector a worker, or None where the gang may go anywhere.

    Args:
        launch: What is started.
        ids: Of the nodes of its placement.
    """
    if not launch.placement:
        return None
    return [
        {NODE_ID_LABEL: ids[part.node]} for part in launch.placement for _ in range(part.workers)
    ]


def is_reachable(node: Mapping[str, Any], timeout_seconds: float = PROBE_SECONDS) -> bool:
    """Whether a node's Ray accepts connections: a dead one is listed as alive for a while."""
    where = (str(node["NodeManagerAddress"]), int(node["NodeManagerPort"]))
    try:
        socket.create_connection(where, timeout_seconds).close()
    except OSError:
        return False
    return True


class NodeWatch:
    """Looks after the nodes of a gang. Use as a context manager.

    A side thread: the driver waits for a gang that waits for its dead node, starting or training.
    """

    def __init__(
        self,
        ids: Mapping[str, str],
        nodes: Callable[[], Nodes],
        lost: Callable[[list[str]], None],
        seconds: float = WATCH_SECONDS,
    ) -> None:
        """
        Args:
            ids: name -> Ray's id.
            nodes: Asks the cluster.
            lost: Told once, on the thread, the names of nodes that have died.
            seconds: Between looks.
        """
        self._ids = ids
        self._nodes = nodes
        self._lost = lost
        self._seconds = seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nodes", daemon=True)

    def __enter__(self) -> Self:
        if self._ids:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        if self._ids:
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._closed.wait(self._seconds):
            gone = self._gone()
            if gone and not self._closed.is_set():
                self._lost(gone)
                return

    def _gone(self) -> list[str]:
        try:
            nodes = list(self._nodes())
        except Exception:  # noqa: BLE001 (whatever it is: that nobody answers proves nothing)
            return []
        # By id: a node that came back under its name has none of the gang. A dead one is listed
        # for long, so that one which is not listed at all is no news.
        dead = {str(node["NodeID"]) for node in nodes if not node["Alive"]}
        return [name for name, id in self._ids.items() if id in dead]
