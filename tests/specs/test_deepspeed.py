"""DeepSpeed's own keys in a spec: an allow-list, and a reason for what is not on it."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.errors import InvalidInput
from orchestrator.specs.loading import load_spec

SPEC = """
apiVersion: finetune.orchestrator/v1alpha1
kind: FineTune
metadata: {{name: reviews}}
spec:
  model: {{base: base}}
  task: {{type: text-classification}}
  data: {{domains: {{camera: {{train: [{{path: a.jsonl}}], test: [{{path: b.jsonl}}]}}}}}}
  engine: {{deepspeed: {given}}}
"""


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        ("{optimizer: {type: Lamb}}", "engine.deepspeed", "`optimizer` is not for a spec: it chan"),
        ("{bf16: {enabled: true}}", "engine.deepspeed", "write training.precision"),
        ("{activation_checkpointing: {}}", "engine.deepspeed", "it would never be read"),
        (
            "{zero_optimization: {stage: 3}}",
            "engine.deepspeed.zero_optimization",
            "write engine.zero_stage",
        ),
        ("{steps_per_prnt: 3}", "engine.deepspeed.steps_per_prnt", "unknown field"),
    ],
)
def test_what_is_refused(given: str, path: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load_spec(SPEC.format(given=given))
    (problem,) = caught.value.problems
    assert problem.path is not None
    assert problem.path.removeprefix("spec.") == path
    assert message in problem.message
    assert problem.hint


def test_what_is_allowed_keeps_its_names() -> None:
    given = "{zero_optimization: {round_robin_gradients: true}, prescale_gradients: true}"
    engine: Any = load_spec(SPEC.format(given=given)).spec.spec.engine
    assert engine.deepspeed.model_dump(exclude_none=True) == {
        "zero_optimization": {"round_robin_gradients": True},
        "prescale_gradients": True,
    }
