"""What contradicts itself in a text classification, and what its metrics are."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.specs import TextClassification
from orchestrator.specs.checks import check_spec
from orchestrator.specs.identity import identity_document
from orchestrator.specs.task import default_columns, metrics_of
from tests.specs.builders import spec


def task(**fields: Any) -> dict[str, Any]:
    return {"type": "text-classification", **fields}


SETS, NUMBERS = task(problem="multi_label"), task(problem="regression")
WITH_PAIRS = {
    "domains": {
        "d": {
            "train": [{"path": "a", "columns": {"text_pair": "other"}}],
            "test": [{"path": "b", "columns": {"text_pair": "other"}}],
        }
    }
}


@pytest.mark.parametrize(
    ("sections", "path", "message", "hint"),
    [
        ({"task": task(threshold=0.3)}, "task.threshold", "any number of labels", "multi_label"),
        (
            {"task": task(problem="regression", label_separator=";")},
            "task.label_separator",
            "any number of labels",
            "multi_label",
        ),
        (
            {"task": task(problem="regression", labels=["a", "b"])},
            "task.labels",
            "learns numbers",
            "remove it",
        ),
        (
            {"task": task(problem="multi_label", label_separator=";", labels=["a", "b;c"])},
            "task.labels[1]",
            "holds the separator",
            "between separators",
        ),
        (
            {"task": NUMBERS, "evaluation": {"metrics": ["macro_f1"]}},
            "evaluation.metrics[0]",
            "with problem: regression has no metric 'macro_f1'",
            "one of rmse, mae",
        ),
        (
            {"task": SETS, "selection": {"metric": "camera/rmse"}},
            "selection.metric",
            "with problem: multi_label has no metric 'rmse'",
            "one of",
        ),
        (
            {"task": NUMBERS, "selection": {"metric": "camera/mae", "mode": "max"}},
            "selection.mode",
            "mae is better the smaller it is",
            "write mode: min",
        ),
        (
            {"data": WITH_PAIRS},
            "data.domains.d.train[0].columns.text_pair",
            "'text_pair' is not a role",
            "write task.pairs: true",
        ),
    ],
)
def test_contradictions(sections: dict[str, Any], path: str, message: str, hint: str) -> None:
    problem = next(p for p in check_spec(spec(**sections)) if p.path == path)
    assert message in problem.message
    assert hint in (problem.hint or "")


@pytest.mark.parametrize(
    "sections",
    [
        {"task": task(problem="multi_label", threshold=0.3, label_separator="|")},
        {"task": {**NUMBERS, "pairs": True}, "data": WITH_PAIRS},
        {"task": SETS, "evaluation": {"metrics": ["samples_f1", "ece"]}},
        {"task": NUMBERS, "selection": {"metric": "camera/pearson", "mode": "max"}},
        {"evaluation": {"metrics": ["ece", "brier", "loss"]}},
    ],
)
def test_what_goes_together(sections: dict[str, Any]) -> None:
    assert check_spec(spec(**sections)) == []


def test_old_specs_keep_their_identity() -> None:
    assert identity_document(spec())["spec"]["task"] == {"type": "text-classification"}


def test_columns_and_metrics_follow_the_problem() -> None:
    plain = TextClassification(type="text-classification")
    pairs = plain.model_copy(update={"pairs": True, "problem": "regression"})
    assert list(default_columns(plain)) == ["text", "label"]
    assert list(default_columns(pairs)) == ["text", "text_pair", "label"]
    metrics = metrics_of(pairs)
    assert metrics is not None
    assert metrics.selection == "mean/rmse"
