"""Steps, memory and time of meta-learning and of the curves that measure it, worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.admission.choose import choose_engine
from orchestrator.control.admission.duration import RowLengths, plan_steps
from orchestrator.control.admission.episodes import (
    adaptation_work,
    batch_rows,
    episode_work,
    joint_steps,
    lent,
)
from orchestrator.control.admission.memory import worker_memory
from orchestrator.specs import FineTuneSpec
from tests.control.admission.builders import case, data, spec, split

LENGTHS = RowLengths({"train": 10.0, "valid": 10.0, "test": 10.0}, 16, measured=True)
TRAIN = [{"path": "train.jsonl"}]
DOMAINS = {
    "camera": {"train": TRAIN},
    "movie": {"train": TRAIN},
    "tweet": {"train": TRAIN, "test": [{"path": "test.jsonl"}]},
}
METHOD = {
    "type": "meta",
    "algorithm": "fomaml",
    "episodes_per_step": 4,
    "shots": 8,
    "query": 4,
    "inner_steps": 3,
}


def body(method: dict[str, Any] | None = None, **sections: Any) -> FineTuneSpec:
    return spec(
        task={"type": "text-classification", "labels": ["bad", "good"]},
        data={"domains": DOMAINS, "train_on": ["camera", "movie"]},
        method=METHOD | (method or {}),
        **{
            "training": {"epochs": 2, "global_batch_size": 12, "max_length": 16},
            "resources": {"workers": 2},
            **sections,
        },
    ).spec


def test_the_work_of_a_step() -> None:
    found = episode_work(body(), micro_batch_size=4)
    assert found is not None
    # An episode: 3 steps of 12 of its 16 rows, and 8 rows to judge by; 3 * 3 + 2 pieces of 4 rows.
    assert found.rows == 4 * (3 * 12 + 8)
    assert (found.episodes, found.micro_batches, found.updates) == (2, 2 * 11, 2 * 3)
    reptile = episode_work(body({"algorithm": "reptile", "query": None}), micro_batch_size=4)
    assert reptile is not None
    assert reptile.rows == 4 * 36
    assert episode_work(spec().spec, 4) is None


def test_an_epoch_draws_as_many_rows_as_there_are() -> None:
    steps = plan_steps(body(), 1000, 4, LENGTHS)
    assert steps.per_epoch == 11  # 4 episodes of 2 classes of 12 rows: 96 a step
    assert steps.total == 22
    assert steps.accumulation == 22
    assert steps.tokens_per_step == 1760
    assert steps.tokens == 22 * 1760


@pytest.mark.parametrize(("optimizer", "each"), [("adam", 16), ("sgd", 8)])
def test_the_copy_that_learns_is_in_the_memory(optimizer: str, each: int) -> None:
    plain = case()
    of_meta = case(learner_bytes=each)
    found = worker_memory(of_meta)
    assert found.learner_bytes == each * 1000
    assert found.total_bytes == worker_memory(plain).total_bytes + each * 1000
    assert of_meta.keeps_weights_whole


def test_nothing_that_fits_shards_the_weights() -> None:
    tried = set()

    def fits(tried_case: Any) -> bool:
        tried.add(tried_case.zero_stage)
        return False

    many = case(learner_bytes=16, strategy="deepspeed", workers=2)
    choose_engine(body().engine, many, batch_rows(body()), fits)
    assert tried == {2}


def test_the_work_of_curves() -> None:
    how = {"shots": [0, 4, 32], "seeds": 5, "steps": 10, "batch_size": 16}
    compared = body(evaluation={"adaptation": {**how, "compare_with": ["plain", "joint"]}})
    found = adaptation_work(compared, num_domains=1, outer_steps=20)
    assert compared.evaluation.adaptation is not None
    joint = joint_steps(compared.evaluation.adaptation, compared.method, 20)  # type: ignore[arg-type]
    assert joint == 20 * 4 * (3 + 1)
    # 3 starts, 5 seeds, 10 steps of 8 and of 16 rows; the joint training takes 12 a step.
    assert found.gradient_rows == 3 * 5 * 10 * (8 + 16) + joint * 12
    assert found.updates == 3 * 5 * 10 * 2
    assert found.tested == 3 * 5 * 2 + (3 + 4)  # without shots once, of plain for each new head


def test_the_rows_that_are_lent() -> None:
    facts = data(split("camera", "train", 100), split("tweet", "test", 300))
    adapted = body(evaluation={"adaptation": {"max_test_rows": 200}})
    assert lent(facts, adapted) == {"lent_domains": 1, "lent_test_rows": 200}
    assert lent(facts, body()) == {}
