"""The reported loss and gradient norm are those of one plain process on the same global batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training import ops
from tests.worker.tiny import launch, rows, write_base

pytestmark = pytest.mark.timeout(900)

# 52 rows in batches of 16: the fourth batch of an epoch holds 4 rows only.
TRAINING: dict[str, Any] = {
    "max_steps": 6,
    "global_batch_size": 16,
    "learning_rate": 1e-3,
    "max_grad_norm": 0.1,
    "weight_decay": 0.0,
    "seed": 3,
    "schedule": "constant",
}
NUM_ROWS = 52


def case(**engine: Any) -> dict[str, Any]:
    return {"training": TRAINING, "engine": engine, "num_rows": NUM_ROWS}


CASES = {
    "zero 0": case(zero_stage=0, micro_batch_size=4),
    "zero 1": case(zero_stage=1, micro_batch_size=8),
    "zero 2, accumulation": case(zero_stage=2, micro_batch_size=2),
    "zero 3, accumulation": case(zero_stage=3, micro_batch_size=4),
    "ddp": case(strategy="ddp", micro_batch_size=8),
    "ddp, accumulation": case(strategy="ddp", micro_batch_size=4),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def plain(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, float]]:
    """A loop without Trainer, DeepSpeed or workers: the mean loss of each whole global batch."""
    spec = launch(base, tmp_path_factory.mktemp("plain")).spec.spec
    task, tokenizer = task_for(spec.task), load_tokenizer(base)
    encoded = task.encode(pa.table(rows(NUM_ROWS)), tokenizer, 16)
    model = load_model(task, base, tokenizer, seed=3)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    plan = BatchPlan("toy", 3, NUM_ROWS, 16, 16, 1)
    found = []
    for step in range(6):
        epoch, k = divmod(step, plan.steps_per_epoch)
        batch = task.collate([encoded[int(i)] for i in plan.global_batch(epoch, k)], tokenizer)
        labels = batch.pop("labels")
        loss = torch.nn.functional.cross_entropy(model(**batch).logits, labels)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        found.append({"loss": loss.item(), "grad_norm": norm.item()})
    return found


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def gang(
    request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, float]]]:
    scratch = tmp_path_factory.mktemp("gang")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={request.param}", "-m", "tests.worker.training.exactness_gang"]
    done = subprocess.run(
        [*command, str(base), str(scratch), json.dumps(CASES)],
        env={**os.environ, **ops.environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[dict[str, float]]] = json.loads((scratch / "found.json").read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_norm_are_those_of_a_plain_loop(
    name: str, gang: dict[str, list[dict[str, float]]], plain: list[dict[str, float]]
) -> None:
    assert len(gang[name]) == len(plain) == 6
    for step, (measured, expected) in enumerate(zip(gang[name], plain, strict=True)):
        wanted = {key: pytest.approx(value, rel=2e-4) for key, value in expected.items()}
        assert measured == wanted, f"step {step}"
