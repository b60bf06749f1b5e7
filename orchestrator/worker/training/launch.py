"""Starts the gang through Ray Train. The only module of the worker that knows Ray Train's API."""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import ray
from ray.train import RunConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import FailureConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, TrainingFailedError, WorkerGroupError

from orchestrator.records import JobState, Launch, Outcome, Reason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.telemetry.logs import configure_logging
from orchestrator.worker.folders import node_folders
from orchestrator.worker.placement import (
    GangMisplaced,
    NodeWatch,
    is_reachable,
    label_selectors,
    node_ids,
)
from orchestrator.worker.training.failures import failure_outcome, record_failure
from orchestrator.worker.training.losses import lost_rank
from orchestrator.worker.versions import install_hint

logger = logging.getLogger(__name__)

START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"
TRAIN_SETTINGS = {
    START_TIMEOUT: "600",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # an actor that nobody here listens to
}
"""Of Ray Train's own environment, unless the cluster's operator has set them."""

VERDICT_SECONDS = 45.0  # for Ray to find out that a node is dead: 15 to 30 unless it is tuned
STORE_RETRY_SECONDS = 60.0
GO_ON = "run the same command again: it goes on from the newest checkpoint"
_NO_RETRIES = ("max_failures", "controller_failure_limit", "max_preemption_failures")
_CLEANER = "PlacementGroupCleanerCallback"
_TOLD_TO_AUTOSCALERS = tuple(
    f"{verb}_resource_request" for verb in ("_send", "_maybe_send", "_cancel")
)
_NO_PACKAGE = "No module named 'orchestrator"
_NO_ROOM, _DIED_STARTING = "WorkerGroupStartupTimeoutError", "WorkerGroupStartupFailedError"


def launch_on_ray(launch_json: str) -> int:
    """Runs one Attempt on the cluster this driver belongs to.

    Returns:
        The exit code: 0 for an Outcome that is not a failure, else 1.
    """
    launch = Launch.model_validate_json(launch_json)
    configure_logging("INFO")
    for name, value in TRAIN_SETTINGS.items():
        os.environ.setdefault(name, value)
    ray.init(address="auto", log_to_driver=True, logging_level=logging.WARNING)
    try:
        ids = node_ids(launch, _nodes())
    except GangMisplaced as error:
        record_failure(launch, _failed(launch, Reason.NODE_LOST, str(error)))
        return 1
    with node_folders(launch) as folders, NodeWatch(ids, _nodes, partial(_give_up, launch)):
        try:
            _trainer(launch, launch_json, f"{folders.scratch}/ray", ids).fit()
        except TrainingFailedError as error:
            if _outcome(launch) is None:
                record_failure(launch, _lost_gang(launch, error))
    outcome = _outcome(launch)
    return 0 if outcome is not None and outcome["state"] != JobState.FAILED else 1


def _outcome(launch: Launch) -> dict[str, Any] | None:
    """What a rank has told already of the Attempt's end."""
    store = open_store(launch.store, retry_seconds=STORE_RETRY_SECONDS)
    return CheckpointStore(store, launch.job).outcome(launch.attempt)


def _nodes() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found


def _give_up(launch: Launch, names: list[str]) -> None:
    """Ends this process, from any thread: with its driver Ray ends what is left of a gang."""
    message = f"the cluster lost the node {', '.join(names)}"
    logger.error(message)
    record_failure(launch, _failed(launch, Reason.NODE_LOST, message, GO_ON))
    os._exit(1)


class _FixedTrainer(TorchTrainer):
    """Trains with a gang whose size and place are chosen already.

    Ray Train tells every run to a coordinator of autoscalers: a detached actor, made by the first
    run and left on the cluster for good. Nobody here would scale by it. It also leaves a detached
    actor behind whose driver was killed, to remove the gang's placement group: that goes with its
    driver by itself, and the actor would stay (it ends itself from a thread, which Ray refuses).
    """

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        for name in _TOLD_TO_AUTOSCALERS:
            if hasattr(parts.get("scaling_policy"), name):  # an older Ray tells nobody
                setattr(parts["scaling_policy"], name, _tell_nobody)
        if "callbacks" in parts:
            parts["callbacks"] = [c for c in parts["callbacks"] if type(c).__name__ != _CLEANER]
        return super()._initialize_and_run_controller(**parts)  # type: ignore[misc]


def _tell_nobody() -> None:
    """In place of what Ray Train does."""


def _trainer(
    launch: Launch, launch_json: str, storage: str, ids: Mapping[str, str]
) -> TorchTrainer:
    resources = launch.spec.spec.resources
    return _FixedTrainer(
        _worker,
        train_loop_config={"launch": launch_json},
        scaling_config=ScalingConfig(
            num_workers=resources.workers,
            use_gpu=resources.gpus_per_worker > 0,
            resources_per_worker={
                "CPU": resources.cpus_per_worker,
                **({"GPU": resources.gpus_per_worker} if resources.gpus_per_worker else {}),
            },
            label_selector=label_selectors(launch, ids),
        ),
        torch_config=TorchConfig(backend="nccl" if resources.gpus_per_worker else "gloo"),
        run_config=RunConfig(
            name=f"{launch.job}-a{launch.attempt}",
            storage_path=storage,
            failure_config=_no_retries(),
        ),
    )


def _no_retries() -> FailureConfig:
    """Only the controller retries. Rays differ in how many kinds of retries they have."""
    known = {field.name for field in dataclasses.fields(FailureConfig)}
    switches: dict[str, Any] = {name: 0 for name in _NO_RETRIES if name in known}
    return FailureConfig(**switches)


def _worker(config: dict[str, str]) -> None:
    entered_at = time.time()
    os.dup2(2, 1)  # all that a rank prints is one log, in its order
    from orchestrator.worker.training.failures import guarded_rank

    guarded_rank(config["launch"], entered_at)


def _lost_gang(launch: Launch, error: TrainingFailedError) -> Outcome:
    """The Outcome of a gang whose ranks could not tell the cause themselves."""
    if _NO_PACKAGE in str(error):
        message = "a node of the gang does not have this package"
        return _failed(
            launch, Reason.VERSION_MISMATCH, message, install_hint(launch.version or "<version>")
        )
    if isinstance(error, WorkerGroupError):
        return _lost_worker(launch, error.worker_failures)
    if isinstance(error, ControllerError):
        return _not_started(launch, error.controller_failure)
    return failure_outcome(launch, error, rank=None)


def _not_started(launch: Launch, cause: Exception) -> Outcome:
    logger.error("the gang could not be started: %s", cause)
    if type(cause).__name__ == _NO_ROOM:
        seconds = os.environ[START_TIMEOUT]
        message = f"the cluster had no room for the gang within {seconds} s"
        return _failed(launch, Reason.LAUNCH_FAILED, message)
    died = type(cause).__name__ == _DIED_STARTING
    reason = Reason.WORKER_LOST if died else Reason.LAUNCH_FAILED
    return _failed(launch, reason, f"the gang could not be started: {cause}")


def _lost_worker(launch: Launch, failures: Mapping[int, BaseException]) -> Outcome:
    lost = lost_rank(failures, launch.spec.spec.resources.workers)
    logger.error("worker %d was lost: %s", lost.rank, lost.told)  # Ray tells it in a page
    if not lost.is_certain or not _reaches_all(launch):
        time.sleep(VERDICT_SECONDS)  # if a node died, its watch ends this process meanwhile
    return _failed(launch, Reason.WORKER_LOST, lost.message, GO_ON, lost.rank)


def _reaches_all(launch: Launch) -> bool:
    """Whether the gang's nodes are there: the ranks of a machine that dies may die just before."""
    names = {part.node for part in launch.placement}
    placed = [node for node in _nodes() if names & {str(node["NodeName"]), str(node["NodeID"])}]
    return all(is_reachable(node) for node in placed if node["Alive"])


def _failed(
    launch: Launch,
    reason: Reason,
    message: str,
    hint: str | None = None,
    rank: int | None = None,
) -> Outcome:
    return Outcome(
        job=launch.job,
        attempt=launch.attempt,
        state=JobState.FAILED,
        reason=reason,
        message=message,
        hint=hint,
        rank=rank,
    )
