from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator.control.admission.resolve import Surroundings, resolve_spec, with_engine
from orchestrator.specs import FineTune, ModelSpec
from orchestrator.specs.classification import ClassWeights
from tests.control.admission.builders import case, spec

AROUND = Surroundings(
    base_dir=Path("/home/me/job"),
    default_store="/home/me/models",
    labels=("bad", "good"),
    model=ModelSpec(base="hf://org/tiny", revision="c0ffee"),
)


def resolve(**sections: Any) -> FineTune:
    return resolve_spec(spec(**sections), AROUND)


def test_everything_that_is_absent_is_written_out() -> None:
    body = resolve().spec

    assert body.model == ModelSpec(base="hf://org/tiny", revision="c0ffee")
    assert body.task.labels == ("bad", "good")
    assert body.data.train_on == ("camera",)
    assert (body.training.epochs, body.training.max_steps) == (3.0, None)
    assert (body.training.warmup_ratio, body.training.warmup_steps) == (0.06, None)
    assert (body.selection.metric, body.selection.mode) == ("mean/macro_f1", "max")
    assert body.selection.every_steps is None  # each epoch
    assert body.evaluation.metrics == ("accuracy", "macro_f1", "weighted_f1")
    assert (body.checkpoint.every_minutes, body.checkpoint.every_steps) == (20.0, None)
    assert (body.output.store, body.output.name) == ("/home/me/models", "reviews")


def test_balanced_class_weights_are_written_out() -> None:
    around = replace(AROUND, drawn_labels={"good": 300.0, "bad": 100.0})
    task = {"type": "text-classification", "class_weights": {"balanced": True}}
    resolved = resolve_spec(spec(task=task), around)

    weights = {"bad": 2.0, "good": 0.666667}  # 400 / (2 x 100), 400 / (2 x 300)
    assert resolved.spec.task.class_weights == ClassWeights(weights=weights)
    assert resolve_spec(resolved, around) == resolved


def test_local_paths_become_absolute_and_urls_stay() -> None:
    domains = resolve().spec.data.domains

    assert domains["camera"].train is not None
    assert domains["camera"].train[0].path == "/home/me/job/train.jsonl"
    assert domains["movie"].test is not None
    assert domains["movie"].test[0].path == "s3://bucket/movie.jsonl"


def test_a_relative_store_is_beside_the_spec() -> None:
    assert resolve(output={"store": "out"}).spec.output.store == "/home/me/job/out"
    assert resolve(output={"store": "s3://bucket/x"}).spec.output.store == "s3://bucket/x"


@pytest.mark.parametrize(
    ("section", "given"),
    [
        ("training", {"max_length": 16, "epochs": 7.0}),
        ("training", {"max_length": 16, "max_steps": 11}),
        ("training", {"max_length": 16, "warmup_steps": 5}),
        ("training", {"max_length": 16, "warmup_ratio": 0.0}),
        ("checkpoint", {"every_steps": 9}),
        ("checkpoint", {"every_minutes": 2.0}),
        ("selection", {"metric": "movie/accuracy"}),
        ("evaluation", {"metrics": ("loss",)}),
        ("output", {"name": "another"}),
    ],
)
def test_what_is_given_stays(section: str, given: dict[str, Any]) -> None:
    found = getattr(resolve(**{section: given}).spec, section)

    assert {name: getattr(found, name) for name in given} == given


@pytest.mark.parametrize(
    ("training", "absent"),
    [({"max_steps": 11}, "epochs"), ({"warmup_steps": 5}, "warmup_ratio")],
)
def test_alternatives_are_not_both_written(training: dict[str, Any], absent: str) -> None:
    assert getattr(resolve(training=training).spec.training, absent) is None


def test_a_loss_is_better_the_smaller() -> None:
    assert resolve(selection={"metric": "camera/loss"}).spec.selection.mode == "min"


def test_resolving_twice_changes_nothing() -> None:
    once = resolve()

    assert resolve_spec(once, AROUND) == once


def test_engine() -> None:
    chosen = case(zero_stage=3, micro_batch_size=8, checkpointing=True, strategy="deepspeed")
    engine = with_engine(resolve(), chosen).spec.engine

    assert (engine.zero_stage, engine.micro_batch_size) == (3, 8)
    assert (engine.gradient_checkpointing, engine.offload) == (True, "none")
