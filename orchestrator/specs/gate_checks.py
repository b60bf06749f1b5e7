"""Which valid splits gates read, and contradictions of gates; part of `specs.checks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.errors import Problem
from orchestrator.specs.data import DataSpec, training_domains
from orchestrator.specs.finetune import FineTune, FineTuneSpec
from orchestrator.specs.metrics import METRICS_TO_MINIMIZE
from orchestrator.specs.suggest import closest
from orchestrator.specs.task import CustomTask, metrics_of

MEAN = "mean"


def gate_domains(spec: FineTuneSpec) -> tuple[str, ...]:
    """The domains whose valid split is evaluated with what is published."""
    found: dict[str, None] = {}
    for gate in spec.evaluation.gates or ():
        if gate.metric is None:
            found |= dict.fromkeys(forgetting_domains(spec))
            continue
        domain = gate.metric.partition("/")[0]
        found |= dict.fromkeys(training_domains(spec.data) if domain == MEAN else (domain,))
    return tuple(found)


def forgetting_domains(spec: FineTuneSpec) -> tuple[str, ...]:
    """The domains on which the start is evaluated too; none without a gate of forgetting."""
    gates = spec.evaluation.gates or ()
    asked = any(gate.forgetting_at_most is not None for gate in gates)
    return untrained_domains(spec.data) if asked else ()


def untrained_domains(data: DataSpec) -> tuple[str, ...]:
    """Domains with a valid split that nothing is learned from."""
    learned = set(training_domains(data))
    if data.mixing is not None and data.mixing.replay is not None:
        learned |= set(data.mixing.replay.domains)
    return tuple(
        name
        for name, domain in data.domains.items()
        if domain.valid is not None and name not in learned
    )


def _gates(spec: FineTune) -> Iterator[Problem]:
    gates, task = spec.spec.evaluation.gates or (), spec.spec.task
    if gates and isinstance(task, CustomTask):
        yield Problem(
            "a custom task's script measures itself, and nothing is evaluated on valid",
            path="evaluation.gates",
            hint="remove it; `orchestrator models alias` names a version",
        )
        return
    for number, gate in enumerate(gates):
        path = f"evaluation.gates[{number}]"
        if gate.metric is None:
            if not untrained_domains(spec.spec.data):
                yield Problem(
                    "no domain that nothing is learned from has a valid split, so that nothing "
                    "tells what was forgotten",
                    path=f"{path}.forgetting_at_most",
                    hint="add data.domains.<name>.valid to such a domain, or remove the gate",
                )
            continue
        yield from _domain(spec, gate.metric, f"{path}.metric")
        yield from _metric(spec, gate.metric, f"{path}.metric")
        yield from _direction(gate.metric, gate.at_least is not None, path)


def _domain(spec: FineTune, metric_path: str, path: str) -> Iterator[Problem]:
    data = spec.spec.data
    domain, _, metric = metric_path.partition("/")
    if domain == MEAN:
        return
    if domain not in data.domains:
        near = closest(domain, [*data.domains, MEAN])
        hint = f"write {near}/{metric}" if near else "one of " + ", ".join([*data.domains, MEAN])
        yield Problem(f"unknown domain '{domain}'", path=path, hint=hint)
    elif data.domains[domain].valid is None and domain not in training_domains(data):
        yield Problem(
            f"domain '{domain}' has no valid split, and gates never read test",
            path=path,
            hint=f"add data.domains.{domain}.valid",
        )


def _metric(spec: FineTune, metric_path: str, path: str) -> Iterator[Problem]:
    known = metrics_of(spec.spec.task)
    if known is None:
        return
    domain, _, metric = metric_path.partition("/")
    names = (*known.forced, *(spec.spec.evaluation.custom_metrics or ()))
    if metric in known.generated:
        yield Problem(
            f"{metric} is measured on texts the model writes, on test alone",
            path=path,
            hint=f"write {domain}/{known.forced[0]}",
        )
    elif metric not in names:
        near = closest(metric, names)
        hint = f"write {domain}/{near}" if near else "one of " + ", ".join(names)
        yield Problem(f"this task has no metric '{metric}'", path=path, hint=hint)


def _direction(metric_path: str, is_least: bool, path: str) -> Iterator[Problem]:
    metric = metric_path.rpartition("/")[2]
    if metric in METRICS_TO_MINIMIZE and is_least:
        yield Problem(
            f"{metric} is better the smaller it is: at_least would let bad models through",
            path=f"{path}.at_least",
            hint="write at_most",
        )


CHECKS: tuple[tuple[tuple[str, ...], Callable[[FineTune], Iterator[Problem]]], ...] = (
    (("task", "evaluation.gates", "evaluation.custom_metrics", "data"), _gates),
)
