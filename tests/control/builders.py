"""Short ways to say what the controller's tests are about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.control.backends.base import AttemptStatus, Observation
from orchestrator.records import Identity, Launch, Phase, Report
from orchestrator.specs import FineTune

JOB = "job-01kax7m0f2c3d4e5f6g7h8j9k0"
RUN = "5f" * 32

PENDING = Observation(AttemptStatus.PENDING)
RUNNING = Observation(AttemptStatus.RUNNING)
SUCCEEDED = Observation(AttemptStatus.SUCCEEDED, exit_code=0)
KILLED = Observation(AttemptStatus.FAILED, "Job entrypoint command failed", 137)
STOPPED = Observation(AttemptStatus.STOPPED)
UNKNOWN = Observation(AttemptStatus.UNKNOWN, "ConnectError: refused")


def resolved_spec(**sections: dict[str, Any]) -> FineTune:
    """A spec as a plan resolves it; a section replaces fields of the default one."""
    spec: dict[str, Any] = {
        "model": {"base": "/models/base"},
        "task": {"type": "text-classification", "labels": ("neg", "pos")},
        "data": {
            "domains": {"camera": {"train": ({"path": "/d/t.jsonl"},)}},
            "train_on": ("camera",),
        },
        "engine": {
            "zero_stage": 2,
            "micro_batch_size": 16,
            "gradient_checkpointing": False,
            "offload": "none",
        },
        "resources": {"workers": 2},
        "output": {"store": "memory://x", "name": "camera"},
    }
    for section, fields in sections.items():
        spec[section] = {**spec.get(section, {}), **fields}
    return FineTune.model_validate(
        {
            "apiVersion": "finetune.orchestrator/v1alpha1",
            "kind": "FineTune",
            "metadata": {"name": "camera"},
            "spec": spec,
        }
    )


def report(sequence: int, phase: Phase = Phase.TRAIN, **said: Any) -> Report:
    fields = {"job": JOB, "attempt": 1, "rank": 0, "time": 0.0, **said}
    return Report(sequence=sequence, phase=phase, **fields)


@dataclass
class Heard:
    """A listener that keeps what it is told."""

    phases: list[tuple[Phase, str]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def phase(self, phase: Phase, message: str) -> None:
        self.phases.append((phase, message))

    def report(self, report: Report) -> None:
        self.reports.append(report)


@dataclass
class Clock:
    """Time that passes only when somebody sleeps."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def plays(*observations: Observation) -> Any:
    """A FakeBackend's script that shows these, one a look."""

    def script(request: object) -> Iterator[Observation]:
        yield from observations

    return script


def launch_of(job: str, name: str, *, store: Path, attempt: int = 1) -> Launch:
    """The Launch of a job with this name, whose model bears it too."""
    spec = resolved_spec(output={"store": str(store), "name": name})
    metadata = spec.metadata.model_copy(update={"name": name})
    return Launch(
        job=job,
        attempt=attempt,
        spec=spec.model_copy(update={"metadata": metadata}),
        written="kind: FineTune\n",
        identity=Identity(run=RUN, data={}, base="cd", recipe="1"),
        store=str(store),
        submitted_at=1_800_000_000.0,
    )
