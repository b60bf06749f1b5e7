"""Whether user code holds what a spec names: its functions and its script. Nothing of it is run.

Called by `inspect.validation`. Files are parsed, not imported, so what is only there at run time (a
name that another function sets) cannot be seen; a star import leaves every name possible.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.inspect.code import MAX_BYTES, PATH, Code, pack_folder, read_archive
from orchestrator.inspect.files import Fetch
from orchestrator.specs import CustomTask, FineTune
from orchestrator.specs.paths import local_path
from orchestrator.specs.runtime_checks import entry_points
from orchestrator.specs.suggest import closest

MAX_SOURCE_BYTES = 1_000_000
"""Of one file that is parsed: more is data."""

# By the field that names a function: what it is called with.
CALLED_WITH = {
    "data.transform": ("row",),
    "data.collator": ("rows", "tokenizer"),
    "training.loss": ("logits", "labels"),
    "evaluation.custom_metrics": ("labels", "probabilities"),
}


@dataclass(frozen=True)
class CodeFacts:
    """The code of a spec, where it could be read, and what is wrong with it."""

    code: Code | None = None
    problems: tuple[Problem, ...] = ()


def inspect_code(
    spec: FineTune, *, base_dir: Path, fetch: Fetch | None, doubtful: Collection[str] = ()
) -> CodeFacts:
    """Reads the code a spec names, and looks for what it must hold.

    `doubtful` are fields that the schema or the checks refused: nothing is said of them.
    """
    place = spec.spec.runtime.code
    if place is None or any(path.startswith("runtime") for path in doubtful):
        return CodeFacts()
    try:
        code = read_code(place, base_dir=base_dir, fetch=fetch)
    except InvalidInput as error:
        return CodeFacts(None, error.problems)
    folder = local_path(place, base_dir)
    is_folder = folder is not None and folder.is_dir()
    shown = PurePosixPath(str(folder) if is_folder else place)
    problems = [p for p in _problems(spec, code, shown) if p.path not in doubtful]
    return CodeFacts(code, tuple(problems))


def refused_code(spec: FineTune) -> Iterator[Problem]:
    """What a spec asks of an operator who allows no user code; variables steer code too."""
    runtime = spec.spec.runtime
    asked = {"code": runtime.code, "env": runtime.env, "secrets": runtime.secrets}
    for field, value in asked.items():
        if value:
            yield Problem(
                "the operator does not allow user code here",
                path=f"runtime.{field}",
                hint="remove it, or ask the operator for the setting user_code: allowed",
            )


def read_code(place: str, *, base_dir: Path, fetch: Fetch | None) -> Code:
    """The code at a folder, an archive, or the URL of either; raises InvalidInput."""
    path = local_path(place, base_dir)
    if path is None:
        path = _fetched(place, fetch)
    if path.is_dir():
        return pack_folder(path)
    try:
        if path.stat().st_size > 2 * MAX_BYTES:  # with headers and what is left out
            raise InvalidInput([Problem(f"{place} is too large for code", path=PATH)])
        return read_archive(path.read_bytes(), place)
    except OSError as error:
        hint = "name the folder of your code; relative paths start at the spec's folder"
        message = f"{place} cannot be read: {error.strerror}"
        raise InvalidInput([Problem(message, path=PATH, hint=hint)]) from None


def _fetched(url: str, fetch: Fetch | None) -> Path:
    if fetch is None:
        hint = "copy the code to a local folder"
        raise InvalidInput([Problem(f"{url} cannot be reached from here", path=PATH, hint=hint)])
    try:
        return fetch(url)
    except OrchestratorError as error:
        message = f"{url} cannot be read: {error.message}"
        raise InvalidInput([Problem(message, path=PATH, hint=error.hint)]) from None


def _problems(spec: FineTune, code: Code, shown: PurePosixPath) -> Iterator[Problem]:
    task = spec.spec.task
    if isinstance(task, CustomTask):
        if task.entrypoint not in code.files:
            scripts = [path for path in code.files if path.endswith(".py")]
            near = closest(task.entrypoint, scripts)
            hint = f"did you mean {near}?" if near else f"scripts there: {_listed(scripts)}"
            message = f"{shown} holds no {task.entrypoint}"
            yield Problem(message, path="task.entrypoint", hint=hint)
        else:
            yield from _parsed(code, task.entrypoint, "task.entrypoint", shown).problems
    for path, entry in entry_points(spec.spec):
        yield from _entry_problems(code, entry, path, shown)


def _entry_problems(code: Code, entry: str, path: str, shown: PurePosixPath) -> Iterator[Problem]:
    module, _, name = entry.partition(":")
    file = module_file(code.files, module)
    if file is None:
        modules = [_module_name(known) for known in code.files if known.endswith(".py")]
        near = closest(module, modules)
        hint = f"did you mean {near}:{name}?" if near else f"modules there: {_listed(modules)}"
        yield Problem(f"{shown} holds no module {module}", path=path, hint=hint)
        return
    parsed = _parsed(code, file, path, shown)
    yield from parsed.problems
    if parsed.problems or parsed.is_open:
        return
    if name not in parsed.names:
        near = closest(name, parsed.names)
        hint = f"did you mean {module}:{near}?" if near else f"define it in {file}"
        yield Problem(f"{file} defines no {name}", path=path, hint=hint)
        return
    wanted = CALLED_WITH[path if path in CALLED_WITH else path.rpartition(".")[0]]
    definition = parsed.names[name]
    if isinstance(definition, ast.AsyncFunctionDef):
        yield Problem(f"{name} is asynchronous", path=path, hint="write def instead of async def")
    elif isinstance(definition, ast.FunctionDef) and not _takes(definition.args, len(wanted)):
        yield Problem(
            f"{name} is called with {len(wanted)} arguments",
            path=path,
            hint=f"write def {name}({', '.join(wanted)})",
            file=str(shown / file),
            line=definition.lineno,
        )


def module_file(paths: Collection[str], module: str) -> str | None:
    """The file of a module, as an import would find it."""
    inside = module.replace(".", "/")
    candidates = (f"{inside}/__init__.py", f"{inside}.py")
    return next((path for path in candidates if path in paths), None)


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@dataclass(frozen=True)
class _Parsed:
    """What a file defines at its top."""

    names: dict[str, ast.stmt]
    is_open: bool = False  # a star import may bring any name
    problems: tuple[Problem, ...] = ()


def _parsed(code: Code, file: str, path: str, shown: PurePosixPath) -> _Parsed:
    content = code.files[file]
    if len(content) > MAX_SOURCE_BYTES:
        message = f"{file} is too large for a script"
        return _Parsed({}, problems=(Problem(message, path=path, hint="split it"),))
    try:
        tree = ast.parse(content, file)
    except SyntaxError as error:
        message = f"not valid Python: {error.msg}"
        return _Parsed(
            {}, problems=(Problem(message, path, None, str(shown / file), error.lineno),)
        )
    except (ValueError, RecursionError, MemoryError):
        return _Parsed({}, problems=(Problem(f"{file} is not valid Python", path=path),))
    names: dict[str, ast.stmt] = {}
    is_open = False
    for statement in _statements(tree.body):
        for name in _defined(statement):
            is_open = is_open or name == "*"
            names[name] = statement
    return _Parsed(names, is_open)


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


def _takes(arguments: ast.arguments, count: int) -> bool:
    """Whether it may be called with so many values by position."""
    positional = [*arguments.posonlyargs, *arguments.args]
    least = len(positional) - len(arguments.defaults)
    named = [default for default in arguments.kw_defaults if default is None]
    return (
        not named and least <= count and (arguments.vararg is not None or count <= len(positional))
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "") if names else "none"
