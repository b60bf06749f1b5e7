"""Whether user code holds what a spec names: its functions and its script. Nothing of it is run.

Called by `inspect.validation`. Files are parsed, not imported, so what is only there at run time (a
name that another function sets) cannot be seen; a star import leaves every name possible.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from orchestrator.errors import InvalidInput, OrchestratorError, Problem
from orchestrator.inspect.code import MAX_BYTES, PATH, Code, pack_folder, read_archive
from orchestrator.inspect.definitions import Definitions, read_definitions
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


TAKEN = sys.stdlib_module_names | {
    *(
        "accelerate",
        "datasets",
        "deepspeed",
        "httpx",
        "numpy",
        "obstore",
        "orchestrator",
        "pyarrow",
    ),
    *("pydantic", "ray", "safetensors", "scipy", "sklearn", "tokenizers", "torch", "transformers"),
}
"""Modules that a worker has imported, or imports later, by these names."""


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
    named = dict(entry_points(spec.spec))
    scripts = {}
    if isinstance(spec.spec.task, CustomTask):
        scripts["task.entrypoint"] = spec.spec.task.entrypoint
    modules = {path: module_file(code.files, _module(entry)) for path, entry in named.items()}
    wanted = {file for file in (*scripts.values(), *modules.values()) if file in code.files}
    read = _read(code, {file for file in wanted if file is not None})
    for path, script in scripts.items():
        yield from _script_problems(code, script, path, shown)
        yield from _unreadable(read, script, path, shown)
    for path, entry in named.items():
        file = modules[path]
        if file is None:
            yield _no_module(code, entry, path, shown)
            continue
        problems = [*_name_taken(entry, path, file), *_unreadable(read, file, path, shown)]
        yield from problems or _entry_problems(read[file], entry, path, shown / file)


def _read(code: Code, files: Collection[str]) -> dict[str, Definitions]:
    large = {file for file in files if len(code.files[file]) > MAX_SOURCE_BYTES}
    small = {file: code.files[file] for file in sorted(files) if file not in large}
    found = read_definitions(small) if small else {}
    return found | {file: Definitions({}, error="it is too large for a script") for file in large}


def _script_problems(code: Code, script: str, path: str, shown: PurePosixPath) -> Iterator[Problem]:
    if script not in code.files:
        scripts = [known for known in code.files if known.endswith(".py")]
        near = closest(script, scripts)
        hint = f"did you mean {near}?" if near else f"scripts there: {_listed(scripts)}"
        yield Problem(f"{shown} holds no {script}", path=path, hint=hint)


def _unreadable(
    read: Mapping[str, Definitions], file: str, path: str, shown: PurePosixPath
) -> Iterator[Problem]:
    found = read.get(file)
    if found is not None and found.error is not None:
        yield Problem(f"{file}: {found.error}", path, None, str(shown / file), found.line)


def _no_module(code: Code, entry: str, path: str, shown: PurePosixPath) -> Problem:
    module, _, name = entry.partition(":")
    modules = [_module_name(known) for known in code.files if known.endswith(".py")]
    near = closest(module, modules)
    hint = f"did you mean {near}:{name}?" if near else f"modules there: {_listed(modules)}"
    return Problem(f"{shown} holds no module {module}", path=path, hint=hint)


def _name_taken(entry: str, path: str, file: str) -> Iterator[Problem]:
    top = entry.partition(":")[0].partition(".")[0]
    if top in TAKEN:
        whose = "Python's own" if top in sys.stdlib_module_names else "a library's"
        message = f"{top} is the name of a module of {whose}, which would be imported instead"
        yield Problem(message, path=path, hint=f"rename {file}")


def _entry_problems(
    found: Definitions, entry: str, path: str, file: PurePosixPath
) -> Iterator[Problem]:
    module, _, name = entry.partition(":")
    definition = found.names.get(name)
    if definition is None:
        if not found.is_open:
            near = closest(name, found.names)
            hint = f"did you mean {module}:{near}?" if near else f"define it in {file.name}"
            yield Problem(f"{file.name} defines no {name}", path=path, hint=hint)
        return
    wanted = CALLED_WITH[path if path in CALLED_WITH else path.rpartition(".")[0]]
    signature = f"write def {name}({', '.join(wanted)})"
    wrong = {
        "async": f"{name} is asynchronous",
        "class": f"{name} is a class, not a function",
    }.get(definition.kind)
    if wrong is None and not definition.takes(len(wanted)):
        noun = "value" if len(wanted) == 1 else "values"
        wrong = f"{name} is called with {len(wanted)} {noun}"
    if wrong is not None:
        yield Problem(wrong, path, signature, str(file), definition.line)


def module_file(paths: Collection[str], module: str) -> str | None:
    """The file of a module, as an import would find it."""
    inside = module.replace(".", "/")
    candidates = (f"{inside}/__init__.py", f"{inside}.py")
    return next((path for path in candidates if path in paths), None)


def _module(entry: str) -> str:
    return entry.partition(":")[0]


def _module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "") if names else "none"
