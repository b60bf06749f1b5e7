from __future__ import annotations

import json
from pathlib import Path

from orchestrator.control.controller.endings import finished_outcome, read_outcome
from orchestrator.records import JobState, Outcome, Reason
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry
from tests.control.builders import JOB


def publish(folder: Path) -> None:
    export = folder / "export"
    export.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (export / name).write_text("{}")
    figures = {
        "format": 1,
        "test": {"camera": {"accuracy": 0.9}},
        "before": {"camera": {"accuracy": 0.5}},
        "selection": {"metric": "camera/accuracy", "mode": "max", "value": 0.8, "step": 20},
    }
    (export / "metrics.json").write_text(json.dumps(figures))
    ModelRegistry(open_store(str(folder / "models"))).publish("camera", export, run=JOB)


def test_a_job_without_a_model_is_not_finished(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "models"))
    checkpoints = CheckpointStore(store, JOB)
    checkpoints.claim_attempt({})
    assert finished_outcome(store, checkpoints, "camera", JOB) is None


def test_a_finished_job_has_its_own_outcome(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "models"))
    checkpoints = CheckpointStore(store, JOB)
    outcome = Outcome(
        job=JOB, attempt=1, state=JobState.SUCCEEDED, reason=Reason.COMPLETED, model="camera@1"
    )
    checkpoints.claim_attempt({})
    checkpoints.put_outcome(1, outcome.model_dump(mode="json"))
    publish(tmp_path)
    assert finished_outcome(store, checkpoints, "camera", JOB) == outcome


def test_killed_between_publishing_and_saying_so(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "models"))
    checkpoints = CheckpointStore(store, JOB)
    checkpoints.claim_attempt({})
    publish(tmp_path)
    found = finished_outcome(store, checkpoints, "camera", JOB)
    assert found is not None
    assert (found.state, found.model, found.attempt) == (JobState.SUCCEEDED, "camera@1", 1)
    assert found.metrics == {"camera": {"accuracy": 0.9}}
    assert found.before == {"camera": {"accuracy": 0.5}}
    assert found.selection is not None
    assert found.selection.step == 20


def test_an_outcome_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    checkpoints = CheckpointStore(open_store(str(tmp_path)), JOB)
    checkpoints.put_outcome(1, {"job": JOB})
    assert read_outcome(checkpoints, 1) is None
    assert read_outcome(checkpoints, 2) is None
