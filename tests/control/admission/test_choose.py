from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.control.admission.choose import choose_engine, micro_batch_sizes
from orchestrator.control.admission.memory import MemoryCase, worker_memory
from orchestrator.specs import EngineSpec
from tests.control.admission.builders import case


def always(found: MemoryCase) -> bool:
    return True


def never(found: MemoryCase) -> bool:
    return False


def choose(
    fits: Callable[[MemoryCase], bool] = always,
    engine: dict[str, Any] | None = None,
    batch: int = 64,
    **changes: Any,
) -> tuple[MemoryCase, dict[str, str]]:
    spec = EngineSpec.model_validate(engine or {})
    start = case(strategy=spec.strategy, offload=spec.offload or "none", **changes)
    found, choices = choose_engine(spec, start, batch, fits)
    return found, {choice.path: choice.value for choice in choices}


@pytest.mark.parametrize(
    ("workers", "batch", "on_gpu", "sizes"),
    [
        (1, 64, False, [32, 16, 8, 4, 2, 1]),  # at most 32 on a CPU
        (1, 64, True, [64, 32, 16, 8, 4, 2, 1]),
        (2, 64, False, [32, 16, 8, 4, 2, 1]),
        (4, 12, False, [3, 1]),
        (1, 30, False, [30, 15, 10, 6, 5, 3, 2, 1]),
        (1, 1024, True, [256, 128, 64, 32, 16, 8, 4, 2, 1]),
    ],
)
def test_sizes_divide_the_workers_rows(
    workers: int, batch: int, on_gpu: bool, sizes: list[int]
) -> None:
    start = case(workers=workers, on_gpu=on_gpu)

    assert micro_batch_sizes(EngineSpec(), start, batch) == sizes


def test_one_worker_shards_nothing() -> None:
    found, choices = choose()

    assert (found.zero_stage, found.micro_batch_size) == (0, 32)
    assert (found.checkpointing, found.offload) == (False, "none")
    assert choices == {
        "engine.zero_stage": "0",
        "engine.micro_batch_size": "32",
        "engine.gradient_checkpointing": "false",
    }


def test_several_workers_share_optimizer_and_gradients() -> None:
    found, _ = choose(workers=2, batch=32)

    assert (found.zero_stage, found.micro_batch_size) == (2, 16)


def test_what_the_spec_says_is_kept() -> None:
    engine = {
        "zero_stage": 1,
        "micro_batch_size": 4,
        "gradient_checkpointing": True,
        "offload": "none",
    }
    found, choices = choose(engine=engine, workers=2)

    assert (found.zero_stage, found.micro_batch_size, found.checkpointing) == (1, 4, True)
    assert choices == {}


def test_a_smaller_micro_batch_comes_before_recomputing() -> None:
    found, _ = choose(lambda found: found.micro_batch_size <= 8, workers=2)

    assert (found.zero_stage, found.micro_batch_size, found.checkpointing) == (2, 8, False)


def test_recomputing_comes_before_stage_3() -> None:
    found, choices = choose(lambda found: found.checkpointing, workers=2)

    assert (found.zero_stage, found.micro_batch_size, found.checkpointing) == (2, 32, True)
    assert choices["engine.gradient_checkpointing"] == "true"


def test_stage_3_where_nothing_less_fits() -> None:
    found, choices = choose(lambda found: found.zero_stage == 3, workers=2)

    assert (found.zero_stage, found.micro_batch_size) == (3, 32)
    assert choices["engine.zero_stage"] == "3"


def test_offloading_is_the_last_resort_of_gpus() -> None:
    def offloads(found: MemoryCase) -> bool:
        return found.offload == "optimizer"

    found, choices = choose(offloads, workers=2, on_gpu=True)

    assert (found.offload, found.zero_stage) == ("optimizer", 2)
    assert choices["engine.offload"] == "optimizer"


def test_offloaded_parameters_need_stage_3() -> None:
    found, _ = choose(lambda found: found.offload == "parameters", workers=1, on_gpu=True)

    assert (found.offload, found.zero_stage) == ("parameters", 3)


def test_a_given_offload_decides_the_stage() -> None:
    found, _ = choose(engine={"offload": "parameters"}, workers=2, on_gpu=True)

    assert found.zero_stage == 3


def test_nothing_is_offloaded_without_a_gpu() -> None:
    found, choices = choose(never, workers=2)

    assert found.offload == "none"
    assert "engine.offload" not in choices


def test_where_nothing_fits_the_most_frugal_way_is_shown() -> None:
    found, _ = choose(never, workers=2, batch=8)

    smallest = min(
        worker_memory(case(workers=2, strategy="deepspeed", micro_batch_size=1, **way)).total_bytes
        for way in (
            {"zero_stage": stage, "checkpointing": again}
            for stage in (2, 3)
            for again in (False, True)
        )
    )
    assert worker_memory(found).total_bytes == smallest


def test_ddp_has_no_stage() -> None:
    found, choices = choose(engine={"strategy": "ddp"}, workers=2, on_gpu=True)

    assert (found.strategy, found.zero_stage, found.offload) == ("ddp", 0, "none")
    assert set(choices) == {"engine.micro_batch_size", "engine.gradient_checkpointing"}
