"""Which rows are in which batch.

Global batch k of an epoch is a pure function of (order, epoch, k); a rank takes a slice of it.
Exact resume, other numbers of workers and "no row twice in an epoch" follow from that. Used by the
training loop (`GlobalBatchSampler`) and, through `steps_per_epoch`, by everything that counts
steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from orchestrator.worker.data.orders import EpochOrder

IGNORED = -100
"""torch's ignore_index: what has this label does not count."""

PADDING = -1
"""Index of the filler row that keeps micro-batches of a short last batch equally large."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """How one epoch is cut: the rows of its order into global batches, workers, micro-batches."""

    order: EpochOrder
    global_batch_size: int
    micro_batch_size: int
    num_workers: int

    def __post_init__(self) -> None:
        assert self.order.num_rows > 0, "no rows to train on"
        assert self.global_batch_size % (self.micro_batch_size * self.num_workers) == 0

    @property
    def accumulation_steps(self) -> int:
        return self.global_batch_size // (self.micro_batch_size * self.num_workers)

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.order.num_rows // self.global_batch_size)

    def global_batch(self, epoch: int, k: int) -> np.ndarray:
        """Row indices of batch k of the epoch; the last one may be short."""
        order = self.order.rows(epoch)
        return order[k * self.global_batch_size : (k + 1) * self.global_batch_size]

    def micro_batches(self, epoch: int, k: int, rank: int) -> list[list[int]]:
        """The rank's share of batch k: `accumulation_steps` lists of `micro_batch_size` indices.

        Rows are dealt to the ranks in turn, so a short batch burdens them evenly; what is
        missing is `PADDING`.
        """
        mine = self.global_batch(epoch, k)[rank :: self.num_workers].tolist()
        mine += [PADDING] * (self.accumulation_steps * self.micro_batch_size - len(mine))
        size = self.micro_batch_size
        return [mine[start : start + size] for start in range(0, len(mine), size)]


class GlobalBatchSampler:
    """The `batch_sampler` of one rank's DataLoader: its micro-batches of one epoch in order."""

    def __init__(self, plan: BatchPlan, rank: int) -> None:
        self.plan = plan
        self.rank = rank
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.plan.steps_per_epoch * self.plan.accumulation_steps

    def __iter__(self) -> Iterator[list[int]]:
        for k in range(self.plan.steps_per_epoch):
            yield from self.plan.micro_batches(self.epoch, k, self.rank)
