"""What an Attempt is started with: the file its driver reads and the environment it gets."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.control.backends.base import LaunchRequest
from orchestrator.errors import LaunchFailed
from orchestrator.records import REPORT_TOKEN_VARIABLE, Launch


def write_launch(launch: Launch) -> Path:
    """Writes the Launch into its scratch folder, readable by this user only."""
    folder = Path(launch.scratch)
    file = folder / f"launch-a{launch.attempt}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(launch.model_dump_json(indent=1))
    except OSError as error:
        raise LaunchFailed(
            f"{file} cannot be written: {error.strerror}",
            hint="free some space, or set ORCHESTRATOR_STATE_DIR to a folder with room",
        ) from None
    return file


def launch_request(launch: Launch, file: Path, token: str) -> LaunchRequest:
    """The Launch as a backend sees it.

    The token is in the environment alone. It lives as long as the Attempt and allows only Reports
    about it, so that Ray's records, which show a job's environment to whoever holds the cluster's
    own token, give nothing more away.
    """
    resources = launch.spec.spec.resources
    environment = {
        REPORT_TOKEN_VARIABLE: token,
        "HF_HUB_OFFLINE": "1",  # the base is here already; a worker asks no hub
        "TOKENIZERS_PARALLELISM": "false",
        **({} if resources.gpus_per_worker else {"DS_ACCELERATOR": "cpu"}),
    }
    return LaunchRequest(
        job=launch.job,
        attempt=launch.attempt,
        launch_path=str(file),
        workers=resources.workers,
        cpus_per_worker=resources.cpus_per_worker,
        gpus_per_worker=resources.gpus_per_worker,
        environment=environment,
    )
