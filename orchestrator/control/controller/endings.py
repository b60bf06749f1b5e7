"""What the store says of attempts that are over, and what the controller leaves there about them.

Between an Attempt's end and its Outcome lies only the store, which may be away just then: asking
goes on until it answers, somebody stops it, or patience ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from orchestrator.control.controller.decisions import Remains
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.errors import ObjectExists, StoreError, StoreUnavailable
from orchestrator.records import JobState, Outcome, Reason, SelectionOutcome
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.registry import ModelRegistry

PATIENCE_SECONDS = 1800.0
PAUSE_SECONDS = 2.0


def read_remains(
    store: ObjectStore, checkpoints: CheckpointStore, name: str, job: str, attempt: int
) -> Remains:
    """What an Attempt left behind. Raises StoreUnavailable while the store is away.

    Args:
        store: Where the job's model is published.
        checkpoints: The job's.
        name: The model's.
        job: The job's id, which its published version carries.
        attempt: Whose outcome is read.
    """
    outcome = read_outcome(checkpoints, attempt)
    if outcome is not None and outcome.state is JobState.SUCCEEDED:
        version = ModelRegistry(store).find_by_run(name, job)
        return Remains(outcome, is_published=version is not None)
    newest = checkpoints.resume_point()
    return Remains(outcome, checkpoint_step=newest.step if newest else None)


def patiently(
    ask: Callable[[], Remains],
    *,
    stop: StopSignal,
    waiting: Callable[[str], None],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Remains | None:
    """What `ask` answers once the store is there; None when patience ends or somebody stops it."""
    deadline = clock() + PATIENCE_SECONDS
    while True:
        try:
            return ask()
        except StoreUnavailable as error:
            if stop.level > 0 or clock() > deadline:
                return None
            waiting(error.message)
            sleep(PAUSE_SECONDS)


def read_outcome(checkpoints: CheckpointStore, attempt: int) -> Outcome | None:
    """An Attempt's own last word; None where it left none that can be read."""
    found = checkpoints.outcome(attempt)
    if found is None:
        return None
    try:
        return Outcome.model_validate(found)
    except ValidationError:
        return None


def finished_outcome(
    store: ObjectStore, checkpoints: CheckpointStore, name: str, job: str
) -> Outcome | None:
    """The Outcome of a job whose model is published; None while there is none."""
    registry = ModelRegistry(store)
    version = registry.find_by_run(name, job)
    if version is None:
        return None
    attempts = checkpoints.attempts()
    for attempt in reversed(attempts):
        outcome = read_outcome(checkpoints, attempt)
        if outcome is not None and outcome.state is JobState.SUCCEEDED:
            return outcome
    # Killed between publishing and saying so: the model itself knows the rest.
    figures: dict[str, Any] = registry.read_json(version, "metrics.json")
    return Outcome(
        job=job,
        attempt=max(attempts, default=1),
        state=JobState.SUCCEEDED,
        reason=Reason.COMPLETED,
        model=version.ref,
        url=version.url,
        metrics=figures.get("test") or {},
        before=figures.get("before") or {},
        selection=SelectionOutcome.model_validate(figures.get("selection") or {}),
    )


def remember(
    store: ObjectStore, checkpoints: CheckpointStore, outcome: Outcome, events: bytes
) -> None:
    """Keeps the events, and the outcome where the Attempt itself left none.

    A store that is away then costs only these: both are told by what else lies there.
    """
    try:
        key = f".checkpoints/{outcome.job}/a{outcome.attempt}/events.jsonl"
        store.put_bytes(key, events)
        document = outcome.model_dump(mode="json")
        checkpoints.put_outcome(outcome.attempt, document, create_only=True)
    except ObjectExists:
        return
    except StoreError:
        return
