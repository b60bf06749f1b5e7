"""How a job looks in a notebook: a table and a bar that follow it, and its figures at the end.

Called by `handle`; IPython is imported where a cell is really shown.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.wire import JobView
from orchestrator.records import JobState, Outcome

if TYPE_CHECKING:
    from orchestrator.interfaces.client.handle import Watch

_COLOURS = {
    JobState.RUNNING: "#1a7f37",
    JobState.SUCCEEDED: "#1a7f37",
    JobState.FAILED: "#cf222e",
    JobState.CANCELLED: "#6e7781",
    JobState.SUSPENDED: "#9a6700",
}
_PLAIN = "#57606a"
_LEFT = "text-align:left"


def show(watch: Watch) -> None:
    """Follows the job; interrupting the cell ends the looking, not the job."""
    from IPython import get_ipython

    in_notebook = hasattr(get_ipython(), "kernel")
    try:
        (_in_cell if in_notebook else _in_terminal)(watch)
    except KeyboardInterrupt:
        print(f"{watch.handle.id} goes on; watch() follows it again, cancel() ends it")


def _in_cell(watch: Watch) -> None:
    """One output that is written over."""
    from IPython.display import HTML, display

    handle = watch.handle
    shown = display(HTML(handle._repr_html_()), display_id=True)
    for _ in watch:
        shown.update(HTML(handle._repr_html_()))
    if handle.state is JobState.SUCCEEDED:
        shown.update(HTML(handle._repr_html_() + metrics_html(_outcome(watch))))


def _in_terminal(watch: Watch) -> None:
    """IPython's own terminal shows no HTML."""
    from rich.live import Live

    with Live(watch.handle, auto_refresh=False) as live:
        for _ in watch:
            live.update(watch.handle, refresh=True)


def job_html(job: JobView, rows: Iterable[tuple[str, str]]) -> str:
    """A job as a table of `rows` and, while it trains, a bar."""
    cells = "".join(
        f"<tr><th style='{_LEFT}'>{html.escape(label)}</th>"
        f"<td style='{_LEFT}'>{html.escape(value)}</td></tr>"
        for label, value in rows
    )
    bar = ""
    progress = job.progress
    trains = progress is not None and not job.state.is_terminal
    if trains and progress is not None and progress.step is not None and progress.max_steps:
        bar = f"<progress value='{progress.step}' max='{progress.max_steps}'></progress>"
    style = f"border-left:4px solid {_COLOURS.get(job.state, _PLAIN)};padding-left:8px"
    return f"<div style='{style}'><table>{cells}</table>{bar}</div>"


def metrics_html(outcome: Outcome | None) -> str:
    """What was measured on each domain's test split, before and after; empty: nothing was."""
    if outcome is None or not outcome.metrics:
        return ""
    names = list(dict.fromkeys(n for m in outcome.metrics.values() for n, v in m.items() if _is(v)))
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ["domain", *names])
    rows = "".join(
        f"<tr><td style='{_LEFT}'>{html.escape(domain)}</td>"
        + "".join(
            f"<td>{_figure(found.get(name), outcome.before.get(domain, {}).get(name))}</td>"
            for name in names
        )
        + "</tr>"
        for domain, found in outcome.metrics.items()
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _is(value: object) -> bool:
    """Whether it is a measure: a share or a loss, no count."""
    return isinstance(value, float)


def _figure(after: Any, before: Any) -> str:
    if not _is(after):
        return "–"
    was = f" <small>({before:.3f} before)</small>" if _is(before) else ""
    return f"{after:.3f}{was}"


def _outcome(watch: Watch) -> Outcome | None:
    try:
        attempts = watch.handle.attempts()
    except OrchestratorError:  # deleted just now, perhaps
        return None
    return attempts[-1].outcome if attempts else None
