"""The model card of a custom task: what is known of a model that a script has made."""

from __future__ import annotations

from typing import Any

import yaml

from orchestrator.records import Launch
from orchestrator.specs import CustomTask


def script_card(launch: Launch, metrics: dict[str, dict[str, Any]]) -> str:
    """The text of README.md where the script wrote none.

    Args:
        launch: The Attempt that publishes.
        metrics: domain -> metrics, as the script measured them.
    """
    spec = launch.spec.spec
    assert isinstance(spec.task, CustomTask)
    front: dict[str, Any] = {"tags": ["cross-domain-transfer"]}
    if spec.model is not None:
        front["base_model"] = spec.model.base
    head = "---\n" + yaml.safe_dump(front, sort_keys=False).strip() + "\n---"
    parts = [head, f"# {spec.output.name}", _summary(launch, spec.task)]
    if metrics:
        parts += ["## Results", _table(metrics), "Measured by the script itself."]
    return "\n\n".join(parts) + "\n"


def _summary(launch: Launch, task: CustomTask) -> str:
    arguments = " ".join(f"--{name} {value}".rstrip() for name, value in task.arguments.items())
    command = f"{task.entrypoint} {arguments}".rstrip()
    return (
        f"Made by `{command}` on {launch.spec.spec.resources.workers} workers; the code has the "
        f"sha256 `{launch.identity.code}`. lineage.json lists its files, data and packages."
    )


def _table(metrics: dict[str, dict[str, Any]]) -> str:
    lines = [["domain", "metric", "value"], ["---"] * 3]
    for domain, values in metrics.items():
        lines += [[domain, name, f"{value:.4f}"] for name, value in values.items()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
