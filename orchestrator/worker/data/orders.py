"""In which order an epoch goes through the rows; what `BatchPlan` cuts into batches.

An order is a pure function of its fields and the epoch, so that every rank, a resumed run and a
gang of another size see the same rows. Each way to mix or to sort rows is an order of its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from orchestrator.specs import TrainingSpec


class EpochOrder(Protocol):
    """The rows of each epoch, in the order in which they are learned."""

    @property
    def num_rows(self) -> int:
        """How many rows an epoch draws; the same in every epoch."""
        ...

    def rows(self, epoch: int) -> np.ndarray:
        """Indices into the training rows, shape (num_rows,); a row may be drawn more than once."""
        ...


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every row once an epoch, in an order of its own."""

    digest: str  # of the training data
    seed: int
    num_rows: int

    def rows(self, epoch: int) -> np.ndarray:
        return _permutation(self.digest, self.seed, epoch, self.num_rows)


@dataclass(frozen=True, slots=True, eq=False)
class Grouped:
    """Another order with rows of like length in one batch, which then has little padding.

    Each window of some batches is sorted by length and cut into batches, whose order is drawn. So
    every batch is of rows that are near each other in the other order, whatever that mixes.
    """

    inner: EpochOrder
    lengths: np.ndarray  # tokens of each training row
    batch_size: int
    window: int  # batches that are sorted together
    key: str  # of the random numbers: the data's digest and the seed

    @property
    def num_rows(self) -> int:
        return self.inner.num_rows

    def rows(self, epoch: int) -> np.ndarray:
        return _grouped(self, epoch)


def grouped(
    training: TrainingSpec, order: EpochOrder, lengths: np.ndarray, digest: str
) -> EpochOrder:
    """The order itself, or with rows of like length together where the spec says so.

    Args:
        training: Of the spec.
        order: Of the rows as they are mixed.
        lengths: Tokens of each row.
        digest: Of the training data.
    """
    batching = training.batching
    if batching is None or not batching.group_by_length:
        return order
    key = f"{digest}/{training.seed}"
    return Grouped(order, lengths, training.global_batch_size, batching.window, key)


@lru_cache(maxsize=2)
def _grouped(order: Grouped, epoch: int) -> np.ndarray:
    rows, size = order.inner.rows(epoch), order.batch_size
    short = len(rows) - len(rows) % size  # what is left for the last batch stays as it is drawn
    step = order.window * size
    found = []
    for start in range(0, short, step):
        part = rows[start : min(start + step, short)]
        batches = part[np.argsort(order.lengths[part], kind="stable")].reshape(-1, size)
        drawn = generator_of(order.key, "grouped", epoch, start).permutation(len(batches))
        found.append(batches[drawn].reshape(-1))
    whole = np.concatenate([*found, rows[short:]])
    whole.setflags(write=False)
    return whole


def generator_of(*key: object) -> np.random.Generator:
    """Random numbers that depend on the key alone, on every machine and for all time."""
    digest = hashlib.sha256("/".join(str(part) for part in key).encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big")))


@lru_cache(maxsize=2)
def _permutation(digest: str, seed: int, epoch: int, num_rows: int) -> np.ndarray:
    order = generator_of(digest, seed, epoch).permutation(num_rows)
    order.setflags(write=False)
    return order
