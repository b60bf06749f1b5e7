"""What Python files define at their top, read by a process of its own: nothing of them is run.

Called by `inspect.code_checks`. The files come from anybody, and parsing alone can take an
interpreter minutes or its life (a line of a hundred thousand small f-strings): so a process with
limits of time and memory does it, started by this file's path, without any library.
"""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

CPU_SECONDS = 10
TIMEOUT_SECONDS = 60.0
MEMORY_BYTES = 4_000_000_000

Kind = Literal["function", "async", "class", "other"]


@dataclass(frozen=True)
class Definition:
    """A name of a module: what it is, and how many values a function takes by position."""

    kind: Kind
    line: int
    fewest: int = 0
    most: int | None = None  # None: as many as there are

    def takes(self, count: int) -> bool:
        """Whether it may be called with so many values; what is no function may."""
        if self.kind != "function":
            return True
        return self.fewest <= count and (self.most is None or count <= self.most)


@dataclass(frozen=True)
class Definitions:
    """What a file defines, or why it cannot be read."""

    names: Mapping[str, Definition]
    is_open: bool = False  # a star import may bring any name
    error: str | None = None
    line: int | None = None


def read_definitions(files: Mapping[str, bytes]) -> dict[str, Definitions]:
    """Of each file; one that takes too long has an error, and so have those with it."""
    request = json.dumps({path: content.decode("latin-1") for path, content in files.items()})
    command = [sys.executable, "-I", "-S", __file__]
    try:
        done = subprocess.run(
            command,
            input=request.encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        if len(files) > 1:  # which of them it was
            return {path: read_definitions({path: files[path]})[path] for path in files}
        return {path: Definitions({}, error="it takes too long to be parsed") for path in files}
    return {path: _of_answer(found) for path, found in answer.items()}


def _of_answer(found: Mapping[str, Any]) -> Definitions:
    names = {name: Definition(*values) for name, values in found["names"].items()}
    return Definitions(names, found["is_open"], found["error"], found["line"])


# Below: what the process of its own does.


def main() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    files: dict[str, str] = json.load(sys.stdin)
    found = {path: _parsed(text.encode("latin-1"), path) for path, text in files.items()}
    json.dump(found, sys.stdout)


def _parsed(content: bytes, path: str) -> dict[str, Any]:
    names: dict[str, tuple[Any, ...]] = {}
    found: dict[str, Any] = {"names": names, "is_open": False, "error": None, "line": None}
    try:
        tree = ast.parse(content, path)
    except SyntaxError as error:
        return {**found, "error": f"not valid Python: {error.msg}", "line": error.lineno}
    except (ValueError, RecursionError, MemoryError):
        return {**found, "error": "not valid Python"}
    for statement in _statements(tree.body):
        for name in _defined(statement):
            found["is_open"] = found["is_open"] or name == "*"
            names[name] = _described(statement)
    return found


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, also those of its branches."""
    waiting = deque(body)
    while waiting:
        statement = waiting.popleft()
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
            for field in ("body", "handlers", "orelse", "finalbody"):
                for inner in getattr(statement, field, ()):
                    waiting += inner.body if isinstance(inner, ast.ExceptHandler) else [inner]


def _defined(statement: ast.stmt) -> Iterator[str]:
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Import() | ast.ImportFrom():
            for alias in statement.names:
                yield alias.asname or alias.name.partition(".")[0]
        case ast.Assign():
            for target in statement.targets:
                yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name


def _described(statement: ast.stmt) -> tuple[Kind, int, int, int | None]:
    kinds: dict[type[ast.stmt], Kind] = {ast.AsyncFunctionDef: "async", ast.ClassDef: "class"}
    kind = kinds.get(type(statement), "other")
    # A decorator may change what a function takes.
    if not isinstance(statement, ast.FunctionDef) or statement.decorator_list:
        return (kind, statement.lineno, 0, None)
    arguments = statement.args
    positional = [*arguments.posonlyargs, *arguments.args]
    fewest = len(positional) - len(arguments.defaults)
    if any(default is None for default in arguments.kw_defaults):
        return ("function", statement.lineno, 1, 0)  # it cannot be called by position alone
    most = None if arguments.vararg is not None else len(positional)
    return ("function", statement.lineno, fewest, most)


if __name__ == "__main__":
    main()
