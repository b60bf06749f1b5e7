"""Spec files -> validated specs; every problem of the text, its syntax and its schema at once.

Called by `inspect.validation` (which adds what is wrong with the data), and by whoever only needs
the spec. `load_spec` raises; `load_document` hands out what is usable beside the problems.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator.errors import InvalidInput, Problem
from orchestrator.specs import overrides
from orchestrator.specs.document import (
    MAX_BYTES,
    MAX_PROBLEMS,
    Document,
    Position,
    Steps,
    decode,
    display,
    parse,
)
from orchestrator.specs.explain import Finding, as_problem, findings, locate
from orchestrator.specs.finetune import API_VERSION, FineTune
from orchestrator.specs.partial import usable_part


@dataclass(frozen=True)
class Positions:
    """Where each field of one document was written."""

    file: str | None
    by_steps: Mapping[Steps, Position]

    def problem(self, path: str | None, message: str, hint: str | None = None) -> Problem:
        """A problem of the field at `path`, with its file and line."""
        file, line = locate(self._steps(path), self.by_steps, self.file)
        return Problem(message, path=path, hint=hint, file=file, line=line)

    def located(self, problem: Problem) -> Problem:
        """`problem` with file and line, where it does not name a file of its own."""
        if problem.file is not None:
            return problem
        found = self.problem(problem.path, problem.message, problem.hint)
        return replace(problem, file=found.file, line=found.line)

    def _steps(self, path: str | None) -> Steps:
        """The written field that `path` names, or the nearest one above it."""
        shown = path
        while shown:
            if shown in self._by_path:
                return self._by_path[shown]
            shown = re.sub(r"(^|\.)[^.\[\]]+$|\[\d+\]$", "", shown)
        return ("spec",) if path and ("spec",) in self.by_steps else ()

    @property
    def _by_path(self) -> dict[str, Steps]:
        # A field below `spec` wins over a stray one of the same name beside it.
        ordered = sorted(self.by_steps, key=lambda steps: steps[:1] == ("spec",))
        return {display(steps): steps for steps in ordered}


@dataclass(frozen=True)
class LoadedSpec:
    """A spec that its schema accepts, and where it came from."""

    spec: FineTune
    text: str  # as the user wrote it, before --set
    path: Path | None
    positions: Positions
    base_dir: Path  # relative paths in the spec start here
    sets: tuple[str, ...] = ()

    def problem(self, path: str | None, message: str, hint: str | None = None) -> Problem:
        """A problem of the field at `path`, with its file and line."""
        return self.positions.problem(path, message, hint)


@dataclass(frozen=True)
class LoadedDocument:
    """A spec, right or wrong, with all that its text, syntax and schema have against it."""

    text: str
    path: Path | None
    base_dir: Path
    positions: Positions
    problems: tuple[Problem, ...]
    usable: FineTune | None  # the whole spec, or what is left of a wrong one
    doubtful: frozenset[str]  # fields that were cut out of `usable`
    sets: tuple[str, ...] = ()

    def loaded(self) -> LoadedSpec:
        """The spec; raises InvalidInput where there are problems."""
        if self.problems:
            raise InvalidInput(self.problems)
        assert self.usable is not None
        return LoadedSpec(
            self.usable, self.text, self.path, self.positions, self.base_dir, self.sets
        )


def load_spec(source: Path | str, *, sets: Sequence[str] = ()) -> LoadedSpec:
    """Reads a spec from a file (a Path) or from text (a str) and applies `sets` to it.

    Raises InvalidInput with every problem of its text, syntax and schema. Fields that contradict
    each other (`specs.checks`) and the data (`inspect.validation`) are not looked at.
    """
    return load_document(source, sets=sets).loaded()


def load_document(source: Path | str, *, sets: Sequence[str] = ()) -> LoadedDocument:
    """As `load_spec`, but hands out what is usable beside the problems."""
    path = source if isinstance(source, Path) else None
    text, problems = _read(path) if path is not None else (str(source), [])
    base_dir = path.parent if path is not None else Path.cwd()
    file = str(path) if path is not None else "<text>"
    if problems:
        return _unusable(text, path, base_dir, problems)
    strict_json = path is not None and path.suffix.lower() == ".json"
    document = parse(text, file=file, strict_json=strict_json)
    if document.data is None and not document.problems:
        hint = "`orchestrator init` writes a spec to start from"
        document.problems.append(Problem("the spec is empty", hint=hint, file=file, line=1))
    if document.data is not None and not isinstance(document.data, dict):
        hint = f"start with `apiVersion: {API_VERSION}`, `kind: FineTune`, `metadata:`, `spec:`"
        message = "a spec is a mapping of fields"
        document.problems.append(Problem(message, hint=hint, file=file, line=1))
    if not isinstance(document.data, dict):
        return _unusable(text, path, base_dir, document.problems)
    overrides.apply(document, sets)
    usable, found = _validate(document)
    schema = [as_problem(finding, document.positions, file) for finding in found]
    return LoadedDocument(
        text=text,
        path=path,
        base_dir=base_dir,
        positions=Positions(file, document.positions),
        problems=tuple(sorted([*document.problems, *schema], key=lambda p: p.line or 0)),
        usable=usable,
        doubtful=frozenset(
            [display(finding.steps) for finding in found]
            + [problem.path for problem in document.problems if problem.path]
        ),
        sets=tuple(sets),
    )


def _unusable(
    text: str, path: Path | None, base_dir: Path, problems: Sequence[Problem]
) -> LoadedDocument:
    positions = Positions(str(path) if path else None, {})
    return LoadedDocument(text, path, base_dir, positions, tuple(problems), None, frozenset())


def _read(path: Path) -> tuple[str, list[Problem]]:
    file = str(path)
    try:
        with path.open("rb") as stream:
            return decode(stream.read(MAX_BYTES + 1), path)
    except FileNotFoundError:
        hint = "check the path; `orchestrator init` writes a spec to start from"
        return "", [Problem("the spec file does not exist", hint=hint, file=file)]
    except IsADirectoryError:
        return "", [Problem("this is a folder", hint="give the spec file in it", file=file)]
    except OSError as error:
        return "", [Problem(f"the spec file cannot be read: {error.strerror}", file=file)]


def _validate(document: Document) -> tuple[FineTune | None, list[Finding]]:
    def validate(data: Any) -> FineTune | list[Finding]:
        try:
            # Strict: one JSON type a field, so "3" is no number and true is not 1.
            return FineTune.model_validate(_with_tuples(data), strict=True)
        except ValidationError as error:
            return findings(error, data, document.positions)

    outcome = validate(document.data)
    if isinstance(outcome, FineTune):
        return outcome, []
    if len(outcome) == MAX_PROBLEMS:
        return None, outcome  # there may be more: what is left is nothing to go on with
    return usable_part(document.data, outcome, validate), outcome


def _with_tuples(data: Any) -> Any:
    """Strict validation takes tuples only where a model has them: what YAML calls a list."""
    if isinstance(data, list):
        return tuple(_with_tuples(item) for item in data)
    if isinstance(data, dict):
        return {key: _with_tuples(value) for key, value in data.items()}
    return data
