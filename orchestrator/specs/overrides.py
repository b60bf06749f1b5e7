"""`--set training.epochs=3`: changes to a parsed document before it is validated.

Called by `specs.loading`. Paths are those of error messages: below `spec`, except `metadata.…`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from orchestrator.errors import Problem
from orchestrator.specs.document import Document, Position, Step, Steps, display, parse

FILE = "--set"
"""What a Problem of an override names as its file."""

_PATH = re.compile(r"[^.\[\]=\s]+(\[\d+\])*(\.[^.\[\]=\s]+(\[\d+\])*)*")
_STEP = re.compile(r"[^.\[\]]+|\[\d+\]")


def apply(document: Document, sets: Sequence[str]) -> None:
    """Applies each `path=value` in order; what cannot be applied becomes a problem."""
    for text in sets:
        problem = _apply_one(document, text)
        if problem is not None:
            document.problems.append(problem)


def _apply_one(document: Document, text: str) -> Problem | None:
    name, equals, value_text = text.partition("=")
    name = name.strip()
    if not equals or not _PATH.fullmatch(name):
        message = f"`{text}` is not a path and a value"
        return Problem(message, hint="write path=value, e.g. training.epochs=3", file=FILE)
    if not value_text.strip():
        hint = f"write {name}=null to remove the field, {name}='\"\"' for empty text"
        return Problem("no value after `=`", path=name, hint=hint, file=FILE)
    parsed = parse(value_text, file=None)
    if parsed.problems:
        message = f"`{value_text}` is no YAML value"
        hint = f"put it in quotes: --set '{name}=\"…\"'"
        return Problem(message, path=name, hint=hint, file=FILE)
    steps = _steps(name)
    if parsed.data is None:
        return _remove(document, steps)
    problem = _assign(document, steps, parsed.data)
    if problem is None:
        _forget(document, steps)
        for below, position in parsed.positions.items():
            document.positions[(*steps, *below)] = Position(None, position.text)
    return problem


def _steps(name: str) -> Steps:
    found: list[Step] = []
    for piece in _STEP.findall(name):
        found.append(int(piece[1:-1]) if piece.startswith("[") else piece)
    return tuple(found) if found[0] in ("metadata", "spec") else ("spec", *found)


def _assign(document: Document, steps: Steps, value: Any) -> Problem | None:
    container: Any = document.data
    for depth, step in enumerate(steps[:-1]):
        missing: Any = [] if isinstance(steps[depth + 1], int) else {}
        problem = _check_step(container, step, steps[:depth])
        if problem is not None:
            return problem
        if isinstance(step, int):
            if step == len(container):
                container.append(missing)
        elif container.get(step) is None:
            container[step] = missing
        container = container[step]
    problem = _check_step(container, steps[-1], steps[:-1])
    if problem is not None:
        return problem
    if isinstance(container, list) and steps[-1] == len(container):
        container.append(value)
    else:
        container[steps[-1]] = value
    return None


def _check_step(container: Any, step: Step, above: Steps) -> Problem | None:
    """Whether `step` may be taken into `container`, which lies at `above`."""
    place = display(above) or "the spec"
    if isinstance(step, int):
        if not isinstance(container, list):
            return Problem(f"{place} is not a list", path=display((*above, step)), file=FILE)
        if step > len(container):
            count = len(container)
            hint = f"the list has {count} items: [0] to [{count - 1}], or [{count}] to append"
            hint = hint if count else "the list is empty: [0] adds its first item"
            message = f"{place} has no item {step}"
            return Problem(message, path=display((*above, step)), hint=hint, file=FILE)
        return None
    if isinstance(container, dict):
        return None
    if isinstance(container, list):
        hint = f"name the item: {place}[0].{step}"
        message = f"{place} is a list"
        return Problem(message, path=display((*above, step)), hint=hint, file=FILE)
    message = f"{place} holds a value, not fields"
    return Problem(message, path=display((*above, step)), file=FILE)


def _remove(document: Document, steps: Steps) -> Problem | None:
    """`null` removes a field; one that is not there is as it should be."""
    container: Any = document.data
    for step in steps[:-1]:
        if isinstance(step, int):
            inside = isinstance(container, list) and step < len(container)
        else:
            inside = isinstance(container, dict) and step in container
        if not inside:
            return None
        container = container[step]
    last = steps[-1]
    if isinstance(last, int):
        path = display(steps)
        hint = "set the whole list instead, e.g. " + display(steps[:-1]) + "=[…]"
        return Problem("an item of a list cannot be removed", path=path, hint=hint, file=FILE)
    if isinstance(container, dict) and last in container:
        del container[last]
        _forget(document, steps)
    return None


def _forget(document: Document, steps: Steps) -> None:
    for known in [k for k in document.positions if k[: len(steps)] == steps]:
        del document.positions[known]
