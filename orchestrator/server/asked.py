"""What a one-shot run is asked for, and who is told of it: shared by its front and its inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator.control.admission.plan import Plan
from orchestrator.records import Phase, Report


@dataclass(frozen=True, slots=True)
class Asked:
    """The command, as it was given."""

    source: Path  # the spec's file
    sets: Sequence[str] = ()  # overrides, `path=value`
    new: bool = False  # train again, even if this run is finished or begun


@dataclass(frozen=True, slots=True)
class Extent:
    """How much of a job a rehearsal takes."""

    workers: int | None = None  # instead of the spec's
    num_steps: int = 8


class RunListener(Protocol):
    """Who is told what happens in a run; called from the thread that called `run`."""

    def planned(self, plan: Plan) -> None: ...

    def phase(self, phase: Phase, message: str) -> None: ...

    def report(self, report: Report) -> None: ...
