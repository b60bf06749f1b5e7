"""Another job's moments are taken for the parameters that learn here, or refused."""

from __future__ import annotations

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.worker.training.continuing import _check_names

MINE = [["layer.weight", "head.weight"], ["head.bias"]]


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        ([["layer.weight"], []], "this job also trains head.bias, head.weight, of which it has no"),
        ([[*MINE[0], "a", "b", "c", "d"], MINE[1]], "does not train a, b, c and 1 more, of which"),
        ([["layer.weight"], ["head.weight", "head.bias"]], "groups its parameters in another way"),
    ],
)
def test_other_parameters_are_refused(saved: list[list[str]], told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _check_names(MINE, saved)
    (problem,) = caught.value.problems
    assert problem.path == "model.optimizer"
    assert told in problem.message


def test_the_same_parameters_are_taken() -> None:
    _check_names(MINE, [list(group) for group in MINE])
