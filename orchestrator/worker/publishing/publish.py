"""Publishing: the documents beside the weights, then the registry's new version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.inspect.code import Code
from orchestrator.records import Launch, Outcome
from orchestrator.storage.adapters import LINEAGE_FILE, Origin
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import open_store
from orchestrator.storage.registry import ModelRegistry, ModelVersion
from orchestrator.worker.publishing.lineage import lineage


@dataclass(frozen=True, slots=True)
class Beside:
    """What is published beside the weights."""

    card: str  # the README.md, where the folder has none
    code: Code | None = None  # the user's, where there is any
    engine: Mapping[str, str] = field(default_factory=dict)  # what was chosen here
    adapter_of: Origin | None = None  # the base that the weights belong to, if not whole


def publish(
    launch: Launch,
    checkpoints: CheckpointStore,
    outcome: Outcome,
    folder: Path,
    beside: Beside,
) -> ModelVersion:
    """Adds README.md, metrics.json and lineage.json to the model's folder and publishes it.

    The version belongs to the job: publishing again completes or returns the same one.

    Args:
        launch: The Attempt that publishes.
        checkpoints: The job's.
        outcome: With the figures to publish.
        folder: The model; a README.md in it stays.
        beside: What else goes with it.
    """
    name = launch.spec.spec.output.name
    assert name is not None, "the plan resolves output.name"
    assert outcome.selection is not None, "only a finished training is published"
    attempts = [
        {"attempt": number, **checkpoints.attempt_record(number)}
        for number in checkpoints.attempts()
    ]
    told = gates_told(outcome)
    _write(
        folder / "metrics.json",
        {
            "format": 1,
            "test": outcome.metrics,
            "before": outcome.before,
            "selection": outcome.selection.model_dump(),
            **told,
        },
    )
    written = lineage(launch, outcome.seconds, attempts, beside.code, beside.engine) | told
    if beside.adapter_of is not None:
        written["adapter_of"] = beside.adapter_of.document()
    _write(folder / LINEAGE_FILE, written)
    if not (folder / "README.md").exists():
        (folder / "README.md").write_text(beside.card)
    registry = ModelRegistry(open_store(launch.store))
    version = registry.publish(name, folder, run=launch.job)
    if outcome.promoted:
        registry.promote(version)
    return version


def gates_told(outcome: Outcome) -> dict[str, Any]:
    """What a model's documents say of its gates; nothing where it has none."""
    if outcome.promoted is None:
        return {}
    gates = [gate.model_dump(exclude={"format"}) for gate in outcome.gates]
    return {"gates": gates, "promoted": outcome.promoted}


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n")
