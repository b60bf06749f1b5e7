"""How a Launch is told to a backend: what runs, how large, where, and with which environment."""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.control.backends.base import LaunchRequest
from orchestrator.records import REPORT_TOKEN_VARIABLE, Launch, Placed


def launch_request(
    launch: Launch,
    path: str,
    token: str,
    placement: tuple[Placed, ...],
    secrets: Mapping[str, str] | None = None,
) -> LaunchRequest:
    """The Launch as a backend sees it.

    The token and the secrets that the spec names are in the environment alone. Ray's records show
    that to whoever holds the cluster's own token: the token lives as long as the Attempt and allows
    only Reports about it, so that they give nothing more away than the secrets.

    Args:
        launch: What the driver reads.
        path: Where it reads it.
        token: Opens Reports about this Attempt.
        placement: By the scheduler.
        secrets: Variable -> value.
    """
    resources, runtime = launch.spec.spec.resources, launch.spec.spec.runtime
    environment = {
        "TOKENIZERS_PARALLELISM": "false",
        **runtime.env,
        **(secrets or {}),
        # The base is here already: a worker asks no hub.
        **({"HF_HUB_OFFLINE": "1"} if launch.base_path else {}),
        REPORT_TOKEN_VARIABLE: token,
        **({} if resources.gpus_per_worker else {"DS_ACCELERATOR": "cpu"}),
    }
    return LaunchRequest(
        job=launch.job,
        attempt=launch.attempt,
        launch_path=path,
        workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=resources.gpus_per_worker,
        placement=placement,
        environment=environment,
    )
