from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator.control.backends.base import NodeInfo
from orchestrator.control.backends.ray import RayBackend
from orchestrator.control.backends.rayjobs import open_api
from orchestrator.control.backends.raystate import keep_node_logs, node_infos, read_nodes
from orchestrator.errors import BackendUnavailable

GB = 1_000_000_000


def row(node_id: str, name: str, state: str = "ALIVE", **more: Any) -> dict[str, Any]:
    """A node as Ray 2.60 tells it."""
    return {
        "node_id": node_id,
        "node_ip": "10.0.0.1",
        "is_head_node": False,
        "state": state,
        "node_name": name,
        "resources_total": {"CPU": 4.0, "memory": 8.0 * GB, f"node:{name}": 1.0},
        "labels": {"ray.io/node-id": node_id},
        **more,
    }


GPU = row(
    "cc",
    "gpu",
    resources_total={"CPU": 32.0, "GPU": 8.0, "memory": 500.0 * GB, "accelerator_type:A100": 1.0},
    labels={"ray.io/node-id": "cc", "zone": "b"},
)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], ()),
        (
            [GPU],
            (NodeInfo("gpu", 32.0, 8, 500 * GB, "A100", {"ray.io/node-id": "cc", "zone": "b"}),),
        ),
        # A label says more exactly what the resource says.
        (
            [row("aa", "n1", labels={"ray.io/accelerator-type": "L4"})],
            (NodeInfo("n1", 4.0, 0, 8 * GB, "L4", {"ray.io/accelerator-type": "L4"}),),
        ),
        # Two living nodes of one name are told apart by their ids.
        (
            [row("aa", "n1"), row("bb", "n1")],
            (
                NodeInfo("aa", 4.0, 0, 8 * GB, labels={"ray.io/node-id": "aa"}),
                NodeInfo("bb", 4.0, 0, 8 * GB, labels={"ray.io/node-id": "bb"}),
            ),
        ),
        # A node that died and came back is alive; one that did not is dead, once.
        (
            [
                row("aa", "n1", "DEAD"),
                row("bb", "n1"),
                row("cc", "n2", "DEAD"),
                row("dd", "n2", "DEAD"),
            ],
            (
                NodeInfo("n1", 4.0, 0, 8 * GB, labels={"ray.io/node-id": "bb"}),
                NodeInfo("n2", 4.0, 0, 8 * GB, labels={"ray.io/node-id": "dd"}, is_alive=False),
            ),
        ),
        # The head of a cluster that keeps it free of work.
        (
            [row("aa", "head", resources_total={"memory": 8.0 * GB}, labels=None)],
            (NodeInfo("head", 0.0, 0, 8 * GB),),
        ),
    ],
)
def test_nodes(rows: list[dict[str, Any]], expected: tuple[NodeInfo, ...]) -> None:
    assert node_infos(rows) == expected


def listed(rows: list[dict[str, Any]]) -> httpx.Response:
    result = {"total": len(rows), "result": rows}
    return httpx.Response(200, json={"result": True, "msg": "", "data": {"result": result}})


def test_all_nodes_are_asked_for_with_the_token() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return listed([row("aa", "n1")])

    backend = RayBackend("prod", "http://ray", "secret", transport=httpx.MockTransport(answer))
    assert [node.name for node in backend.nodes()] == ["n1"]
    assert asked[0].url == "http://ray/api/v0/nodes?limit=10000"
    assert asked[0].headers["authorization"] == "Bearer secret"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (httpx.ConnectError("refused"), "http://ray: ConnectError: refused"),
        (httpx.ReadTimeout("slow"), "http://ray: ReadTimeout: slow"),
        (httpx.Response(500, text="no GCS"), "http://ray: HTTP 500: no GCS"),
        (
            httpx.Response(401, text="Unauthorized"),
            "http://ray: HTTP 401: Unauthorized "
            "(the variable that token_env names must hold the cluster's token)",
        ),
        (httpx.Response(200, text="<html>"), "http://ray did not answer as a Ray cluster does"),
        (
            httpx.Response(200, json={"data": None}),
            "http://ray did not answer as a Ray cluster does",
        ),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_unavailable(
    answer: httpx.Response | Exception, told: str
) -> None:
    def reply(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    http = open_api("http://ray", None, httpx.MockTransport(reply))
    with pytest.raises(BackendUnavailable) as caught:
        read_nodes(http)
    assert str(caught.value) == told


def test_logs_come_from_every_living_node(tmp_path: Path) -> None:
    rows = [row("aa", "n1"), row("bb", "../n2"), row("cc", "n3", "DEAD"), row("dd", "n4")]
    files = {
        "aa": {"worker_out": ["worker-1.out"], "worker_err": []},
        "bb": {"worker_out": ["../../etc/worker-2.out"]},
    }

    def answer(request: httpx.Request) -> httpx.Response:
        asked = dict(request.url.params)
        match request.url.path:
            case "/api/v0/nodes":
                return listed(rows)
            case "/api/v0/logs":
                assert asked["glob"] == "worker-*"
                if asked["node_id"] == "dd":  # it went just now
                    return httpx.Response(500, text="no such node")
                return httpx.Response(200, json={"data": {"result": files[asked["node_id"]]}})
            case _:
                return httpx.Response(200, text=f"said on {asked['node_id']}\n")

    http = open_api("http://ray", None, httpx.MockTransport(answer))
    assert keep_node_logs(http, ["worker-*"], tmp_path / "kept")
    found = sorted(file for file in tmp_path.rglob("*") if file.is_file())
    assert [str(file.relative_to(tmp_path)) for file in found] == [
        "kept/_n2/_.._etc_worker-2.out",
        "kept/n1/worker-1.out",
    ]
    assert found[1].read_text() == "said on aa\n"


def test_no_logs_are_no_folder(tmp_path: Path) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    http = open_api("http://ray", None, httpx.MockTransport(away))
    assert not keep_node_logs(http, ["*"], tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
