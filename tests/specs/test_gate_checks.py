"""What gates may ask, and which valid splits they read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.specs.checks import check_spec
from orchestrator.specs.gate_checks import forgetting_domains, gate_domains
from orchestrator.specs.gates import GateSpec
from orchestrator.specs.identity import identity_document
from tests.specs.builders import document, spec

DOMAINS = {
    **document()["spec"]["data"]["domains"],
    "news": {"valid": [{"path": "n"}], "test": [{"path": "n"}]},
}


def gated(*gates: dict[str, Any], **sections: Any) -> Any:
    return spec(data={"domains": DOMAINS}, evaluation={"gates": list(gates)}, **sections)


def test_gates_read_valid_of_the_domains_they_name() -> None:
    job = gated({"metric": "mean/loss", "at_most": 0.5}, {"forgetting_at_most": 0.02}).spec
    assert gate_domains(job) == ("camera", "news")
    assert forgetting_domains(job) == ("news",)
    assert forgetting_domains(gated({"metric": "news/loss", "at_most": 1}).spec) == ()
    assert gate_domains(spec().spec) == ()


@pytest.mark.parametrize(
    ("gate", "path", "message", "hint"),
    [
        ({"metric": "movie/loss", "at_most": 1}, "metric", "no valid split", "movie.valid"),
        ({"metric": "nwes/loss", "at_most": 1}, "metric", "unknown domain", "write news/loss"),
        ({"metric": "news/f1", "at_least": 1}, "metric", "no metric 'f1'", "one of accuracy"),
        ({"metric": "news/ece", "at_least": 0.1}, "at_least", "smaller it is", "write at_most"),
    ],
)
def test_what_a_gate_cannot_ask(gate: dict[str, Any], path: str, message: str, hint: str) -> None:
    (problem,) = check_spec(gated(gate))
    assert problem.path == f"evaluation.gates[0].{path}"
    assert message in problem.message
    assert hint in (problem.hint or "")


def test_forgetting_needs_a_domain_that_nothing_is_learned_from() -> None:
    (problem,) = check_spec(spec(evaluation={"gates": [{"forgetting_at_most": 0.02}]}))
    assert problem.path == "evaluation.gates[0].forgetting_at_most"
    assert "data.domains.<name>.valid" in (problem.hint or "")
    replayed = {"domains": {**DOMAINS, "news": {**DOMAINS["news"], "train": [{"path": "n"}]}}}
    replayed |= {
        "train_on": ["camera"],
        "mixing": {"replay": {"domains": ["news"], "fraction": 0.1}},
    }
    found = check_spec(spec(data=replayed, evaluation={"gates": [{"forgetting_at_most": 0.0}]}))
    assert [p.path for p in found] == ["evaluation.gates[0].forgetting_at_most"]


def test_written_texts_and_scripts_have_no_gates() -> None:
    translation = gated({"metric": "news/bleu", "at_least": 0.2}, task={"type": "translation"})
    assert "on test alone" in check_spec(translation)[0].message
    script = gated(
        {"metric": "news/loss", "at_most": 1},
        task={"type": "custom", "entrypoint": "train.py"},
        runtime={"code": "./code"},
        model=None,
    )
    assert any("measures itself" in p.message for p in check_spec(script))


@pytest.mark.parametrize(
    "gate",
    [
        {},
        {"metric": "news/loss"},
        {"metric": "news/loss", "at_least": 0, "at_most": 1},
        {"at_least": 0.5},
        {"metric": "news/loss", "forgetting_at_most": 0.1},
    ],
)
def test_a_gate_is_one_condition(gate: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="gate"):
        GateSpec.model_validate(gate)


def test_jobs_without_gates_keep_their_identity() -> None:
    assert "gates" not in identity_document(spec())["spec"]["evaluation"]
