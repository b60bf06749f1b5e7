"""What follows a failure, by cause: the table of docs/recovery.md, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.control.controller.policy import (
    Again,
    GiveUp,
    Policy,
    after_failure,
    backoff_seconds,
    next_rung,
    nodes_to_avoid,
)
from orchestrator.records import Reason
from tests.control.builders import resolved_spec
from tests.control.store.builders import a_job

NOW = 1_800_000_000.0
POLICY = Policy(jitter=0.0)
R = Reason


@pytest.mark.parametrize(
    ("reason", "retries"),
    [
        (R.USER_ERROR, 0),
        (R.DIVERGED, 0),
        (R.STORE_DENIED, 0),
        (R.DISK_FULL, 0),
        (R.VERSION_MISMATCH, 0),
        (R.WORKER_LOST, 5),
        (R.NODE_LOST, 10),
        (R.HANG, 3),
        (R.LAUNCH_FAILED, 3),
        (R.NO_OUTCOME, 2),
        (R.UNKNOWN, 2),
        (R.INTERRUPTED, 5),
        (R.COMPLETED, 2),  # as whatever the table does not know
    ],
)
def test_how_often_a_cause_is_met_again(reason: Reason, retries: int) -> None:
    seen = 0
    while isinstance(_after(reason, failures={reason: seen}), Again):
        seen += 1
    assert seen == retries


def test_other_causes_do_not_use_a_budget_up() -> None:
    failures = {R.WORKER_LOST: 5, R.NODE_LOST: 9}
    assert isinstance(_after(R.NODE_LOST, failures=failures), Again)
    assert isinstance(_after(R.WORKER_LOST, failures=failures), GiveUp)


def test_a_store_that_is_away_is_waited_for_without_end() -> None:
    answer = _after(R.STORE_UNAVAILABLE, failures={R.STORE_UNAVAILABLE: 1000})
    assert answer == Again(NOW + 300, "waits for the store, then goes on", {})


def test_people_are_told_what_comes_next_and_how_often_it_was_tried() -> None:
    again = _after(R.WORKER_LOST, failures={R.WORKER_LOST: 1})
    assert again == Again(
        NOW + 10, "goes on from the newest complete checkpoint (retry 2 of 5)", {}
    )
    assert _after(R.WORKER_LOST, failures={R.WORKER_LOST: 5}) == GiveUp("it failed so 6 times")
    assert _after(R.USER_ERROR) == GiveUp("the spec or its data must change first")


def test_memory_goes_down_a_rung_and_gives_up_at_the_last() -> None:
    rung = {"micro_batch_size": 8}
    job = a_job(attempt=1)
    again = after_failure(job, R.OUT_OF_MEMORY, rung, NOW, POLICY)
    assert again == Again(NOW + 5, "next with engine.micro_batch_size=8 (retry 1 of 12)", rung)
    given_up = after_failure(job, R.OUT_OF_MEMORY, None, NOW, POLICY)
    assert given_up == GiveUp("nothing is left that would need less memory")


@pytest.mark.parametrize(
    ("earlier", "seconds"), [(0, 5), (1, 10), (2, 20), (5, 160), (6, 300), (50, 300)]
)
def test_a_backoff_doubles_to_its_limit(earlier: int, seconds: float) -> None:
    assert backoff_seconds("job-a", 1, earlier, POLICY) == seconds


def test_jitter_parts_jobs_that_fell_together_and_agrees_with_a_replay() -> None:
    waits = [backoff_seconds(f"job-{n}", 1, 0, Policy()) for n in range(200)]
    assert waits == [backoff_seconds(f"job-{n}", 1, 0, Policy()) for n in range(200)]
    assert 3.75 <= min(waits) < 3.9
    assert 6.1 < max(waits) <= 6.25


LEAST = {"micro_batch_size": 1, "gradient_checkpointing": True}


@pytest.mark.parametrize(
    ("engine", "resources", "rung"),
    [
        ({"micro_batch_size": 16}, {}, {"micro_batch_size": 8}),
        ({"micro_batch_size": 1}, {}, {"gradient_checkpointing": True}),
        (LEAST, {}, {"zero_stage": 3}),
        ({**LEAST, "zero_stage": 0}, {}, {"zero_stage": 1}),
        ({**LEAST, "zero_stage": 1}, {"gpus_per_worker": 1}, {"zero_stage": 2}),
        ({**LEAST, "zero_stage": 3}, {}, None),
        ({**LEAST, "zero_stage": 3}, {"gpus_per_worker": 1}, {"offload": "optimizer"}),
        (LEAST, {"workers": 1, "gpus_per_worker": 1}, {"offload": "optimizer"}),
        (LEAST, {"workers": 1}, None),
        ({**LEAST, "zero_stage": 3, "offload": "optimizer"}, {"gpus_per_worker": 1}, None),
        ({**LEAST, "zero_stage": 0, "strategy": "ddp"}, {"gpus_per_worker": 1}, None),
        ({"micro_batch_size": None}, {}, None),
    ],
)
def test_the_memory_ladder(
    engine: dict[str, Any], resources: dict[str, Any], rung: dict[str, Any] | None
) -> None:
    assert next_rung(resolved_spec(engine=engine, resources=resources).spec) == rung


@pytest.mark.parametrize(
    ("sections", "stage"),
    [
        ({"method": {"type": "qlora"}, "resources": {"workers": 2, "gpus_per_worker": 1}}, 2),
        ({"training": {"precision": "bf16"}}, 0),
    ],
)
def test_a_stage_that_cannot_be_gone_on_with_is_no_rung(
    sections: dict[str, Any], stage: int
) -> None:
    spec = resolved_spec(engine={**LEAST, "zero_stage": stage}, **sections).spec
    assert "zero_stage" not in (next_rung(spec) or {})


def test_a_micro_batch_always_divides_a_workers_part_of_the_global_batch() -> None:
    spec = resolved_spec(
        engine={"micro_batch_size": 9},
        resources={"workers": 2},
        training={**resolved_spec().spec.training.model_dump(), "global_batch_size": 18},
    )
    assert next_rung(spec.spec) == {"micro_batch_size": 3}  # not 4: 9 rows a worker


def test_a_node_that_failed_twice_is_avoided() -> None:
    job = a_job(node_failures={"n1": 1, "n2": 2, "n3": 5})
    assert nodes_to_avoid(job) == {"n2", "n3"}


def _after(reason: Reason, failures: dict[Reason, int] | None = None) -> GiveUp | Again:
    return after_failure(a_job(attempt=1, failures=failures or {}), reason, None, NOW, POLICY)
