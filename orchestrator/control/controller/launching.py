"""How a Launch is told to a backend: what runs, how large, where, and with which environment."""

from __future__ import annotations

from orchestrator.control.backends.base import LaunchRequest
from orchestrator.records import REPORT_TOKEN_VARIABLE, Launch, Placed


def launch_request(
    launch: Launch, path: str, token: str, placement: tuple[Placed, ...]
) -> LaunchRequest:
    """The Launch as a backend sees it.

    The token is in the environment alone. It lives as long as the Attempt and allows only Reports
    about it, so that Ray's records, which show a job's environment to whoever holds the cluster's
    own token, give nothing more away.

    Args:
        launch: What the driver reads.
        path: Where it reads it.
        token: Opens Reports about this Attempt.
        placement: By the scheduler.
    """
    resources = launch.spec.spec.resources
    environment = {
        REPORT_TOKEN_VARIABLE: token,
        "TOKENIZERS_PARALLELISM": "false",
        # The base is here already: a worker asks no hub.
        **({"HF_HUB_OFFLINE": "1"} if launch.base_path else {}),
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
