"""What the controller does outside the rows: launch, look, stop, and read how it ended.

Called by `loop` through `effects`, on threads: everything here may be slow, may fail, and may be
done again by the next process. So each act is idempotent, and none of them changes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Backend,
    BackendWithLogFiles,
    Observation,
)
from orchestrator.control.controller.conclusion import Ending, conclude
from orchestrator.control.controller.endings import read_remains, remember
from orchestrator.control.controller.launching import launch_request
from orchestrator.control.controller.lifecycle import Concluded
from orchestrator.control.controller.policy import next_rung
from orchestrator.control.controller.resume import RECORDED_ENGINE, resume_points
from orchestrator.control.controller.scratch import log_folder
from orchestrator.errors import BackendUnavailable, OrchestratorError
from orchestrator.records import Attempt, Job, JobDocuments, Launch, Outcome, Phase, Reason
from orchestrator.specs import FineTune
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore

LOG_LINES = 20
PUZZLING = frozenset({Reason.UNKNOWN, Reason.WORKER_LOST, Reason.NO_OUTCOME, Reason.OUT_OF_MEMORY})
"""Reasons behind which the logs have more to say."""


@dataclass(frozen=True, slots=True)
class HostFolders:
    """Folders of this host, for backends whose Attempts run on it too."""

    scratch: Path
    cache: Path
    base: Callable[[JobDocuments], Path]  # the base model, fetched if need be


@dataclass(frozen=True, slots=True)
class Workplace:
    """What acts work with; made by the composition root."""

    backends: Mapping[str, Backend]
    store: Callable[[str], ObjectStore]  # by URL
    documents: Callable[[str], JobDocuments | None]  # by job
    report_url: str | None
    logs: Path  # where the logs of failed Attempts are kept
    folders: Mapping[str, HostFolders]  # by backend; absent: each node has its own
    go_on: Callable[[Job], str]  # how a person goes on with a job
    seconds: Mapping[Phase, float]  # spent before the first launch


def launch(place: Workplace, job: Job, attempt: Attempt, token: str) -> None:
    """Starts an Attempt; again, it changes nothing.

    Raises LaunchFailed, StoreError, or InvalidInput where the job cannot go on with this spec.
    """
    documents = _documents(place, job)
    spec = with_engine(documents.spec, job.engine)
    store = place.store(job.store)
    checkpoints = CheckpointStore(store, job.id)
    # 1. Where to go on.
    resume = resume_points(spec.spec, checkpoints.candidates())
    # 2. The number, for good.
    best = resume[0] if resume else None
    record = {
        "run": documents.identity.run,
        "started_at": attempt.created_at,
        "workers": spec.spec.resources.workers,
        "engine": {name: getattr(spec.spec.engine, name) for name in RECORDED_ENGINE},
        "resumed_from": {"attempt": best.attempt, "step": best.step} if best else None,
    }
    checkpoints.claim_number(attempt.number, record, f"{job.id}/{attempt.created_at!r}")
    # 3. What its driver reads.
    folders = place.folders.get(attempt.backend)
    description = Launch(
        job=job.id,
        attempt=attempt.number,
        spec=spec,
        written=documents.written,
        identity=documents.identity,
        store=store.url,
        base_path=str(folders.base(documents)) if folders else None,
        resume=resume,
        report_url=place.report_url,
        cache=str(folders.cache) if folders else None,
        scratch=str(folders.scratch / job.id) if folders else None,
        submitted_at=job.created_at,
        seconds=dict(place.seconds),
        git_commit=documents.git_commit,
    )
    url = checkpoints.put_launch(attempt.number, description.model_dump_json(indent=1).encode())
    # 4. Start it; whether it was accepted may be in doubt, so a failure is also a stop.
    backend = place.backends[attempt.backend]
    try:
        backend.launch(launch_request(description, url, token, attempt.placement))
    except OrchestratorError:
        backend.stop(AttemptHandle(job.id, attempt.number))
        raise


def look(place: Workplace, attempt: Attempt) -> Observation:
    """What the backend says of an Attempt; UNKNOWN where it cannot be asked."""
    backend = place.backends.get(attempt.backend)
    if backend is None:
        message = f"the backend {attempt.backend} is no longer in the settings"
        return Observation(AttemptStatus.UNKNOWN, message)
    return backend.observe(AttemptHandle(attempt.job, attempt.number))


def stop(place: Workplace, attempt: Attempt) -> None:
    backend = place.backends.get(attempt.backend)
    if backend is not None:
        backend.stop(AttemptHandle(attempt.job, attempt.number))


def conclude_attempt(
    place: Workplace,
    job: Job,
    attempt: Attempt,
    seen: Observation,
    failure: OrchestratorError | None,
) -> Concluded:
    """How an Attempt ended, kept in the store where it left no word itself.

    Raises StoreUnavailable while the store is away: nothing is known then.
    """
    documents = _documents(place, job)
    spec = with_engine(documents.spec, job.engine)
    store = place.store(job.store)
    checkpoints = CheckpointStore(store, job.id)
    name = spec.spec.output.name
    assert name is not None, "the plan resolves output.name"
    remains = read_remains(store, checkpoints, name, job.id, attempt.number)
    backend = place.backends.get(attempt.backend)
    handle = AttemptHandle(job.id, attempt.number)
    is_silent = remains.outcome is None and failure is None
    outcome = conclude(
        Ending(
            job=job.id,
            attempt=attempt.number,
            observation=seen,
            remains=remains,
            go_on=place.go_on(job),
            is_stopping=job.goal is not None,
            launch_error=failure,
            resumed_from_step=_resumed_from(checkpoints, attempt.number),
            log_tail=backend.log_tail(handle, LOG_LINES)
            if backend is not None and is_silent
            else "",
        )
    )
    if outcome.reason in PUZZLING:
        outcome = _with_logs(outcome, backend, handle, place.logs)
    remember(checkpoints, outcome)
    lost = _lost_nodes(backend, attempt) if outcome.reason in _OF_NODES else ()
    if lost:
        outcome = outcome.model_copy(update={"reason": Reason.NODE_LOST})
    is_memory = outcome.reason is Reason.OUT_OF_MEMORY
    return Concluded(outcome, next_rung(spec.spec) if is_memory else None, lost)


_OF_NODES = frozenset({Reason.WORKER_LOST, Reason.NODE_LOST, Reason.UNKNOWN, Reason.NO_OUTCOME})


def with_engine(spec: FineTune, engine: Mapping[str, Any]) -> FineTune:
    """The spec with fields of `engine` that retries have changed."""
    if not engine:
        return spec
    changed = spec.spec.engine.model_copy(update=dict(engine))
    return spec.model_copy(update={"spec": spec.spec.model_copy(update={"engine": changed})})


def _documents(place: Workplace, job: Job) -> JobDocuments:
    found = place.documents(job.id)
    assert found is not None, f"{job.id} was added with its documents"
    return found


def _resumed_from(checkpoints: CheckpointStore, attempt: int) -> int | None:
    parent = checkpoints.attempt_record(attempt).get("resumed_from")
    return int(parent["step"]) if parent else None


def _lost_nodes(backend: Backend | None, attempt: Attempt) -> tuple[str, ...]:
    """Nodes of the gang that are gone or dead now."""
    if backend is None:
        return ()
    try:
        alive = {node.name for node in backend.nodes() if node.is_alive}
    except BackendUnavailable:
        return ()
    return tuple(part.node for part in attempt.placement if part.node not in alive)


def _with_logs(outcome: Outcome, backend: object, handle: AttemptHandle, logs: Path) -> Outcome:
    """Keeps driver's and ranks' logs beyond the cluster's life, and says where."""
    if not isinstance(backend, BackendWithLogFiles):
        return outcome
    try:
        folder = log_folder(logs, handle.submission_id)
        kept = backend.keep_logs(handle, folder)
    except OSError:  # a full disk, most likely: the outcome matters more
        return outcome
    message = f"{outcome.message}\nLogs: {folder}"
    return outcome.model_copy(update={"message": message}) if kept else outcome
