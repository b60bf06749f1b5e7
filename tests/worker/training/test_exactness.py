"""The reported loss and gradient norm are those of one plain process on the same global batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from orchestrator.storage.adapters import Origin
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.orders import Shuffled
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.models.start import Start
from orchestrator.worker.tasks import task_for
from orchestrator.worker.tasks.base import ChangesByEpoch, HidesTokens
from orchestrator.worker.training import ops
from orchestrator.worker.training.methods import apply_method
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


# No dropout: its draws differ with the split into workers and micro-batches.
TARGETS = ["attention.self.query", "attention.output.dense", "output.dense"]
LORA = {"type": "lora", "rank": 4, "alpha": 8.0, "dropout": 0.0, "target_modules": TARGETS}
DORA = {**LORA, "use_dora": True, "use_rslora": True}
PRETRAIN = {"type": "pretrain"}
METHODS = {
    "full": {"type": "full"},
    "lora": LORA,
    "dora": DORA,
    "by layer": {"type": "full"},
    "pretrain": PRETRAIN,
}
# What each part of the two-layer base learns at under a decay of a half, by a piece of its name.
RATES = {"embeddings": 1e-3 / 8, "layer.0": 1e-3 / 4, "layer.1": 1e-3 / 2}


WEIGHTS = {"negative": 0.3, "positive": 2.0}
CLASSIFY = {"type": "text-classification", "labels": ["negative", "positive"]}
MASKED = {"type": "masked-lm", "masked_share": 0.4}
DENOISING = {"type": "denoising", "objective": "infill", "masked_share": 0.4}
TASKS: dict[str, tuple[dict[str, Any], Callable[[Path], Path], Callable[[int], Any]]] = {
    "classification": (CLASSIFY, write_base, rows),
    "weighted": ({**CLASSIFY, "class_weights": {"weights": WEIGHTS}}, write_base, rows),
    "causal": ({"type": "causal-lm"}, write_causal_base, texts),
    "encoder-decoder": ({"type": "translation"}, write_seq2seq_base, pairs),
    "prompted": ({"type": "translation"}, write_causal_base, pairs),
    "masked": (MASKED, partial(write_base, masks=True), texts),
    "denoising": (DENOISING, partial(write_seq2seq_base, masks=True), texts),
}
WRITING = ("encoder-decoder", "prompted")


@dataclass(frozen=True)
class Case:
    """A task, a method (together they have a plain loop) and an engine."""

    engine: dict[str, Any]
    method: str = "full"
    task: str = "classification"

    @property
    def plain(self) -> tuple[str, str]:
        return self.task, self.method


def case(method: str = "full", task: str = "classification", **engine: Any) -> Case:
    return Case(engine, method, task)


CASES = {
    "zero 0": case(zero_stage=0, micro_batch_size=4),
    "zero 1": case(zero_stage=1, micro_batch_size=8),
    "zero 2, accumulation": case(zero_stage=2, micro_batch_size=2),
    "zero 3, accumulation": case(zero_stage=3, micro_batch_size=4),
    "ddp": case(strategy="ddp", micro_batch_size=8),
    "ddp, accumulation": case(strategy="ddp", micro_batch_size=4),
    "lora, zero 0": case("lora", zero_stage=0, micro_batch_size=8),
    "lora, zero 2, accumulation": case("lora", zero_stage=2, micro_batch_size=4),
    "lora, zero 3, recomputed": case(
        "lora", zero_stage=3, micro_batch_size=8, gradient_checkpointing=True
    ),
    "lora, ddp": case("lora", strategy="ddp", micro_batch_size=8),
    "by layer, zero 2": case("by layer", zero_stage=2, micro_batch_size=8),
    "by layer, ddp": case("by layer", strategy="ddp", micro_batch_size=8),
    "dora, zero 1": case("dora", zero_stage=1, micro_batch_size=8),
    "dora, zero 3": case("dora", zero_stage=3, micro_batch_size=4),
    "weighted, zero 2, accumulation": case(task="weighted", zero_stage=2, micro_batch_size=2),
    "weighted, ddp": case(task="weighted", strategy="ddp", micro_batch_size=4),
    "causal, zero 2": case(task="causal", zero_stage=2, micro_batch_size=4),
    "causal, ddp": case(task="causal", strategy="ddp", micro_batch_size=2),
    "encoder-decoder, zero 3": case(task="encoder-decoder", zero_stage=3, micro_batch_size=4),
    "encoder-decoder, ddp": case(task="encoder-decoder", strategy="ddp", micro_batch_size=4),
    "prompted, zero 2": case(task="prompted", zero_stage=2, micro_batch_size=4),
    "masked, zero 2": case("pretrain", "masked", zero_stage=2, micro_batch_size=4),
    "masked, ddp": case("pretrain", "masked", strategy="ddp", micro_batch_size=4),
    "denoising, zero 3": case("pretrain", "denoising", zero_stage=3, micro_batch_size=4),
    "packed, zero 2, accumulation": case(zero_stage=2, micro_batch_size=4),
    "packed, lora, zero 3": case("lora", zero_stage=3, micro_batch_size=8),
    "packed, causal, ddp": case(task="causal", strategy="ddp", micro_batch_size=8),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: write(tmp_path_factory.mktemp("base")) for name, (_, write, _) in TASKS.items()}


@pytest.fixture(scope="module")
def plain(
    bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], list[dict[str, float]]]:
    """By task and method, a loop without Trainer, DeepSpeed or workers."""
    folder = tmp_path_factory.mktemp("plain")
    return {
        which: plain_loop(*which, bases[which[0]], folder)
        for which in {case.plain for case in CASES.values()}
    }


def plain_loop(kind: str, name: str, base: Path, folder: Path) -> list[dict[str, float]]:
    """The mean loss of each whole global batch, and the norm of its gradient."""
    section, _, data = TASKS[kind]
    lengths = {"max_length": 16} | ({"max_target_length": 16} if kind in WRITING else {})
    spec = launch(
        *(base, folder), task=section, training=lengths, evaluation={}, method=METHODS[name]
    ).spec.spec
    task, tokenizer = task_for(spec, base), load_tokenizer(base)
    rows_of = task.encode(pa.table(data(NUM_ROWS)), tokenizer)
    encoded = task.hidden(rows_of, tokenizer) if isinstance(task, HidesTokens) else rows_of
    start = Start(base, Origin(str(base), None, ""))
    model = apply_method(spec.method, load_model(task, base, tokenizer, seed=3), start, seed=3)
    model.train()
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rates = RATES if name == "by layer" else {}
    groups = [
        {"params": [parameter], "lr": rate_of(path, rates)}
        for path, parameter in model.named_parameters()
        if parameter.requires_grad
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.0)
    plan = BatchPlan(Shuffled("toy", 3, NUM_ROWS), 16, 16, 1)
    found = []
    for step in range(6):
        epoch, k = divmod(step, plan.steps_per_epoch)
        if isinstance(encoded, ChangesByEpoch):
            encoded.set_epoch(epoch)
        batch = task.collate([encoded[int(i)] for i in plan.global_batch(epoch, k)], tokenizer)
        loss = mean_loss(kind, model, batch)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(learning, 0.1)
        optimizer.step()
        optimizer.zero_grad()
        found.append({"loss": loss.item(), "grad_norm": norm.item()})
    return found


def mean_loss(kind: str, model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Over rows, or over the tokens that are to be learned, as the model's own loss takes it."""
    if kind in ("classification", "weighted"):
        labels = batch.pop("labels")
        weight = torch.tensor(list(WEIGHTS.values())) if kind == "weighted" else None
        # torch's mean: the sum of w_i l_i over the sum of w_i
        return torch.nn.functional.cross_entropy(model(**batch).logits, labels, weight)
    loss: torch.Tensor = model(**batch).loss
    return loss


def rate_of(path: str, rates: dict[str, float]) -> float:
    return next((rate for piece, rate in rates.items() if piece in path), 1e-3)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def gang(
    request: pytest.FixtureRequest,
    bases: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[dict[str, float]]]:
    scratch = tmp_path_factory.mktemp("gang")
    cases = {
        name: {
            "training": TRAINING
            | ({"max_target_length": 16} if case.task in WRITING else {})
            | ({"layer_decay": 0.5} if case.method == "by layer" else {})
            | ({"batching": {"packing": True}} if "packed" in name else {}),
            "engine": case.engine,
            "task": TASKS[case.task][0],
            "method": METHODS[case.method],
            "rows": TASKS[case.task][2](NUM_ROWS),
            "base": str(bases[case.task]),
        }
        for name, case in CASES.items()
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
    name: str,
    gang: dict[str, list[dict[str, float]]],
    plain: dict[tuple[str, str], list[dict[str, float]]],
) -> None:
    steps = plain[CASES[name].plain]
    assert len(gang[name]) == len(steps) == 6
    for step, (measured, expected) in enumerate(zip(gang[name], steps, strict=True)):
        wanted = {key: pytest.approx(value, rel=2e-4) for key, value in expected.items()}
        assert measured == wanted, f"step {step}"
