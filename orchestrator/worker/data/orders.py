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


def generator_of(*key: object) -> np.random.Generator:
    """Random numbers that depend on the key alone, on every machine and for all time."""
    digest = hashlib.sha256("/".join(str(part) for part in key).encode()).digest()
    return np.random.Generator(np.random.Philox(int.from_bytes(digest[:16], "big")))


@lru_cache(maxsize=2)
def _permutation(digest: str, seed: int, epoch: int, num_rows: int) -> np.ndarray:
    order = generator_of(digest, seed, epoch).permutation(num_rows)
    order.setflags(write=False)
    return order
