"""A rehearsal is the job with few, long rows; it is stopped once and goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.admission.plan import Plan
from orchestrator.errors import LaunchFailed
from orchestrator.inspect.data import read_tables
from orchestrator.inspect.validation import validate_all
from orchestrator.records import JobState, Outcome, Phase, Reason, Report
from orchestrator.server import rehearsal
from orchestrator.server.asked import Asked, Extent
from orchestrator.server.rehearsal import write_rehearsal
from orchestrator.settings import Settings, load_settings
from orchestrator.specs import FineTune
from tests.interfaces.cli.scripted import JOB, plan
from tests.specs.builders import spec


def job(folder: Path, **sections: Any) -> FineTune:
    rows = [
        {"text": "long " * (n % 20 + 1), "label": "ab"[n % 2], "where": f"w{n % 3}"}
        for n in range(200)
    ]
    rows[7] = {"text": "rare", "label": "c", "where": "w0"}
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = [{"path": str(path)}]
    return spec(
        task={"type": "text-classification", "labels": ["a", "b", "c"]},
        data={
            "domains": {"one": {"train": source, "test": source}, "two": {"test": source}},
            "train_on": ["one"],
        },
        training={"epochs": 3, "global_batch_size": 64, "warmup_ratio": 0.1},
        resources={"workers": 8, "min_workers": 2},
        evaluation={"slices": {"where": {"column": "where"}}},
        **sections,
    )


def test_the_derived_spec_is_the_job_with_its_longest_rows(tmp_path: Path) -> None:
    whole = job(tmp_path)
    tables = read_tables(whole.spec, base_dir=tmp_path, fetch=None, with_extra=True)
    (tmp_path / "scratch").mkdir()

    file = write_rehearsal(whole, tables, tmp_path / "scratch", Extent(workers=2, num_steps=4))

    found = validate_all(file).loaded.spec.spec
    assert (found.training.max_steps, found.training.epochs) == (4, None)
    assert (found.resources.workers, found.training.global_batch_size) == (2, 16)
    assert found.checkpoint.every_steps == 1
    assert found.output.store == str(tmp_path / "scratch/store")
    assert found.model == whole.spec.model
    sliced = read_tables(found, base_dir=tmp_path, fetch=None, with_extra=True)
    train = sliced["one", "train"].to_pylist()
    assert {row["label"] for row in train} == {"a", "b", "c"}
    assert sum(row["text"].count("long") for row in train) / len(train) > 15
    assert sliced["two", "test"].column_names == ["text", "label", "slice:where"]
    assert sliced["two", "test"].num_rows <= 35


class Quiet:
    def planned(self, plan: Plan) -> None: ...
    def phase(self, phase: Phase, message: str) -> None: ...
    def report(self, report: Report) -> None: ...


def run_scripted(
    monkeypatch: pytest.MonkeyPatch, folder: Path, ends: list[Outcome | Exception]
) -> tuple[rehearsal.Rehearsed, list[int]]:
    """Both runs, answered by `ends`; and the level of the stop signal after each."""
    levels: list[int] = []

    def run_once(asked: Asked, settings: Settings, listener: Any, stop: Any) -> Outcome:
        listener.planned(plan())
        listener.phase(Phase.TRAIN, "")
        listener.report(
            Report(job=JOB, attempt=1, rank=0, sequence=1, time=0.0, phase=Phase.TRAIN, step=1)
        )
        levels.append(stop.level)
        end = ends[len(levels) - 1]
        if isinstance(end, Exception):
            raise end
        return end

    monkeypatch.setattr(rehearsal, "run_once", run_once)
    watching = rehearsal._Watching(Quiet())
    both = rehearsal._both_runs(
        Asked(folder / "x.yaml"), load_settings(), watching, rehearsal.StopSignal()
    )
    return both, levels


def outcome(state: JobState, reason: Reason, **fields: Any) -> Outcome:
    return Outcome(job=JOB, attempt=1, state=state, reason=reason, **fields)


def test_the_first_run_is_stopped_and_the_second_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = outcome(JobState.SUSPENDED, Reason.INTERRUPTED, seconds={Phase.TRAIN: 2.0})
    second = outcome(
        JobState.SUCCEEDED,
        Reason.COMPLETED,
        resumed_from_step=1,
        seconds={Phase.TRAIN: 3.0},
        peak_memory_bytes={Phase.LOAD: 5, Phase.TRAIN: 9},
    )
    found, levels = run_scripted(monkeypatch, tmp_path, [first, second])
    assert levels == [1, 0]
    assert (found.succeeded, found.resumed_from, found.peak_bytes) == (True, 1, 9)
    assert found.seconds == {Phase.TRAIN: 5.0}


def test_the_phase_that_failed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    failed = outcome(JobState.FAILED, Reason.OUT_OF_MEMORY, message="no memory")
    found, _ = run_scripted(monkeypatch, tmp_path, [failed])
    assert (found.succeeded, found.failed_in, found.error) == (False, Phase.TRAIN, "no memory")
    found, _ = run_scripted(monkeypatch, tmp_path, [LaunchFailed("no Ray")])
    assert (found.failed_in, found.error) == (Phase.TRAIN, "no Ray")
