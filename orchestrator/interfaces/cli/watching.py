"""`orchestrator watch`, and what `submit --wait` does: a job is followed until it has ended.

In a terminal the panel of `run`, elsewhere its lines; with `--json` each update as a line of JSON.
The job does not depend on who looks: Ctrl-C ends the looking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import OrchestratorError
from orchestrator.interfaces.cli import endings
from orchestrator.interfaces.cli.connecting import client_for, job_argument, url_option
from orchestrator.interfaces.cli.lines import Away, lines_option, print_line, told_as_line
from orchestrator.interfaces.cli.output import say
from orchestrator.interfaces.client import Progress, Waiting
from orchestrator.interfaces.client.watching import json_of
from orchestrator.records import Event, Job, JobState, Outcome, Phase, Report

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan
    from orchestrator.interfaces.cli.display import RunDisplay
    from orchestrator.interfaces.client import JobHandle, Update

CHANGED = "StateChanged"
_SAYING_NOTHING = ("Created", "Launched", "AttemptRunning")  # beside the state


@click.command()
@job_argument
@url_option
@lines_option
def watch(job: str, url: str | None, as_json: bool) -> int:
    """Follow a job until it has ended, as `run` follows its own.

    JOB is an id, or a name, which stands for the newest job of that name. Exits with 0 if the job
    succeeded and 1 if not; Ctrl-C ends the watching, not the job.
    """
    with told_as_line(as_json), client_for(url) as client:
        return follow(client.job(job), as_json=as_json)


def follow(handle: JobHandle, *, as_json: bool) -> int:
    """Shows a job until it has ended; the exit code that tells how."""
    try:
        if as_json:
            ended = _as_lines(handle)
            return _told_as_line(handle, ended)
        plan = _plan_of(handle)
        ended = _in_display(handle, plan)
    except KeyboardInterrupt:
        say(f"{handle.id} goes on. To follow it again, or to end it:")
        say(f"  orchestrator watch {handle.id}\n  orchestrator cancel {handle.id}")
        return endings.INTERRUPTED
    return _told(handle, ended, plan)


def _as_lines(handle: JobHandle) -> Job:
    for update in handle.watch(listener=Away()):
        if isinstance(update, Job):
            return update
        print_line(json_of(update))
    raise AssertionError("a job's updates end with the job")


def _in_display(handle: JobHandle, plan: Plan | None) -> Job:
    from orchestrator.interfaces.cli.display import Followed, display_for

    followed = Followed(handle.id, handle.job.created_at)
    display = display_for(as_json=False, followed=followed)
    with display, _detached(display):
        shown = _Shown(display, handle)
        if plan is not None:
            shown.planned(plan)
        # What happened before is told by the newest event: it has the job's state.
        for update in handle.watch(last=1, listener=_DisplayedAway(display)):
            if isinstance(update, Job):
                if update.state is not JobState.SUCCEEDED:
                    display.failed()
                return update
            shown.take(update)
    raise AssertionError("a job's updates end with the job")


@contextmanager
def _detached(display: RunDisplay) -> Iterator[None]:
    try:
        yield
    except BaseException:
        display.detached()  # the job has not ended with whatever happened here
        raise


class _DisplayedAway(Away):
    """Says on the display what would disturb it on stderr."""

    def __init__(self, display: RunDisplay) -> None:
        super().__init__(display.note)


class _Shown:
    """A job's updates as what a display of `run` is told."""

    def __init__(self, display: RunDisplay, handle: JobHandle) -> None:
        self._display = display
        self._handle = handle
        self._sequence = 0
        self._state = JobState.QUEUED

    def planned(self, plan: Plan) -> None:
        self._display.planned(plan)
        self._display.waiting("")

    def take(self, update: Update) -> None:
        if isinstance(update, Event):
            self._happened(update)
        elif isinstance(update, Waiting):
            if update.waits and self._state is JobState.QUEUED:
                self._display.waiting(update.waits[0].message)
        elif isinstance(update, Progress):
            self._progressed(update)

    def _happened(self, event: Event) -> None:
        display, self._state = self._display, event.state
        if event.state is JobState.QUEUED:
            display.waiting(event.message or str(event.reason))
        elif event.state is JobState.SUSPENDED:
            display.waiting(f"suspended; `orchestrator resume {event.job}` lets it go on")
        elif event.state is JobState.STARTING:
            display.phase(Phase.LAUNCH, event.message if event.kind == CHANGED else "")
        is_note = event.kind not in (CHANGED, *_SAYING_NOTHING)
        if is_note or event.state is JobState.STOPPING:
            about = f": {event.message}" if event.message else ""
            display.note(f"{_words(event)}{about}")

    def _progressed(self, progress: Progress) -> None:
        if self._state is JobState.STARTING and progress.placement:
            where = ", ".join(f"{part.workers} on {part.node}" for part in progress.placement)
            self._display.phase(Phase.LAUNCH, where)
        if self._state not in (JobState.RUNNING, JobState.STOPPING):
            return
        if progress.phase is None:  # its workers have not said anything yet
            self._display.phase(Phase.IMPORT, "")
            return
        self._sequence += 1
        self._display.report(
            Report(
                job=self._handle.id,
                attempt=progress.attempt,
                rank=0,
                sequence=self._sequence,
                time=progress.reported_at or time.time(),
                phase=Phase(progress.phase),
                step=progress.step,
                max_steps=progress.max_steps,
                metrics=progress.metrics,
                checkpoint_step=progress.checkpoint_step,
            )
        )


def _words(event: Event) -> str:
    """`stopping (Cancelled)`, `stacks requested`."""
    if event.kind == CHANGED:
        return f"{str(event.state).lower()} ({event.reason})"
    return "".join(f" {sign.lower()}" if sign.isupper() else sign for sign in event.kind).strip()


def _plan_of(handle: JobHandle) -> Plan | None:
    """What it was admitted with; None where another version of the server tells it otherwise."""
    from pydantic import ValidationError

    from orchestrator.control.admission.records import Plan

    told = handle.spec()
    documents = {"spec": told.spec.model_dump(exclude_none=True), "identity": told.identity}
    try:
        return Plan.model_validate({**handle.plan(), **documents})
    except ValidationError:
        return None


def _told(handle: JobHandle, job: Job, plan: Plan | None) -> int:
    outcome = _outcome(handle, job)
    if job.state is JobState.CANCELLED:
        about = f": {job.message}" if job.message else ""
        say(f"cancelled{about}")
        return endings.FAILED
    retry = endings.Queued(f"orchestrator retry {handle.id}")
    return endings.tell(outcome, retry, plan, as_json=False)


def _told_as_line(handle: JobHandle, job: Job) -> int:
    document: dict[str, Any] = endings.document(_outcome(handle, job))
    print_line({"type": "end", **document})
    return endings.SUCCEEDED if job.state is JobState.SUCCEEDED else endings.FAILED


def _outcome(handle: JobHandle, job: Job) -> Outcome:
    """That of the newest Attempt where it ended the job; else what the job itself says."""
    try:
        attempts = handle.attempts()
    except OrchestratorError:  # deleted just now, perhaps: its end is known all the same
        attempts = []
    found = attempts[-1].outcome if attempts else None
    if found is not None and found.state is job.state:
        return found
    return Outcome(
        job=job.id,
        attempt=job.attempt,
        state=job.state,
        reason=job.reason,
        message=job.message or None,
        model=job.model,
    )
