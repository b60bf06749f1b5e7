"""Reptile and FOMAML as the papers have them, written by hand, against what the engines learn."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from orchestrator.worker.data.episodes import Episode, Episodes, domain_rows
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from orchestrator.worker.training import ops
from tests.worker.tiny import write_base
from tests.worker.training.meta_cases import (
    SEED,
    STEPS,
    Case,
    encoded_rows,
    make_launch,
)

pytestmark = pytest.mark.timeout(600)

DDP: dict[str, Any] = {"strategy": "ddp"}
REPTILE = {"algorithm": "reptile", "inner_optimizer": "sgd", "inner_learning_rate": 0.1}
FOMAML = {"algorithm": "fomaml", "inner_optimizer": "adam", "inner_learning_rate": 1e-3, "query": 3}
BY_SGD = {"outer_optimizer": "sgd"}
FAR = {"learning_rate": 0.5}
# A gradient that is nothing but rounding, as of the keys' biases, must not become a step by AdamW.
NEAR = {"learning_rate": 1e-3, "adam_epsilon": 1e-3}
CASES = {
    "reptile-zero0": Case({**REPTILE, **BY_SGD}, {"zero_stage": 0}, FAR),
    "reptile-zero2": Case({**REPTILE, **BY_SGD}, {"zero_stage": 2}, FAR),
    "reptile-ddp": Case({**REPTILE, **BY_SGD}, DDP, FAR),
    "reptile-fresh": Case({**REPTILE, **BY_SGD, "head": "fresh"}, {"zero_stage": 1}, FAR),
    "reptile-clipped": Case(REPTILE, {"zero_stage": 2}, {**NEAR, "max_grad_norm": 0.05}),
    "fomaml-zero1": Case({**FOMAML, **BY_SGD}, {"zero_stage": 1}, FAR),
    "fomaml-zero2": Case(FOMAML, {"zero_stage": 2}, NEAR),
    "fomaml-ddp": Case(FOMAML, DDP, NEAR),
    "fomaml-fresh": Case({**FOMAML, **BY_SGD, "head": "fresh"}, DDP, FAR),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


class ByHand:
    """The algorithms on one process, over deep copies, without any of the product's loops."""

    def __init__(self, case: Case, base: Path, scratch: Path) -> None:
        self.method = case.method
        spec = make_launch(case, base, scratch, workers=1).spec.spec
        self.task, self.tokenizer = task_for(spec, base), load_tokenizer(base)
        self.rows, counts = encoded_rows(self.task, self.tokenizer)
        self.model = load_model(self.task, base, self.tokenizer, SEED)
        self.training = spec.training
        self.episodes = Episodes(
            domain_rows(counts),
            self.rows.targets,
            "toy",
            SEED,
            self.method.shots,
            self.method.query_of_each,
        )

    def train(self) -> dict[str, torch.Tensor]:
        weights = list(self.model.parameters())
        outer: torch.optim.Optimizer = (
            torch.optim.SGD(weights, lr=self.training.learning_rate)
            if self.method.outer_optimizer == "sgd"
            else torch.optim.AdamW(
                weights,
                lr=self.training.learning_rate,
                eps=self.training.adam_epsilon,
                weight_decay=0.0,
            )
        )
        for step in range(STEPS):
            directions = [
                self.direction(self.episodes.episode(step * self.method.episodes_per_step + index))
                for index in range(self.method.episodes_per_step)
            ]
            for weight, found in zip(weights, zip(*directions, strict=True), strict=True):
                weight.grad = torch.stack(found).mean(dim=0)
            if self.training.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(weights, self.training.max_grad_norm)
            outer.step()
        return {name: value.detach() for name, value in self.model.named_parameters()}

    def direction(self, episode: Episode) -> list[torch.Tensor]:
        copied = copy.deepcopy(self.model)
        copied.train()
        is_fresh = self.method.head == "fresh"
        if is_fresh:
            torch.nn.init.zeros_(copied.classifier.weight)
            torch.nn.init.zeros_(copied.classifier.bias)
        weights = list(copied.parameters())
        inner: torch.optim.Optimizer = (
            torch.optim.SGD(weights, lr=self.method.inner_learning_rate)
            if self.method.inner_optimizer == "sgd"
            else torch.optim.Adam(weights, lr=self.method.inner_learning_rate)
        )
        for _ in range(self.method.inner_steps):
            inner.zero_grad()
            self.loss(copied, episode.support).backward()
            inner.step()
        if self.method.algorithm == "reptile":
            pairs = zip(self.model.parameters(), weights, strict=True)
            found = [(before - after).detach() for before, after in pairs]
        else:
            inner.zero_grad()
            self.loss(copied, episode.query).backward()
            found = [w.grad if w.grad is not None else torch.zeros_like(w) for w in weights]
        if is_fresh:
            found[-2:] = [torch.zeros_like(value) for value in found[-2:]]
        return found

    def loss(self, model: Any, rows: np.ndarray) -> torch.Tensor:
        batch = self.task.collate([self.rows[int(row)] for row in rows], self.tokenizer)
        labels = batch.pop("labels")
        return torch.nn.functional.cross_entropy(model(**batch).logits, labels)


@pytest.fixture(scope="module", params=[1, 2], ids=["1 worker", "2 workers"])
def gang(
    request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    scratch = tmp_path_factory.mktemp("gang")
    cases = {name: asdict(case) for name, case in CASES.items()}
    (scratch / "cases.json").write_text(json.dumps(cases))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={request.param}", "-m", "tests.worker.training.meta_gang"]
    done = subprocess.run(
        [*command, str(scratch), str(base)],
        env={**os.environ, **ops.environment(), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return scratch


@pytest.mark.parametrize("name", CASES)
def test_what_is_learned_is_what_the_papers_say(
    name: str, gang: Path, base: Path, tmp_path: Path
) -> None:
    wanted = ByHand(CASES[name], base, tmp_path).train()
    before = dict(load_start(base, tmp_path, name))

    learned = load_file(gang / f"{name}.safetensors")

    assert learned.keys() == wanted.keys()
    for key, value in wanted.items():
        assert torch.allclose(learned[key], value, rtol=0, atol=1e-6), key
    assert max(float((wanted[key] - before[key]).abs().max()) for key in wanted) > 1e-4


def load_start(base: Path, scratch: Path, name: str) -> Any:
    return ByHand(CASES[name], base, scratch).model.named_parameters()
