"""How far a pass over many rows has come: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.output import can_draw, console, say

_SECONDS_BETWEEN_LINES = 10.0

Advance = Callable[[int], None]


@contextmanager
def counted(what: str, total: int) -> Iterator[Advance]:
    """Yields what to call with the number of rows that are done."""
    if can_draw():
        with _bar(what, total) as advance:
            yield advance
    else:
        yield _Lines(what, total)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Advance]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(err=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda rows: progress.advance(task, rows)


class _Lines:
    def __init__(
        self,
        what: str,
        total: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        write: Callable[[str], None] = say,
    ) -> None:
        self._what, self._total = what, total
        self._clock, self._write = clock, write
        self._started = self._told = clock()
        self._done = 0

    def __call__(self, rows: int) -> None:
        self._done += rows
        now = self._clock()
        if self._done >= self._total or now - self._told < _SECONDS_BETWEEN_LINES:
            return
        self._told = now
        left = (self._total - self._done) * (now - self._started) / self._done
        done = f"{self._what} {self._done:,} of {self._total:,}"
        self._write(f"{done}, {figures.stopwatch(left)} left")
