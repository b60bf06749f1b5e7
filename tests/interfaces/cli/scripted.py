"""A scripted run: a clock that only moves when told, and short ways to say what workers say."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from orchestrator.records import Phase, Report

JOB = "job-01kax7m0f2c3d4e5f6g7h8j9k0"


@dataclass
class FakeClock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class Script:
    """Makes Reports in sequence, as a worker sends them: figures it said before are repeated."""

    clock: FakeClock
    attempt: int = 1
    _sequence: int = 0
    _said: dict[str, Any] = field(default_factory=dict)

    def report(
        self, phase: Phase, *, rank: int = 0, message: str | None = None, **said: Any
    ) -> Report:
        self._sequence += 1
        self._said |= said
        return Report(
            job=JOB,
            attempt=self.attempt,
            rank=rank,
            sequence=self._sequence,
            time=self.clock(),
            phase=phase,
            message=message,
            **self._said,
        )


def plan(name: str = "sentiment-camera", *, steps: int = 120, metric: str = "mean/macro_f1") -> Any:
    """As much of a Plan as the displays read."""
    selection = SimpleNamespace(metric=metric)
    spec = SimpleNamespace(
        metadata=SimpleNamespace(name=name), spec=SimpleNamespace(selection=selection)
    )
    return SimpleNamespace(spec=spec, steps=SimpleNamespace(total=steps))
