"""Everything wrong with a spec and its data, in one answer.

The one entrance for `server.plan`, `run` and `validate`: schema, fields that contradict each
other, missing files, wrong columns and bad rows are reported together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.code import Code
from orchestrator.inspect.code_checks import CodeFacts, inspect_code, refused_code
from orchestrator.inspect.data import DataFacts, inspect_data
from orchestrator.inspect.files import Fetch
from orchestrator.specs.checks import check_spec
from orchestrator.specs.loading import LoadedDocument, LoadedSpec, load_document

Relocate = Callable[[LoadedDocument], tuple[LoadedDocument, Sequence[Problem]]]
"""Moves what a document names to where it lies; what it may not name is a problem, and not read."""


@dataclass(frozen=True)
class Validated:
    """A spec with nothing against it. `data` is None where the data were not to be read."""

    loaded: LoadedSpec
    data: DataFacts | None
    code: Code | None = None  # the user's, where the spec names any


def validate_all(
    source: Path | str,
    sets: Sequence[str] = (),
    *,
    fetch: Fetch | None = None,
    read_data: bool = True,
    relocate: Relocate | None = None,
    allow_code: bool = True,
) -> Validated:
    """Loads, checks and (with `read_data`) reads data and code; raises InvalidInput with all.

    `fetch` brings URLs of object stores here; without it they are refused. Where `relocate` refuses
    anything, nothing that the spec names is read. Without `allow_code` nobody may bring code along.
    """
    # 1. The text, its syntax and its schema.
    document = load_document(source, sets=sets)
    problems: list[Problem] = list(document.problems)
    if relocate is not None:
        document, refused = relocate(document)
        problems.extend(refused)
        read_data = read_data and not refused
    facts: DataFacts | None = None
    code = CodeFacts()
    if document.usable is not None:
        if not allow_code:
            problems.extend(map(document.positions.located, refused_code(document.usable)))
        # 2. Fields that contradict each other, among what the schema left.
        contradictions = check_spec(document.usable, doubtful=document.doubtful)
        problems.extend(map(document.positions.located, contradictions))
        doubtful = document.doubtful | {p.path for p in contradictions if p.path}
        # 3. The data, unless what is wrong so far makes them meaningless.
        if read_data:
            facts = inspect_data(
                document.usable.spec, base_dir=document.base_dir, fetch=fetch, doubtful=doubtful
            )
            problems.extend(map(document.positions.located, facts.problems))
        # 4. The code, of which nothing runs here.
        if read_data and allow_code:
            code = inspect_code(
                document.usable, base_dir=document.base_dir, fetch=fetch, doubtful=doubtful
            )
            problems.extend(map(document.positions.located, code.problems))
    if problems:
        raise InvalidInput(_in_order(problems, str(source)))
    return Validated(document.loaded(), facts, code.code)


def _in_order(problems: list[Problem], spec_file: str) -> list[Problem]:
    """Those of the spec first, by line, then those of data files."""
    return sorted(problems, key=lambda p: (p.file != spec_file, p.file or "", p.line or 0))
