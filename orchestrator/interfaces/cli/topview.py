"""The screen of `top`: what is told of the cluster, fitted into the lines and columns there are.

Drawn by `top` whenever something has changed, the window too. Values in, a renderable out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from orchestrator.interfaces.cli import figures
from orchestrator.interfaces.cli.jobtexts import COLOURS, time_left, why
from orchestrator.interfaces.cli.queues import use_of
from orchestrator.interfaces.wire import JobView, NodeView, Overview, Progress, WaitingView
from orchestrator.records import JobState
from orchestrator.records.queue import MEMORY

WINDOW = 16  # steps that were told, over which the pace is measured
MANY_NODES = 6  # more are told together, a line for each backend
MOST_QUEUES = 4
FEW_JOBS = 4  # lines of each kind that come before what is said of the cluster
BAR_WIDTH = 8
WIDE, WIDER = 110, 150  # columns, from which on there is room for more of each job
UNLIMITED = 10**6

_SHORT = {"evaluate_before": "eval before", "evaluate": "evaluate"}


class Paces:
    """How fast each gang trains, by the steps of the overviews that were seen."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], deque[tuple[float, int]]] = {}

    def take(self, overview: Overview) -> None:
        gone = set(self._seen)
        for job in overview.running:
            progress = job.progress
            if progress is None or progress.step is None or progress.reported_at is None:
                continue
            key = job.id, progress.attempt
            gone.discard(key)
            steps = self._seen.setdefault(key, deque(maxlen=WINDOW))
            if not steps or progress.step > steps[-1][1]:
                steps.append((progress.reported_at, progress.step))
        for key in gone:
            del self._seen[key]

    def seconds_left(self, job: JobView, now: float) -> float | None:
        """Until the last step of training; None while it cannot be told."""
        progress = job.progress
        if progress is None or progress.max_steps is None or progress.phase != "train":
            return None
        steps = self._seen.get((job.id, progress.attempt))
        if steps is None or len(steps) < 2 or steps[-1][0] <= steps[0][0]:
            return time_left(progress, now)
        (first_time, first), (last_time, last) = steps[0], steps[-1]
        pace = (last_time - first_time) / (last - first)
        return max((progress.max_steps - last) * pace - (now - last_time), 0.0)


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known when a screen is drawn."""

    overview: Overview | None  # None: nothing was told yet
    url: str
    now: float  # the server's clock
    paces: Paces = field(default_factory=Paces)
    notice: str = ""  # of a server that is away
    is_live: bool = True


def screen(seen: Seen, console: Console, width: int, height: int | None) -> RenderableType:
    """Everything, in at most `height` lines; None: in as many as it takes."""
    if seen.overview is None:
        return Text(seen.notice or f"asking {seen.url} …", style="yellow" if seen.notice else "dim")
    head = [_head(seen, width)]
    if seen.notice:
        head.append(Text(seen.notice, style="bold yellow", no_wrap=True, overflow="ellipsis"))
    foot = [Text("q leaves", style="dim")] if seen.is_live and (height or 0) > 12 else []
    room = UNLIMITED if height is None else height - len(head) - len(foot)
    about, jobs = _sections(seen, width, room)
    sections = [*about, *jobs]
    rest = room - 2 * len(sections) - sum(section.lines for section in about)
    shown = [section.lines for section in about] + fit([s.lines for s in jobs], rest)
    parts: list[RenderableType] = list(head)
    for section, lines in zip(sections, shown, strict=True):
        parts += [Text(), section.table(lines)]
    spare = room - sum(shown) - 2 * len(sections)
    whole = sections[-1].table(shown[-1], wraps=True)  # all of why they wait, where it fits
    if len(console.render_lines(whole, pad=False)) <= 1 + shown[-1] + spare:
        parts[-1] = whole
    if height is None:
        return Group(*parts)
    taken = sum(len(console.render_lines(part, pad=False)) for part in parts)
    blank = [Text()] * max(0, height - taken - len(foot))
    return Group(*parts, *blank, *foot)


def _sections(seen: Seen, width: int, room: int) -> tuple[list[Section], list[Section]]:
    """What is shown of the cluster, and the jobs, which come first where there is little room."""
    overview = seen.overview
    assert overview is not None
    jobs = [_running(seen, width), _waiting(seen, width)]
    queues, each = _queues(overview), _nodes(overview, together=False)
    together = _nodes(overview, together=True)
    needed = sum(2 + min(section.lines, FEW_JOBS) for section in jobs)
    for about in ([queues, each], [queues, together], [together]):
        if room >= needed + sum(2 + section.lines for section in about):
            return about, jobs
    return [], jobs


def fit(needs: Sequence[int], room: int) -> list[int]:
    """Lines for each: what it needs where that is little, and the rest in equal parts."""
    given = [0] * len(needs)
    open_ = [index for index, need in enumerate(needs) if need]
    while open_ and room > 0:
        part = max(1, room // len(open_))
        for index in list(open_):
            more = min(part, needs[index] - given[index], room)
            given[index] += more
            room -= more
            if given[index] >= needs[index]:
                open_.remove(index)
    return given


@dataclass(frozen=True, slots=True)
class Column:
    """One column: how wide it is, and what happens to what is longer."""

    heading: str
    is_figure: bool = False
    least: int | None = None
    ratio: int | None = None  # takes a part of what is left


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with rows below it."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str | Text, ...], ...]
    hidden: int = 0  # rows that the server has left out
    empty: str = ""

    @property
    def lines(self) -> int:
        """How many it takes beside its heading."""
        return max(1, len(self.rows) + (1 if self.hidden else 0))

    def table(self, lines: int, *, wraps: bool = False) -> Table:
        """As much as fits in so many lines below the heading; the last says how much does not."""
        table = Table(box=None, pad_edge=False, expand=True, padding=(0, 2, 0, 0))
        for column in self.columns:
            table.add_column(
                column.heading,
                header_style="bold dim",
                justify="right" if column.is_figure else "left",
                no_wrap=not (wraps and column is self.columns[-1]),
                overflow="ellipsis",
                min_width=column.least,
                ratio=column.ratio,
            )
        if not self.rows:
            table.add_row(*[""] * self._widest, Text(self.empty, style="dim"))
            return table
        fits = len(self.rows) <= lines and not self.hidden
        shown = self.rows if fits else self.rows[: max(0, lines - 1)]
        for row in shown:
            table.add_row(*row)
        left = len(self.rows) - len(shown) + self.hidden
        if left and lines > 0:
            table.add_row(*[""] * self._widest, Text(f"… {left} more", style="dim"))
        return table

    @property
    def _widest(self) -> int:
        """Columns before the one that has room for a remark."""
        return next((i for i, column in enumerate(self.columns) if column.ratio), 0)


def _head(seen: Seen, width: int) -> RenderableType:
    overview = seen.overview
    assert overview is not None
    counts = [f"{overview.num_running} running", f"{overview.num_waiting} waiting"]
    if overview.suspended:
        counts.append(f"{overview.suspended} suspended")
    whose = "all teams" if overview.team is None else f"team {overview.team}"
    left = Text.assemble((seen.url.partition("://")[2], "bold"), f"  {whose}")
    right = Text(f"{'  '.join(counts)}  {datetime.fromtimestamp(seen.now):%H:%M:%S}")
    row = Table.grid(expand=True, padding=(0, 1, 0, 0))
    row.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    row.add_column(no_wrap=True, justify="right")
    row.add_row(left, right)
    return row


# Queues and nodes


def _queues(overview: Overview) -> Section:
    rows = []
    queues = sorted(overview.queues, key=lambda queue: -(queue.waiting + queue.running))
    for queue in queues[:MOST_QUEUES]:
        name = Text(queue.name, style="yellow" if queue.is_paused else "")
        used = ", ".join(use_of(queue)).replace(MEMORY, "memory") or "nothing is held"
        about = f"paused  {used}" if queue.is_paused else used
        rows.append((name, f"{queue.running}", f"{queue.waiting}", about))
    columns = (
        Column("queue", least=10),
        Column("running", is_figure=True),
        Column("waiting", is_figure=True),
        Column("held of its quota", ratio=1),
    )
    return Section(columns, tuple(rows), len(queues) - len(rows), "there is no queue")


def _nodes(overview: Overview, *, together: bool) -> Section:
    """A line for each, or where they are many for each backend."""
    nodes = list(overview.nodes)
    if together or len(nodes) > MANY_NODES:
        nodes = list(_together(nodes))
    has_gpus = any(node.gpus for node in nodes)
    rows = []
    for node in nodes:
        row: list[str | Text] = [Text(node.name, style="" if node.is_alive else "red")]
        row += _use(node.used_cpus, node.cpus)
        row += _use(node.used_gpus, node.gpus) if has_gpus else []
        row += _use(node.used_memory_bytes / 1e9, node.memory_bytes / 1e9, " GB")
        row.append("away" if not node.is_alive else node.accelerator or "")
        rows.append(tuple(row))
    columns = (
        Column("node", least=10),
        *(Column("cpu"), Column("")),
        *((Column("gpu"), Column("")) if has_gpus else ()),
        *(Column("memory"), Column("")),
        Column("", ratio=1),
    )
    return Section(columns, tuple(rows), 0, "no backend has answered yet")


def _together(nodes: Sequence[NodeView]) -> Iterator[NodeView]:
    """The nodes of each backend as one; those that are away count for nothing."""
    for backend in dict.fromkeys(node.backend for node in nodes):
        members = [node for node in nodes if node.backend == backend]
        alive = [node for node in members if node.is_alive]
        away = f", {len(members) - len(alive)} away" if len(alive) < len(members) else ""
        kinds = sorted({node.accelerator for node in alive if node.accelerator})
        yield NodeView(
            backend=backend,
            name=f"{backend}: {len(members)}{away}",
            cpus=sum(node.cpus for node in alive),
            gpus=sum(node.gpus for node in alive),
            memory_bytes=sum(node.memory_bytes for node in alive),
            accelerator=", ".join(kinds) or None,
            is_alive=bool(alive),
            used_cpus=sum(node.used_cpus for node in alive),
            used_gpus=sum(node.used_gpus for node in alive),
            used_memory_bytes=sum(node.used_memory_bytes for node in alive),
        )


def _use(used: float, of: float, unit: str = "") -> list[str | Text]:
    """A bar, and `3/4` of what there is."""
    if not of:
        return [Text("─" * BAR_WIDTH, style="dim"), figures.NOTHING]
    share = min(used / of, 1.0)
    full = max(round(share * BAR_WIDTH), 1 if used else 0)
    colour = "red" if share > 0.95 else "yellow" if share > 0.7 else "green"
    bar = Text.assemble(("█" * full, colour), ("░" * (BAR_WIDTH - full), "dim"))
    return [bar, f"{used:.3g}/{of:.3g}{unit}"]


# Jobs


def _running(seen: Seen, width: int) -> Section:
    overview = seen.overview
    assert overview is not None
    rows = []
    for job in overview.running:
        progress = job.progress or Progress(attempt=job.attempt)
        left = seen.paces.seconds_left(job, seen.now)
        rows.append(
            (
                *_who(job, overview, width),
                _phase(job),
                _steps(progress),
                _metric(progress, "samples_per_second", "{:,.0f}"),
                _metric(progress, "loss", "{:.4f}"),
                "" if left is None else figures.stopwatch(left),
                figures.stopwatch(seen.now - (job.started_at or job.changed_at)),
                _where(progress),
            )
        )
    columns = (
        *_who_columns("running", overview, width),
        Column("phase", least=8),
        Column("step", is_figure=True),
        Column("samples/s" if width >= WIDE else "smp/s", is_figure=True),
        Column("loss", is_figure=True),
        Column("left", is_figure=True, least=5),
        Column("since", is_figure=True, least=5),
        Column("on", ratio=2),
    )
    hidden = overview.num_running - len(overview.running)
    return Section(columns, tuple(rows), hidden, "nothing runs")


def _waiting(seen: Seen, width: int) -> Section:
    overview = seen.overview
    assert overview is not None
    rows = []
    for job in overview.waiting:
        rows.append(
            (
                _position(job),
                *_who(job, overview, width),
                *([job.queue] if len(overview.queues) > 1 else []),
                figures.stopwatch(seen.now - job.queued_at),
                why(job) or "the scheduler has not looked at it yet",
            )
        )
    columns = (
        Column("#", is_figure=True, least=2),
        *_who_columns("waiting", overview, width, ratio=2),
        *((Column("queue"),) if len(overview.queues) > 1 else ()),
        Column("since", is_figure=True, least=5),
        Column("why", ratio=5),
    )
    hidden = overview.num_waiting - len(overview.waiting)
    return Section(columns, tuple(rows), hidden, "nobody waits")


def _who(job: JobView, overview: Overview, width: int) -> list[str | Text]:
    found: list[str | Text] = [Text(job.name, style="bold")]
    if width >= WIDE:
        found.append(job.id)
    if _has_teams(overview):
        found.append(job.team)
    if width >= WIDER:
        found.append(job.created_by)
    return found


def _who_columns(heading: str, overview: Overview, width: int, *, ratio: int = 3) -> list[Column]:
    found = [Column(heading, least=12, ratio=ratio)]
    if width >= WIDE:
        found.append(Column("job", least=30))
    if _has_teams(overview):
        found.append(Column("team"))
    if width >= WIDER:
        found.append(Column("by"))
    return found


def _has_teams(overview: Overview) -> bool:
    return len({job.team for job in (*overview.running, *overview.waiting)}) > 1


def _position(job: WaitingView) -> str:
    return figures.NOTHING if job.position is None else str(job.position)


def _phase(job: JobView) -> Text:
    """What goes on, by the state's colour."""
    name = str(job.state).lower()
    progress = job.progress
    if job.state is JobState.RUNNING:
        phase = progress.phase if progress is not None and progress.phase else "running"
        name = _SHORT.get(phase, phase)
    return Text(name, style=COLOURS[job.state])


def _steps(progress: Progress) -> str:
    if progress.step is None:
        return ""
    return f"{progress.step}/{progress.max_steps}" if progress.max_steps else str(progress.step)


def _metric(progress: Progress, name: str, form: str) -> str:
    value = progress.metrics.get(name)
    return "" if value is None else form.format(value)


def _where(progress: Progress) -> str:
    """`2 on fake-0, 1 on fake-1`; the names alone where each has one."""
    if all(part.workers == 1 for part in progress.placement):
        return ", ".join(part.node for part in progress.placement)
    return ", ".join(f"{part.node} ×{part.workers}" for part in progress.placement)
