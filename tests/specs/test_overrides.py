"""--set."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.specs.loading import load_document, load_spec
from tests.specs.builders import GOOD


def _value(path: str, *sets: str) -> Any:
    value: Any = load_spec(GOOD, sets=sets).spec
    for name in path.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("training.epochs=3", "spec.training.epochs", 3),
        ("training.learning_rate=5e-5", "spec.training.learning_rate", 5e-5),
        ("spec.training.seed=7", "spec.training.seed", 7),
        ("metadata.name=other", "metadata.name", "other"),
        ("engine.zero_stage=2", "spec.engine.zero_stage", 2),
        ("training.early_stopping.patience=2", "spec.training.early_stopping.patience", 2),
        ("data.train_on=[camera]", "spec.data.train_on", ("camera",)),
        ("task.labels=[no, yes]", "spec.task.labels", ("no", "yes")),
        ("output.name='\"123\"'", "spec.output.name", None),
    ],
)
def test_a_field_is_set(text: str, path: str, value: Any) -> None:
    if value is None:
        text, value = 'output.name="123"', "123"
    assert _value(path, text) == value


def test_later_ones_win_and_null_removes() -> None:
    assert _value("spec.training.epochs", "training.epochs=5", "training.epochs=null") is None
    sets = ["training.epochs=null", "training.max_steps=10"]
    assert _value("spec.training.max_steps", *sets) == 10
    assert _value("spec.output.store", "output.store=null") is None


def test_items_of_lists() -> None:
    sets = ["data.domains.camera.train[0].weight=2.0", "data.domains.camera.train[1].path=more.csv"]
    first, second = load_spec(GOOD, sets=sets).spec.spec.data.domains["camera"].train or ()
    assert (first.path, first.weight, second.path) == ("camera/train.jsonl", 2.0, "more.csv")


@pytest.mark.parametrize(
    ("text", "path", "message", "hint"),
    [
        ("training.epochs", None, "is not a path and a value", "path=value"),
        ("=3", None, "is not a path and a value", "path=value"),
        ("training.seed=", "training.seed", "no value after `=`", "null to remove"),
        ("training.seed={", "training.seed", "is no YAML value", "quotes"),
        ("training.epochs.x=1", "training.epochs.x", "training.epochs holds a value", None),
        ("training[0]=1", "training[0]", "training is not a list", None),
        ("data.train_on.x=1", "data.train_on.x", "data.train_on is a list", "data.train_on[0].x"),
        ("data.train_on[4]=a", "data.train_on[4]", "has no item 4", "[0] to [0], or [1] to append"),
        ("data.train_on[0]=null", "data.train_on[0]", "cannot be removed", "whole list"),
        ("training.epoch=1", "training.epoch", "unknown field", "epochs"),
        ("training.epochs=many", "training.epochs", "must be a number", None),
        ("output.name=1e5", "output.name", "must be text", '"1e5"'),
    ],
)
def test_what_cannot_be_set(text: str, path: str | None, message: str, hint: str | None) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_spec(GOOD, sets=[text])
    (problem,) = caught.value.problems
    assert (problem.path, problem.file, problem.line) == (path, "--set", None)
    assert message in problem.message
    assert hint is None or hint in str(problem.hint)


def test_the_text_stays_as_it_was_written() -> None:
    loaded = load_spec(GOOD, sets=["training.epochs=9"])
    assert loaded.text == GOOD
    assert loaded.sets == ("training.epochs=9",)


def test_problems_of_other_fields_keep_their_lines() -> None:
    document = load_document(GOOD.replace("workers: 2", "workers: 0"), sets=["training.epochs=0"])
    assert [(p.path, p.file, p.line) for p in document.problems] == [
        ("training.epochs", "--set", None),
        ("resources.workers", "<text>", 17),
    ]
