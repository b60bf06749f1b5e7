"""The backends of the operator's settings, made: called by the composition root of a server."""

from __future__ import annotations

import os
from collections.abc import Mapping

from orchestrator.backend_settings import (
    BackendSettings,
    FakeSettings,
    LocalSettings,
    RaySettings,
)
from orchestrator.control.backends.base import Backend, NodeInfo
from orchestrator.control.backends.fake_machines import FakeMachines, FakeScript
from orchestrator.control.backends.local import RayStart
from orchestrator.control.backends.local_served import ServedLocalBackend
from orchestrator.control.backends.ray import RayBackend
from orchestrator.errors import SettingsError
from orchestrator.records import Reason
from orchestrator.settings import Settings


def build_backends(
    settings: Settings, environ: Mapping[str, str] | None = None
) -> dict[str, Backend]:
    """Every configured backend by its name; nothing is started or asked yet.

    Args:
        settings: The operator's.
        environ: Where tokens are; this process's own unless given.

    Raises:
        SettingsError: A token's variable is not set, or a reason is none.
    """
    environ = os.environ if environ is None else environ
    return {
        name: _built(name, table, settings, environ) for name, table in settings.backends.items()
    }


def _built(
    name: str, table: BackendSettings, settings: Settings, environ: Mapping[str, str]
) -> Backend:
    place = settings.state_dir / "backends" / name
    match table:
        case LocalSettings():
            start = RayStart(settings.ray_temp_dir, settings.launch_timeout_seconds)
            return ServedLocalBackend(place, start, name=name)
        case RaySettings():
            return RayBackend(
                name,
                table.url,
                _token(name, table, environ),
                environment={
                    **settings.store_environment(),
                    **_network(table),
                    **table.environment,
                },
                python=table.python,
            )
        case FakeSettings():
            script = FakeScript(_fake_nodes(name, table), table.seconds, _reasons(name, table))
            return FakeMachines(name, place, script)


def _token(name: str, table: RaySettings, environ: Mapping[str, str]) -> str | None:
    if table.token_env is None:
        return None
    token = environ.get(table.token_env)
    if not token:
        raise SettingsError(
            f"backends.{name}.token_env: {table.token_env} is not set",
            hint=f"export {table.token_env}=… with the cluster's token before starting the server",
        )
    return token


def _network(table: RaySettings) -> dict[str, str]:
    """Left to themselves, gloo takes the address of the host's name and NCCL any interface."""
    interface = table.network_interface
    return {f"{library}_SOCKET_IFNAME": interface for library in ("GLOO", "NCCL") if interface}


def _fake_nodes(name: str, table: FakeSettings) -> tuple[NodeInfo, ...]:
    return tuple(
        NodeInfo(
            name=f"{name}-{number}",
            cpus=table.cpus_per_node,
            gpus=table.gpus_per_node,
            memory_bytes=table.memory_bytes_per_node,
            accelerator=table.accelerator,
        )
        for number in range(table.num_nodes)
    )


def _reasons(name: str, table: FakeSettings) -> dict[str, Reason]:
    found = {}
    for pattern, text in table.fails.items():
        try:
            found[pattern] = Reason(text)
        except ValueError:
            raise SettingsError(
                f"backends.{name}.fails: {text!r} is no reason",
                hint=f"reasons: {', '.join(Reason)}",
            ) from None
    return found
