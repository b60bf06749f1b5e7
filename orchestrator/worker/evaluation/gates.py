"""Gates, read on valid: whether what is about to be published gets the alias `promoted`.

Called by the training function: once before training, where a gate asks what is forgotten, and with
the published weights, read back as plain transformers loads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import torch

from orchestrator.records import GateResult
from orchestrator.specs import FineTuneSpec
from orchestrator.specs.data import training_domains
from orchestrator.specs.gate_checks import MEAN, forgetting_domains, gate_domains
from orchestrator.specs.gates import GateSpec
from orchestrator.worker.evaluation.passes import EvaluationPass
from orchestrator.worker.models.loading import on_device
from orchestrator.worker.tasks.base import Encoded

Figures = Mapping[str, Mapping[str, Any]]


def start_on_valid(
    spec: FineTuneSpec,
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    valid: Mapping[str, Encoded],
) -> dict[str, dict[str, float]]:
    """domain -> the selection metric of the untrained start, where forgetting is to be told."""
    metric = _selection_metric(spec)
    figures = _measured(evaluation, model, valid, forgetting_domains(spec))
    return {domain: {metric: float(values[metric])} for domain, values in figures.items()}


def judged(
    spec: FineTuneSpec,
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    valid: Mapping[str, Encoded],
    start: Figures,
) -> tuple[GateResult, ...]:
    """Every gate of the spec for the published model; a collective of the gang.

    Args:
        spec: Resolved.
        evaluation: The pass, with the task.
        model: What is published, with whole weights.
        valid: domain -> its valid split.
        start: What `start_on_valid` gave.
    """
    figures = _measured(evaluation, model, valid, gate_domains(spec))
    return tuple(result_of(gate, spec, figures, start) for gate in spec.evaluation.gates or ())


def result_of(gate: GateSpec, spec: FineTuneSpec, figures: Figures, start: Figures) -> GateResult:
    """One gate, from figures on valid: domain -> metric -> value."""
    if gate.forgetting_at_most is not None:
        metric = _selection_metric(spec)
        sign = 1.0 if spec.selection.mode == "max" else -1.0
        losses = {
            domain: sign * (values[metric] - float(figures[domain][metric]))
            for domain, values in start.items()
        }
        worst = max(losses, key=losses.__getitem__)
        return GateResult(
            metric=f"{worst}/{metric}",
            forgetting_at_most=gate.forgetting_at_most,
            value=losses[worst],
            passed=losses[worst] <= gate.forgetting_at_most,
        )
    assert gate.metric is not None, "a gate has a metric or a bound of forgetting"
    domain, _, metric = gate.metric.partition("/")
    domains = training_domains(spec.data) if domain == MEAN else (domain,)
    value = fmean(float(figures[name][metric]) for name in domains)
    passed = value >= gate.at_least if gate.at_least is not None else value <= (gate.at_most or 0.0)
    return GateResult(
        metric=gate.metric,
        at_least=gate.at_least,
        at_most=gate.at_most,
        value=value,
        passed=passed,
    )


def _selection_metric(spec: FineTuneSpec) -> str:
    assert spec.selection.metric is not None, "the plan resolves selection.metric"
    return spec.selection.metric.rpartition("/")[2]


def _measured(
    evaluation: EvaluationPass,
    model: torch.nn.Module,
    valid: Mapping[str, Encoded],
    domains: tuple[str, ...],
) -> dict[str, dict[str, Any]]:
    on_device(model, evaluation.device)
    return {domain: evaluation.evaluate(model, valid[domain]) for domain in domains}
