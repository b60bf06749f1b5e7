"""Global batches: every row once an epoch, whatever the workers; the same on every machine."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.specs import TrainingSpec
from orchestrator.specs.batching import BatchingSpec
from orchestrator.worker.data.batches import PADDING, BatchPlan, GlobalBatchSampler
from orchestrator.worker.data.orders import Grouped, Shuffled, grouped


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


LENGTHS = np.array([9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 1, 9, 2])


def grouped_by(window: int) -> Grouped:
    return Grouped(Shuffled("digest", 1, 13), LENGTHS, 3, window, "digest/1")


def test_grouped_rows_are_each_seen_once_and_alike_within_a_batch() -> None:
    order = grouped_by(window=4)
    rows = order.rows(0)

    assert sorted(rows.tolist()) == list(range(13))
    spread = [int(np.ptp(LENGTHS[rows[start : start + 3]])) for start in range(0, 12, 3)]
    assert max(spread) <= 3
    assert rows[12] == Shuffled("digest", 1, 13).rows(0)[12], "the short batch is drawn as before"
    assert order.rows(1).tolist() != rows.tolist()
    assert grouped_by(window=4).rows(0).tolist() == rows.tolist()


def test_batches_stay_near_where_the_other_order_has_their_rows() -> None:
    """So a curriculum stays one: what it learns last is not moved to the front."""
    rows, drawn = grouped_by(window=2).rows(0), Shuffled("digest", 1, 13).rows(0)
    assert set(rows[:6].tolist()) == set(drawn[:6].tolist())


def test_grouping_is_asked_for() -> None:
    order = Shuffled("digest", 1, 13)
    assert grouped(TrainingSpec(), order, LENGTHS, "digest") is order
    batching = BatchingSpec(group_by_length=True, window=4)
    training = TrainingSpec(batching=batching, global_batch_size=3, seed=1)
    found = grouped(training, order, LENGTHS, "digest")
    assert found.rows(0).tolist() == grouped_by(window=4).rows(0).tolist()
