"""`orchestrator rehearse`: a job's own way, with few steps over its longest rows.

A spec is derived from the resolved one: the longest rows of each split, a handful of steps, a
checkpoint at each; and goes twice through what `run` does. The first time it is stopped after a
step, so that the second goes on from what was saved, evaluates and publishes. All it writes lies in
one temporary folder that goes with it. Called by the command line through `server.rehearse`.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from orchestrator.control.admission.plan import Plan
from orchestrator.control.controller.look import look
from orchestrator.control.controller.stopping import StopSignal
from orchestrator.errors import OrchestratorError, UserError
from orchestrator.inspect.data import SplitKey, read_tables
from orchestrator.inspect.labels import LABEL, form_of, set_of
from orchestrator.inspect.values import EXTRA, is_extra
from orchestrator.records import JobState, Outcome, Phase, Report
from orchestrator.server.asked import Asked, Extent, RunListener
from orchestrator.server.one_shot import run_once
from orchestrator.settings import Settings
from orchestrator.specs import CustomTask, FineTune, FineTuneSpec
from orchestrator.specs.classification import REGRESSION
from orchestrator.specs.task import MESSAGES, TextClassification, default_columns
from orchestrator.storage.cache import local_copy

MEASURED_ROWS = 32  # of each split that is only read
BOOTSTRAP_SAMPLES = 20
WRITTEN_ROWS = 4  # texts are written token by token


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a rehearsal has shown."""

    outcomes: tuple[Outcome, ...]  # of the first run, then of the one that went on
    plan: Plan  # of the rehearsal, which the measured memory is compared with
    failed_in: Phase | None = None
    error: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.failed_in is None

    @property
    def resumed_from(self) -> int | None:
        """The step the second run began with; None where the first was over before it stopped."""
        return self.outcomes[-1].resumed_from_step if len(self.outcomes) > 1 else None

    @property
    def seconds(self) -> dict[Phase, float]:
        """Phase -> seconds, of both runs together."""
        total: dict[Phase, float] = {}
        for outcome in self.outcomes:
            for phase, seconds in outcome.seconds.items():
                total[phase] = total.get(phase, 0.0) + seconds
        return total

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that a worker held."""
        found = [peak for outcome in self.outcomes for peak in outcome.peak_memory_bytes.values()]
        return max(found, default=None)

    @property
    def planned_bytes(self) -> int | None:
        """What the plan gives a worker, of its GPU or of the host."""
        memory = self.plan.memory
        if memory is None:
            return None
        return memory.worker_bytes if memory.device == "gpu" else memory.host_worker_bytes


def rehearse(
    asked: Asked,
    settings: Settings,
    listener: RunListener,
    stop: StopSignal,
    extent: Extent,
) -> Rehearsed:
    """What `server.rehearse` does."""
    looked = look(asked.source, asked.sets, settings, probe_store=False)
    spec = looked.plan.spec
    if isinstance(spec.spec.task, CustomTask):
        raise UserError(
            "a custom task's script decides itself how long it runs: it cannot be rehearsed",
            hint="run it with arguments that make it short",
        )
    fetch = partial(local_copy, cache_dir=settings.cache_dir)
    tables = read_tables(spec.spec, base_dir=Path("/"), fetch=fetch, with_extra=True)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as scratch:
        file = write_rehearsal(spec, tables, Path(scratch), extent)
        own = settings.model_copy(update={"state_dir": Path(scratch) / "state"})
        return _both_runs(Asked(file), own, _Watching(listener), stop)


def write_rehearsal(
    spec: FineTune,
    tables: dict[SplitKey, pa.Table],
    folder: Path,
    extent: Extent,
) -> Path:
    """The derived spec's file, with the rows that it names beside it.

    Args:
        spec: The job's, resolved.
        tables: Its rows.
        folder: Of the rehearsal.
        extent: Other workers have as many rows a step, each, as one of the job has.
    """
    num_steps = extent.num_steps
    document: dict[str, Any] = spec.model_dump(mode="json", exclude_none=True)
    body = document["spec"]
    had = spec.spec.resources.workers
    given = extent.workers or had
    batch = max(spec.spec.training.global_batch_size // had, 1) * given
    body["resources"]["workers"] = given
    body["resources"].pop("min_workers", None)
    body["training"]["global_batch_size"] = batch
    body["training"]["max_steps"] = num_steps
    for name in ("epochs", "warmup_ratio", "warmup_steps", "early_stopping"):
        body["training"].pop(name, None)
    body["checkpoint"] = {"every_steps": 1, "keep": 1}
    body["selection"]["every_steps"] = max(num_steps // 2, 1)
    evaluation = body["evaluation"]
    samples = min(spec.spec.evaluation.bootstrap_samples, BOOTSTRAP_SAMPLES)
    evaluation["bootstrap_samples"] = samples
    if "generation" in evaluation:
        evaluation["generation"]["max_samples"] = WRITTEN_ROWS
    if evaluation.get("explain"):
        evaluation["explanations"] = {"samples_per_class": 1, "worst_errors": 1}
    body["output"]["store"] = str(folder / "store")
    body["scheduling"] = {}
    body["data"]["domains"] = _sliced(spec.spec, tables, folder, batch)
    path = folder / "rehearsal.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def _sliced(
    spec: FineTuneSpec, tables: dict[SplitKey, pa.Table], folder: Path, batch: int
) -> dict[str, Any]:
    """domain -> split -> the file of its longest rows."""
    learned = [key for key in tables if key[1] == "train"]
    domains: dict[str, Any] = {name: {} for name in spec.data.domains}
    for (name, split), table in tables.items():
        rows = -(-batch // max(len(learned), 1)) if split == "train" else MEASURED_ROWS
        file = folder / f"{name}-{split}.jsonl"
        chosen = table.take(pa.array(longest_rows(table, rows)))
        file.write_text("".join(_line(row, spec) for row in chosen.to_pylist()))
        domains[name][split] = [{"path": str(file)}]
    return {name: splits for name, splits in domains.items() if splits}


def longest_rows(table: pa.Table, count: int) -> list[int]:
    """Numbers of the longest rows, and of the longest one of each label, in their order."""
    texts = [n for n in table.column_names if n != LABEL and not is_extra(n)]
    columns = [table.column(name).to_pylist() for name in texts]
    lengths = [sum(map(len, row)) for row in zip(*columns, strict=True)]
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    chosen = set(order[:count])
    if LABEL in table.column_names:
        seen: set[str] = set()
        labels = table.column(LABEL).to_pylist()
        for row in order:
            if labels[row] not in seen and len(seen) < count:
                seen.add(labels[row])
                chosen.add(row)
    return sorted(chosen)


def _line(row: dict[str, str], spec: FineTuneSpec) -> str:
    """A row as a file holds it, under the task's own names of columns."""
    names = default_columns(spec.task)
    written: dict[str, Any] = {}
    for role, value in row.items():
        if is_extra(role):
            written.setdefault(role.removeprefix(EXTRA), value)
        elif role == MESSAGES:
            written[names[role]] = json.loads(value)
        elif role == LABEL and isinstance(spec.task, TextClassification):
            is_number = spec.task.kind == REGRESSION
            is_set = form_of(spec.task).is_set
            written[names[role]] = float(value) if is_number else set_of(value) if is_set else value
        else:
            written[names[role]] = value
    return json.dumps(written, ensure_ascii=False) + "\n"


class _Either(StopSignal):
    """Raised by itself, or by the person who waits."""

    def __init__(self, outer: StopSignal) -> None:
        super().__init__()
        self._outer = outer

    @property
    def level(self) -> int:
        return max(super().level, self._outer.level)


@dataclass
class _Watching:
    """A listener that remembers where a run is, and stops it once a step was taken."""

    told: RunListener
    at: Phase = Phase.PLAN
    plan: Plan | None = None
    stop: StopSignal | None = field(default=None)

    def planned(self, plan: Plan) -> None:
        self.plan = plan
        self.told.planned(plan)

    def phase(self, phase: Phase, message: str) -> None:
        self.at = phase
        self.told.phase(phase, message)

    def report(self, report: Report) -> None:
        self.at = report.phase
        if self.stop is not None and (report.step or 0) >= 1:
            self.stop.request()
            self.stop = None
        self.told.report(report)


def _both_runs(
    asked: Asked, settings: Settings, watching: _Watching, stop: StopSignal
) -> Rehearsed:
    outcomes: list[Outcome] = []
    error: str | None = None
    for is_first in (True, False):
        own = _Either(stop) if is_first else stop
        watching.stop = own if is_first else None
        try:
            outcomes.append(run_once(asked, settings, watching, own))
        except OrchestratorError as failure:
            if watching.plan is None:
                raise  # nothing was started
            error = str(failure)
            break
        if outcomes[-1].state is JobState.FAILED:
            error = outcomes[-1].message
            break
        if outcomes[-1].state is JobState.SUCCEEDED or stop.level:
            break
    assert watching.plan is not None, "a run begins with its plan"
    done = bool(outcomes) and outcomes[-1].state is JobState.SUCCEEDED
    failed_in = None if done else watching.at
    return Rehearsed(tuple(outcomes), watching.plan, failed_in, error)
