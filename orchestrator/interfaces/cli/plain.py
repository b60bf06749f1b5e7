"""Plain lines about a run: for files, pipes, CI, and beside `--json`.

Picked by `display.display_for`. One line with a time for each thing that happens; steps at most
every ten seconds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.display import (
    TITLE_WIDTH,
    TITLES,
    evaluated,
    metric,
    stop_notice,
    time_left,
)
from orchestrator.interfaces.cli.progress import Clock, PhaseTime, RunProgress, plan_summary
from orchestrator.records import Phase, Report

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan

STDERR = 2
_SECONDS_BETWEEN_STEPS = 10.0


class PlainDisplay:
    """See `display.RunDisplay`."""

    def __init__(self, write: Callable[[str], None], clock: Clock, *, fd: int) -> None:
        """Args:
        write: Takes a line without its end.
        fd: Where a signal handler writes.
        """
        self.plan: Plan | None = None
        self._progress = RunProgress(clock)
        self._write = write
        self._fd = fd
        self._last_step_line = float("-inf")
        self._told_step: int | None = None
        self._told_message: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._progress.lock:
            is_whole = self._progress.is_whole and not self._progress.stop_level
            whole = error is None and is_whole
            self._tell_ended(self._progress.finish(), "done" if whole else "ended")

    def planned(self, plan: Plan) -> None:
        with self._progress.lock:
            self.plan = plan
            self._progress.planned(plan)
            self._line(Phase.PLAN, plan_summary(plan))
            for warning in plan.warnings:
                self._line(Phase.PLAN, f"warning: {warning}")

    def phase(self, phase: Phase, message: str) -> None:
        with self._progress.lock:
            before = self._progress.current
            self._tell_ended(self._progress.enter(phase, message))
            self._tell_phase(phase, message, is_new=self._progress.current is not before)

    def report(self, report: Report) -> None:
        with self._progress.lock:
            progress = self._progress
            before = (progress.current, progress.checkpoint_step, progress.evaluation)
            attempt = progress.attempt
            self._tell_ended(progress.take(report))
            if report.rank != 0 or report.attempt < progress.attempt:
                return
            is_new = progress.current is not before[0]
            message = report.message or ""
            if progress.attempt > attempt:
                beginning = f"attempt {progress.attempt} of {progress.job}"
                message = f"{beginning}: {message}" if message else beginning
            self._tell_phase(report.phase, message, is_new=is_new)
            if progress.evaluation is not before[2] and (told := evaluated(progress)):
                self._line(report.phase, f"valid at step {told[0]}  {told[1]}")
            if report.phase is Phase.TRAIN and report.step is not None:
                self._tell_step(report.step, at_once=is_new)
            if progress.checkpoint_step != before[1]:
                step = progress.checkpoint_step
                self._line(report.phase, f"checkpoint of step {step} is saved")

    def waiting(self, message: str) -> None:
        with self._progress.lock:
            before = self._progress.waiting
            self._tell_ended(self._progress.wait(message), "ended")
            if message != before:
                self._tell("waiting", message)

    def note(self, text: str) -> None:
        with self._progress.lock:
            current = self._progress.current
            self._tell(TITLES[current.phase] if current is not None else "waiting", text)

    def failed(self) -> None:
        self._progress.is_whole = False

    def detached(self) -> None:
        with self._progress.lock:
            self._progress.detach()

    def stopping(self, level: int) -> None:
        self._progress.stop_level = level
        current = self._progress.current
        notice = stop_notice(level, current.phase if current is not None else None)
        # Not print: the handler may have interrupted a write to the same buffer.
        os.write(self._fd, f"{notice}\n".encode())

    def _tell_phase(self, phase: Phase, message: str, *, is_new: bool) -> None:
        if is_new:
            self._line(phase, message or "started")
        elif message and message != self._told_message:
            self._line(phase, message)
        self._told_message = message or self._told_message

    def _tell_ended(self, ended: PhaseTime | None, word: str = "done") -> None:
        if ended is not None:
            self._line(ended.phase, f"{word} in {figures.duration(ended.seconds)}")

    def _tell_step(self, step: int, *, at_once: bool) -> None:
        progress = self._progress
        now = progress.clock()
        if step == self._told_step:
            return
        is_last = progress.max_steps is not None and step >= progress.max_steps
        if at_once or is_last or now - self._last_step_line >= _SECONDS_BETWEEN_STEPS:
            self._last_step_line = now
            self._told_step = step
            self._line(Phase.TRAIN, _step_text(progress))

    def _line(self, phase: Phase, text: str) -> None:
        self._tell(TITLES[phase], text)

    def _tell(self, title: str, text: str) -> None:
        time = datetime.fromtimestamp(self._progress.clock()).strftime("%H:%M:%S")
        self._write(f"{time}  {title:{TITLE_WIDTH}}  {text}")


def _step_text(progress: RunProgress) -> str:
    total = f" of {progress.max_steps}" if progress.max_steps else ""
    loss = metric(progress, "loss", "loss {:.4f}")
    speed = metric(progress, "samples_per_second", "{:,.0f} samples/s")
    parts = (f"step {progress.step}{total}", loss, speed, time_left(progress))
    return "  ".join(part for part in parts if part)
