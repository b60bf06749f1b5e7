"""What a person is shown of a run while it goes on: the live panel or plain lines.

Picked by `run`, and by `watching` for a job of a server. Both are `RunListener`s, which may be
called from any thread, and both write to stderr: stdout is for the answer. Here is what they share:
the protocol and the words.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.output import can_draw, console
from orchestrator.interfaces.cli.progress import RunProgress
from orchestrator.records import Phase, Report

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan

TITLES = {
    Phase.PLAN: "plan",
    Phase.LAUNCH: "launch",
    Phase.IMPORT: "import",
    Phase.LOAD: "load",
    Phase.EVALUATE_BEFORE: "evaluate before",
    Phase.TRAIN: "train",
    Phase.EVALUATE: "evaluate",
    Phase.ADAPT: "adapt",
    Phase.PUBLISH: "publish",
}
TITLE_WIDTH = max(map(len, TITLES.values()))


class RunDisplay(AbstractContextManager["RunDisplay"], Protocol):
    """A listener that is shown while its `with` block runs."""

    plan: Plan | None
    """The last one it was told."""

    def planned(self, plan: Plan) -> None: ...

    def phase(self, phase: Phase, message: str) -> None: ...

    def report(self, report: Report) -> None: ...

    def waiting(self, message: str) -> None:
        """Nothing of it goes on now, and why: a job of a server that is in its queue."""
        ...

    def note(self, text: str) -> None:
        """Something happened that is no phase."""
        ...

    def failed(self) -> None:
        """It has ended, and not well."""
        ...

    def detached(self) -> None:
        """It goes on, and is followed no longer."""
        ...

    def stopping(self, level: int) -> None:
        """Called from a signal handler: may take no lock and no buffered stream."""
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """A job of a server, which may have been there before anybody looked."""

    job: str
    began: float  # seconds since the epoch


def display_for(*, as_json: bool, followed: Followed | None = None) -> RunDisplay:
    """The live panel where stderr is a terminal, plain lines elsewhere and beside JSON."""
    if can_draw() and not as_json:
        from orchestrator.interfaces.cli.live import LiveDisplay

        return LiveDisplay(console(err=True), time.time, followed)
    from orchestrator.interfaces.cli.output import say
    from orchestrator.interfaces.cli.plain import STDERR, PlainDisplay

    return PlainDisplay(say, time.time, fd=STDERR)


def stop_notice(level: int, phase: Phase | None) -> str:
    """What is happening after Ctrl-C; only training has something to save."""
    if level > 1:
        return "Stopping at once"
    doing = {
        Phase.TRAIN: "Saving a checkpoint",
        Phase.PUBLISH: "Publishing to the end",  # a matter of seconds, and nothing is lost
    }
    return f"{doing.get(phase, 'Stopping') if phase else 'Stopping'}, Ctrl-C again to stop at once"


def time_left(progress: RunProgress) -> str:
    left = progress.seconds_left()
    return f"{figures.stopwatch(left)} left" if left else ""


def metric(progress: RunProgress, name: str, form: str) -> str:
    value = progress.metrics.get(name)
    return "" if value is None else form.format(value)


def evaluated(progress: RunProgress) -> tuple[int, str] | None:
    """The step of the newest evaluation on valid, and what it said of the selection metric."""
    if progress.evaluation is None:
        return None
    values = progress.evaluation.deciding(progress.selection_metric)
    text = "  ".join(f"{name} {figures.score(value)}" for name, value in values.items())
    return progress.evaluation.step, text
