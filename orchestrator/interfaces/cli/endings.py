"""How a run ended: a table and the next command for people, one document for programs.

Called by `run`, and by `watching` for a job of a server; docs/cli.md describes the document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.errors import (
    LaunchFailed,
    OrchestratorError,
    PlanRefused,
    Problem,
    StoreDenied,
    StoreFull,
    StoreUnavailable,
    UserError,
)
from orchestrator.interfaces.cli import failures, figures
from orchestrator.interfaces.cli.options import command_line
from orchestrator.interfaces.cli.output import console, say, shown_path, style
from orchestrator.records import JobState, Outcome, Reason
from orchestrator.specs import CustomTask

if TYPE_CHECKING:
    from orchestrator.control.admission.records import Plan

SUCCEEDED, FAILED, INTERRUPTED = 0, 1, 130
DEFAULT_METRICS = ("accuracy", "macro_f1")

DOCUMENT_FIELDS = (
    "job",
    "attempt",
    "resumed_from_step",
    "state",
    "reason",
    "message",
    "model",
    "url",
    "metrics",
    "before",
    "selection",
    "gates",
    "promoted",
    "seconds",
    "step",
    "checkpoint_step",
    "rank",
)

_REASONS: tuple[tuple[type[OrchestratorError], Reason], ...] = (
    (StoreDenied, Reason.STORE_DENIED),
    (StoreUnavailable, Reason.STORE_UNAVAILABLE),
    (StoreFull, Reason.DISK_FULL),
    (LaunchFailed, Reason.LAUNCH_FAILED),
    (UserError, Reason.USER_ERROR),
)


@dataclass(frozen=True, slots=True)
class Request:
    """What was typed."""

    spec: Path
    sets: tuple[str, ...]
    store: str | None
    new: bool

    @property
    def again(self) -> str:
        """The command that goes on; without `--new`, which would begin anew."""
        return command_line("run", shown_path(self.spec), sets=self.sets, store=self.store)


@dataclass(frozen=True, slots=True)
class Queued:
    """A job of a server, in place of what was typed."""

    again: str  # the command that goes on
    store: str | None = None


Asked = Request | Queued


def document(outcome: Outcome) -> dict[str, Any]:
    """The answer of `--json`; `error` is null unless the job failed."""
    error: dict[str, Any] | None = None
    if outcome.state is JobState.FAILED:
        error = {
            "kind": "JobFailed",
            "message": outcome.message,
            "hint": outcome.hint,
            "exit_code": FAILED,
            "problems": [],
        }
    fields = outcome.model_dump(
        mode="json", exclude={"selection": {"format"}, "gates": {"__all__": {"format"}}}
    )
    return {name: fields[name] for name in DOCUMENT_FIELDS} | {"error": error}


def document_of_error(error: BaseException, plan: Plan | None = None) -> dict[str, Any]:
    """The same document for a run that ended without an Outcome, most often before its start."""
    reason = next((reason for kind, reason in _REASONS if isinstance(error, kind)), Reason.UNKNOWN)
    told = failures.error_document(error)
    if isinstance(error, PlanRefused) and plan is not None:
        told["problems"] = [
            failures.problem_document(Problem(found.message, found.path, found.change))
            for found in plan.reasons
        ]
    values: dict[str, Any] = dict.fromkeys(DOCUMENT_FIELDS)
    values |= {"metrics": {}, "before": {}, "gates": [], "seconds": {}}
    values |= {"state": JobState.FAILED.value, "reason": reason.value, "message": told["message"]}
    return values | {"error": told}


def tell_error(error: BaseException, plan: Plan | None) -> int:
    """Say why there is no Outcome, on stderr; returns the exit code."""
    if isinstance(error, PlanRefused) and plan is not None:
        from orchestrator.interfaces.cli.planview import verdict_views

        err = console(err=True)
        for view in verdict_views(plan):
            err.print(view)
        say("Nothing was started; `orchestrator plan` shows the whole plan.")
    else:
        failures.explain(error)
    return failures.exit_code_of(error)


def tell(outcome: Outcome, request: Asked, plan: Plan | None, *, as_json: bool) -> int:
    """Say how it ended and what to type next; returns the exit code."""
    if outcome.state is JobState.FAILED:
        _tell_failure(outcome, request)
        return FAILED
    if outcome.state is not JobState.SUCCEEDED:
        _tell_interruption(outcome, request)
        return INTERRUPTED
    if not as_json:
        asked = plan.spec.spec.evaluation.shown_metrics if plan is not None else ()
        is_script = plan is not None and isinstance(plan.spec.spec.task, CustomTask)
        if is_script:
            asked = tuple(
                dict.fromkeys(name for found in outcome.metrics.values() for name in found)
            )
        _tell_success(outcome, asked or DEFAULT_METRICS, request, is_script=is_script)
    return SUCCEEDED


def _tell_success(
    outcome: Outcome, metrics: Sequence[str], request: Asked, *, is_script: bool
) -> None:
    """The final table, what was published, and how to use it."""
    from orchestrator.interfaces.cli.tables import labelled, metrics_table

    out = console()
    if outcome.metrics:
        out.print()
        out.print(metrics_table(outcome.metrics, outcome.before, metrics))
    out.print()
    out.print(labelled(summary(outcome)))
    if outcome.model is None:
        return
    store = request.store or _store_to_name(outcome)
    is_here = store is None or "://" in store or Path(store).exists()
    if isinstance(request, Queued) and not is_here:
        return  # a folder of the server's machine
    if is_script:  # what it has made is its own
        show = command_line("models", "show", outcome.model, store=store)
        click.echo(f"\nLook at it:\n  {show}")
        return
    predict = command_line("predict", outcome.model, "--text", "your text", store=store)
    click.echo(f"\nTry it:\n  {predict}")


def _store_to_name(outcome: Outcome) -> str | None:
    """The store of the model, where it is not the one that `predict` looks in by itself."""
    from orchestrator.settings import load_settings
    from orchestrator.storage.locations import parse_location

    store = (outcome.url or "").removesuffix(f"/{(outcome.model or '').replace('@', '/')}")
    if not store or store == parse_location(load_settings().store).url:
        return None
    return shown_path(store)


def _tell_failure(outcome: Outcome, request: Asked) -> None:
    message = outcome.message or "the job did not say why"
    where = f", rank {outcome.rank}" if outcome.rank is not None else ""
    say(f"{style('failed', fg='red', bold=True)} ({outcome.reason}{where}): {message}")
    if outcome.hint:
        say(f"  {style('hint:', dim=True)} {outcome.hint}")
    if outcome.checkpoint_step is not None:
        say(f"The checkpoint of step {outcome.checkpoint_step} is kept. To go on from it:")
        say(f"  {request.again}")


def _tell_interruption(outcome: Outcome, request: Asked) -> None:
    at_step = "" if outcome.step is None else f" at step {outcome.step}"
    if outcome.checkpoint_step is None:
        say(f"Interrupted{at_step}; no checkpoint was saved. To begin again:")
    else:
        say(f"Interrupted{at_step}; the checkpoint of step {outcome.checkpoint_step} is saved.")
        say("To go on:")
    say(f"  {request.again}")


def summary(outcome: Outcome) -> list[tuple[str, str]]:
    """Which model came out, where it lies, which weights it has and what it cost."""
    rows = [("Note", outcome.message)] if outcome.message else []
    if outcome.model is not None:
        rows.append(("Published", f"{outcome.model}  {outcome.url}"))
    if (chosen := outcome.selection) is not None and chosen.step is not None:
        value = f", {chosen.metric} {figures.score(chosen.value)} on valid" if chosen.metric else ""
        rows.append(("Weights", f"of step {chosen.step}{', the last' if chosen.last else value}"))
    for number, gate in enumerate(outcome.gates):
        rows.append(("Gates" if number == 0 else "", gate.text))
    if outcome.promoted is not None:
        name = (outcome.model or "").partition("@")[0]
        told = f"{name}@promoted is this version" if outcome.promoted else "no, a gate failed"
        rows.append(("Promoted", told))
    if outcome.resumed_from_step is not None:
        resumed = f"from step {outcome.resumed_from_step}, attempt {outcome.attempt}"
        rows.append(("Resumed", resumed))
    if outcome.seconds:
        total = figures.duration(sum(outcome.seconds.values()))
        rows.append(("Time", f"{total}: {_phases(outcome)}"))
    return rows


def _phases(outcome: Outcome) -> str:
    return ", ".join(
        f"{phase.value.replace('_', ' ')} {figures.duration(seconds)}"
        for phase, seconds in outcome.seconds.items()
    )
