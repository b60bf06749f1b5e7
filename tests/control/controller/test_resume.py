from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.controller.resume import begun_engine, pinned_engine, resume_points
from orchestrator.errors import InvalidInput
from orchestrator.specs import CustomTask, EngineSpec, FineTuneSpec
from orchestrator.storage.checkpoints import Checkpoint, CheckpointStore
from orchestrator.storage.objectstore import open_store
from tests.control.builders import JOB, resolved_spec

BEGUN_WITH = {"strategy": "deepspeed", "zero_stage": 2}


@pytest.fixture
def checkpoints(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(open_store(str(tmp_path / "store")), JOB)


def save(
    checkpoints: CheckpointStore, step: int, folder: Path, workers: int = 2, **metadata: Any
) -> list[Checkpoint]:
    attempt = max(checkpoints.attempts(), default=0) or checkpoints.claim_attempt({})
    folder.mkdir(exist_ok=True)
    (folder / "shard").write_text("x")
    for rank in range(workers):
        checkpoints.upload_rank(attempt, step, rank, folder)
    checkpoints.commit(attempt, step, workers, {**BEGUN_WITH, **metadata}, timeout_seconds=1)
    return checkpoints.candidates()


def test_a_new_run_begins_at_the_beginning() -> None:
    assert resume_points(resolved_spec().spec, []) == ()


def test_the_newest_checkpoint_comes_first(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    save(checkpoints, 20, tmp_path / "f")
    found = resume_points(resolved_spec().spec, save(checkpoints, 40, tmp_path / "f"))
    assert [(ref.attempt, ref.step, ref.world_size) for ref in found] == [(1, 40, 2), (1, 20, 2)]


CUSTOM = CustomTask(type="custom", entrypoint="train.py")


def changed(sections: dict[str, Any]) -> FineTuneSpec:
    """The default spec with other sections, or with another task instead of its own."""
    fields = {name: value for name, value in sections.items() if name != "task"}
    spec = resolved_spec(**fields).spec
    return spec.model_copy(update={"task": sections.get("task", spec.task)})


@pytest.mark.parametrize(
    ("sections", "path", "message"),
    [
        (
            {"task": CUSTOM, "resources": {"workers": 1}},
            "resources.workers",
            "this run was begun with 2 and can only go on so, not with 1",
        ),
        (
            {"training": {"precision": "bf16"}, "engine": {"zero_stage": 0}},
            "engine.zero_stage",
            "this run was begun with 2 and can only go on so, not with 0",
        ),
        (
            {"engine": {"strategy": "ddp"}},
            "engine.strategy",
            "this run was begun with deepspeed and can only go on so, not with ddp",
        ),
    ],
)
def test_what_does_not_fit_is_refused_at_its_field(
    checkpoints: CheckpointStore,
    tmp_path: Path,
    sections: dict[str, Any],
    path: str,
    message: str,
) -> None:
    saved = save(checkpoints, 20, tmp_path / "f")
    with pytest.raises(InvalidInput) as caught:
        resume_points(changed(sections), saved)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (path, message)
    assert (problem.hint or "").endswith("or begin anew with --new")


@pytest.mark.parametrize(
    "sections",
    [
        {"resources": {"workers": 1}},
        {"resources": {"workers": 4}, "engine": {"zero_stage": 3}},
        {"engine": {"zero_stage": 0}},
        {"training": {"precision": "bf16"}, "engine": {"zero_stage": 1}},
    ],
)
def test_workers_and_stage_may_change(
    checkpoints: CheckpointStore, tmp_path: Path, sections: dict[str, Any]
) -> None:
    saved = save(checkpoints, 20, tmp_path / "f")
    assert [ref.step for ref in resume_points(resolved_spec(**sections).spec, saved)] == [20]


def test_other_workers_keep_the_stage_and_choose_the_rest_anew() -> None:
    record = {"workers": 2, "engine": {"zero_stage": 2, "micro_batch_size": 8}}
    kept = begun_engine(record, resolved_spec(resources={"workers": 4}).spec)
    assert kept == {"zero_stage": 2}
    same = begun_engine(record, resolved_spec().spec)
    assert (same["zero_stage"], same["micro_batch_size"]) == (2, 8)


def test_without_sharding_the_stage_does_not_matter(
    checkpoints: CheckpointStore, tmp_path: Path
) -> None:
    saved = save(checkpoints, 20, tmp_path / "f", strategy="ddp", zero_stage=None)
    spec = resolved_spec(engine={"strategy": "ddp", "zero_stage": 0}).spec
    assert [ref.step for ref in resume_points(spec, saved)] == [20]


def test_what_the_spec_leaves_open_is_pinned_to_the_beginning() -> None:
    began = {"zero_stage": 2, "micro_batch_size": 8, "offload": "none", "other": 1}
    assert pinned_engine(EngineSpec(zero_stage=3), began) == {
        "micro_batch_size": 8,
        "offload": "none",
    }
    assert pinned_engine(EngineSpec(), {}) == {}
