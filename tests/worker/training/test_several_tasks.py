"""Several tasks over one base: each step's loss and gradient norm are those of a plain loop."""

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
from transformers import AutoModel, AutoModelForSequenceClassification, set_seed

from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.orders import Shuffled
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.models.shared import SharedModel
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training import ops
from tests.worker.tiny import launch, pairs, rows, texts, write_base, write_causal_base

pytestmark = pytest.mark.timeout(900)

# 40 rows of one task and 12 of the other, in batches of 16: the fourth batch holds 4 rows only.
SIZES = (40, 12)
TRAINING: dict[str, Any] = {
    "max_steps": 6,
    "global_batch_size": 16,
    "learning_rate": 1e-3,
    "max_grad_norm": 0.1,
    "weight_decay": 0.0,
    "seed": 3,
    "schedule": "constant",
}
STATIC = {"type": "multi_task"}
LEARNED = {"type": "multi_task", "balancing": "uncertainty", "balancing_learning_rate": 0.05}
LENGTHS = ["long", "short", "tiny"]
HEADS: dict[str, Any] = {
    "sentiment": {
        "type": "text-classification",
        "labels": ["negative", "positive"],
        "domains": ["toy"],
        "class_weights": {"weights": {"negative": 0.5, "positive": 2.0}},
    },
    "length": {"type": "text-classification", "labels": LENGTHS, "domains": ["toy"]},
}
TOKENS: dict[str, Any] = {
    "text": {"type": "causal-lm", "domains": ["toy"]},
    "german": {"type": "translation", "domains": ["toy"]},
}
WEIGHTS = {"sentiment": 1.0, "length": 3.0, "text": 1.0, "german": 3.0}


def tasks(kind: str, *, weighted: bool) -> dict[str, Any]:
    found = HEADS if kind == "heads" else TOKENS
    return {
        name: {**entry, **({"weight": WEIGHTS[name]} if weighted else {})}
        for name, entry in found.items()
    }


def tables(kind: str) -> dict[str, dict[str, list[str]]]:
    first, second = SIZES
    if kind == "tokens":
        return {"text": texts(first), "german": pairs(second)}
    some = rows(second)
    words = [len(text.split()) for text in some["text"]]
    lengths = [LENGTHS[0] if n > 6 else LENGTHS[1] if n > 5 else LENGTHS[2] for n in words]
    return {"sentiment": rows(first), "length": {**some, "label": lengths}}


CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "heads, zero 0": ("heads", STATIC, {"zero_stage": 0, "micro_batch_size": 8}),
    "heads, zero 2, accumulation": ("heads", STATIC, {"zero_stage": 2, "micro_batch_size": 2}),
    "heads, uncertainty, zero 1": ("heads", LEARNED, {"zero_stage": 1, "micro_batch_size": 4}),
    "heads, uncertainty, zero 3, recomputed": (
        *("heads", LEARNED),
        {"zero_stage": 3, "micro_batch_size": 4, "gradient_checkpointing": True},
    ),
    "heads, uncertainty, ddp": ("heads", LEARNED, {"strategy": "ddp", "micro_batch_size": 4}),
    "tokens, zero 3, accumulation": ("tokens", STATIC, {"zero_stage": 3, "micro_batch_size": 2}),
    "tokens, uncertainty, zero 2": ("tokens", LEARNED, {"zero_stage": 2, "micro_batch_size": 8}),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "heads": write_base(tmp_path_factory.mktemp("heads")),
        "tokens": write_causal_base(tmp_path_factory.mktemp("tokens")),
    }


def sections(kind: str, method: dict[str, Any]) -> dict[str, Any]:
    lengths = {"max_length": 16} | ({"max_target_length": 16} if kind == "tokens" else {})
    return {
        "task": {"type": "multi-task"},
        "tasks": tasks(
            kind, weighted=method["balancing"] == "static" if "balancing" in method else True
        ),
        "method": method,
        "training": lengths,
        "evaluation": {},
    }


class Plain:
    """Models made by hand: the base of one, and of each task what stands on it."""

    def __init__(self, kind: str, method: dict[str, Any], base: Path, folder: Path) -> None:
        spec = launch(base, folder, **sections(kind, method)).spec.spec
        self.task: Any = task_for(spec, base)
        self.tokenizer = load_tokenizer(base)
        self.kind = kind
        self.is_learned = spec.method.balancing == "uncertainty"  # type: ignore[union-attr]
        self.s = torch.nn.Parameter(torch.zeros(2))
        self.weights = [entry.weight for entry in (spec.tasks or {}).values()]
        set_seed(3)
        self.models: list[Any] = [
            task.build_model(base) for task in self.task.tasks[: 2 if kind == "heads" else 1]
        ]
        for model in self.models:
            model.train()
        if kind == "heads":
            self.models[1].bert = self.models[0].bert
        self.encoded = [
            task.encode(pa.table(own), self.tokenizer)
            for task, own in zip(self.task.tasks, tables(kind).values(), strict=True)
        ]

    def parameters(self) -> list[torch.nn.Parameter]:
        found = {id(p): p for model in self.models for p in model.parameters()}
        return list(found.values())

    def loss(self, batch: list[int]) -> torch.Tensor:
        """Of row numbers: those below 40 are of the first task."""
        total = torch.zeros(())
        for number, mine in enumerate(
            ([i for i in batch if i < 40], [i for i in batch if i >= 40])
        ):
            if not mine:
                continue
            mean = self.mean(number, [self.encoded[number][i - 40 * number] for i in mine])
            if self.is_learned:
                mean = torch.exp(-self.s[number]) * mean + self.s[number] / 2
            else:
                mean = self.weights[number] * mean
            total = total + len(mine) / len(batch) * mean
        return total

    def mean(self, number: int, batch_rows: list[dict[str, Any]]) -> torch.Tensor:
        batch = self.task.tasks[number].collate(batch_rows, self.tokenizer)
        if self.kind == "tokens":
            loss: torch.Tensor = self.models[0](**batch).loss
            return loss
        labels = batch.pop("labels")
        weight = torch.tensor([0.5, 2.0]) if number == 0 else None
        logits = self.models[number](**batch).logits
        return torch.nn.functional.cross_entropy(logits, labels, weight)


def plain_loop(
    kind: str, method: dict[str, Any], base: Path, folder: Path
) -> list[dict[str, float]]:
    by_hand = Plain(kind, method, base, folder)
    groups: list[dict[str, Any]] = [{"params": by_hand.parameters()}]
    if by_hand.is_learned:
        groups.append({"params": [by_hand.s], "lr": 0.05})
    optimizer = torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.0)
    plan = BatchPlan(Shuffled("toy", 3, sum(SIZES)), 16, 16, 1)
    found = []
    for step in range(6):
        loss = by_hand.loss(plan.global_batch(*divmod(step, plan.steps_per_epoch)).tolist())
        loss.backward()
        everything = [parameter for group in groups for parameter in group["params"]]
        norm = torch.nn.utils.clip_grad_norm_(everything, 0.1)
        optimizer.step()
        optimizer.zero_grad()
        found.append({"loss": loss.item(), "grad_norm": norm.item()})
    return found


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def gang(
    request: pytest.FixtureRequest,
    bases: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[dict[str, float]]]:
    scratch = tmp_path_factory.mktemp("gang")
    cases = {
        name: {
            **sections(kind, method),
            "training": {**TRAINING, **sections(kind, method)["training"]},
            "engine": engine,
            "rows": tables(kind),
            "base": str(bases[kind]),
        }
        for name, (kind, method, engine) in CASES.items()
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
    bases: dict[str, Path],
    tmp_path: Path,
) -> None:
    kind, method, _ = CASES[name]
    steps = plain_loop(kind, method, bases[kind], tmp_path)
    assert len(gang[name]) == len(steps) == 6
    for step, (measured, expected) in enumerate(zip(gang[name], steps, strict=True)):
        wanted = {key: pytest.approx(value, rel=2e-4) for key, value in expected.items()}
        assert measured == wanted, f"step {step}"


def test_every_head_is_written_as_a_model_of_its_own(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    base = bases["heads"]
    spec = launch(base, tmp_path, **sections("heads", LEARNED)).spec.spec
    task, tokenizer = task_for(spec, base), load_tokenizer(base)
    model = load_model(task, base, tokenizer, seed=3)
    assert isinstance(model, SharedModel)
    model.learn_uncertainties()
    model.eval()
    out = tmp_path / "out"
    model.write(None, out)
    batch = tokenizer(["the camera is good", "bad"], padding=True, return_tensors="pt")
    inputs = {key: batch[key] for key in ("input_ids", "attention_mask")}
    shared = model(**inputs)

    for number, (name, entry) in enumerate(HEADS.items()):
        alone = AutoModelForSequenceClassification.from_pretrained(out / name)
        assert torch.equal(alone(**inputs).logits, shared[f"logits_{number}"])
        assert list(alone.config.id2label.values()) == entry["labels"]
    bare, info = AutoModel.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert bare.config.num_labels == 2
    assert torch.equal(model(**inputs)["logits_1"], shared["logits_1"])  # as before it was written

    # Gathered weights make the same files.
    model.write(model.state_dict(), tmp_path / "gathered")
    for path in out.rglob("*.safetensors"):
        same = tmp_path / "gathered" / path.relative_to(out)
        assert same.read_bytes() == path.read_bytes(), path
