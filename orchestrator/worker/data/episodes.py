"""Episodes: a domain and a few rows of each of its classes, drawn anew for every outer step.

Episode n is a pure function of (data digest, seed, n), so that resuming and gangs of any size see
the same ones. Used by meta-learning; `few_of_each` also by what measures its result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from orchestrator.worker.data.orders import generator_of


@dataclass(frozen=True, slots=True)
class Episode:
    """Rows of one domain to learn from, and others of it to be judged by."""

    domain: str
    support: np.ndarray  # indices of training rows
    query: np.ndarray  # likewise; empty where none are asked for
    seed: int  # of dropout and of the order in which the support is learned


@dataclass(frozen=True, slots=True)
class Episodes:
    """All episodes of a training."""

    domains: Mapping[str, np.ndarray]  # domain -> indices of its training rows
    targets: np.ndarray  # (rows,) class of each training row
    digest: str  # of the training data
    seed: int
    shots: int
    query: int  # rows of each class beside those; 0: none

    def episode(self, number: int) -> Episode:
        """Domains take turns, in an order of its own each time round."""
        names = list(self.domains)
        turn, place = divmod(number, len(names))
        order = generator_of(self.digest, self.seed, "domains", turn).permutation(len(names))
        domain = names[int(order[place])]
        generator = generator_of(self.digest, self.seed, "episode", number)
        support, query = few_of_each(
            self.domains[domain], self.targets, self.shots, self.query, generator
        )
        return Episode(domain, support, query, int(generator.integers(2**31)))


@dataclass(frozen=True, slots=True)
class EpisodeNumbers:
    """The order of an epoch in which a step's batch holds the numbers of its episodes."""

    num_rows: int  # episodes of an epoch

    def rows(self, epoch: int) -> np.ndarray:
        return np.arange(epoch * self.num_rows, (epoch + 1) * self.num_rows)


def few_of_each(
    rows: np.ndarray,
    targets: np.ndarray,
    shots: int,
    others: int,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """(`shots` rows of each class, `others` more of each), no row twice.

    Of a class that has fewer both get their share, and at least one row goes to the first. The
    first rows drawn with one generator are the same for any number of shots.

    Args:
        rows: Indices to draw from.
        targets: Class of every index.
        shots: Rows of each class.
        others: Rows of each class besides.
        generator: Draws one permutation a class.
    """
    few: list[np.ndarray] = []
    more: list[np.ndarray] = []
    for label in np.unique(targets[rows]):
        drawn = generator.permutation(rows[targets[rows] == label])
        wanted = min(shots, len(drawn))
        if others and len(drawn) < shots + others:
            wanted = min(shots, max(1, len(drawn) * shots // (shots + others)))
        few.append(drawn[:wanted])
        more.append(drawn[wanted : wanted + others])
    return np.concatenate(few), np.concatenate(more)
