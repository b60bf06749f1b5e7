"""Starts the gang through Ray Train. The only module of the worker that knows Ray Train's API."""

from __future__ import annotations

import logging
import os
import time

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from orchestrator.records import JobState, Launch, Outcome, Reason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.telemetry.logs import configure_logging
from orchestrator.worker.training.failures import failure_outcome, record_failure

logger = logging.getLogger(__name__)

GROUP_START_TIMEOUT_SECONDS = "600"


def launch_on_ray(launch_json: str) -> int:
    """Runs one Attempt on the cluster this driver belongs to.

    Returns:
        The exit code: 0 for an Outcome that is not a failure, else 1.
    """
    launch = Launch.model_validate_json(launch_json)
    configure_logging("INFO")
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", GROUP_START_TIMEOUT_SECONDS)
    ray.init(address="auto", log_to_driver=True, logging_level=logging.WARNING)
    resources = launch.spec.spec.resources
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"launch": launch_json},
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={
                "CPU": resources.cpus_per_worker,
                **({"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}),
            },
        ),
        torch_config=TorchConfig(backend="nccl" if resources.gpus_per_worker else "gloo"),
        run_config=RunConfig(
            name=f"{launch.job}-a{launch.attempt}",
            storage_path=f"{launch.scratch}/ray",
            failure_config=FailureConfig(max_failures=0),  # only the controller retries
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        record_failure(launch, _lost_worker(launch, error))
    return _exit_code(launch)


def _worker(config: dict[str, str]) -> None:
    entered_at = time.time()
    from orchestrator.worker.training.failures import guarded_rank

    guarded_rank(config["launch"], entered_at)


def _lost_worker(launch: Launch, error: TrainingFailedError) -> Outcome:
    """The Outcome of a gang whose ranks could not tell the cause themselves."""
    if not isinstance(error, WorkerGroupError):
        return failure_outcome(launch, error, rank=None)
    rank, failure = min(error.worker_failures.items())
    logger.error("worker %d was lost: %s", rank, failure)  # Ray tells it in a page
    return Outcome(
        job=launch.job,
        attempt=launch.attempt,
        state=JobState.FAILED,
        reason=Reason.WORKER_LOST,
        message=f"the process of worker {rank} died: it was killed, or its machine was lost",
        hint="run the same command again: it goes on from the newest checkpoint",
        rank=rank,
    )


def _exit_code(launch: Launch) -> int:
    store = CheckpointStore(open_store(launch.store), launch.job)
    outcome = store.outcome(launch.attempt)
    return 0 if outcome is not None and outcome["state"] != JobState.FAILED else 1
