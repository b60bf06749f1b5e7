"""What the store says of Attempts that are over, and what the controller leaves there of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from orchestrator.control.controller.conclusion import Remains
from orchestrator.errors import NotFound, StoreError, StoreUnavailable
from orchestrator.records import Event, JobState, Outcome, Reason, SelectionOutcome
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore
from orchestrator.storage.registry import ModelRegistry


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
    store: ObjectStore, checkpoints: CheckpointStore, name: str, job: str, *, publishes: bool = True
) -> Outcome | None:
    """The Outcome of a job whose model is published; None while there is none.

    Of a job that publishes none it is that of the Attempt that succeeded.
    """
    if not publishes:
        told = (read_outcome(checkpoints, attempt) for attempt in checkpoints.attempts())
        return next((o for o in told if o is not None and o.state is JobState.SUCCEEDED), None)
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
    figures: dict[str, Any] = {}
    with suppress(NotFound):  # user code need not leave them
        figures = registry.read_json(version, "metrics.json")
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


def remember(checkpoints: CheckpointStore, outcome: Outcome) -> None:
    """Keeps the outcome where the Attempt itself left none.

    Raises StoreUnavailable; any other trouble of the store costs only this copy.
    """
    try:
        document = outcome.model_dump(mode="json")
        checkpoints.put_outcome(outcome.attempt, document, create_only=True)
    except StoreUnavailable:
        raise
    except StoreError:  # that it is there already is one of them
        return


def keep_events(store: ObjectStore, job: str, attempt: int, events: Sequence[Event]) -> None:
    """Leaves a job's events beside its checkpoints: a one-shot run keeps no rows."""
    lines = b"".join(event.model_dump_json().encode() + b"\n" for event in events)
    try:
        store.put_bytes(f".checkpoints/{job}/a{attempt}/events.jsonl", lines)
    except StoreError:
        return
