"""What can still be used of a spec that its schema refuses.

A wrong spec is answered with everything that is wrong: a misspelt field must not hide that a data
file is missing. So the invalid parts are cut out and the rest is checked further; `specs.checks`
and `inspect.data` are told which fields were cut out and say nothing that rests on them.
Called by `specs.loading`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from orchestrator.specs.data import SPLITS
from orchestrator.specs.document import Steps
from orchestrator.specs.explain import Finding
from orchestrator.specs.finetune import API_VERSION, FineTune

CUT_OUT = "<cut out>"
"""Path of a source that stands for one that is invalid: the others keep their numbers."""

_ROUNDS = 20  # cutting out one thing can only uncover a few others

_DOMAINS = {"unnamed": {"train": [{"path": CUT_OUT}]}}

_STAND_INS: dict[Steps, Any] = {
    ("apiVersion",): API_VERSION,
    ("kind",): "FineTune",
    ("metadata",): {"name": "unnamed"},
    ("metadata", "name"): "unnamed",
    ("spec", "model"): {"base": "unknown"},
    ("spec", "model", "base"): "unknown",
    ("spec", "task"): {"type": "text-classification"},
    ("spec", "task", "type"): "text-classification",
    ("spec", "data"): {"domains": _DOMAINS},
    ("spec", "data", "domains"): _DOMAINS,
}

Validate = Callable[[Any], FineTune | list[Finding]]


def usable_part(data: Any, found: Sequence[Finding], validate: Validate) -> FineTune | None:
    """The spec without what `found` names; None where too little is left."""
    rest = copy.deepcopy(data)
    for _ in range(_ROUNDS):
        cuts: list[Steps] = []
        for finding in found:
            if any(finding.steps[: len(cut)] == cut for cut in cuts):
                continue  # gone with what held it
            cut = _cut(rest, finding.steps)
            if cut is None:
                return None
            cuts.append(cut)
        outcome = validate(rest)
        if isinstance(outcome, FineTune):
            return outcome
        found = outcome
    return None


def _cut(data: Any, steps: Steps) -> Steps | None:
    """Takes one invalid part out of `data` and says which; None where nothing can be taken out."""
    while steps and steps != ("spec",):
        container = _container(data, steps)
        if steps in _STAND_INS and isinstance(container, dict):
            container[steps[-1]] = copy.deepcopy(_STAND_INS[steps])
            return steps
        if isinstance(container, dict) and steps[-1] in container:
            del container[steps[-1]]
            return steps
        if isinstance(container, list) and _is_source(steps):
            container[int(steps[-1])] = {"path": CUT_OUT}
            return steps
        steps = steps[:-1]  # what is missing, or one of a list: cut out what holds it
    return None


def _container(data: Any, steps: Steps) -> Any:
    for step in steps[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _is_source(steps: Steps) -> bool:
    return steps[:3] == ("spec", "data", "domains") and len(steps) == 6 and steps[4] in SPLITS
