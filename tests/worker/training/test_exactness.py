"""The reported loss and gradient norm are those of one plain process on the same global batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training import ops
from tests.worker.tiny import (
    launch,
    pairs,
    rows,
    texts,
    write_base,
    write_causal_base,
    write_seq2seq_base,
)

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


CLASSIFY = {"type": "text-classification", "labels": ["negative", "positive"]}
TASKS: dict[str, tuple[dict[str, Any], Callable[[Path], Path], Callable[[int], Any]]] = {
    "classification": (CLASSIFY, write_base, rows),
    "causal": ({"type": "causal-lm"}, write_causal_base, texts),
    "encoder-decoder": ({"type": "translation"}, write_seq2seq_base, pairs),
    "prompted": ({"type": "translation"}, write_causal_base, pairs),
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "zero 0": ("classification", {"zero_stage": 0, "micro_batch_size": 4}),
    "zero 1": ("classification", {"zero_stage": 1, "micro_batch_size": 8}),
    "zero 2, accumulation": ("classification", {"zero_stage": 2, "micro_batch_size": 2}),
    "zero 3, accumulation": ("classification", {"zero_stage": 3, "micro_batch_size": 4}),
    "ddp": ("classification", {"strategy": "ddp", "micro_batch_size": 8}),
    "ddp, accumulation": ("classification", {"strategy": "ddp", "micro_batch_size": 4}),
    "causal, zero 2": ("causal", {"zero_stage": 2, "micro_batch_size": 4}),
    "causal, ddp": ("causal", {"strategy": "ddp", "micro_batch_size": 2}),
    "encoder-decoder, zero 3": ("encoder-decoder", {"zero_stage": 3, "micro_batch_size": 4}),
    "encoder-decoder, ddp": ("encoder-decoder", {"strategy": "ddp", "micro_batch_size": 4}),
    "prompted, zero 2": ("prompted", {"zero_stage": 2, "micro_batch_size": 4}),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("base")) for name, (_, write, _) in TASKS.items()}


@pytest.fixture(scope="module")
def plain(
    bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[dict[str, float]]]:
    """A loop without Trainer, DeepSpeed or workers: the mean loss of each whole global batch."""
    folder = tmp_path_factory.mktemp("plain")
    return {name: plain_loop(name, base, folder) for name, base in bases.items()}


def plain_loop(name: str, base: Path, folder: Path) -> list[dict[str, float]]:
    section, _, data = TASKS[name]
    lengths = {"max_length": 16} | ({"max_target_length": 16} if name in WRITING else {})
    spec = launch(base, folder, task=section, training=lengths, evaluation={}).spec.spec
    task, tokenizer = task_for(spec, base), load_tokenizer(base)
    encoded = task.encode(pa.table(data(NUM_ROWS)), tokenizer)
    model = load_model(task, base, tokenizer, seed=3)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    plan = BatchPlan("toy", 3, NUM_ROWS, 16, 16, 1)
    found = []
    for step in range(6):
        epoch, k = divmod(step, plan.steps_per_epoch)
        batch = task.collate([encoded[int(i)] for i in plan.global_batch(epoch, k)], tokenizer)
        loss = mean_loss(name, model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        found.append({"loss": loss.item(), "grad_norm": norm.item()})
    return found


WRITING = ("encoder-decoder", "prompted")


def mean_loss(name: str, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Over rows, or over the tokens that are to be learned, as the model's own loss takes it."""
    if name == "classification":
        labels = batch.pop("labels")
        return torch.nn.functional.cross_entropy(model(**batch).logits, labels)
    loss: torch.Tensor = model(**batch).loss
    return loss


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def gang(
    request: pytest.FixtureRequest,
    bases: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[dict[str, float]]]:
    scratch = tmp_path_factory.mktemp("gang")
    cases = {
        name: {
            "training": TRAINING | ({"max_target_length": 16} if kind in WRITING else {}),
            "engine": engine,
            "task": TASKS[kind][0],
            "rows": TASKS[kind][2](NUM_ROWS),
            "base": str(bases[kind]),
        }
        for name, (kind, engine) in CASES.items()
    }
    (scratch / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={request.param}", "-m", "tests.worker.training.exactness_gang"]
    done = subprocess.run(
        [*command, str(scratch)],
        env={**os.environ, **ops.environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, list[dict[str, float]]] = json.loads((scratch / "found.json").read_text())
    return found


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_norm_are_those_of_a_plain_loop(
    name: str, gang: dict[str, list[dict[str, float]]], plain: dict[str, list[dict[str, float]]]
) -> None:
    undisturbed = plain[CASES[name][0]]
    assert len(gang[name]) == len(undisturbed) == 6
    for step, (measured, expected) in enumerate(zip(gang[name], undisturbed, strict=True)):
        wanted = {key: pytest.approx(value, rel=2e-4) for key, value in expected.items()}
        assert measured == wanted, f"step {step}"
