"""When two runs are the same run."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.specs.identity import identity_document, run_digest
from tests.specs.builders import document, spec

DATA = {"camera/train": "aa", "camera/test": "bb"}


def digest(**sections: Any) -> str:
    return run_digest(spec(**sections), DATA, "base", "1")


def moved(**fields: Any) -> dict[str, Any]:
    data = document()["spec"]["data"]
    data["domains"]["camera"]["train"][0] |= fields
    return dict(data)


@pytest.mark.parametrize(
    "sections",
    [
        {"engine": {"zero_stage": 3, "micro_batch_size": 4}},
        {"resources": {"workers": 4, "cpus_per_worker": 2}},
        {"scheduling": {"priority": "high"}},
        {"checkpoint": {"every_steps": 7, "keep": 5}},
        {"output": {"store": "s3://elsewhere/x"}},
        {"output": {"name": "job-one"}},
        {"model": {"base": "/a/copy/of/it"}},
        {"data": moved(path="/moved/train.jsonl")},
        {"data": {**moved(), "train_on": ["camera"]}},
        {"training": {"learning_rate": 5e-5}},
    ],
)
def test_what_never_changes_what_is_learned(sections: dict[str, Any]) -> None:
    assert digest(**sections) == digest()


@pytest.mark.parametrize(
    "sections",
    [
        {"training": {"seed": 1}},
        {"training": {"epochs": 2}},
        {"method": {"type": "freeze", "all_layers": True}},
        {"selection": {"last": True}},
        {"evaluation": {"metrics": ["accuracy"]}},
        {"output": {"name": "other"}},
        {"task": {"type": "text-classification", "labels": ["b", "a"]}},
        {"data": moved(weight=2.0)},
        {"data": moved(columns={"text": "review"})},
        {"data": {**moved(), "valid_fraction": 0.2}},
        {"data": {**moved(), "mixing": {"balance_classes": True}}},
        {"task": {"type": "text-classification", "class_weights": {"balanced": True}}},
    ],
)
def test_what_makes_another_run(sections: dict[str, Any]) -> None:
    assert digest(**sections) != digest()


def test_bytes_and_recipe_make_another_run() -> None:
    assert run_digest(spec(), {**DATA, "camera/train": "cc"}, "base", "1") != digest()
    assert run_digest(spec(), DATA, "other", "1") != digest()
    assert run_digest(spec(), DATA, "base", "2") != digest()


def test_the_order_of_digests_does_not_matter() -> None:
    assert run_digest(spec(), dict(reversed(DATA.items())), "base", "1") == digest()


def test_the_document_is_what_it_was() -> None:
    """A change here makes every finished run look new: only a new optional field may be absent."""
    expected = {
        "apiVersion": "finetune.orchestrator/v1alpha1",
        "kind": "FineTune",
        "spec": {
            "task": {"type": "text-classification"},
            "method": {"type": "full"},
            "training": {
                "learning_rate": 5e-5,
                "global_batch_size": 32,
                "max_length": 128,
                "precision": "fp32",
                "seed": 0,
                "schedule": "linear",
                "weight_decay": 0.01,
                "max_grad_norm": 1.0,
                "adam_beta1": 0.9,
                "adam_beta2": 0.999,
                "adam_epsilon": 1e-08,
            },
            "selection": {"last": False},
            "evaluation": {"before": True, "batch_size": 64, "bootstrap_samples": 1000},
            "data": {
                "train_on": ["camera"],
                "valid_fraction": 0.1,
                "domains": {
                    "camera": {
                        "train": [{"columns": {}, "weight": 1.0}],
                        "valid": [{"columns": {}, "weight": 1.0}],
                        "test": [{"columns": {}, "weight": 1.0}],
                    },
                    "movie": {"test": [{"columns": {}, "weight": 1.0}]},
                },
            },
            "output": {"name": "job-one"},
        },
    }
    resolved = spec(evaluation={"batch_size": 64})  # the plan resolves it
    assert identity_document(resolved) == expected
    assert run_digest(resolved, DATA, "base", "1") == (
        "fc171866f8e0b7f636aa9391272d58f937bac9937b86feaf08e3425c952cc27f"
    )
