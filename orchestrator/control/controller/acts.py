"""What the controller does outside the rows: launch, look, stop, and read how it ended.

Called by `loop` through `effects`, on threads: everything here may be slow, may fail, and may be
done again by the next process. So each act is idempotent, and none of them changes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator import __version__
from orchestrator.control.backends.base import (
    AttemptHandle,
    AttemptStatus,
    Backend,
    BackendWithLogFiles,
    Observation,
    is_alive,
)
from orchestrator.control.controller.conclusion import Ending, conclude
from orchestrator.control.controller.continuing import continued
from orchestrator.control.controller.endings import finished_outcome, read_remains, remember
from orchestrator.control.controller.launching import launch_request
from orchestrator.control.controller.policy import next_rung
from orchestrator.control.controller.resume import RECORDED_ENGINE, resume_points
from orchestrator.control.controller.scratch import log_folder
from orchestrator.control.controller.secrets import Secrets
from orchestrator.control.controller.values import Concluded
from orchestrator.errors import BackendUnavailable, OrchestratorError
from orchestrator.records import Attempt, Job, JobDocuments, Launch, Outcome, Phase, Reason
from orchestrator.specs import FineTune
from orchestrator.specs.sizes import with_workers
from orchestrator.specs.task import publishes
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore

LOG_LINES = 20
PUZZLING = frozenset({Reason.UNKNOWN, Reason.WORKER_LOST, Reason.NO_OUTCOME, Reason.OUT_OF_MEMORY})
"""Reasons behind which the logs have more to say."""


@dataclass(frozen=True, slots=True)
class HostFolders:
    """Folders of this host, for backends whose Attempts run on it too."""

    scratch: Path | None  # None: each Attempt makes one of its own, and removes it
    cache: Path
    base: Callable[[JobDocuments], Path | None]  # the base model, fetched if need be


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
    secrets: Secrets = field(default_factory=Secrets)  # of the operator; absent: there are none


def launch(place: Workplace, job: Job, attempt: Attempt, token: str) -> None:
    """Starts an Attempt; again, it changes nothing.

    Raises LaunchFailed, StoreError, or InvalidInput where the job cannot go on with this spec;
    BackendUnavailable where nobody can tell whether it was accepted.
    """
    documents = _documents(place, job)
    spec = spec_of(documents.spec, job, attempt)
    store = place.store(job.store)
    checkpoints = CheckpointStore(store, job.id)
    # 1. Where to go on.
    resume = resume_points(spec.spec, checkpoints.candidates())
    # 2. The number, for good.
    best = resume[0] if resume else None
    begins_with = None if resume else continued(spec.spec, store)
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
    base = folders.base(documents) if folders else None
    description = Launch(
        job=job.id,
        attempt=attempt.number,
        version=__version__,
        spec=spec,
        written=documents.written,
        identity=documents.identity,
        store=store.url,
        placement=attempt.placement,
        base_path=str(base) if base else None,
        resume=resume,
        continues=begins_with,
        report_url=place.report_url,
        cache=str(folders.cache) if folders else None,
        scratch=str(folders.scratch) if folders and folders.scratch else None,
        submitted_at=job.created_at,
        seconds=dict(place.seconds),
        git_commit=documents.git_commit,
    )
    url = checkpoints.put_launch(attempt.number, description.model_dump_json(indent=1).encode())
    # 4. Start it. An answer that does not come is no refusal: the next look tells.
    secrets = place.secrets.resolve(spec.spec.runtime.secrets, job.team)
    request = launch_request(description, url, token, attempt.placement, secrets)
    place.backends[attempt.backend].launch(request)


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


def sweep(place: Workplace, attempt: Attempt) -> Observation:
    """Looks for an Attempt that was given up, and stops it where it is alive."""
    seen = look(place, attempt)
    if is_alive(seen):
        stop(place, attempt)
    return seen


def clear(place: Workplace, job: Job) -> None:
    """Deletes what a job left in the object store, except for the models it published."""
    place.store(job.store).delete_prefix(f".checkpoints/{job.id}")


def conclude_attempt(
    place: Workplace,
    job: Job,
    attempt: Attempt,
    seen: Observation,
    failure: OrchestratorError | None,
) -> Concluded:
    """How an Attempt ended, kept in the store where it left no word itself.

    Args:
        place: What to work with.
        job: Whose Attempt it is.
        attempt: The one that ended.
        seen: The newest look at it; ABSENT where there was none.
        failure: Why it could not be launched.

    Raises:
        StoreUnavailable: The store is away, and nothing is known.
        BackendUnavailable: It is alive after all.
    """
    # 1. Who was silent for long may answer by now.
    if seen.status is AttemptStatus.UNKNOWN:
        seen = look(place, attempt)
        _check_over(seen)
    # 2. What it left.
    outcome, rung = _outcome(place, job, attempt, seen, failure)
    # 3. Kept for good. A driver that finds a word of its own Attempt starts nothing: so a launch
    #    that is still on its way comes to nothing, and one that came before is seen now.
    if seen.status is not AttemptStatus.UNKNOWN:
        remember(CheckpointStore(place.store(job.store), job.id), outcome)
    if seen.status is AttemptStatus.ABSENT:
        seen = look(place, attempt)
        if is_alive(seen):
            stop(place, attempt)
        _check_over(seen)
    # 4. Whose fault it was.
    backend = place.backends.get(attempt.backend)
    lost = _lost_nodes(backend, attempt) if outcome.reason in _OF_NODES else ()
    if lost and outcome.reason is not Reason.NODE_LOST:
        told = f"the cluster lost the node {', '.join(lost)}; {outcome.message}"
        outcome = outcome.model_copy(update={"reason": Reason.NODE_LOST, "message": told})
    return Concluded(outcome, rung, lost, is_gone=seen.status is not AttemptStatus.UNKNOWN)


def _check_over(seen: Observation) -> None:
    if is_alive(seen):
        raise BackendUnavailable("the attempt is alive after all")


def _outcome(
    place: Workplace,
    job: Job,
    attempt: Attempt,
    seen: Observation,
    failure: OrchestratorError | None,
) -> tuple[Outcome, Mapping[str, Any] | None]:
    """What store, backend and logs say; with it, the next rung of the memory ladder."""
    spec = spec_of(_documents(place, job).spec, job, attempt)
    store = place.store(job.store)
    checkpoints = CheckpointStore(store, job.id)
    name = spec.spec.output.name
    assert name is not None, "the plan resolves output.name"
    remains = read_remains(store, checkpoints, name, job.id, attempt.number)
    if remains.outcome is None and attempt.phase == Phase.PUBLISH:
        # Killed between publishing and saying so, perhaps.
        found = finished_outcome(store, checkpoints, name, job.id)
        remains = replace(remains, outcome=found, is_published=found is not None)
    backend = place.backends.get(attempt.backend)
    handle = AttemptHandle(job.id, attempt.number)
    is_silent = remains.outcome is None and failure is None and backend is not None
    outcome = conclude(
        Ending(
            job=job.id,
            attempt=attempt.number,
            observation=seen,
            remains=remains,
            go_on=place.go_on(job),
            is_stopping=job.goal is not None,
            publishes=publishes(spec.spec.task),
            launch_error=failure,
            resumed_from_step=_resumed_from(checkpoints, attempt.number),
            log_tail=backend.log_tail(handle, LOG_LINES) if is_silent and backend else "",
        )
    )
    if outcome.reason in PUZZLING:
        outcome = _with_logs(outcome, backend, handle, place.logs)
    is_memory = outcome.reason is Reason.OUT_OF_MEMORY
    return outcome, next_rung(spec.spec) if is_memory else None


_OF_NODES = frozenset({Reason.WORKER_LOST, Reason.NODE_LOST, Reason.UNKNOWN, Reason.NO_OUTCOME})


def spec_of(spec: FineTune, job: Job, attempt: Attempt) -> FineTune:
    """What an Attempt runs: the job's spec as retries have changed it, at the size of its gang."""
    workers = sum(part.workers for part in attempt.placement)
    changed = with_engine(spec, job.engine)
    return with_workers(changed, workers) if workers else changed


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
