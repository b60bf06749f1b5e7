"""Global batches: every row once an epoch, whatever the workers; the same on every machine."""

from __future__ import annotations

import pytest

from orchestrator.worker.data.batches import PADDING, BatchPlan, GlobalBatchSampler
from orchestrator.worker.data.orders import Shuffled


def plan(workers: int = 1, micro: int = 2, rows: int = 10, seed: int = 1) -> BatchPlan:
    return BatchPlan(Shuffled("digest", seed, rows), 4, micro, workers)


def test_the_order_of_an_epoch_is_fixed_for_all_time() -> None:
    # Written out: a change here would make resumed runs see other batches than they began with.
    assert plan().global_batch(0, 0).tolist() == [2, 0, 6, 3]
    assert plan().global_batch(0, 2).tolist() == [8, 7]
    assert plan().global_batch(1, 0).tolist() != plan().global_batch(0, 0).tolist()


@pytest.mark.parametrize(("workers", "micro"), [(1, 4), (1, 2), (2, 2), (2, 1), (4, 1)])
def test_every_row_is_seen_once_an_epoch_by_any_gang(workers: int, micro: int) -> None:
    seen: list[int] = []
    for rank in range(workers):
        for batch in GlobalBatchSampler(plan(workers, micro), rank):
            assert len(batch) == micro
            seen += [index for index in batch if index != PADDING]
    assert sorted(seen) == list(range(10))


@pytest.mark.parametrize(("workers", "micro"), [(1, 4), (2, 1), (4, 1)])
def test_a_step_holds_the_same_rows_for_any_gang(workers: int, micro: int) -> None:
    cut = plan(workers, micro)
    for k in range(3):
        rows = {
            index
            for rank in range(workers)
            for batch in cut.micro_batches(0, k, rank)
            for index in batch
        }
        assert rows - {PADDING} == set(plan().global_batch(0, k).tolist())


def test_a_short_batch_burdens_the_ranks_evenly() -> None:
    assert [plan(2).micro_batches(0, 2, rank) for rank in (0, 1)] == [[[8, -1]], [[7, -1]]]


def test_the_sampler_counts_its_micro_batches() -> None:
    sampler = GlobalBatchSampler(plan(2, 1), 0)
    assert len(sampler) == len(list(sampler)) == 6


@pytest.mark.parametrize("other", [plan(seed=2), BatchPlan(Shuffled("other", 1, 10), 4, 2, 1)])
def test_seed_and_data_change_the_order(other: BatchPlan) -> None:
    assert other.global_batch(0, 0).tolist() != plan().global_batch(0, 0).tolist()
