"""What is known of a run while it goes on: the model behind the live and the plain display.

Fed by the listeners with what the server and the workers say; holds values only, draws nothing, and
takes time as an argument. The displays read it from other threads: who reads or writes holds `lock`
(but for `stop_level`, which a signal handler sets).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from orchestrator.interfaces.cli import figures
from orchestrator.records import Phase, Report

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan

Clock = Callable[[], float]
"""Seconds since the epoch."""

_WINDOW = 32  # reports the speed is measured over: follows a change, smooths one slow step


@dataclass(slots=True)
class PhaseTime:
    """One phase of one attempt; `ended` is None while it goes on."""

    phase: Phase
    started: float
    ended: float | None = None
    message: str = ""

    @property
    def seconds(self) -> float:
        assert self.ended is not None, "the phase goes on"
        return self.ended - self.started


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a step's evaluation on valid gave: `<domain>/<metric>` -> value."""

    step: int
    metrics: dict[str, float]

    def deciding(self, metric: str | None) -> dict[str, float]:
        """The selection metric alone, also as a mean over the domains; else the first metric."""
        if metric is not None and metric in self.metrics:
            return {metric: self.metrics[metric]}
        kind, _, name = (metric or "").partition("/")
        values = [value for key, value in self.metrics.items() if key.endswith(f"/{name}")]
        if kind == "mean" and values:
            return {f"mean/{name}": fmean(values)}
        return dict(list(self.metrics.items())[:1])


@dataclass(slots=True)
class RunProgress:
    """The newest of everything; a new attempt starts its figures anew."""

    clock: Clock
    name: str = ""
    job: str = ""
    attempt: int = 0  # until a Report tells
    phases: list[PhaseTime] = field(default_factory=list)
    step: int | None = None
    max_steps: int | None = None
    selection_metric: str | None = None
    epoch: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    evaluation: Evaluation | None = None
    checkpoint_step: int | None = None
    stop_level: int = 0
    waiting: str = ""  # why no phase goes on: a job of a server in its queue
    is_whole: bool = True  # false: what goes on now does not end well
    started: float = 0.0
    lock: threading.RLock = field(default_factory=threading.RLock)
    _steps: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=_WINDOW))

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def current(self) -> PhaseTime | None:
        last = self.phases[-1] if self.phases else None
        return last if last is not None and last.ended is None else None

    @property
    def elapsed(self) -> float:
        return self.clock() - self.started

    def planned(self, plan: Plan) -> None:
        self.name = plan.spec.metadata.name
        self.max_steps = plan.steps.total if plan.steps is not None else None
        self.selection_metric = plan.spec.spec.selection.metric
        if self.current is not None:
            self.current.message = plan_summary(plan)

    def enter(self, phase: Phase, message: str = "") -> PhaseTime | None:
        """Begin a phase, or say more about the one that goes on; returns the one that ended."""
        now = self.clock()
        current = self.current
        if current is not None and current.phase is phase:
            current.message = message or current.message
            return None
        if current is not None:
            current.ended = now
        self.waiting = ""
        self.phases.append(PhaseTime(phase, now, message=message))
        return current

    def finish(self) -> PhaseTime | None:
        """The run is over; returns the phase that ended with it."""
        current = self.current
        if current is not None:
            current.ended = self.clock()
        return current

    def wait(self, message: str) -> PhaseTime | None:
        """Nothing goes on; returns the phase that ended with that."""
        ended = self.finish()
        self.waiting = message
        return ended

    def detach(self) -> None:
        """Nobody looks any more: what goes on has not ended."""
        if self.current is not None:
            self.phases.pop()

    def take(self, report: Report) -> PhaseTime | None:
        """Learn from a Report; returns the phase that it ended, if any."""
        if report.attempt < self.attempt:
            return None  # a straggler of an attempt that is over
        failed = None
        if report.attempt > self.attempt:
            failed = self.finish() if self.attempt else None
            self._start_attempt(report.attempt)
        self.job = report.job
        self.checkpoint_step = _newest(self.checkpoint_step, report.checkpoint_step)
        if report.rank != 0:
            return failed  # every rank sends; the figures are global and rank 0 carries them
        ended = self.enter(report.phase, report.message or "") or failed
        self._take_figures(report)
        if report.phase is Phase.TRAIN and self.current is not None:
            self.current.message = self._steps_taken()
        return ended

    def seconds_left(self) -> float | None:
        """Until the last step at the speed of the last reports; None while it cannot be told."""
        if self.step is None or self.max_steps is None or len(self._steps) < 2:
            return None
        (first_time, first_step), (last_time, last_step) = self._steps[0], self._steps[-1]
        if last_step <= first_step or last_time <= first_time:
            return None
        seconds_per_step = (last_time - first_time) / (last_step - first_step)
        passed = self.clock() - last_time
        return max((self.max_steps - last_step) * seconds_per_step - passed, 0.0)

    def _steps_taken(self) -> str:
        """What training came to so far: the line it leaves behind when it ends."""
        total = f" of {self.max_steps}" if self.max_steps else ""
        parts = [f"step {self.step or 0}{total}"]
        for form, name in (("loss {:.4f}", "loss"), ("{:,.0f} samples/s", "samples_per_second")):
            if name in self.metrics:
                parts.append(form.format(self.metrics[name]))
        return ", ".join(parts)

    def _start_attempt(self, attempt: int) -> None:
        self.attempt = attempt
        self.step = self.epoch = self.evaluation = None
        self.metrics = {}
        self._steps.clear()

    def _take_figures(self, report: Report) -> None:
        self.max_steps = report.max_steps if report.max_steps is not None else self.max_steps
        self.epoch = report.epoch if report.epoch is not None else self.epoch
        evaluated = {name: value for name, value in report.metrics.items() if "/" in name}
        # Reports repeat what they said before: only other values are another evaluation.
        known = self.evaluation.metrics if self.evaluation is not None else {}
        if evaluated and evaluated != known and report.phase is Phase.TRAIN:
            self.evaluation = Evaluation(report.step or self.step or 0, evaluated)
        self.metrics |= {
            name: value for name, value in report.metrics.items() if name not in evaluated
        }
        if report.step is None or report.phase is not Phase.TRAIN:
            return
        if self.step is None or report.step > self.step:
            # The time it came in here, not the worker's: the two clocks may differ.
            self._steps.append((self.clock(), report.step))
        self.step = report.step


def plan_summary(plan: Plan) -> str:
    """What a run says of its plan in one line."""
    found = plan.estimates
    if found is None:
        return f"a script on {plan.spec.spec.resources.workers} workers"
    parameters = figures.count(found.trainable_parameters)
    time = figures.duration(found.time.total_seconds)
    return f"{parameters} parameters, {found.steps.total:,} steps, about {time}"


def _newest(known: int | None, told: int | None) -> int | None:
    return told if known is None or (told is not None and told > known) else known
