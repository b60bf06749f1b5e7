"""What each domain contributes: the same numbers for plan, preview and workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from orchestrator.inspect.mixing import (
    apportioned,
    balanced_weights,
    drawn_labels,
    epoch_draws,
    epoch_rows,
    rows_with_replay,
)
from orchestrator.specs import DataSpec
from orchestrator.worker.data.mixing import Learned, mixed_order

COUNTS = {"camera": {"bad": 2, "good": 6}, "movie": {"bad": 10, "good": 22}, "tweet": {"bad": 10}}


def data(**mixing: Any) -> DataSpec:
    domains = {name: {"train": [{"path": f"{name}.jsonl"}]} for name in COUNTS}
    return DataSpec.model_validate(
        {"domains": domains, "train_on": ["camera", "movie"], "mixing": mixing or None}
    )


REPLAY = {"domains": ["tweet"], "fraction": 0.2}
CASES: list[tuple[dict[str, Any], dict[str, int]]] = [
    ({}, {"camera": 8, "movie": 32}),
    ({"strategy": "equal"}, {"camera": 20, "movie": 20}),
    ({"strategy": "equal", "replay": REPLAY}, {"camera": 20, "movie": 20, "tweet": 9}),
    ({"balance_classes": True}, {"camera": 12, "movie": 44}),
    (
        {
            "strategy": "curriculum",
            "stages": [{"domains": ["camera"]}, {"domains": ["camera", "movie"]}],
        },
        {"camera": 24, "movie": 16},  # half of 40, and a fifth of the other half
    ),
]


@pytest.mark.parametrize(("mixing", "drawn"), CASES)
def test_draws_are_those_of_the_worker(mixing: dict[str, Any], drawn: dict[str, int]) -> None:
    spec = data(**mixing)
    draws = epoch_draws(spec, COUNTS)
    replays = "replay" in mixing
    classes = [
        label == "bad"
        for name, counts in COUNTS.items()
        if name != "tweet" or replays
        for label, rows in counts.items()
        for _ in range(rows)
    ]
    domains = {"camera": range(8), "movie": range(8, 40)}
    learned = Learned(
        "x", domains | ({"tweet": range(40, 50)} if replays else {}), np.array(classes)
    )
    order = mixed_order(spec.mixing, learned, 1, 8, lambda per_epoch: 2 * per_epoch)

    assert {draw.domain: draw.drawn for draw in draws} == drawn
    assert epoch_rows(draws) == order.num_rows == len(order.rows(0))


def test_labels_are_counted_as_they_are_drawn() -> None:
    as_they_come = drawn_labels(epoch_draws(data(strategy="equal"), COUNTS))
    assert as_they_come == {"bad": pytest.approx(5 + 6.25), "good": pytest.approx(15 + 13.75)}

    balanced = drawn_labels(epoch_draws(data(balance_classes=True), COUNTS))
    assert balanced == {"bad": pytest.approx(28), "good": pytest.approx(28)}


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.array(["bad"] * 12 + ["good"] * 28)
    theirs = compute_class_weight("balanced", classes=np.array(["bad", "good"]), y=labels)
    found = balanced_weights(("bad", "good"), {"bad": 12, "good": 28})
    assert list(found.values()) == pytest.approx(list(theirs), abs=1e-6)
    assert balanced_weights(("bad", "never"), {"bad": 5}) == {"bad": 1.0, "never": 1.0}


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [(10, [1, 1, 1], [4, 3, 3]), (7, [0.5, 0.2, 0.3], [4, 1, 2]), (0, [1], [0]), (3, [0], [0])],
)
def test_parts_add_up(total: int, weights: list[float], parts: list[int]) -> None:
    assert apportioned(total, weights) == parts


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2, 0.25, 1 / 3, 0.5, 0.9])
def test_every_row_is_learned_once_beside_what_is_replayed(fraction: float) -> None:
    for rows in range(1, 60):
        total = rows_with_replay(rows, fraction)
        assert total - int(total * fraction + 1e-9) == rows
