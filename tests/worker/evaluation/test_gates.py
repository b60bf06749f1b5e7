"""Gates are judged by figures on valid; forgetting is the worst domain's loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.specs import FineTuneSpec
from orchestrator.specs.gates import GateSpec
from orchestrator.worker.evaluation.gates import result_of
from tests.worker.tiny import launch

SPLITS = {"train": [{"path": "/a"}], "valid": [{"path": "/a"}], "test": [{"path": "/a"}]}
FIGURES = {
    "camera": {"macro_f1": 0.8, "loss": 0.4},
    "dvd": {"macro_f1": 0.6, "loss": 0.5},
    "movie": {"macro_f1": 0.70, "loss": 0.7},
    "news": {"macro_f1": 0.55, "loss": 0.6},
}


def spec(selection: dict[str, Any]) -> FineTuneSpec:
    domains = {"camera": SPLITS, "dvd": SPLITS}
    domains |= {name: {"valid": SPLITS["valid"]} for name in ("movie", "news")}
    data = {"domains": domains, "train_on": ["camera", "dvd"]}
    return launch(Path("/b"), Path("/s"), data=data, selection=selection).spec.spec


BY_F1 = {"metric": "mean/macro_f1", "mode": "max"}


@pytest.mark.parametrize(
    ("gate", "value", "passed", "text"),
    [
        ({"metric": "movie/macro_f1", "at_least": 0.7}, 0.7, True, "at least 0.7: passed"),
        ({"metric": "movie/macro_f1", "at_least": 0.71}, 0.7, False, "at least 0.71: failed"),
        ({"metric": "news/loss", "at_most": 0.5}, 0.6, False, "at most 0.5: failed"),
        ({"metric": "mean/macro_f1", "at_least": 0.69}, 0.7, True, "mean/macro_f1 0.7000"),
        ({"metric": "camera/loss", "at_most": 0.4}, 0.4, True, "camera/loss 0.4000, at most 0.4"),
    ],
)
def test_a_metric_has_a_bound(gate: dict[str, Any], value: float, passed: bool, text: str) -> None:
    found = result_of(GateSpec.model_validate(gate), spec(BY_F1), FIGURES, {})
    assert found.value == pytest.approx(value)
    assert found.passed is passed
    assert text in found.text


def test_forgetting_is_the_largest_loss_of_any_domain() -> None:
    start = {"movie": {"macro_f1": 0.71}, "news": {"macro_f1": 0.60}}
    gate = GateSpec(forgetting_at_most=0.02)
    found = result_of(gate, spec(BY_F1), FIGURES, start)
    assert (found.metric, found.passed) == ("news/macro_f1", False)
    assert found.value == pytest.approx(0.05)
    assert found.text == "news/macro_f1 lost 0.0500 of the start, at most 0.02: failed"


def test_of_a_loss_forgetting_is_its_growth_and_a_gain_is_no_loss() -> None:
    selection = {"metric": "camera/loss", "mode": "min"}
    start = {"movie": {"loss": 0.9}, "news": {"loss": 0.61}}
    found = result_of(GateSpec(forgetting_at_most=0.0), spec(selection), FIGURES, start)
    assert (found.metric, found.passed) == ("news/loss", True)
    assert found.value == pytest.approx(-0.01)
