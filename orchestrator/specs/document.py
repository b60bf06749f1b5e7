"""YAML or JSON text -> plain data in which every field knows its line.

Called by `specs.loading` for spec files and by `specs.overrides` for the values of `--set`. Scalars
are resolved by YAML 1.2's core schema rather than PyYAML's 1.1: `5e-5` is a number, `yes`, `no` and
`on` are text, dates stay text and `010` is ten. No tag ever constructs an object.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import Problem

MAX_BYTES = 1_000_000
MAX_NODES = 50_000  # aliases expand; this ends a "billion laughs" document early
MAX_DOCUMENTS = 100  # counted, to say how many; a server has more to do
MAX_PROBLEMS = 100  # told of one text: nobody reads more, and each takes its time

Step = str | int
Steps = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """Where a field was written: its line, and a scalar's own text (`no`, `007`).

    The line is absent for what `--set` wrote.
    """

    line: int | None
    text: str | None = None


@dataclass(slots=True)
class Document:
    """The parsed text. `data` is None when a problem kept it from being parsed."""

    data: Any = None
    positions: dict[Steps, Position] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """SafeLoader whose plain scalars follow YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
)
for _tag, _pattern, _first in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first
    )


def parse(text: str, *, file: str | None, strict_json: bool = False) -> Document:
    """Parses one document; problems name `file` and the line."""
    document = Document()
    if strict_json:
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            message = f"not valid JSON: {error.msg} (column {error.colno})"
            document.problems.append(Problem(message, file=file, line=error.lineno))
            return document
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON indents with tabs, which PyYAML refuses
    try:
        nodes = list(islice(yaml.compose_all(text, Loader=_Loader), MAX_DOCUMENTS))
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, text, file))
        return document
    except RecursionError:
        document.problems.append(Problem("the document is nested too deeply", file=file))
        return document
    if len(nodes) > 1:
        second = nodes[1].start_mark.line + 1
        document.problems.append(
            Problem(
                f"the file holds {_counted(nodes)} YAML documents; a spec is one",
                hint="keep one document a file; `---` starts a new one",
                file=file,
                line=second,
            )
        )
        return document
    if nodes:
        document.data = _Builder(document, file).build(nodes[0], ())
    return document


def decode(content: bytes, path: Path) -> tuple[str, list[Problem]]:
    """Text of a spec file, or the problem that it is not text."""
    if len(content) > MAX_BYTES or (b"\x00" in content[:1000] and content[:2] not in _UTF16):
        hint = "give the spec (YAML or JSON); data files are named in it under data.domains"
        return "", [Problem("this is not a spec", hint=hint, file=str(path))]
    encoding = "utf-16" if content[:2] in _UTF16 else "utf-8-sig"
    try:
        return content.decode(encoding), []
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem("not UTF-8 text", hint="save it as UTF-8", file=str(path), line=line)
        return "", [problem]


_UTF16 = (b"\xff\xfe", b"\xfe\xff")


_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


class _Builder:
    """Turns nodes into plain data, noting positions and refusing what a spec cannot hold."""

    def __init__(self, document: Document, file: str | None) -> None:
        self._document = document
        self._file = file
        self._open: list[Node] = []  # from the root to the current node: an alias may not close it
        self._count = 0

    def build(self, node: Node, steps: Steps) -> Any:
        self._count += 1
        if node in self._open:
            self._refuse(node, steps, "an alias repeats its own content without end")
            return None
        if self._count > MAX_NODES:
            if self._count == MAX_NODES + 1:
                self._refuse(node, steps, f"the document expands to more than {MAX_NODES} values")
            return None
        self._document.positions.setdefault(steps, Position(_line(node)))
        if not isinstance(node, ScalarNode) and node.tag not in _PLAIN_TAGS:
            self._refuse_tag(node, steps)
            return None
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, steps)
            if isinstance(node, SequenceNode):
                return [self.build(n, (*steps, i)) for i, n in enumerate(node.value)]
            assert isinstance(node, ScalarNode)
            return self._scalar(node, steps)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, steps: Steps) -> dict[str, Any]:
        result: dict[str, Any] = {}
        merged: list[MappingNode] = []
        lines: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged.extend(self._merged(value, steps))
                continue
            if not isinstance(key, ScalarNode):
                self._refuse(key, steps, "a key must be plain text")
                continue
            name = str(key.value)
            if name in result:
                message = f"`{name}` is written twice (first in line {lines[name]})"
                self._refuse(key, (*steps, name), message, "keep one of them")
                continue
            lines[name] = _line(key)
            result[name] = self._field(key, value, (*steps, name))
        for base in merged:  # `<<`: what is written here wins over what is merged in
            for key, value in base.value:
                if isinstance(key, ScalarNode) and str(key.value) not in result:
                    name = str(key.value)
                    result[name] = self._field(key, value, (*steps, name))
        return result

    def _field(self, key: Node, value: Node, steps: Steps) -> Any:
        text = value.value if isinstance(value, ScalarNode) else None
        self._document.positions[steps] = Position(_line(key), text)
        return self.build(value, steps)

    def _merged(self, value: Node, steps: Steps) -> Iterator[MappingNode]:
        for node in value.value if isinstance(value, SequenceNode) else [value]:
            if isinstance(node, MappingNode):
                yield node
            else:
                self._refuse(node, steps, "`<<` merges a mapping", "write `<<: *name`")

    def _scalar(self, node: ScalarNode, steps: Steps) -> Any:
        self._document.positions[steps] = Position(
            self._document.positions[steps].line, str(node.value)
        )
        text = str(node.value)
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) < 400:  # Python refuses to read integers of 4,300 digits
                return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
            case "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan").lower())
            case "str" | "merge" | "int":
                # JSON writes characters beyond the BMP as two \u escapes, which YAML keeps apart.
                return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            case _:
                self._refuse_tag(node, steps)
                return None

    def _refuse_tag(self, node: Node, steps: Steps) -> None:
        self._refuse(node, steps, f"the tag {node.tag} is not allowed", "remove the tag")

    def _refuse(self, node: Node, steps: Steps, message: str, hint: str | None = None) -> None:
        if len(self._document.problems) >= MAX_PROBLEMS:
            return
        path = display(steps) or None
        problem = Problem(message, path=path, hint=hint, file=self._file, line=_line(node))
        self._document.problems.append(problem)


def display(steps: Steps) -> str:
    """`("spec", "data", "train_on", 0)` -> `data.train_on[0]`; `metadata.name` keeps its head."""
    shown = ""
    for step in steps[1:] if steps[:1] == ("spec",) and len(steps) > 1 else steps:
        if isinstance(step, int):
            shown += f"[{step}]"
        else:
            shown += f".{step}" if shown else step
    return shown


def _counted(nodes: list[Node]) -> str:
    return f"{MAX_DOCUMENTS} or more" if len(nodes) == MAX_DOCUMENTS else str(len(nodes))


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_problem(error: yaml.YAMLError, text: str, file: str | None) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        message = str(error.problem or error.context or "broken YAML")
        hint = _syntax_hint(message)
        if "\\t" in message:
            message = "a tab is used for indentation"
        line = mark.line + 1 if mark else None
        return Problem(f"not valid YAML: {message}", hint=hint, file=file, line=line)
    position = int(getattr(error, "position", 0))  # yaml.reader.ReaderError
    line = text.count("\n", 0, position) + 1
    hint = "remove the control character"
    return Problem("a character that YAML does not allow", hint=hint, file=file, line=line)


def _syntax_hint(message: str) -> str | None:
    if "\\t" in message:
        return "indent with spaces"
    if "mapping values are not allowed" in message:
        return 'put text that holds ": " in quotes, and indent fields of one level alike'
    if "expected <block end>" in message or "could not find expected ':'" in message:
        return "indent fields of one level alike, and write `key: value`"
    if "undefined alias" in message:
        return "define it with & before it is used with *"
    return "see the line and the one above it; quote text that holds : # { } [ ] or *"
