"""`evaluation.slices` and `evaluation.explain`: what cannot be asked for, told with its place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.specs import SliceSpec
from orchestrator.specs.checks import check_spec
from tests.specs.builders import spec

CAUSAL = {"type": "causal-lm"}
CUSTOM = {"type": "custom", "entrypoint": "train.py"}
WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"task": CAUSAL, "evaluation": {"slices": {"c": {"label": True}}}},
     "evaluation.slices.c.label", "causal-lm has no labels"),
    ({"task": CUSTOM, "evaluation": {"slices": {"c": {"column": "x"}}}, "model": None},
     "evaluation.slices", "measures its rows itself"),
    ({"task": CAUSAL, "evaluation": {"explain": True}}, "evaluation.explain",
     "only decisions for one of several labels"),
    ({"task": CUSTOM, "evaluation": {"explain": True}, "model": None}, "evaluation.explain",
     "custom makes none"),
    ({"task": {"type": "text-classification", "problem": "regression"},
      "evaluation": {"explain": True}}, "evaluation.explain", "regression makes none"),
    ({"task": {"type": "text-classification", "problem": "regression"},
      "evaluation": {"slices": {"c": {"label": True}}}}, "evaluation.slices.c.label",
     "regression has no labels"),
    ({"evaluation": {"explanations": {"worst_errors": 3}}}, "evaluation.explanations",
     "unless explain is true"),
]  # fmt: skip


@pytest.mark.parametrize(("sections", "path", "message"), WRONG)
def test_what_makes_no_sense_is_refused(sections: dict[str, Any], path: str, message: str) -> None:
    problems = {problem.path: problem for problem in check_spec(spec(**sections))}
    assert message in problems[path].message
    assert problems[path].hint


def test_what_makes_sense_is_not() -> None:
    evaluation = {
        "slices": {"a": {"column": "x"}, "b": {"label": True}, "c": {"terms": {"w": ["she"]}}},
        "explain": True,
        "explanations": {"samples_per_class": 2},
    }
    assert check_spec(spec(evaluation=evaluation)) == []


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, "exactly one of"),
        ({"column": "x", "label": True}, "exactly one of"),
        ({"lengths": [20, 10]}, "growing"),
        ({"terms": {"w": []}}, "has no words"),
    ],
)
def test_a_slice_is_cut_in_one_way(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SliceSpec.model_validate(entry)
