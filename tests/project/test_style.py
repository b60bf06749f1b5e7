"""The budget that keeps parts small: lines of a file, lines of a function, telling names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.project import ROOT

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
SAYS_NOTHING = {"utils.py", "util.py", "common.py", "helpers.py", "manager.py", "misc.py"}


def sources() -> list[Path]:
    return [*ROOT.glob("orchestrator/**/*.py"), *ROOT.glob("scripts/*.py")]


def long_functions(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            if node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text().count("\n") for path in sources()}

    assert {name: count for name, count in lines.items() if count > MAX_FILE_LINES} == {}


def test_functions_are_short() -> None:
    assert [found for path in sources() for found in long_functions(path)] == []


def test_file_names_say_what_is_inside() -> None:
    assert [str(path) for path in sources() if path.name in SAYS_NOTHING] == []


def test_every_package_is_a_package() -> None:
    """Import contracts and type checks pass over folders that have no `__init__.py`."""
    folders = {path.parent for path in ROOT.glob("orchestrator/**/*.py")}

    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
