"""What contradicts meta-learning and the curves that measure it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.specs.checks import check_spec
from tests.specs.builders import spec


def domain(*splits: str) -> dict[str, Any]:
    return {split: [{"path": f"{split}.jsonl"}] for split in splits}


DATA = {
    "domains": {
        "camera": domain("train", "valid", "test"),
        "movie": domain("train"),
        "tweet": domain("train", "test"),
        "news": domain("valid", "test"),
    },
    "train_on": ["camera", "movie"],
}
META = {"type": "meta"}


def sections(**changes: Any) -> dict[str, Any]:
    return {"data": DATA, "method": META, "evaluation": {"adaptation": {}}, **changes}


def adaptation(**fields: Any) -> dict[str, Any]:
    return sections(evaluation={"adaptation": fields})


# Sections of the spec; then the field's path, the message and the hint.
WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    (
        sections(task={"type": "causal-lm"}, evaluation={}),
        *("method.type", "causal-lm has no one class a row", "another method.type"),
    ),
    (
        sections(method={"type": "full"}, task={"type": "causal-lm"}),
        *("evaluation.adaptation", "causal-lm has no one class a row", "remove it"),
    ),
    (
        sections(data={**DATA, "train_on": ["camera"]}),
        *("data.train_on", "episodes of camera alone", "method.type: full"),
    ),
    (
        sections(resources={"workers": 3}),
        *("method.episodes_per_step", "cannot be divided among 3 workers", "write 6"),
    ),
    (
        sections(method={**META, "query": 4}),
        *("method.query", "reptile learns from where the inner steps end", "fomaml"),
    ),
    (
        sections(
            method={**META, "outer_optimizer": "sgd"}, resources={"workers": 2, "min_workers": 1}
        ),
        *("resources.min_workers", "fits only the number of workers that saved it", "adamw"),
    ),
    (
        sections(engine={"zero_stage": 3}),
        *("engine.zero_stage", "whole weights on every worker", "zero_stage: 2"),
    ),
    (
        sections(engine={"offload": "parameters"}, resources={"workers": 1, "gpus_per_worker": 1}),
        *("engine.offload", "whole weights on the GPU", "offload: optimizer"),
    ),
    (
        sections(training={"precision": "fp16"}, resources={"workers": 1, "gpus_per_worker": 1}),
        *("training.precision", "fp16 scales the loss", "bf16 or fp32"),
    ),
    (
        sections(data={**DATA, "mixing": {"strategy": "equal"}}),
        *("data.mixing", "domains take turns", "remove it"),
    ),
    (
        sections(training={"batching": {"packing": True}}),
        *("training.batching", "domains take turns", "remove it"),
    ),
    (
        sections(selection={"metric": "news/macro_f1"}),
        *("selection.metric", "'news', which is held out", "select by mean"),
    ),
    (
        adaptation(domains=["twet"]),
        *("evaluation.adaptation.domains[0]", "unknown domain 'twet'", "did you mean tweet?"),
    ),
    (
        adaptation(domains=["camera"]),
        *("evaluation.adaptation.domains[0]", "is learned from", "data.train_on"),
    ),
    (
        adaptation(domains=["news"]),
        *("evaluation.adaptation.domains[0]", "'news' has no train split", "news.train"),
    ),
    (
        sections(data={**DATA, "train_on": ["camera", "movie", "tweet"]}),
        *("evaluation.adaptation", "no domain is held out", "out of data.train_on"),
    ),
    (
        sections(method={"type": "full"}, evaluation={"adaptation": {"compare_with": ["joint"]}}),
        *("evaluation.adaptation.compare_with", "jointly itself", "remove joint"),
    ),
    (
        sections(method={"type": "lora"}),
        *("evaluation.adaptation", "an adapter would learn on", "method.merge: true"),
    ),
]


@pytest.mark.parametrize(("changed", "path", "message", "hint"), WRONG)
def test_what_cannot_work_is_told(
    changed: dict[str, Any], path: str, message: str, hint: str
) -> None:
    (problem,) = check_spec(spec(**changed))
    assert problem.path == path
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_what_works_is_not_told() -> None:
    assert check_spec(spec(**sections())) == []
    assert check_spec(spec(**adaptation(domains=["tweet"], compare_with=["plain", "joint"]))) == []
    # Each worker has inner batches of its own, which workers need not divide.
    assert check_spec(spec(**sections(training={"global_batch_size": 15}))) == []
    merged = {"type": "lora", "merge": True}
    assert check_spec(spec(**sections(method=merged))) == []
