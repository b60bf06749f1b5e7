"""What pydantic found wrong, in words a stranger to pydantic can act on.

Called by `specs.loading` and `specs.partial`. Each finding becomes one Problem: the field's path
without the leading `spec.`, the message, what to write instead, the line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import Problem
from orchestrator.specs.base import DOMAIN_PATTERN, NAME_PATTERN, SpecError
from orchestrator.specs.document import MAX_PROBLEMS, Position, Steps, display
from orchestrator.specs.fields import all_fields
from orchestrator.specs.finetune import LABEL_KEY_PATTERN
from orchestrator.specs.overrides import FILE as SET_FILE
from orchestrator.specs.runtime import (
    ENTRY_PATTERN,
    METRIC_PATTERN,
    SCRIPT_PATTERN,
    VARIABLE_PATTERN,
)
from orchestrator.specs.suggest import closest, place_of, unknown_field


@dataclass(frozen=True, slots=True)
class Finding:
    """One validation error: where in the data, and what to tell the reader."""

    steps: Steps
    kind: str  # pydantic's type of the error
    message: str
    hint: str | None


def findings(
    error: ValidationError,
    data: Any,
    positions: Mapping[Steps, Position],
    most: int = MAX_PROBLEMS,
) -> list[Finding]:
    """The first errors of one validation, without those that only follow from another."""
    details = error.errors(include_url=False)
    found: list[Finding] = []
    for detail in details:
        if len(found) == most:
            break
        steps = _steps(detail["loc"], data)
        if not _follows_from_another(detail, steps, details, data):
            found.append(_finding(detail, steps, positions))
    return found


def as_problem(finding: Finding, positions: Mapping[Steps, Position], file: str | None) -> Problem:
    where, line = locate(finding.steps, positions, file)
    path = display(finding.steps) or None
    return Problem(finding.message, path=path, hint=finding.hint, file=where, line=line)


def locate(
    steps: Steps, positions: Mapping[Steps, Position], file: str | None
) -> tuple[str | None, int | None]:
    """File and line of a field, or of the nearest field above it that was written."""
    for length in range(len(steps), -1, -1):
        position = positions.get(steps[:length])
        if position is not None:
            return (SET_FILE, None) if position.line is None else (file, position.line)
    return file, None


def _steps(loc: Sequence[str | int], data: Any) -> Steps:
    """Pydantic's location without the tags of discriminated unions and its mark for keys."""
    steps: list[str | int] = []
    current = data
    for step in loc:
        if step == "[key]":
            continue
        if isinstance(current, dict):
            if step not in current and current.get("type") == step:
                continue  # a tag: `method.freeze.num_layers` is the user's `method.num_layers`
            current = current.get(step)
        elif isinstance(current, Sequence) and isinstance(step, int):
            current = current[step] if step < len(current) else None
        else:
            current = None
        steps.append(step)
    return tuple(steps)


def _follows_from_another(
    detail: ErrorDetails, steps: Steps, details: Sequence[ErrorDetails], data: Any
) -> bool:
    """A list is reported as too short when its items are wrong, which they are told themselves."""
    if detail["type"] != "too_short":
        return False
    others = (_steps(other["loc"], data) for other in details)
    return any(len(other) > len(steps) and other[: len(steps)] == steps for other in others)


def _finding(detail: ErrorDetails, steps: Steps, positions: Mapping[Steps, Position]) -> Finding:
    context = detail.get("ctx") or {}
    kind = detail["type"]
    value = detail["input"]
    name = str(steps[-1]) if steps else "the document"
    if kind == "value_error" and isinstance(context.get("error"), SpecError):
        error = context["error"]
        below = (error.field,) if error.field else ()
        return Finding((*steps, *below), kind, error.message, error.hint)
    if kind == "extra_forbidden":
        return Finding(steps, kind, "unknown field", unknown_field(steps[:-1], name))
    if kind == "missing":
        return Finding(steps, kind, "required", _missing_hint(steps, name))
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _tag(context, (*steps, "type"), kind)
    if kind == "literal_error":
        return Finding(steps, kind, *_literal(context, steps, value))
    if kind in _WANTED:
        written = positions[steps].text if steps in positions else None
        return Finding(steps, kind, *_wrong_type(kind, context, value, written, name))
    if kind == "string_pattern_mismatch":
        return Finding(steps, kind, *_pattern(context, value))
    if kind in _BOUNDS:
        limit = _plain(next(context[k] for k in ("gt", "ge", "lt", "le") if k in context))
        return Finding(steps, kind, f"must be {_BOUNDS[kind]} {limit}, not {_shown(value)}", None)
    if kind in ("too_short", "string_too_short"):
        return Finding(steps, kind, *_too_short(kind, context, value, name))
    if kind == "string_too_long":
        return Finding(steps, kind, f"longer than {context['max_length']} characters", "shorten it")
    return Finding(steps, kind, detail["msg"], None)


_BOUNDS = {
    "greater_than": "greater than",
    "greater_than_equal": "at least",
    "less_than": "less than",
    "less_than_equal": "at most",
}

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}

# What a lone scalar in the place of a mapping most likely means.
_MAIN_FIELD = {
    "ModelSpec": "base",
    "Source": "path",
    "OutputSpec": "name",
    "SelectionSpec": "metric",
    "EarlyStopping": "patience",
    "TrainingSpec": "epochs",
    "EngineSpec": "zero_stage",
    "ResourcesSpec": "workers",
    "SchedulingSpec": "priority",
    "CheckpointSpec": "every_steps",
    "RuntimeSpec": "code",
    "Metadata": "name",
}


def _wrong_type(
    kind: str, context: Mapping[str, Any], value: Any, written: str | None, name: str
) -> tuple[str, str | None]:
    wanted = _WANTED[kind]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    message = f"must be {wanted}, not {written if number and written else _shown(value)}"
    scalar = number or isinstance(value, str)
    if wanted == "text" and isinstance(value, bool | int | float):
        return message, f'put it in quotes: "{written or _plain(value)}"'
    if wanted in ("a whole number", "a number") and isinstance(value, str):
        return message, "remove the quotes" if _is_number(value) else None
    if wanted == "a whole number" and isinstance(value, float) and value.is_integer():
        return message, f"write {int(value)}"
    if wanted == "true or false" and isinstance(value, str | int):
        yes = str(value).lower() in ("yes", "y", "on", "1")
        return message, f"write {'true' if yes else 'false'}"
    if wanted == "a list" and isinstance(value, Mapping):
        return message, f"put `- ` before it, or brackets around it: {name}: [{{…}}]"
    if wanted == "a list" and scalar:
        item = f"{{path: {value}}}" if name in ("train", "valid", "test") else str(value)
        return message, f"write {name}: [{item}]"
    if wanted == "a mapping" and scalar:
        main = (
            "type"
            if name in ("method", "task")
            else _MAIN_FIELD.get(str(context.get("class_name")))
        )
        return message, f"write {{{main}: {value}}}" if main else None
    return message, None


def _tag(context: Mapping[str, Any], steps: Steps, kind: str) -> Finding:
    place = place_of(steps)
    known = [str(c) for ref in all_fields() if ref.path == place for c in ref.choices]
    if kind == "union_tag_not_found":
        return Finding(steps, kind, "required", f"one of {', '.join(known)}")
    given = str(context["tag"])
    near = closest(given, known)
    hint = f"did you mean {near}?" if near else None
    return Finding(steps, kind, f"must be {_one_of(known)}, not {_shown(given)}", hint)


def _literal(context: Mapping[str, Any], steps: Steps, value: Any) -> tuple[str, str | None]:
    place = place_of(steps).removesuffix("[]")
    refs = [ref for ref in all_fields() if ref.path == place and ref.choices]
    if not refs:
        return f"must be {context['expected']}, not {_shown(value)}", None
    known = list(refs[0].choices)
    message = f"must be {_one_of(known)}, not {_shown(value)}"
    near = closest(str(value), [str(choice) for choice in known])
    if near is not None:
        return message, f"write {near}"
    default = refs[0].info.get_default()
    return message, f"absent means {_plain(default)}" if default in known else None


def _pattern(context: Mapping[str, Any], value: Any) -> tuple[str, str | None]:
    pattern = context["pattern"]
    text = str(value)
    if pattern in (NAME_PATTERN, DOMAIN_PATTERN):
        underscore = "_" if pattern == DOMAIN_PATTERN else ""
        signs = ", hyphens and underscores" if underscore else " and hyphens"
        message = (
            f"{_shown(text)} is not a name: lower-case letters, digits{signs}, "
            "at most 63, with a letter or digit at both ends"
        )
        better = re.sub(rf"[^a-z0-9{underscore}-]+", "-", text.lower())[:63].strip("-_")
        return message, f"e.g. {better}" if better else None
    if pattern == LABEL_KEY_PATTERN:
        return f"{_shown(text)} is not a label's key: letters, digits and _ . / - only", None
    if pattern in _FORMS:
        what, hint = _FORMS[pattern]
        return f"{_shown(text)} is not {what}", hint
    return f"{_shown(text)} is not domain/metric", "e.g. camera/macro_f1 or mean/accuracy"


_FORMS = {
    ENTRY_PATTERN: ("module:function", "e.g. metrics:cost, the function cost of metrics.py"),
    SCRIPT_PATTERN: (
        "a script within runtime.code",
        "a path like train.py or jobs/train.py, without dots at the beginning of its parts",
    ),
    VARIABLE_PATTERN: ("a name of letters, digits and underscores", None),
    METRIC_PATTERN: ("a metric's name", "lower-case letters, digits and underscores, e.g. cost"),
}


def _too_short(
    kind: str, context: Mapping[str, Any], value: Any, name: str
) -> tuple[str, str | None]:
    if kind == "string_too_short":
        return "must not be empty", "give a value, or remove the field"
    least = int(context["min_length"])
    if name == "labels":
        hint = "list every label, or remove the field to take those of the training data"
        return f"needs at least {least} labels, has {len(value)}", hint
    return "must not be empty", "give at least one entry, or remove the field"


_DOMAINS = "domains: {reviews: {train: [{path: train.jsonl}], test: [{path: test.jsonl}]}}"
_EXAMPLES = {
    "metadata": "metadata: {name: my-job}",
    "metadata.name": "name: my-job",
    "spec": "spec: with model, task and data below it",
    "model": "model: {base: hf://org/name}",
    "task": "task: {type: text-classification}",
    "data": f"data: {{{_DOMAINS}}}",
    "data.domains": _DOMAINS,
}


def _missing_hint(steps: Steps, name: str) -> str | None:
    place = place_of(steps) or name  # `spec` itself has no place below spec
    if place in _EXAMPLES:
        return f"write {_EXAMPLES[place]}"
    refs = [ref for ref in all_fields() if ref.path == place]
    if not refs:
        return None
    choices = [str(choice) for ref in refs for choice in ref.choices]
    if len(choices) == 1:
        return f"write {name}: {choices[0]}"
    return refs[0].description or None


def _one_of(choices: Sequence[Any]) -> str:
    shown = [str(choice) for choice in choices]
    return shown[0] if len(shown) == 1 else "one of " + ", ".join(shown)


def _shown(value: Any) -> str:
    """A value as a reader recognises it, with its kind where that is the point."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            short = value if len(value) <= 60 else value[:57] + "…"
            return f"'{short}'"
        case None:
            return "nothing"
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case _:
            return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
