"""New jobs that begin with another one's optimizer state: which checkpoint, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.controller.continuing import continued
from orchestrator.errors import InvalidInput
from orchestrator.records import ContinuedRef
from orchestrator.storage.checkpoints import CheckpointStore
from orchestrator.storage.objectstore import ObjectStore, open_store
from tests.control.builders import JOB, launch_of, resolved_spec


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """Of a job that was saved at steps 20 and 40."""
    store = open_store(str(tmp_path / "store"))
    checkpoints = CheckpointStore(store, JOB)
    attempt = checkpoints.claim_attempt({})
    launch = launch_of(JOB, "camera", store=tmp_path / "store")
    checkpoints.put_launch(attempt, launch.model_dump_json().encode())
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "shard").write_text("x")
    for step in (20, 40):
        for rank in range(2):
            checkpoints.upload_rank(attempt, step, rank, tmp_path / "shards")
        checkpoints.commit(attempt, step, 2, {"zero_stage": 2}, timeout_seconds=1)
    return store


def going_on(**sections: Any) -> Any:
    base = {"base": f"job://{JOB}", "optimizer": True}
    return resolved_spec(**{"model": base, **sections}).spec


def test_it_is_the_newest_one(store: ObjectStore) -> None:
    expected = ContinuedRef(job=JOB, attempt=1, step=40, world_size=2)
    assert continued(going_on(), store) == expected
    assert (
        continued(going_on(resources={"workers": 1}, engine={"zero_stage": 3}), store) == expected
    )
    assert continued(resolved_spec().spec, store) is None


@pytest.mark.parametrize(
    ("sections", "path", "told"),
    [
        ({"method": {"type": "freeze", "num_layers": 1}}, "method",
         "method was type full, not type freeze, num_layers 1"),
        ({"task": {"labels": ("a", "b", "c")}}, "task.labels", "was neg, pos, not a, b, c"),
        ({"engine": {"strategy": "ddp", "zero_stage": 0}}, "engine.strategy",
         "was deepspeed, not ddp"),
        ({"training": {"precision": "bf16"}}, "training.precision", "was fp32, not bf16"),
    ],
)  # fmt: skip
def test_other_parameters_are_refused_with_the_reason(
    store: ObjectStore, sections: dict[str, Any], path: str, told: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        continued(going_on(**sections), store)
    problem = caught.value.problems[0]
    assert problem.path == path
    assert told in problem.message


def test_a_job_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        continued(going_on(), open_store(str(tmp_path / "empty")))
    (problem,) = caught.value.problems
    assert problem.path == "model.optimizer"
    assert f"{JOB}, which made the base, has no checkpoint left" in problem.message
