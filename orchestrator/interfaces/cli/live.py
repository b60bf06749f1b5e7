"""The live panel of `run` in a terminal: a few lines at the bottom, finished phases above them.

Picked by `display.display_for`. Two threads draw (the server's and rich's own), so nothing is
printed while `progress.lock` is held: rich takes its lock first and asks for ours while drawing.
"""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.display import (
    TITLE_WIDTH,
    TITLES,
    Followed,
    evaluated,
    metric,
    stop_notice,
    time_left,
)
from orchestrator.interfaces.cli.progress import Clock, PhaseTime, RunProgress
from orchestrator.records import Phase, Report

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan

_WIDTH = 100  # wider lines are harder to read, not fuller
_LEAST_WIDTH = 20
_ROOM_FOR_ECHO = 6  # terminals echo ^C behind the panel; a line break there would shift the redraw
_REDRAWS_PER_SECOND = 5


class LiveDisplay:
    """A compact panel; see `display.RunDisplay`."""

    def __init__(self, console: Console, clock: Clock, followed: Followed | None = None) -> None:
        self.plan: Plan | None = None
        self._progress = RunProgress(clock)
        if followed is not None:
            self._progress.started, self._progress.job = followed.began, followed.job
        self._console = console
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self.render,
            console=console,
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._progress.lock:
            ended = self._progress.finish()
            is_whole = self._progress.is_whole and not self._progress.stop_level
            whole = error is None and is_whole
        self._print_ended(ended, whole=whole)
        self._live.stop()

    def planned(self, plan: Plan) -> None:
        with self._progress.lock:
            self.plan = plan
            self._progress.planned(plan)
        for warning in plan.warnings:
            self._console.print(Text.assemble(("! ", "yellow"), warning))

    def phase(self, phase: Phase, message: str) -> None:
        with self._progress.lock:
            ended = self._progress.enter(phase, message)
        self._print_ended(ended)

    def report(self, report: Report) -> None:
        with self._progress.lock:
            attempt = self._progress.attempt
            ended = self._progress.take(report)
            is_new_attempt = 0 < attempt < self._progress.attempt
        self._print_ended(ended, whole=not is_new_attempt)
        if is_new_attempt:
            self._console.print(Text(f"↻ attempt {report.attempt}", style="yellow"))
        if report.message and report.phase is Phase.TRAIN:  # elsewhere the panel shows it
            self._print_line(Text(f"· {report.message}", style="dim"))

    def waiting(self, message: str) -> None:
        with self._progress.lock:
            ended = self._progress.wait(message)
        self._print_ended(ended, whole=False)

    def note(self, text: str) -> None:
        self._print_line(Text(f"· {text}", style="dim"))

    def failed(self) -> None:
        self._progress.is_whole = False

    def detached(self) -> None:
        with self._progress.lock:
            self._progress.detach()

    def stopping(self, level: int) -> None:
        self._progress.stop_level = level  # the next redraw shows it

    def render(self) -> RenderableType:
        with self._progress.lock:
            return self._panel()

    def _print_ended(self, ended: PhaseTime | None, *, whole: bool = True) -> None:
        if ended is None:
            return
        self._print_line(
            Text.assemble(
                ("✓", "green") if whole else ("✗", "yellow"),
                f" {TITLES[ended.phase]:{TITLE_WIDTH}}",
                (f"{figures.duration(ended.seconds):>9}", "bold"),
                (f"   {ended.message}" if ended.message else "", "dim"),
            )
        )

    def _print_line(self, line: Text) -> None:
        self._console.print(line, overflow="ellipsis", no_wrap=True)

    def _panel(self) -> Panel:
        progress = self._progress
        lines: list[RenderableType] = [self._head()]
        if progress.waiting:  # a sentence, all of it
            lines.append(Text(progress.waiting, style="dim"))
        if progress.step is not None:
            lines += [_figures_line(progress), _stored_line(progress)]
        if progress.stop_level:
            phase = progress.current.phase if progress.current is not None else None
            lines.append(Text(stop_notice(progress.stop_level, phase), style="bold yellow"))
        width = max(min(self._console.width - _ROOM_FOR_ECHO, _WIDTH), _LEAST_WIDTH)
        title = Text(progress.name or "run", style="bold")
        identity = _identity(progress)
        for text in (title, identity):  # a longer one would widen the panel
            text.truncate(width - 6, overflow="ellipsis")
        return Panel(
            Group(*lines),
            title=title,
            title_align="left",
            subtitle=identity,
            subtitle_align="right",
            border_style="yellow" if progress.stop_level else "cyan",
            width=width,
        )

    def _head(self) -> RenderableType:
        progress, current = self._progress, self._progress.current
        if (
            current is not None
            and current.phase is Phase.TRAIN
            and progress.step is not None
            and progress.max_steps
        ):
            return _bar(progress.step, progress.max_steps, time_left(progress))
        row = Table.grid(padding=(0, 2, 0, 0), expand=True)
        row.add_column(width=1)
        row.add_column(no_wrap=True)
        row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        row.add_column(justify="right")
        title, message = "waiting" if progress.waiting else "starting", ""
        if current is not None:
            title, message = TITLES[current.phase], current.message
        seconds = progress.elapsed if current is None else progress.clock() - current.started
        row.add_row(
            self._spinner,
            Text(title, style="bold"),
            Text(message, style="dim"),
            figures.stopwatch(seconds),
        )
        return row


def _bar(step: int, max_steps: int, left: str) -> Table:
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    row.add_column(no_wrap=True, justify="right", min_width=9)
    row.add_row(
        Text(TITLES[Phase.TRAIN], style="bold"),
        ProgressBar(total=max_steps, completed=step),
        Text(f"step {step} of {max_steps}"),
        Text(left, style="cyan"),
    )
    return row


def _identity(progress: RunProgress) -> Text:
    parts = [progress.job] if progress.job else []
    if progress.attempt > 1:
        parts.append(f"attempt {progress.attempt}")
    parts.append(figures.stopwatch(progress.elapsed))
    return Text(" · ".join(parts), style="dim")


def _figures_line(progress: RunProgress) -> Text:
    """Loss, gradient norm, learning rate, speed, epoch: what is known of them."""
    epoch = "" if progress.epoch is None else f"{progress.epoch:.2f}"
    return _labelled(
        ("loss", metric(progress, "loss", "{:.4f}")),
        ("samples/s", metric(progress, "samples_per_second", "{:,.0f}")),
        ("grad", metric(progress, "grad_norm", "{:.2f}")),
        ("lr", metric(progress, "learning_rate", "{:.1e}")),
        ("epoch", epoch),
    )


def _stored_line(progress: RunProgress) -> Text:
    """The newest checkpoint, and the newest evaluation on valid."""
    step = progress.checkpoint_step
    parts = [("checkpoint", "none yet" if step is None else f"step {step}")]
    if (told := evaluated(progress)) is not None:
        parts.append((f"valid at step {told[0]}", told[1]))
    return _labelled(*parts)


def _labelled(*parts: tuple[str, str]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for label, text in parts:
        if text:
            line.append("   " if line else "")
            line.append(f"{label} ", style="dim")
            line.append(text)
    return line
