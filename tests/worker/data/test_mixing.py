"""Orders that mix domains: quotas, stages and replay, whatever the epoch or the gang."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from orchestrator.specs.mixing import MixingSpec
from orchestrator.worker.data.batches import BatchPlan
from orchestrator.worker.data.mixing import Learned, Pool, mixed_order
from orchestrator.worker.data.orders import EpochOrder, Shuffled

# 8 rows of camera, 32 of movie, 10 of tweet; every fifth row is of the class 1.
DOMAINS = {"camera": range(8), "movie": range(8, 40), "tweet": range(40, 50)}
CLASSES = (np.arange(50) % 5 == 0).astype(np.int64)
STAGES = [
    {"domains": ["camera"], "share": 0.25},
    {"domains": ["camera", "movie"], "share": 0.75},
]


def order(without: tuple[str, ...] = ("tweet",), epochs: int = 2, **mixing: Any) -> EpochOrder:
    domains = {name: rows for name, rows in DOMAINS.items() if name not in without}
    learned = Learned("digest", domains, CLASSES)
    spec = MixingSpec.model_validate(mixing)
    return mixed_order(spec, learned, 3, 8, lambda per_epoch: epochs * per_epoch)


def domain_of(row: int) -> str:
    return next(name for name, rows in DOMAINS.items() if row in rows)


def domains_of(rows: np.ndarray) -> dict[str, int]:
    return dict(Counter(domain_of(int(row)) for row in rows))


def test_without_mixing_the_order_is_the_one_it_always_was() -> None:
    rows = mixed_order(None, Learned("digest", {"camera": range(8)}), 3, 8, lambda n: n).rows(1)

    assert rows.tolist() == Shuffled("digest", 3, 8).rows(1).tolist()


@pytest.mark.parametrize(
    ("mixing", "drawn"),
    [
        ({"strategy": "equal"}, {"camera": 20, "movie": 20}),
        # sqrt(8) : sqrt(32) is 1 : 2
        ({"strategy": "temperature", "temperature": 2.0}, {"camera": 13, "movie": 27}),
        ({"strategy": "temperature", "temperature": 1.0}, {"camera": 8, "movie": 32}),
        (
            {"strategy": "weights", "weights": {"camera": 3, "movie": 1}},
            {"camera": 30, "movie": 10},
        ),
        # camera has 2 of 8 in the class 1 (rows 0 and 5), movie 6 of 32
        ({"balance_classes": True}, {"camera": 12, "movie": 52}),
    ],
)
def test_domains_are_drawn_by_their_quotas(mixing: dict[str, Any], drawn: dict[str, int]) -> None:
    for epoch in range(3):
        assert domains_of(order(**mixing).rows(epoch)) == drawn


def test_a_row_comes_again_only_when_all_others_came() -> None:
    mixed = order(strategy="equal")
    rows = np.concatenate([mixed.rows(epoch) for epoch in range(8)])
    times = Counter(rows.tolist())

    assert {times[row] for row in DOMAINS["camera"]} == {20}  # 8 x 20 draws of 8 rows
    assert {times[row] for row in DOMAINS["movie"]} == {5}  # 8 x 20 draws of 32 rows


def test_classes_are_drawn_alike_and_each_of_their_rows_too() -> None:
    mixed = order(balance_classes=True)
    rows = np.concatenate([mixed.rows(epoch) for epoch in range(3)])
    times = Counter(rows.tolist())

    for name, rare, common in (("camera", 9, 3), ("movie", 13, 3)):  # 3 x 6 / 2, 3 x 26 / 6
        of_domain = list(DOMAINS[name])
        assert {times[row] for row in of_domain if CLASSES[row]} == {rare}
        assert {times[row] for row in of_domain if not CLASSES[row]} == {common}


def test_stages_begin_with_a_step() -> None:
    batches = BatchPlan(order(strategy="curriculum", stages=STAGES, epochs=2), 8, 8, 1)
    of_steps = [domains_of(batches.global_batch(step // 5, step % 5)) for step in range(10)]

    # A quarter of ten steps: two (2.5 is rounded to even).
    assert of_steps[:2] == [{"camera": 8}, {"camera": 8}]
    assert all("movie" in found for found in of_steps[2:])
    # The second stage draws by rows: 8 of 40 of camera, in 64 of its draws.
    assert 8 <= sum(found.get("camera", 0) for found in of_steps[2:]) <= 16


def test_stages_may_end_within_an_epoch_of_short_batches_with_replay() -> None:
    mixed = order(
        without=(),
        strategy="curriculum",
        stages=[{"domains": ["camera"]}, {"domains": ["movie"]}],
        replay={"domains": ["tweet"], "fraction": 0.25},
        epochs=3,
    )
    batches = BatchPlan(mixed, 8, 8, 1)
    steps = [divmod(step, batches.steps_per_epoch) for step in range(3 * batches.steps_per_epoch)]
    found = [domains_of(batches.global_batch(*step)) for step in steps]

    assert mixed.num_rows == 53  # of which 13 are replayed
    half = round(0.5 * len(found))
    assert all("movie" not in of_step for of_step in found[:half])
    assert all("camera" not in of_step for of_step in found[half:])


@pytest.mark.parametrize("strategy", ["proportional", "equal"])
def test_replay_takes_its_share_of_every_batch(strategy: str) -> None:
    mixed = order(without=(), strategy=strategy, replay={"domains": ["tweet"], "fraction": 0.2})
    batches = BatchPlan(mixed, 10, 10, 1)

    assert mixed.num_rows == 49  # 40 and 9: a tenth would make them 50, and 50 has 10
    for epoch in range(2):
        found = [domains_of(batches.global_batch(epoch, k)) for k in range(4)]
        assert [of_batch.get("tweet") for of_batch in found] == [2, 2, 2, 2]


def test_an_order_is_a_function_of_data_seed_and_epoch_alone() -> None:
    mixing: dict[str, Any] = {
        "strategy": "equal",
        "balance_classes": True,
        "replay": {"domains": ["tweet"], "fraction": 0.3},
    }
    again = order(without=(), **mixing)
    again.rows(7)
    assert order(without=(), **mixing).rows(4).tolist() == again.rows(4).tolist()
    assert again.rows(4).tolist() != again.rows(5).tolist()


def test_what_is_drawn_is_fixed_for_all_time() -> None:
    # Written out: a change here would make resumed runs see other batches than they began with.
    pool = Pool(("digest", 1, "camera"), (np.arange(5),))
    assert pool.take(3, 6).tolist() == pool.take(3, 2).tolist() + pool.take(5, 4).tolist()
    assert pool.take(0, 5).tolist() == [1, 2, 0, 3, 4]
