"""Tokens a second and model FLOPs of a gang, and the memory of a rank."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator.records import Phase
from orchestrator.worker.training.clock import Clock
from orchestrator.worker.training.measuring import Speedometer, peak_bytes

GANG: Any = SimpleNamespace(world_size=2, total=lambda number: 2 * number)
MASK = torch.tensor([[1, 1, 1], [1, 0, 0]])


def half_frozen() -> torch.nn.Module:
    """10 weights that learn, and 20 that do not."""
    model = torch.nn.Sequential(torch.nn.Linear(5, 2, bias=False), torch.nn.Linear(2, 10, False))
    model[1].requires_grad_(False)
    return model


def test_tokens_of_all_ranks_are_told_once() -> None:
    speed = Speedometer(1.0, None)
    speed.count({"input_ids": MASK, "attention_mask": MASK})
    decoder = torch.tensor([[4, 5, -100], [6, -100, -100]])
    speed.count({"attention_mask": MASK, "labels": decoder, "decoder_input_ids": decoder})

    assert speed.figures(GANG, seconds=2.0) == {"tokens_per_second": 11.0}
    assert speed.figures(GANG, seconds=2.0) == {"tokens_per_second": 0.0}


def test_flops_of_a_token_are_six_a_weight_and_four_where_it_is_frozen() -> None:
    model = half_frozen()
    speed = Speedometer.of(model, "fp32")
    assert speed.flops_per_token == 6 * 10 + 4 * 20
    speed = Speedometer(speed.flops_per_token, peak_flops=1000.0, tokens=50)
    assert speed.figures(GANG, seconds=10.0)["mfu"] == pytest.approx(0.7)


def test_the_peak_of_a_phase_is_told_and_forgotten() -> None:
    told: list[dict[str, Any]] = []
    reporter: Any = SimpleNamespace(update=lambda **state: told.append(state))
    clock = Clock(reporter, {})
    with clock.phase(Phase.LOAD):
        held = np.ones(25_000_000)  # 200 MB
        del held
    with clock.phase(Phase.TRAIN):
        pass

    assert clock.peaks[Phase.LOAD] - clock.peaks[Phase.TRAIN] > 150_000_000
    assert told[1] == {"peak_memory_bytes": clock.peaks[Phase.LOAD]}
    assert peak_bytes() is not None
