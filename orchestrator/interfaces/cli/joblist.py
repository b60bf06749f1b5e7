"""Jobs below each other: one line each, and below it what is worth a sentence. Called by `jobs`.

Ids are for copying, so they are never cut. What a narrow terminal has no column for is told below
the line, where it is out of the ordinary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from orchestrator.interfaces.cli import jobtexts
from orchestrator.interfaces.cli.figures import NOTHING, short_age

if TYPE_CHECKING:
    from orchestrator.interfaces.wire import JobView

WIDE = 110
"""Columns of a terminal from which on everything has a column."""

GAP = 2
LEAST_NAME = 8

Row = dict[str, str]
_NARROW = ("job", "name", "state", "age")
_WIDE = ("job", "name", "state", "queue", "priority", "try", "age", "model")


def listed(jobs: Sequence[JobView], now: float, width: int) -> Iterator[RenderableType]:
    """The lines for a terminal of that many columns."""
    is_wide = width >= WIDE
    names = list(_WIDE if is_wide else _NARROW)
    has_teams = len({job.team for job in jobs}) > 1
    if has_teams and is_wide:
        names.insert(2, "team")
    rows = [_row(job, now) for job in jobs]
    widths = _widths(names, rows, width)
    yield Text(_joined([name.ljust(widths[name]) for name in names]), style="dim")
    for job, row in zip(jobs, rows, strict=True):
        yield _line(job, row, widths)
        if note := _note(job, is_wide=is_wide, has_teams=has_teams):
            yield Padding(Text(note, style="dim"), (0, 0, 0, 4), expand=False)


def _row(job: JobView, now: float) -> Row:
    about = jobtexts.about_state(job)
    return {
        "job": job.id,
        "name": job.name,
        "team": job.team,
        "state": f"{job.state} {about}".rstrip(),
        "queue": job.queue,
        "priority": jobtexts.priority(job),
        "try": str(job.attempt) if job.attempt else NOTHING,
        "age": short_age(now - job.created_at),
        "model": job.model or NOTHING,
    }


def _widths(names: Sequence[str], rows: Sequence[Row], width: int) -> dict[str, int]:
    """As wide as needed; where that is too much, names of jobs are cut and then models."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in names}
    for name in ("name", "model"):
        over = sum(widths.values()) + GAP * (len(names) - 1) - width
        if over > 0 and name in widths:
            widths[name] = max(min(LEAST_NAME, widths[name]), widths[name] - over)
    return widths


def _line(job: JobView, row: Row, widths: dict[str, int]) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    for number, (name, width) in enumerate(widths.items()):
        if number:
            line.append(" " * GAP)
        text = _cut(row[name], width).ljust(width)
        if name == "state":
            state = str(job.state)
            line.append(state, style=jobtexts.COLOURS[job.state])
            line.append(text.removeprefix(state))
        else:
            line.append(text, style="dim" if row[name] == NOTHING else "")
    line.rstrip()
    return line


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _note(job: JobView, *, is_wide: bool, has_teams: bool) -> str:
    parts = [] if is_wide else list(_out_of_the_ordinary(job, has_teams=has_teams))
    found = ", ".join(parts)
    why = jobtexts.why(job) or ""
    return f"{found}. {why}" if found and why else found or why


def _out_of_the_ordinary(job: JobView, *, has_teams: bool) -> Iterator[str]:
    if has_teams:
        yield f"team {job.team}"
    if job.queue != "default":
        yield f"queue {job.queue}"
    if job.priority:
        yield f"{jobtexts.priority(job)} priority"
    if job.attempt > 1:
        yield f"attempt {job.attempt}"
    if job.model:
        yield f"published {job.model}"


def _joined(texts: Sequence[str]) -> str:
    return (" " * GAP).join(texts).rstrip()
