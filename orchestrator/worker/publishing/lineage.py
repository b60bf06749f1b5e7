"""Where a published model comes from: enough to train it again and to doubt it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from typing import Any

from orchestrator import __version__
from orchestrator.inspect.code import Code
from orchestrator.records import Launch, Phase

PACKAGES = (
    "accelerate",
    "deepspeed",
    "numpy",
    "peft",
    "pyarrow",
    "ray",
    "safetensors",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)


def package_versions() -> dict[str, str]:
    versions = {"finetune-orchestrator": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def code_entry(code: Code | None) -> dict[str, Any] | None:
    """The user's code by digest and files; what its secrets are is known by name alone."""
    if code is None:
        return None
    return {"sha256": code.sha256, "files": [asdict(file) for file in code.listed()]}


def lineage(
    launch: Launch,
    seconds: dict[Phase, float],
    attempts: list[dict[str, Any]],
    code: Code | None = None,
    engine: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The contents of `lineage.json`.

    Args:
        launch: The Attempt that publishes.
        seconds: Its phases.
        attempts: One entry an Attempt of the job, oldest first, with what it resumed from.
        code: The user's, where there is any.
        engine: What was chosen by what is installed: attention, optimizer.
    """
    model = launch.spec.spec.model
    return {
        "format": 1,
        "job": launch.job,
        "run": launch.identity.run,
        "recipe": launch.identity.recipe,
        "base": {"name": model.base, "revision": model.revision, "digest": launch.identity.base}
        if model is not None
        else None,
        "code": code_entry(code),
        "data": launch.identity.data,
        "spec": {
            "written": launch.written,
            "resolved": launch.spec.model_dump(mode="json", exclude_none=True),
        },
        "packages": package_versions(),
        "engine": dict(engine or {}),
        "git_commit": launch.git_commit,
        "seconds": {phase.value: round(value, 3) for phase, value in seconds.items()},
        "attempts": attempts,
    }
