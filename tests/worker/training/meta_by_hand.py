"""Reptile and first-order MAML as the papers have them: what `test_exactness.py` compares with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from orchestrator.worker.data.episodes import Episode
from orchestrator.worker.models.loading import load_model, load_tokenizer
from orchestrator.worker.tasks import task_for
from tests.worker.training.meta_cases import (
    SEED,
    STEPS,
    MetaCase,
    encoded_rows,
    episodes_of_case,
    meta_launch,
)


class ByHand:
    """On one process, over deep copies, without any of the product's loops."""

    def __init__(self, case: MetaCase, base: Path, scratch: Path) -> None:
        self.method = case.method
        spec = meta_launch(case, base, scratch, workers=1).spec.spec
        self.training = spec.training
        self.task, self.tokenizer = task_for(spec, base), load_tokenizer(base)
        self.rows = encoded_rows(self.task, self.tokenizer)
        self.episodes = episodes_of_case(case, self.rows)
        self.model = load_model(self.task, base, self.tokenizer, SEED)

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
            first = step * self.method.episodes_per_step
            numbers = range(first, first + self.method.episodes_per_step)
            found = [self.direction(self.episodes.episode(number)) for number in numbers]
            for weight, of_episodes in zip(weights, zip(*found, strict=True), strict=True):
                weight.grad = torch.stack(of_episodes).mean(dim=0)
            if self.training.max_grad_norm:
                torch.nn.utils.clip_grad_norm_(weights, self.training.max_grad_norm)
            outer.step()
        return {name: value.detach() for name, value in self.model.named_parameters()}

    def direction(self, episode: Episode) -> list[torch.Tensor]:
        """What an episode stands for in place of a gradient."""
        copied: Any = copy.deepcopy(self.model)
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
            self.loss(copied, episode.support).backward()  # type: ignore[no-untyped-call]
            inner.step()
        if self.method.algorithm == "reptile":
            pairs = zip(self.model.parameters(), weights, strict=True)
            found = [(before - after).detach() for before, after in pairs]
        else:
            inner.zero_grad()
            self.loss(copied, episode.query).backward()  # type: ignore[no-untyped-call]
            found = [w.grad if w.grad is not None else torch.zeros_like(w) for w in weights]
        if is_fresh:  # the head's two parameters are the last
            found[-2:] = [torch.zeros_like(value) for value in found[-2:]]
        return found

    def loss(self, model: Any, rows: np.ndarray) -> torch.Tensor:
        batch = self.task.collate([self.rows[int(row)] for row in rows], self.tokenizer)
        labels = batch.pop("labels")
        return torch.nn.functional.cross_entropy(model(**batch).logits, labels)
