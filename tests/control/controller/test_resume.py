from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.controller.resume import pinned_engine, resume_points
from orchestrator.errors import InvalidInput
from orchestrator.specs import EngineSpec
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


@pytest.mark.parametrize(
    ("sections", "path", "message"),
    [
        (
            {"resources": {"workers": 1}},
            "resources.workers",
            "this run was begun with 2 and can only go on so, not with 1",
        ),
        (
            {"engine": {"zero_stage": 3}},
            "engine.zero_stage",
            "this run was begun with 2 and can only go on so, not with 3",
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
        resume_points(resolved_spec(**sections).spec, saved)
    (problem,) = caught.value.problems
    assert (problem.path, problem.message) == (path, message)
    assert (problem.hint or "").endswith("or begin anew with --new")


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
