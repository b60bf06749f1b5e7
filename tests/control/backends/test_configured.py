from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.backends.configured import build_backends
from orchestrator.control.backends.fake_machines import FakeMachines
from orchestrator.control.backends.local_served import ServedLocalBackend
from orchestrator.control.backends.ray import RayBackend
from orchestrator.errors import SettingsError
from orchestrator.settings import Settings, load_settings


def settings(folder: Path, toml: str = "") -> Settings:
    (folder / "orchestrator.toml").write_text(toml)
    return load_settings(environ={"HOME": str(folder)}, directory=folder)


def test_this_machine_by_default(tmp_path: Path) -> None:
    (local,) = build_backends(settings(tmp_path), {}).values()
    assert isinstance(local, ServedLocalBackend)
    assert local.name == "local"
    assert list(tmp_path.rglob("cluster.json")) == []  # nothing is started


def test_several_clusters_each_with_its_own_token(tmp_path: Path) -> None:
    toml = (
        'store_endpoint = "http://s3:8333"\n'
        '[backends.a]\nkind = "ray"\nurl = "http://a"\ntoken_env = "TOKEN_A"\n'
        'network_interface = "eth1"\n'
        '[backends.b]\nkind = "ray"\nurl = "http://b"\nenvironment = {X = "1"}\n'
    )
    found: Any = build_backends(settings(tmp_path, toml), {"TOKEN_A": "secret"})
    assert [type(backend) for backend in found.values()] == [RayBackend, RayBackend]
    assert found["a"]._http.headers["authorization"] == "Bearer secret"
    assert "authorization" not in found["b"]._http.headers
    assert found["a"]._environment == {
        "RAY_JOB_STOP_WAIT_TIME_S": "30",
        "RAY_AUTH_MODE": "token",
        "AWS_ENDPOINT_URL_S3": "http://s3:8333",
        "GLOO_SOCKET_IFNAME": "eth1",
        "NCCL_SOCKET_IFNAME": "eth1",
    }
    assert found["b"]._environment["X"] == "1"


def test_machines_that_are_not_there(tmp_path: Path) -> None:
    toml = (
        '[backends.toy]\nkind = "fake"\nnum_nodes = 2\ncpus_per_node = 16\ngpus_per_node = 4\n'
        'memory_bytes_per_node = 1000\naccelerator = "A100"\n'
    )
    (toy,) = build_backends(settings(tmp_path, toml), {}).values()
    assert isinstance(toy, FakeMachines)
    told = [
        (node.name, node.cpus, node.gpus, node.memory_bytes, node.accelerator)
        for node in toy.nodes()
    ]
    assert told == [("toy-0", 16, 4, 1000, "A100"), ("toy-1", 16, 4, 1000, "A100")]


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            'kind = "ray"\nurl = "http://a"\ntoken_env = "TOKEN_A"\n',
            "backends.a.token_env: TOKEN_A is not set",
        ),
        (
            'kind = "fake"\nfails = {"*" = "BadLuck"}\n',
            "backends.a.fails: 'BadLuck' is no reason",
        ),
    ],
)
def test_what_only_shows_when_it_is_made(tmp_path: Path, table: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        build_backends(settings(tmp_path, f"[backends.a]\n{table}"), {})
    assert caught.value.message == told
