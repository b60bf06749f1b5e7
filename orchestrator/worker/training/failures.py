"""How an Attempt that fails says so: the first failing rank's own exception becomes the Outcome."""

from __future__ import annotations

import errno
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pydantic import ValidationError

from orchestrator.errors import (
    JobFailed,
    ObjectExists,
    OrchestratorError,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    TrainingDiverged,
    UserError,
    VersionMismatch,
)
from orchestrator.records import JobState, Launch, LaunchHead, Outcome, Reason
from orchestrator.specs import RuntimeSpec
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.telemetry.logs import configure_logging
from orchestrator.worker.output import filtered_output, output_file
from orchestrator.worker.redaction import Redaction
from orchestrator.worker.training import ops
from orchestrator.worker.versions import check_version, missing_part

logger = logging.getLogger(__name__)

LOG_SECONDS = 30.0  # a store that is away costs the end of a log, no more

# What torch says on the ranks that are left when another one died.
PEER_LOST = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Broken pipe",
    "Timed out waiting",
)


def guarded_rank(launch_json: str, entered_at: float) -> None:
    """Runs the training function; a failure is written to the store before it is raised."""
    head = LaunchHead.model_validate_json(launch_json)
    runtime = _runtime(launch_json)
    redaction = Redaction.of(runtime)
    with _kept_output(head, runtime):
        configure_logging("INFO")
        try:
            check_version(head)
            ops.prepare()  # before anything imports DeepSpeed
            from orchestrator.worker.training.rank import run_rank

            run_rank(Launch.model_validate_json(launch_json), entered_at)
        except BaseException as error:
            if not is_lost_peer(error):
                outcome = failure_outcome(head, error, rank=_rank())
                record_failure(head, redaction.outcome(outcome))
            if redaction and isinstance(error, Exception):  # Ray prints what is raised
                told = redaction.text(f"{type(error).__name__}: {error}")
                raise JobFailed(told) from None
            raise


@contextmanager
def _kept_output(head: LaunchHead, runtime: RuntimeSpec) -> Iterator[None]:
    """Output of user code through its filter; the end of it is kept when it has come through.

    The Reporter has kept what was there a moment before: not the error, and of too much no end.
    """
    file = output_file()
    try:
        with filtered_output(runtime):
            yield
    finally:
        rank = _rank()
        if runtime.is_used and file is not None and rank is not None:
            store = CheckpointStore(open_store(head.store, retry_seconds=LOG_SECONDS), head.job)
            with suppress(OrchestratorError, OSError):
                store.put_log(head.attempt, rank, file)


def _runtime(launch_json: str) -> RuntimeSpec:
    """What the job brought along, as far as this version understands it."""
    try:
        return RuntimeSpec.model_validate(json.loads(launch_json)["spec"]["spec"]["runtime"])
    except (KeyError, TypeError, ValidationError):
        return RuntimeSpec()


def guarded_driver(launch_json: str) -> int:
    """Runs the driver; what keeps it from starting a gang is written to the store.

    Returns:
        The exit code: 0 for an Outcome that is not a failure, else 1.
    """
    head = LaunchHead.model_validate_json(launch_json)
    try:
        check_version(head)
        from orchestrator.worker.training.launch import launch_on_ray

        return launch_on_ray(launch_json)
    except Exception as error:  # noqa: BLE001 (whatever it is, the job must be told)
        record_failure(head, failure_outcome(head, error, rank=None))
        return 1


def is_lost_peer(error: BaseException) -> bool:
    """Whether another rank's death caused this error: the cause is told elsewhere."""
    return isinstance(error, RuntimeError) and any(text in str(error) for text in PEER_LOST)


def failure_outcome(launch: LaunchHead, error: BaseException, rank: int | None) -> Outcome:
    if isinstance(error, ModuleNotFoundError):
        error = missing_part(error, launch)
    reason, hint = classify(error)
    known = isinstance(error, OrchestratorError)
    text = str(error) if known else f"{type(error).__name__}: {error}"
    if isinstance(error, OrchestratorError) and error.hint == hint:
        text = error.message  # the hint has a place of its own
    if not known:
        logger.error("unexpected failure", exc_info=error)
    where = f"rank {rank}: " if rank is not None else ""
    return Outcome(
        job=launch.job,
        attempt=launch.attempt,
        state=JobState.FAILED,
        reason=reason,
        message=where + text,
        hint=hint,
        rank=rank,
    )


def classify(error: BaseException) -> tuple[Reason, str | None]:
    """The reason and what to do about it."""
    text = str(error).lower()
    if isinstance(error, TrainingDiverged):
        return Reason.DIVERGED, error.hint
    if isinstance(error, VersionMismatch):
        return Reason.VERSION_MISMATCH, error.hint
    if isinstance(error, StoreFull) or getattr(error, "errno", None) == errno.ENOSPC:
        return Reason.DISK_FULL, "free some space and run the same command again"
    if isinstance(error, StoreDenied):
        return Reason.STORE_DENIED, error.hint
    if isinstance(error, StoreUnavailable):
        return Reason.STORE_UNAVAILABLE, "run the same command again when the store is back"
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return Reason.OUT_OF_MEMORY, "lower engine.micro_batch_size or raise engine.zero_stage"
    if isinstance(error, UserError):
        return Reason.USER_ERROR, error.hint
    return Reason.UNKNOWN, None


def record_failure(launch: LaunchHead, outcome: Outcome) -> None:
    """Leaves the Outcome in the store unless one is there: the first failure is the cause."""
    store = CheckpointStore(open_store(launch.store, retry_seconds=60.0), launch.job)
    try:
        store.put_outcome(launch.attempt, outcome.model_dump(mode="json"), create_only=True)
    except ObjectExists:
        pass
    except OrchestratorError as error:
        logger.error("the outcome could not be stored: %s", error)


def _rank() -> int | None:
    dist = sys.modules.get("torch.distributed")  # whatever failed, it may be torch's import
    return dist.get_rank() if dist is not None and dist.is_initialized() else None
