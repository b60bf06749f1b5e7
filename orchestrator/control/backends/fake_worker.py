"""What an Attempt that never ran leaves in the store: the Outcome and the model of a real one.

Called by the fake backends. "Exit 0 without a complete manifest is a failure" holds for them too,
so success is a published version that everything which reads versions can read.
"""

from __future__ import annotations

import json
import struct
import tempfile
from contextlib import suppress
from pathlib import Path

from orchestrator.errors import ObjectExists
from orchestrator.records import JobState, Launch, Outcome, Phase, Reason, SelectionOutcome
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore, open_store
from orchestrator.storage.registry import ModelRegistry

RETRY_SECONDS = 5.0  # of a look: a store that is away for longer is asked at the next one
STEPS = 1


def leave_model(launch: Launch, seconds: float, store: ObjectStore | None = None) -> Outcome:
    """Publishes a tiny model as the job's version and says that it succeeded; once, or again."""
    store = _store(launch) if store is None else store
    name = launch.spec.spec.output.name
    assert name is not None, "a resolved spec has it"
    outcome = Outcome(
        job=launch.job,
        attempt=launch.attempt,
        state=JobState.SUCCEEDED,
        reason=Reason.COMPLETED,
        resumed_from_step=launch.resume[0].step if launch.resume else None,
        step=STEPS,
        selection=SelectionOutcome(last=True, step=STEPS),
        seconds={**launch.seconds, Phase.TRAIN: seconds},
    )
    with tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder), launch, outcome)
        version = ModelRegistry(store).publish(name, Path(folder), run=launch.job)
    outcome = outcome.model_copy(update={"model": version.ref, "url": version.url})
    _put(store, outcome)
    return outcome


def leave_failure(
    launch: Launch,
    reason: Reason,
    message: str = "the script of this fake backend says so",
    store: ObjectStore | None = None,
) -> Outcome:
    """Says why it failed, unless something was said already."""
    outcome = Outcome(
        job=launch.job,
        attempt=launch.attempt,
        state=JobState.FAILED,
        reason=reason,
        message=message,
    )
    _put(_store(launch) if store is None else store, outcome)
    return outcome


def _store(launch: Launch) -> ObjectStore:
    return open_store(launch.store, retry_seconds=RETRY_SECONDS)


def _put(store: ObjectStore, outcome: Outcome) -> None:
    document = outcome.model_dump(mode="json")
    with suppress(ObjectExists):  # another process that looked was first
        CheckpointStore(store, outcome.job).put_outcome(outcome.attempt, document, create_only=True)


def _write_model(folder: Path, launch: Launch, outcome: Outcome) -> None:
    """One weight of one number, and the documents every version has."""
    assert outcome.selection is not None
    documents = {
        "config.json": {"model_type": "fake"},
        "metrics.json": {
            "format": 1,
            "test": {},
            "before": {},
            "selection": outcome.selection.model_dump(),
        },
        "lineage.json": {
            "format": 1,
            "job": launch.job,
            "attempt": launch.attempt,
            "run": launch.identity.run,
            "spec": {"resolved": launch.spec.model_dump(mode="json", exclude_none=True)},
        },
    }
    for name, document in documents.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n")
    (folder / "README.md").write_text(f"# {launch.spec.metadata.name}\n\nNothing was trained.\n")
    (folder / "model.safetensors").write_bytes(_safetensors())


def _safetensors() -> bytes:
    """The format of safetensors: length of the header, header, data."""
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", 0.0)
