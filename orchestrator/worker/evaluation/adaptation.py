"""How well weights learn from a few rows of a held-out domain: one point of a k-shot curve.

A point is measured by one rank alone; points are dealt to the gang (`training.k_shot`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from orchestrator.specs import AdaptationSpec
from orchestrator.worker.data.episodes import few_of_each
from orchestrator.worker.data.orders import generator_of
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.learner import FewSteps, Learner
from orchestrator.worker.tasks.base import Encoded


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """Where one start is measured."""

    seed: int
    domain: str
    shots: int


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A domain that nothing was learned of."""

    train: Encoded  # rows to draw from
    test: Encoded

    @property
    def classes(self) -> list[int]:
        found: list[int] = np.unique(self.train.targets).tolist()
        return found


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What stays the same over the points of all starts."""

    how: AdaptationSpec
    steps: FewSteps
    domains: dict[str, HeldOut]
    digest: str  # of the training data: draws depend on nothing else of it
    seed: int
    evaluation: EvaluationPass

    def points(self, *, alike: bool) -> list[Point]:
        """All points of a start; `alike`: its weights are the same for every seed, so that without
        shots one measurement is all there is."""
        return [
            Point(seed, domain, shots)
            for seed in range(self.how.seeds)
            for domain in self.domains
            for shots in self.how.shots
            if shots or seed == 0 or not alike
        ]

    def measure(
        self, learner: Learner, weights: Sequence[torch.Tensor], point: Point
    ) -> dict[str, Any]:
        """The metrics on test of weights that have learned the point's rows."""
        held_out = self.domains[point.domain]
        learner.begin(weights, held_out.classes)
        if point.shots:
            rows, seed = self._drawn(held_out, point)
            learner.learn(held_out.train, rows, self.steps, seed)
        return self.evaluation.evaluate_alone(learner.predict, held_out.test)

    def _drawn(self, held_out: HeldOut, point: Point) -> tuple[np.ndarray, int]:
        """The same for every start; a point with more shots draws the rows of those with fewer."""
        targets = held_out.train.targets
        generator = generator_of(self.digest, self.seed, "shots", point.domain, point.seed)
        rows, _ = few_of_each(np.arange(len(targets)), targets, point.shots, 0, generator)
        return rows, int(generator.integers(2**31))


class SomeRows:
    """A part of a split."""

    def __init__(self, whole: Encoded, rows: np.ndarray) -> None:
        self._whole = whole
        self._rows = rows
        self.lengths = whole.lengths[rows]
        self.targets = whole.targets[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._whole[int(self._rows[index])]


def at_most(whole: Encoded, limit: int | None, seed: int) -> Encoded:
    """The split, or as many rows of it, drawn once."""
    if limit is None or limit >= len(whole):
        return whole
    drawn = generator_of("test rows", seed, len(whole)).permutation(len(whole))[:limit]
    return SomeRows(whole, np.sort(drawn))
