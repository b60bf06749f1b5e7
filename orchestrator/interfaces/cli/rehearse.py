"""`orchestrator rehearse`: proves a big job on a small slice before its gang waits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.interfaces.cli.options import set_option, spec_argument
from orchestrator.interfaces.cli.output import json_option, print_json

if TYPE_CHECKING:
    from orchestrator.server.rehearsal import Rehearsed

SUCCEEDED, FAILED = 0, 1


@click.command()
@spec_argument
@set_option
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Workers instead of the spec's; each has as many rows as one of the job would have.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=2, max=100),
    default=8,
    show_default=True,
    help="Optimizer steps that are taken.",
)
@json_option
def rehearse(
    spec: Path, sets: tuple[str, ...], workers: int | None, steps: int, as_json: bool
) -> int:
    """Prove a job by a few steps over its longest rows; leave nothing.

    Runs what `run` runs, in a temporary folder: saves, goes on, evaluates and publishes, and
    compares the memory it took with the plan.
    Exits with 1 and names the phase that failed.
    """
    from orchestrator import server
    from orchestrator.interfaces.cli.display import display_for
    from orchestrator.interfaces.cli.interrupts import stop_on_signals
    from orchestrator.interfaces.cli.remote import settings_for
    from orchestrator.server.asked import Extent

    display = display_for(as_json=as_json)
    stop = server.StopSignal()
    with display:
        settings = settings_for()
        with stop_on_signals(stop, display.stopping):
            found = server.rehearse(
                *(spec, sets),
                settings=settings,
                listener=display,
                stop=stop,
                extent=Extent(workers, steps),
            )
        if not found.succeeded:
            display.failed()
    if as_json:
        print_json(document(found))
    else:
        tell(found)
    return SUCCEEDED if found.succeeded else FAILED


def document(found: Rehearsed) -> dict[str, Any]:
    """For `--json`."""
    return {
        "ok": found.succeeded,
        "failed_in": found.failed_in,
        "error": found.error,
        "resumed_from_step": found.resumed_from,
        "steps": found.outcomes[-1].step if found.outcomes else None,
        "seconds": found.seconds,
        "peak_memory_bytes": found.peak_bytes,
        "planned_memory_bytes": found.planned_bytes,
    }


def tell(found: Rehearsed) -> None:
    from orchestrator.interfaces.cli import figures
    from orchestrator.interfaces.cli.display import TITLES
    from orchestrator.interfaces.cli.output import console, say, style
    from orchestrator.interfaces.cli.tables import labelled

    seconds = found.seconds
    rows = [(TITLES[phase], f"{seconds[phase]:.1f} s") for phase in TITLES if phase in seconds]
    if found.succeeded:
        step = found.resumed_from
        rows.append(
            ("reload", f"went on from the checkpoint of step {step}")
            if step is not None
            else ("reload", "not shown: all steps were over before it stopped; raise --steps")
        )
    if found.peak_bytes is not None:
        planned = found.planned_bytes
        of_plan = f", the plan says {figures.size(planned)}" if planned else ""
        rows.append(("memory", f"{figures.size(found.peak_bytes)} a worker{of_plan}"))
    console().print(labelled(rows))
    if found.succeeded:
        say(style("rehearsed: saved, evaluated and published; nothing of it is left", fg="green"))
    else:
        assert found.failed_in is not None
        say(f"{style('failed', fg='red')} in {TITLES[found.failed_in]}: {found.error}")
